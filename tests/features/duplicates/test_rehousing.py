"""Who is put into a household that was merged into another one, and who had the last word on it. Pure."""

from collections.abc import Sequence

import pytest

from datacollect.features.duplicates.merging import rehoused
from datacollect.features.entities.entity import FLOOR, Entity, Kind, Membership, Stamp
from datacollect.kernel.clock import Millis

INTO, LINES = {"a": "c", "b": "c"}, {"a": ["b", "c"], "b": ["c"]}
"""The household `a` was merged into `b`, and that into `c`."""
MOVED = [("c", "add-member", ["x"]), ("a", "remove-member", ["x"])]
LEFT = MOVED[1:]


def word(group: str, time: int, present: bool = True, member: str = "x") -> Membership:
    return Membership(group, member, time, present, Stamp(time, time))


def told(words: Sequence[Membership], *, kind: Kind = Kind.INDIVIDUAL) -> list[list[tuple[str, str, list[str]]]]:
    members = sorted({each.member_guid for each in words})
    entities = [Entity(guid, kind, 1, {}, FLOOR, {}, FLOOR, None, None, 1, Millis(0)) for guid in members]
    return [
        [
            (event.entity_guid, event.type, [each["guid"] for each in event.data.get("members", ())] or [event.data["memberId"]])
            for event in events
        ]
        for events in rehoused(entities, words, INTO, LINES, user_id="system", now=Millis(9))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([word("a", 5)], MOVED),
        ([word("a", 5), word("c", 4, present=False)], MOVED),
        ([word("a", 5), word("b", 4, present=False), word("c", 4)], LEFT),
        ([word("a", 5), word("c", 6)], LEFT),
        # Taken out since on purpose, of one that took its place or of one that took the place of that.
        ([word("a", 5), word("c", 6, present=False)], LEFT),
        ([word("a", 5), word("b", 6, present=False)], LEFT),
    ],
)
def test_the_last_word_on_somebody_counts(words: Sequence[Membership], expected: object) -> None:
    assert told(words) == [expected]


def test_who_has_left_or_lives_elsewhere_is_let_be() -> None:
    assert told([word("a", 5, present=False), word("elsewhere", 5)]) == []


def test_all_who_were_put_into_one_move_together_and_groups_on_their_own() -> None:
    words = [word("a", 5, member=guid) for guid in "xy"]
    together = [("c", "add-member", ["x", "y"]), ("a", "remove-member", ["x"]), ("a", "remove-member", ["y"])]
    assert told(words) == [together]
    assert [len(events) for events in told(words, kind=Kind.GROUP)] == [2, 2]
    # It would go with the household, being in no other one.
    assert told([word("a", 5), word("c", 6, present=False)], kind=Kind.GROUP) == []


def test_nobody_is_put_into_themselves() -> None:
    assert told([word("a", 5, member="c")]) == [[("a", "remove-member", ["c"])]]
