"""What each kind of component demands of its value."""

from typing import Any

import pytest

from datacollect.eventstore.checks import Mismatch
from datacollect.eventstore.event import Event
from datacollect.features.forms.model import MOST_PER_EVENT, ProgramForms
from datacollect.kernel.clock import Millis

GUID = "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01"


def make(data: dict[str, Any], type: str = "create-individual") -> Event:
    return Event(GUID, "e-1", type, data, Millis(0), "u")


def check(components: Any, data: dict[str, Any], type: str = "update-individual") -> list[Mismatch]:
    forms = ProgramForms({"person": {"components": components}})
    return list(forms.mismatches(make({"entityName": "person", **data}, type)))


def paths(found: list[Mismatch]) -> list[tuple[str | int, ...]]:
    return [mismatch.path for mismatch in found]


def component(type: str, **members: Any) -> dict[str, Any]:
    return {"type": type, "key": "x", "input": True, **members}


def choices(*values: Any) -> list[dict[str, Any]]:
    return [{"label": f"Label of {value}", "value": value} for value in values]


ACCEPTED: list[tuple[dict[str, Any], list[Any]]] = [
    (component("textfield"), ["a", "", None]),
    (component("textarea", validate={"minLength": 2, "maxLength": "3"}), ["ab", "abc", ""]),
    (component("textfield", validate={"pattern": "[A-Z]{2}[0-9]+"}), ["AB1", "", None, "9" * 501]),
    (component("textfield", validate={"minWords": 2, "maxWords": 3}), ["a b", " a  b c "]),
    (component("textarea", **{"as": "json"}), [{"a": 1}, "text"]),
    (component("number", validate={"min": 0, "max": "120"}), [0, 120, 1.5, "", None]),
    (component("number", validate={"integer": True}), [1, 2.0]),
    (component("number", multiple=True), [[1, 2], [], [""], ""]),
    (component("currency"), [9.99]),
    (component("checkbox"), [True, False, "", None]),
    (component("checkbox", inputType="radio", name="g"), ["a"]),
    (component("selectboxes", values=choices("a", "b")), [{"a": True, "b": False}, {"": False}, {}]),
    (component("select", data={"values": choices("a", "1", 2, "true")}), ["a", "1", 1, 2, "2", True, "true", ""]),
    (component("select", data={"values": choices("a", "b")}, multiple=True), [["a", "b"], [], ""]),
    (component("select", dataSrc="url", data={"url": "http://x.test/"}), ["whatever", {"id": 1}]),
    (component("select", data={"values": choices("")}), ["whatever"]),
    (component("radio", values=choices("m", "f", 3)), ["m", 3, "3", ""]),
    (component("datetime"), ["2026-01-31", "2026-01-31T08:30:00Z", "2026-01-31T08:30:00.000+01:00", ""]),
    (component("datetime", widget={"saveAs": "text"}), ["31 January"]),
    (component("day"), ["01/31/2026", "31/01/2026", "00/00/2026", "2026-01-31", "01/2026"]),
    (component("time"), ["08:30", "08:30:00"]),
    (component("time", dataFormat="hh:mm A"), ["08:30 PM"]),
    (component("email"), ["a@b.test", ""]),
    (component("phoneNumber"), ["(084) 123-4567", "+84 90 1", "123 ext 4"]),
    (component("url"), ["https://a.test/b?c", "a.test", "http://localhost:3000"]),
    (component("tags"), [["a", "b"], "a,b", ""]),
    (component("file"), [[{"name": "f"}], [], "id", {"name": "f"}]),
    (component("signature"), ["data:image/png;base64,AA", ""]),
    (component("hidden"), [1, "a", {}, []]),
    (component("container", components=[component("number", key="n")]), [{"n": 1}, {}, {"other": "a"}, ""]),
    (component("datagrid", components=[component("number", key="n")]), [[{"n": 1}, {"n": ""}, {}], [], None]),
    (component("editgrid", validate={"maxLength": 1}, components=[]), [[{}]]),
    (component("starmap", validate={"required": True}), [1, None, ""]),
    (component("content"), [1]),
    (component("textfield", persistent=False), [1]),
]

