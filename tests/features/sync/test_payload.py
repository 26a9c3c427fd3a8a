"""What a push body must look like, and what becomes of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.db.turns import AT_ONCE
from datacollect.eventstore.event import SERVER_MANAGED_KEYS, without_server_managed
from datacollect.features.sync.errors import InvalidPush
from datacollect.features.sync.payload import MOST_ISSUES, read_push, read_push_in_turns
from datacollect.kernel.clock import format_timestamp
from tests.factories import make_event

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*SERVER_MANAGED_KEYS, "name", "members", "guid"]), inner, max_size=4)
    ),
    max_leaves=25,
)


def issues_of(document: Any) -> list[tuple[str, list[str | int]]]:
    with pytest.raises(InvalidPush) as refused:
        read_push(document)
    return [(issue["code"], issue["path"]) for issue in refused.value.issues]


def test_an_event_is_read_as_sent() -> None:
    wire = make_event(timestamp="2025-02-01T08:00:00.1239Z", schemaVersion=2, id=17)
    [event] = read_push({"events": [wire]}).events
    assert (event.guid, event.entity_guid, event.type) == (wire["guid"], wire["entityGuid"], wire["type"])
    assert (event.data, event.user_id, event.schema_version) == (wire["data"], "agent-7", 2)
    assert format_timestamp(event.occurred_at) == "2025-02-01T08:00:00.123Z"


def test_an_empty_push_is_fine() -> None:
    assert read_push({"events": []}).events == []


@pytest.mark.parametrize("document", [None, [], "events", 1, True])
def test_a_body_that_is_no_object_is_refused(document: Any) -> None:
    assert issues_of(document) == [("invalid_type", [])]


@pytest.mark.parametrize("events", [None, {}, "x", 1])
def test_events_must_be_an_array(events: Any) -> None:
    assert issues_of({"events": events}) == [("invalid_type", ["events"])]


def test_of_very_many_issues_the_first_are_told() -> None:
    """What tells of one takes a hundred times the room that it takes to make one."""
    assert issues_of({"events": [0] * 1_000_000}) == [("invalid_type", ["events", n]) for n in range(MOST_ISSUES)]


@pytest.mark.parametrize("name", ["guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel"])
def test_every_required_member_is_missed_by_name(name: str) -> None:
    event = make_event()
    del event[name]
    assert issues_of({"events": [make_event(), event]}) == [("invalid_type", ["events", 1, name])]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("guid", 7, "invalid_type"),
        ("guid", "not-a-uuid", "invalid_string"),
        ("guid", "", "invalid_string"),
        ("entityGuid", "", "too_small"),
        ("entityGuid", "x" * 513, "too_big"),
        ("entityGuid", "é" * 257, "too_big"),
        ("type", None, "invalid_type"),
        ("type", "x" * 513, "too_big"),
        ("userId", "x" * 513, "too_big"),
        ("timestamp", "2" * 513, "too_big"),
        ("data", [], "invalid_type"),
        ("data", "{}", "invalid_type"),
        ("timestamp", "yesterday", "invalid_string"),
        ("timestamp", "2025-02-01T08:00:00+01:00", "invalid_string"),
        ("timestamp", 1738396800000, "invalid_type"),
        ("userId", 12, "invalid_type"),
        ("syncLevel", "0", "invalid_type"),
        ("syncLevel", True, "invalid_type"),
        ("schemaVersion", "1", "invalid_type"),
        ("schemaVersion", 1.5, "invalid_type"),
        # What not every client reads back as it was.
        ("schemaVersion", 2**53, "invalid_type"),
        ("schemaVersion", 1e300, "invalid_type"),
    ],
)
def test_a_wrong_member_is_named_with_its_path(name: str, value: Any, code: str) -> None:
    assert issues_of({"events": [make_event(**{name: value})]}) == [(code, ["events", 0, name])]


def test_all_issues_are_reported_at_once() -> None:
    document = {"events": [make_event(guid=1), "x", make_event(data=None)], "atomic": "no", "configId": 5}
    assert issues_of(document) == [
        ("invalid_type", ["atomic"]),
        ("invalid_type", ["configId"]),
        ("invalid_type", ["events", 0, "guid"]),
        ("invalid_type", ["events", 1]),
        ("invalid_type", ["events", 2, "data"]),
    ]


@pytest.mark.anyio
async def test_what_is_wrong_is_named_by_where_it_stands_also_in_a_large_push() -> None:
    """It is read in turns."""
    wrong, reserved = AT_ONCE + 3, 2 * AT_ONCE + 5
    events = [make_event() for _ in range(3 * AT_ONCE)]
    events[reserved] = make_event(data={"name": "Ana", "attendance": "good"})
    pushed = await read_push_in_turns({"events": events}, reserved=frozenset({"attendance"}))
    assert (len(pushed.events), list(pushed.ignored), list(pushed.as_sent)) == (len(events), [reserved], [reserved])
    events[wrong] = make_event(guid=1)
    malformed = (await read_push_in_turns({"events": events})).malformed
    assert {at: [issue["path"] for issue in issues] for at, issues in malformed.items()} == {
        wrong: [["events", wrong, "guid"]]
    }


def written_by(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects whose keys become fields of entities."""
    yield data
    members = data.get("members")
    for member in members if isinstance(members, list) else ():
        if isinstance(member, dict):
            yield from written_by(member)


@given(st.dictionaries(st.sampled_from([*SERVER_MANAGED_KEYS, "name", "members"]), json_values))
def test_keys_that_only_the_hub_may_set_become_no_fields(data: dict[str, Any]) -> None:
    clean = without_server_managed(data)
    assert all(SERVER_MANAGED_KEYS.isdisjoint(one) for one in written_by(clean))
    if all(SERVER_MANAGED_KEYS.isdisjoint(one) for one in written_by(data)):
        assert clean is data


def test_an_answer_of_a_form_keeps_them_inside() -> None:
    papers = {"papers": [{"identifierType": "passport", "number": "C01X"}], "clinic": {"externalId": 7}}
    member = {"guid": "m", "externalId": "x", "members": [{"guid": "n", "identifierType": "y"} | papers]}
    told = {"externalId": "x", "members": [member, "none"]} | papers
    kept = {"members": [{"guid": "m", "members": [{"guid": "n"} | papers]}, "none"]} | papers
    assert without_server_managed(told) == kept
