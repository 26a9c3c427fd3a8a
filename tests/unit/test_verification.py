"""Verification over rows in memory: whatever byte is changed, wherever, it is found, and where it is."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from datacollect.eventstore.anchors import Anchor
from datacollect.eventstore.event import Event, Origin, event_from_body
from datacollect.eventstore.integrity import EMPTY_CHAIN, hash_event
from datacollect.eventstore.store import Head, StoredEvent
from datacollect.eventstore.verification import BEGINNING, Finding, FindingCode, Reached, check, check_end
from datacollect.kernel.clock import Millis

DATA: Sequence[dict[str, object]] = (
    {"name": "Zoë's", "n": 1.5, "zero": -0.0, "one": 1.0},
    {"replaced": "\ufffd\U0001f600", "z": {"b": [1, None, True, {"a": ""}], "a": 10**25}},
    {'quote"\\': "line\nline\t\x01", "tiny": 5e-324, "large": 1e22},
    {"n": 0, "items": [[], {}, [0]]},
)
SIZE = 12
BYTES_PER_PLACE = 3

TEXTS = ("body", "guid", "entity_guid", "type")
HASHES = ("content_hash", "chain_hash")
NUMBERS = ("position", "occurred_at", "max_occurred_at")


def make_rows(size: int = SIZE) -> list[StoredEvent]:
    events = [
        Event(
            guid=f"00000000-0000-4000-8000-{number:012}",
            entity_guid=f"e-{number % 3}",
            type="update-individual",
            data=dict(DATA[number % len(DATA)]),
            occurred_at=Millis(1_750_000_000_000 + number * 7919 % 10_000),
            user_id="ü-7",
            schema_version=2 if number % 2 else None,
        )
        for number in range(size)
    ]
    return chained(events)


def chained(events: Sequence[Event]) -> list[StoredEvent]:
    rows: list[StoredEvent] = []
    chain, latest = EMPTY_CHAIN, None
    for position, event in enumerate(events, 1):
        hashed = hash_event(event)
        chain = hashed.chained_to(chain)
        latest = event.occurred_at if latest is None else max(latest, event.occurred_at)
        rows.append(
            StoredEvent(
                position=position,
                guid=event.guid,
                entity_guid=event.entity_guid,
                type=event.type,
                occurred_at=event.occurred_at,
                max_occurred_at=latest,
                recorded_at=Millis(position),
                actor="1",
                device_id=None,
                origin=Origin.CLIENT,
                content_hash=hashed.content,
                chain_hash=chain,
                body=event.body(),
            )
        )
    return rows


def head_of(rows: Sequence[StoredEvent]) -> Head:
    last = rows[-1]
    return Head(last.position, last.chain_hash, last.max_occurred_at, last.recorded_at)


def anchor_of(row: StoredEvent) -> dict[int, list[Anchor]]:
    return {row.position: [Anchor(row.position, row.chain_hash, Millis(0))]}


def outcome_of(
    rows: Sequence[StoredEvent],
    head: Head,
    anchors: dict[int, list[Anchor]] | None = None,
    reached: Reached = BEGINNING,
) -> object:
    """The finding, or how far the log is sound. The rows follow what was `reached`."""
    for outcome in check(rows, reached, anchors):
        if isinstance(outcome, Finding):
            return outcome
        reached = outcome
    return check_end(head, reached, anchors) or reached


def found(
    rows: Sequence[StoredEvent],
    head: Head,
    anchors: dict[int, list[Anchor]] | None = None,
    reached: Reached = BEGINNING,
) -> Finding:
    outcome = outcome_of(rows, head, anchors, reached)
    assert isinstance(outcome, Finding), outcome
    return outcome


def bytes_of(row: StoredEvent, column: str) -> bytes:
    value = getattr(row, column)
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else value.to_bytes(8, signed=True)


def with_bytes(row: StoredEvent, column: str, stored: bytes) -> StoredEvent:
    """What a store reads from the changed bytes."""
    value: object = stored
    if column in TEXTS:
        value = stored.decode(errors="surrogateescape")
    elif column in NUMBERS:
        value = int.from_bytes(stored, signed=True)
    return replace(row, **{column: value})


def mutations(row: StoredEvent, dice: random.Random) -> Iterator[tuple[str, StoredEvent]]:
    """Every byte of every column that follows from something else, each changed in a few ways."""
    for column in (*TEXTS, *HASHES, *NUMBERS):
        stored = bytes_of(row, column)
        for place in range(len(stored)):
            for flip in dice.sample(range(1, 256), BYTES_PER_PLACE):
                changed = bytearray(stored)
                changed[place] ^= flip
                yield column, with_bytes(row, column, bytes(changed))


def test_rows_as_appended_are_sound() -> None:
    rows = make_rows()
    outcome = outcome_of(rows, head_of(rows), anchor_of(rows[4]))
    assert isinstance(outcome, Reached)
    assert (outcome.position, outcome.chain_hash) == (SIZE, rows[-1].chain_hash)


def test_an_empty_log_is_sound() -> None:
    assert outcome_of([], Head(0, EMPTY_CHAIN, None, Millis(5))) == BEGINNING


def test_a_body_gives_back_the_event_it_was_made_from() -> None:
    for row in make_rows():
        assert event_from_body(row.body).body() == row.body


@pytest.mark.parametrize("seed", [1, 2])
def test_any_changed_byte_is_found_at_its_position(seed: int, measured: Callable[[str, object], None]) -> None:
    """What comes before the change is checked once, and each log goes on from there."""
    dice = random.Random(seed)
    rows = make_rows()
    head = head_of(rows)
    sound = [BEGINNING, *(outcome for outcome in check(rows) if isinstance(outcome, Reached))]
    assert len(sound) == SIZE + 1
    count = 0
    for index, row in enumerate(rows):
        for column, changed in mutations(row, dice):
            count += 1
            others = rows[:index] + rows[index + 1 :]
            if any(changed.position == other.position for other in others):
                continue  # no table with this key can hold it
            held = sorted([*others, changed], key=lambda each: each.position)
            same = next(at for at, (one, other) in enumerate(zip(held, rows, strict=True)) if one is not other)
            finding = found(held[same:], head, reached=sound[same])
            # An event moved to the front is found where it is now, one moved to the back where it was.
            expected = min(row.position, changed.position)
            assert finding.position == expected, (column, changed, finding)
    measured("changed bytes", count)
    assert count >= 10_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"body": "{}"}, "BODY_UNREADABLE", id="a body that is no event"),
        pytest.param({"body": "[" * 100_000}, "BODY_UNREADABLE", id="a body nobody can read"),
        pytest.param({"content_hash": b"\0" * 32}, "CONTENT_CHANGED", id="content hash"),
        pytest.param({"guid": "other"}, "COLUMN_DIFFERS", id="guid column"),
        pytest.param({"max_occurred_at": Millis(0)}, "COLUMN_DIFFERS", id="latest event time"),
        pytest.param({"chain_hash": b"\0" * 32}, "CHAIN_BROKEN", id="chain hash"),
        pytest.param({"recorded_at": Millis(0)}, "RECORDED_FALLS", id="recorded too early"),
        pytest.param({"position": -3}, "POSITION_UNEXPECTED", id="a position before the first"),
    ],
)
def test_each_change_has_its_code(change: dict[str, object], code: str) -> None:
    rows = make_rows()
    head = head_of(rows)
    rows[4] = replace(rows[4], **change)
    finding = found(sorted(rows, key=lambda row: row.position), head)
    assert finding.code == code
    assert finding.position == rows[4].position


@pytest.mark.parametrize("member", ['"unknown":1,', '"guid":"x",'])
def test_a_member_added_to_a_body_is_found(member: str) -> None:
    rows = make_rows()
    rows[2] = replace(rows[2], body=rows[2].body.replace("{", "{" + member, 1))
    assert found(rows, head_of(rows)).position == 3


def test_a_body_in_other_words_is_found() -> None:
    rows = make_rows()
    rows[2] = replace(rows[2], body=rows[2].body.replace(":", ": ", 1))
    assert found(rows, head_of(rows)).code == FindingCode.BODY_REWRITTEN


@pytest.mark.parametrize(("old", "new"), [('"one":1.0', '"one":1'), ('"zero":-0.0', '"zero":0')])
def test_a_number_spelled_anew_as_the_hub_might_have_is_not_found_as_the_how_to_says(old: str, new: str) -> None:
    rows = make_rows()
    assert old in rows[4].body
    rows[4] = replace(rows[4], body=rows[4].body.replace(old, new))
    assert isinstance(outcome_of(rows, head_of(rows)), Reached)


def test_an_event_with_a_new_content_hash_breaks_the_chain() -> None:
    rows = make_rows()
    event = replace(event_from_body(rows[4].body), data={"name": "Eve"})
    rows[4] = replace(rows[4], body=event.body(), content_hash=hash_event(event).content)
    finding = found(rows, head_of(rows))
    assert (finding.code, finding.position) == (FindingCode.CHAIN_BROKEN, 5)


@pytest.mark.parametrize("index", range(SIZE))
def test_a_removed_event_is_found(index: int) -> None:
    rows = make_rows()
    finding = found(rows[:index] + rows[index + 1 :], head_of(rows))
    assert finding.position == index + 1
    assert finding.code == (FindingCode.HEAD_DIFFERS if index == SIZE - 1 else FindingCode.POSITION_MISSING)


def test_two_events_that_changed_places_are_found() -> None:
    rows = make_rows()
    rows[3], rows[4] = replace(rows[4], position=4), replace(rows[3], position=5)
    finding = found(rows, head_of(rows))
    assert finding.position == 4


@pytest.mark.parametrize("change", [{"position": SIZE - 1}, {"chain_hash": b"\0"}, {"max_occurred_at": None}])
def test_a_changed_head_is_found(change: dict[str, object]) -> None:
    rows = make_rows()
    assert found(rows, replace(head_of(rows), **change)).code == FindingCode.HEAD_DIFFERS


def test_a_log_written_anew_contradicts_its_anchor_and_only_that() -> None:
    rows = make_rows()
    events = [event_from_body(row.body) for row in rows]
    events[2] = replace(events[2], data={"name": "Eve"})
    forged = chained(events)
    assert isinstance(outcome_of(forged, head_of(forged)), Reached)
    finding = found(forged, head_of(forged), anchor_of(rows[1]) | anchor_of(rows[9]))
    assert (finding.code, finding.position) == (FindingCode.ANCHOR_DIFFERS, 10)
    assert "positions 3 to 10" in finding.message


def test_a_shortened_log_with_a_new_head_does_not_reach_its_anchor() -> None:
    rows = make_rows()
    finding = found(rows[:-1], head_of(rows[:-1]), anchor_of(rows[-1]))
    assert (finding.code, finding.position, finding.guid) == (FindingCode.ANCHOR_DIFFERS, SIZE, None)