REFUSED: list[tuple[dict[str, Any], list[Any], str]] = [
    (component("textfield"), [1, True, {}, ["a"]], "a text"),
    (component("textfield", validate={"minLength": 2}), ["a"], "at least 2 characters"),
    (component("textfield", validate={"maxLength": "3"}), ["abcd"], "at most 3 characters"),
    (component("textfield", validate={"pattern": "[0-9]+"}), ["1a", "a1"], "[0-9]+"),
    (component("textfield", validate={"pattern": "[0-9]+", "patternMessage": "digits only"}), ["a"], "digits only"),
    (component("textfield", validate={"minWords": 2}), ["one"], "at least 2 words"),
    (component("textfield", validate={"maxWords": 1}), ["one two"], "at most 1 words"),
    (component("number"), ["7", True, [7]], "a number"),
    (component("number", validate={"min": 0}), [-1], "not below 0"),
    (component("number", validate={"max": "120"}), [121, 10**30], "not above 120"),
    (component("number", validate={"integer": True}), [1.5], "a whole number"),
    (component("number", multiple=True), [1], "a list of values"),
    (component("currency"), ["9.99"], "a number"),
    (component("checkbox"), ["true", 1], "true or false"),
    (component("checkbox", validate={"required": True}), [False], "ticked"),
    (component("selectboxes"), [["a"], {"a": "yes"}], ""),
    (component("selectboxes", validate={"required": True}), [{"a": False}], "ticked"),
    (component("select", data={"values": choices("a", "b")}), ["c", ["a"], 1], "one of: a, b"),
    (component("radio", values=choices("m", "f")), ["x"], "one of: m, f"),
    (component("datetime"), ["31/01/2026", "soon", 20260131], "a date such as"),
    (component("day"), ["January", 2026], "a day such as"),
    (component("time"), ["noon"], "a time such as"),
    (component("email"), ["a.b.test", "a@b", 1], "an e-mail address"),
    (component("email", validate={"maxLength": 3}), ["a@b.test"], "at most 3 characters"),
    (component("phoneNumber"), ["call me"], "a telephone number"),
    (component("url"), ["not a url", "word"], "a web address"),
    (component("tags"), [7], "a list of texts"),
    (component("file"), [7], "a list of files"),
    (component("signature"), [7], "a text"),
    (component("container", components=[]), ["a", [1]], "an object"),
    (component("datagrid", components=[]), ["a", {"a": 1}], "a list of rows"),
    (component("editgrid", validate={"maxLength": 1}, components=[]), [[{}, {}]], "at most 1 rows"),
]


@pytest.mark.parametrize(("one", "values"), ACCEPTED)
def test_a_value_the_form_gives_is_accepted(one: dict[str, Any], values: list[Any]) -> None:
    assert [value for value in values if check([one], {"x": value})] == []


@pytest.mark.parametrize(("one", "values", "words"), REFUSED)
def test_a_value_the_form_would_not_give_is_found_and_never_repeated(
    one: dict[str, Any], values: list[Any], words: str
) -> None:
    for value in values:
        [mismatch] = check([one], {"x": value})
        assert mismatch.path[:2] == ("data", "x")
        assert words in mismatch.message
        assert mismatch.message.startswith("Expected ")


def test_a_message_holds_nothing_of_what_was_sent() -> None:
    for one, _, _ in REFUSED:
        for mismatch in check([one], {"x": "Private-Name"}):
            assert "Private-Name" not in mismatch.message


REQUIRED = component("textfield", validate={"required": True})


@pytest.mark.parametrize(
    "layout",
    [
        {"type": "panel", "key": "x", "components": [REQUIRED]},
        {"type": "fieldset", "components": [REQUIRED]},
        {"type": "well", "components": [REQUIRED]},
        {"type": "columns", "columns": [{"components": []}, {"components": [REQUIRED]}]},
        {"type": "table", "rows": [[{"components": [REQUIRED]}]]},
        {"type": "tabs", "components": [{"key": "t", "components": [{"type": "panel", "components": [REQUIRED]}]}]},
    ],
    ids=lambda layout: str(layout["type"]),
)
def test_layout_is_seen_through(layout: dict[str, Any]) -> None:
    assert paths(check([layout], {}, "create-individual")) == [("data", "x")]
    assert paths(check([layout], {"x": 7})) == [("data", "x")]


def test_what_is_required_must_be_there_when_an_entity_is_created_and_may_not_be_emptied_later() -> None:
    assert [(m.path, m.message) for m in check([REQUIRED], {}, "create-individual")] == [(("data", "x"), "Required")]
    assert check([REQUIRED], {}, "update-individual") == []
    for empty in ("", None, [], {}):
        [mismatch] = check([REQUIRED], {"x": empty})
        assert mismatch.path == ("data", "x")
        assert "Required" in mismatch.message


@pytest.mark.parametrize(
    "condition",
    [
        {"conditional": {"show": True, "when": "other", "eq": "a"}},
        {"conditional": {"show": True, "conditions": [{"component": "other"}]}},
        {"customConditional": "show = data.other"},
        {"logic": [{"trigger": {}}]},
        {"hidden": True},
    ],
    ids=lambda condition: next(iter(condition)),
)
def test_what_a_condition_may_hide_is_not_required_but_still_checked(condition: dict[str, Any]) -> None:
    for components in ([REQUIRED | condition], [{"type": "panel", "components": [REQUIRED], **condition}]):
        assert check(components, {}, "create-individual") == []
        assert check(components, {"x": ""}) == []
        assert paths(check(components, {"x": 7})) == [("data", "x")]


def test_a_box_that_may_be_hidden_need_not_be_ticked() -> None:
    for one, value in ((component("checkbox"), False), (component("selectboxes"), {"a": False})):
        assert check([one | {"validate": {"required": True}}], {"x": value})
        assert check([one | {"validate": {"required": True}, "customConditional": "show = 1"}], {"x": value}) == []


def test_an_empty_condition_is_none() -> None:
    empty = {"conditional": {"show": None, "when": None, "eq": ""}, "customConditional": "", "logic": []}
    assert check([REQUIRED | empty], {}, "create-individual")


def test_what_is_nested_is_whole_and_checked_with_its_own_required_fields() -> None:
    grid = component("datagrid", components=[REQUIRED | {"key": "a"}, component("number", key="b")])
    found = check([grid], {"x": [{"a": "1", "b": 2}, {"b": 2}]})
    assert [(m.path, m.message) for m in found] == [(("data", "x", 1, "a"), "Required")]
    box = component("container", components=[component("number", key="n")])
    assert paths(check([box], {"x": {"n": "7"}})) == [("data", "x", "n")]


def test_keys_the_form_does_not_have_are_accepted() -> None:
    assert check([component("number")], {"_displayName": 1, "parentId": 2, "area_id": 3, "other": [4]}) == []


def test_technical_keys_are_the_hubs_whatever_the_form_says() -> None:
    one = component("number", key="parentId", validate={"required": True})
    assert check([one, component("number", key="externalId", validate={"required": True})], {}, "create-record") == []
    assert check([one], {"parentId": "p-1"}) == []


def test_two_components_of_one_key_accept_what_either_would() -> None:
    assert check([component("number"), component("textfield")], {"x": "a"}) == []
    assert check([REQUIRED, component("number")], {}, "create-individual") == []


def test_members_are_checked_against_their_own_form_as_far_as_they_go() -> None:
    forms = ProgramForms(
        {
            "household": {"components": [component("number", key="rooms")]},
            "person": {"components": [REQUIRED, component("number", key="age")]},
        }
    )
    data = {
        "entityName": "household",
        "rooms": 2,
        "members": [
            {"guid": "m-1", "type": "individual", "entityName": "person", "age": "7"},
            {"guid": "m-2", "entityName": "nobody", "age": "7"},
            {
                "guid": "m-3",
                "type": "group",
                "entityName": "household",
                "rooms": "2",
                "members": [{"guid": "m-4", "entityName": "person", "x": ""}],
            },
            "not a member",
        ],
    }
    assert [(m.form, m.entity_guid, m.path) for m in forms.mismatches(make(data, "create-group"))] == [
        ("person", "m-1", ("data", "members", 0, "age")),
        ("household", "m-3", ("data", "members", 2, "rooms")),
        ("person", "m-4", ("data", "members", 2, "members", 0, "x")),
    ]


@pytest.mark.parametrize("event_type", ["add-member", "delete-entity", "record-attendance"])
def test_other_events_are_not_checked(event_type: str) -> None:
    assert check([component("number")], {"x": "a"}, event_type) == []


def test_an_event_of_no_form_is_not_checked() -> None:
    forms = ProgramForms({"person": {"components": [REQUIRED]}})
    for name in ("stranger", None, 7, ["person"]):
        assert not forms.mismatches(make({"entityName": name, "x": 7}))


def test_only_the_first_few_mismatches_are_told() -> None:
    many = [component("number", key=f"k{n}") for n in range(3 * MOST_PER_EVENT)]
    assert len(check(many, {f"k{n}": "a" for n in range(3 * MOST_PER_EVENT)})) == MOST_PER_EVENT
