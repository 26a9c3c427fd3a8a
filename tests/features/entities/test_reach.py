"""What a caller whose reach is limited may touch: never more, by whatever kind of event."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Kind, Place
from datacollect.features.entities.model import apply
from datacollect.features.entities.reach import place_of
from datacollect.features.entities.states import States
from datacollect.features.entities.work import Rules
from datacollect.kernel.clock import Millis
from datacollect.kernel.sync_scope import Box, Reach

IN_A = Rules(reach=Reach((Box(area_ids=frozenset({"A", "B"})),)))
GROUPS = Rules(reach=Reach((Box(entity_types=frozenset({"group"})),)))
CROSSED = Rules(
    reach=Reach((Box(frozenset({"A"}), frozenset({"group"})), Box(frozenset({"Z"}), frozenset({"individual"}))))
)
"""Groups of one area and people of another."""
LOOSE = Rules(reach=Reach((Box(frozenset({"Z"})), Box(entity_types=frozenset({"individual"})))))
"""All people, and everything of one area."""
NOW = Millis(1_000_000)


class World:
    """People and groups of two areas, and one person without an area."""

    def __init__(self) -> None:
        self.states = States()
        self.position = 0
        self.do("create-individual", "ana", {"name": "Ana", "area_id": "A"})
        self.do("create-individual", "zoe", {"name": "Zoe", "area_id": "Z"})
        self.do("create-individual", "nowhere", {"name": "N"})
        self.do("create-group", "g", {"name": "G", "area_id": "A", "members": [{"guid": "ana"} | {"x": 1}]})
        self.do("create-group", "far", {"name": "F", "area_id": "Z", "members": [{"guid": "zoe"} | {"x": 1}]})
        self.do("create-individual", "child", {"name": "C", "parentId": "ana"})
        self.do("create-record", "visit", {"parentId": "ana"})
        self.do("create-record", "far-visit", {"parentId": "zoe"})
        self.do("create-record", "answer", {"parentId": "visit"})
        self.do("create-record", "orphan", {"parentId": "nobody"})

    def do(
        self, type: str, entity: str, data: dict[str, Any], rules: Rules | None = None, *, at: int | None = None
    ) -> None:
        """Made now, or `at` some time."""
        self.position += 1
        event = Event(f"e{self.position}", entity, type, data, Millis(self.position if at is None else at), "agent")
        self.states.accept(apply(self.states, event, Context(self.position, NOW), rules))

    def refused(
        self, type: str, entity: str, data: dict[str, Any], rules: Rules = IN_A, *, at: int | None = None
    ) -> str:
        before = dict(self.states.entities), list(self.states.memberships())
        with pytest.raises(EventRejected) as refusal:
            self.do(type, entity, data, rules, at=at)
        assert (dict(self.states.entities), list(self.states.memberships())) == before
        return refusal.value.code


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("type", "entity", "data"),
    [
        ("create-individual", "new", {"area_id": "A"}),
        ("create-group", "new", {"area_id": "B", "members": [{"guid": "new-2", "name": "N"}]}),
        ("create-group", "new", {"area_id": "B", "members": [{"guid": "ana", "name": "Ana"}]}),
        ("update-individual", "ana", {"age": 3}),
        ("update-individual", "ana", {"area_id": "B"}),
        ("update-individual", "child", {"area_id": "B", "parentId": "zoe"}),
        ("update-group", "g", {"members": [{"guid": "ana", "area_id": "B"}]}),
        ("create-individual", "ana", {"age": 3}),
        ("create-individual", "new", {"parentId": "ana"}),
        ("create-individual", "new", {"parentId": "g"}),
        ("create-record", "new", {"parentId": "ana"}),
        ("create-record", "new", {"parentId": "answer"}),
        ("update-record", "visit", {"result": "well"}),
        ("update-record", "answer", {"result": "well"}),
        ("add-member", "g", {"members": [{"guid": "new", "name": "N"}, {"guid": "ana"}]}),
        ("add-member", "g", {"members": [{"guid": "new", "area_id": "B"}, {"guid": "new-2", "parentId": "ana"}]}),
        ("add-member", "g", {"members": [{"guid": "new", "area_id": None}, {"guid": "new-2", "area_id": 7}]}),
        ("remove-member", "g", {"memberId": "ana"}),
        ("remove-member", "g", {"memberId": "unknown"}),
        ("delete-entity", "g", {"reason": "x"}),
        ("delete-entity", "visit", {"reason": "x"}),
        ("enrol-in-program", "ana", {"programId": 7}),
        # What it names is written nowhere.
        ("enrol-in-program", "ana", {"programId": 7, "area_id": "Z"}),
    ],
)
def test_what_is_within_reach_is_done(world: World, type: str, entity: str, data: dict[str, Any]) -> None:
    world.do(type, entity, data, IN_A)


@pytest.mark.parametrize(
    ("type", "entity", "data", "code"),
    [
        ("create-individual", "new", {"area_id": "Z"}, "OUT_OF_SCOPE"),
        ("create-individual", "new", {"name": "N"}, "OUT_OF_SCOPE"),
        ("create-individual", "new", {"parentId": "zoe"}, "OUT_OF_SCOPE"),
        ("create-individual", "new", {"area_id": ["A"]}, "OUT_OF_SCOPE"),
        ("create-individual", "new", {"area_id": "a"}, "OUT_OF_SCOPE"),
        # A creation that would overwrite (and move) somebody else's entity.
        ("create-individual", "zoe", {"area_id": "A"}, "OUT_OF_SCOPE"),
        ("create-group", "far", {"area_id": "A"}, "OUT_OF_SCOPE"),
        ("update-individual", "zoe", {"age": 3}, "OUT_OF_SCOPE"),
        ("update-individual", "nowhere", {"area_id": "A"}, "OUT_OF_SCOPE"),
        ("update-individual", "ana", {"area_id": "Z"}, "OUT_OF_SCOPE"),
        ("update-individual", "ana", {"area_id": None}, "OUT_OF_SCOPE"),
        ("update-individual", "unknown", {"area_id": "A"}, "UNKNOWN_ENTITY"),
        ("delete-entity", "far", {"reason": "x"}, "OUT_OF_SCOPE"),
        ("delete-entity", "unknown", {"reason": "x"}, "UNKNOWN_ENTITY"),
        ("add-member", "far", {"members": [{"guid": "ana"}]}, "OUT_OF_SCOPE"),
        ("add-member", "unknown", {"members": [{"guid": "ana"}]}, "UNKNOWN_ENTITY"),
        ("create-record", "new", {"parentId": "zoe"}, "OUT_OF_SCOPE"),
        ("create-record", "new", {"parentId": "far-visit"}, "OUT_OF_SCOPE"),
        ("create-record", "new", {"parentId": "unknown"}, "UNKNOWN_ENTITY"),
        ("create-record", "new", {"result": "well"}, "UNKNOWN_ENTITY"),
        ("create-record", "far-visit", {"parentId": "ana"}, "OUT_OF_SCOPE"),
        ("update-record", "visit", {"parentId": "zoe"}, "OUT_OF_SCOPE"),
        ("update-record", "orphan", {"result": "well"}, "OUT_OF_SCOPE"),
        ("enrol-in-program", "zoe", {"programId": 7}, "OUT_OF_SCOPE"),
        # Reaching for somebody through a group.
        ("create-group", "new", {"area_id": "A", "members": [{"guid": "zoe", "age": 3}]}, "UNAUTHORIZED_MEMBER"),
        ("update-group", "g", {"members": [{"guid": "zoe", "age": 3}]}, "UNAUTHORIZED_MEMBER"),
        ("update-group", "g", {"members": [{"guid": "nowhere", "age": 3}]}, "UNAUTHORIZED_MEMBER"),
        (
            "update-group",
            "g",
            {"members": [{"guid": "sub", "type": "group", "members": [{"guid": "zoe", "age": 3}]}]},
            "UNAUTHORIZED_MEMBER",
        ),
        ("update-group", "g", {"members": [{"guid": "far", "type": "group", "x": 1}]}, "UNAUTHORIZED_MEMBER"),
        ("add-member", "g", {"members": [{"guid": "new", "name": "N"}, {"guid": "zoe"}]}, "UNAUTHORIZED_MEMBER"),
        ("remove-member", "g", {"memberId": "zoe"}, "UNAUTHORIZED_MEMBER"),
        # Putting somebody into another area.
        ("create-group", "new", {"area_id": "A", "members": [{"guid": "n", "area_id": "Z"}]}, "UNAUTHORIZED_MEMBER"),
        ("update-group", "g", {"members": [{"guid": "n", "name": "N", "area_id": "Z"}]}, "UNAUTHORIZED_MEMBER"),
        ("add-member", "g", {"members": [{"guid": "n", "name": "N", "area_id": "Z"}]}, "UNAUTHORIZED_MEMBER"),
        ("add-member", "g", {"members": [{"guid": "n", "parentId": "zoe"}]}, "UNAUTHORIZED_MEMBER"),
        (
            "add-member",
            "g",
            {"members": [{"guid": "n", "type": "group", "members": [{"guid": "m", "area_id": "Z"}]}]},
            "UNAUTHORIZED_MEMBER",
        ),
        # Taking along what would be somebody else's afterwards.
        ("update-individual", "child", {"parentId": "zoe"}, "OUT_OF_SCOPE"),
        ("update-individual", "child", {"parentId": "unknown"}, "OUT_OF_SCOPE"),
        ("update-individual", "child", {"parentId": None}, "OUT_OF_SCOPE"),
        ("update-record", "visit", {"parentId": None}, "OUT_OF_SCOPE"),
        ("update-group", "g", {"members": [{"guid": "ana", "area_id": "Z"}]}, "UNAUTHORIZED_MEMBER"),
        ("update-group", "g", {"members": [{"guid": "child", "parentId": "zoe"}]}, "UNAUTHORIZED_MEMBER"),
        (
            "update-group",
            "g",
            {"members": [{"guid": "sub", "type": "group", "members": [{"guid": "ana", "area_id": None}]}]},
            "UNAUTHORIZED_MEMBER",
        ),
    ],
)
def test_what_is_beyond_reach_is_refused_and_changes_nothing(
    world: World, type: str, entity: str, data: dict[str, Any], code: str
) -> None:
    assert world.refused(type, entity, data) == code


@pytest.mark.parametrize(
    ("type", "entity", "data"),
    [
        ("update-individual", "ana", {"area_id": "Z"}),
        ("create-individual", "ana", {"area_id": "Z"}),
        ("update-record", "visit", {"parentId": "zoe"}),
    ],
)
@pytest.mark.parametrize("has_ended", [False, True])
def test_a_place_beyond_reach_is_not_named_even_by_a_write_that_comes_too_late(
    world: World, type: str, entity: str, data: dict[str, Any], has_ended: bool
) -> None:
    if has_ended:
        world.do("delete-entity", entity, {"reason": "x"}, IN_A)
    assert world.refused(type, entity, data, at=0) == "OUT_OF_SCOPE"


@pytest.mark.parametrize("deleting", [("delete-entity", {"x": 1}), ("resolve-duplicate", {"shouldDelete": True})])
def test_a_delete_that_would_take_somebody_elses_entity_along_is_refused(
    world: World, deleting: tuple[str, dict[str, Any]]
) -> None:
    world.do("add-member", "g", {"members": [{"guid": "stranger", "name": "S", "area_id": "Z"}]})
    assert world.refused(deleting[0], "g", deleting[1]) == "UNAUTHORIZED_MEMBER"
    # Who is in another group too stays, so nobody's reach matters.
    world.do("add-member", "far", {"members": [{"guid": "stranger"}]})
    world.do(deleting[0], "g", deleting[1], IN_A)
    assert world.states.entities["stranger"].is_live


def test_kinds_limit_as_areas_do(world: World) -> None:
    world.do("update-group", "far", {"size": 3}, GROUPS)
    assert world.refused("update-individual", "ana", {"age": 3}, GROUPS) == "OUT_OF_SCOPE"
    assert world.refused("create-individual", "new", {"name": "N"}, GROUPS) == "OUT_OF_SCOPE"
    # Mobile apps update households with update-individual: what counts is what the entity is.
    world.do("update-individual", "g", {"size": 3}, GROUPS)
    assert world.refused("create-record", "new", {"parentId": "ana"}, GROUPS) == "OUT_OF_SCOPE"
    world.do("create-record", "new", {"parentId": "g"}, GROUPS)


def test_an_empty_reach_reaches_nothing(world: World) -> None:
    nothing = Rules(reach=Reach((Box(area_ids=frozenset()),)))
    assert world.refused("create-individual", "new", {"area_id": ""}, nothing) == "OUT_OF_SCOPE"
    assert world.refused("update-individual", "ana", {"age": 3}, nothing) == "OUT_OF_SCOPE"


def test_records_of_each_other_are_in_nobodys_reach(world: World) -> None:
    world.do("create-record", "one", {"parentId": "two"})
    world.do("create-record", "two", {"parentId": "one"})
    assert world.refused("update-record", "one", {"x": 1}) == "OUT_OF_SCOPE"


def test_who_has_no_area_is_in_the_one_above_them_as_what_they_are_themselves(world: World) -> None:
    world.do("create-individual", "kid", {"parentId": "g"})
    world.do("create-record", "kid-visit", {"parentId": "kid"})
    find = world.states.entities.get
    assert [place_of(find(guid), find) for guid in ("kid", "kid-visit")] == [Place(Kind.INDIVIDUAL, "A")] * 2


def test_what_is_said_of_who_was_deleted_in_the_same_push_is_taken(world: World) -> None:
    world.do("delete-entity", "ana", {"reason": "x"}, IN_A)
    world.do("create-record", "late-visit", {"parentId": "ana"}, IN_A)
    world.do("update-individual", "ana", {"age": 3}, IN_A)
    assert world.states.entities["ana"].data["age"] == 3


def test_a_record_of_who_was_deleted_elsewhere_is_of_somebody_unknown(world: World) -> None:
    world.do("delete-entity", "zoe", {"reason": "x"})
    world.states.ended.clear()  # in a push of before
    assert world.refused("create-record", "new", {"parentId": "zoe"}) == "UNKNOWN_ENTITY"


def test_deleted_entities_are_created_anew_by_the_payloads_area(world: World) -> None:
    world.do("delete-entity", "zoe", {"x": 1})
    assert world.refused("create-individual", "zoe", {"area_id": "Z"}) == "OUT_OF_SCOPE"
    world.do("create-individual", "zoe", {"area_id": "A"}, IN_A)


def test_a_household_is_saved_again_with_its_members_who_have_no_area(world: World) -> None:
    members = [{"guid": "baby", "name": "Baby"}]
    world.do("create-group", "home", {"area_id": "A", "members": members}, IN_A)
    world.do("update-group", "home", {"members": [{"guid": "baby", "name": "Baby", "age": 3}]}, IN_A)
    world.do("add-member", "home", {"members": [{"guid": "baby"}]}, IN_A)
    assert (
        world.refused("update-group", "home", {"members": [{"guid": "baby", "area_id": "Z"}]}) == "UNAUTHORIZED_MEMBER"
    )
    # By another group, or by themselves, they are still out of reach, and so is who lives somewhere else.
    assert world.refused("add-member", "g", {"members": [{"guid": "baby"}]}) == "UNAUTHORIZED_MEMBER"
    assert world.refused("update-individual", "baby", {"age": 4}) == "OUT_OF_SCOPE"
    world.do("add-member", "home", {"members": [{"guid": "zoe"}]})
    assert world.refused("update-group", "home", {"members": [{"guid": "zoe", "x": 1}]}) == "UNAUTHORIZED_MEMBER"
    world.do("remove-member", "home", {"memberId": "baby"}, IN_A)
    assert world.refused("remove-member", "home", {"memberId": "baby"}) == "UNAUTHORIZED_MEMBER"


# -- several assignments


@pytest.mark.parametrize(
    ("rules", "type", "entity", "data"),
    [
        (CROSSED, "update-group", "g", {"size": 3}),
        (CROSSED, "update-individual", "zoe", {"age": 3}),
        (CROSSED, "update-record", "far-visit", {"x": 1}),
        (CROSSED, "create-group", "new", {"area_id": "A"}),
        (CROSSED, "create-individual", "new", {"area_id": "Z"}),
        # As for whoever is limited to groups alone: a new group of theirs may have members where they reach groups.
        (CROSSED, "create-group", "new", {"area_id": "A", "members": [{"guid": "x", "area_id": "A"}]}),
        (CROSSED, "update-group", "g", {"members": [{"guid": "x", "area_id": "Z"}, {"guid": "zoe", "age": 3}]}),
        (LOOSE, "update-individual", "ana", {"age": 3}),
        (LOOSE, "update-individual", "nowhere", {"age": 3}),
        (LOOSE, "update-group", "far", {"size": 3}),
        (LOOSE, "update-individual", "ana", {"area_id": "Q"}),
    ],
)
def test_what_one_of_several_assignments_reaches_may_be_touched(
    world: World, rules: Rules, type: str, entity: str, data: dict[str, Any]
) -> None:
    world.do(type, entity, data, rules)


@pytest.mark.parametrize(
    ("rules", "type", "entity", "data", "code"),
    [
        (CROSSED, "update-group", "far", {"size": 3}, "OUT_OF_SCOPE"),
        (CROSSED, "update-individual", "ana", {"age": 3}, "OUT_OF_SCOPE"),
        (CROSSED, "update-individual", "nowhere", {"age": 3}, "OUT_OF_SCOPE"),
        (CROSSED, "update-record", "visit", {"x": 1}, "OUT_OF_SCOPE"),
        (CROSSED, "create-record", "new", {"parentId": "far"}, "OUT_OF_SCOPE"),
        (CROSSED, "create-group", "new", {"area_id": "Z"}, "OUT_OF_SCOPE"),
        (CROSSED, "create-individual", "new", {"area_id": "A"}, "OUT_OF_SCOPE"),
        (CROSSED, "update-group", "g", {"area_id": "Z"}, "OUT_OF_SCOPE"),
        (CROSSED, "update-individual", "zoe", {"area_id": "A"}, "OUT_OF_SCOPE"),
        (CROSSED, "update-group", "g", {"parentId": "far", "area_id": None}, "OUT_OF_SCOPE"),
        (CROSSED, "delete-entity", "far", {"x": 1}, "OUT_OF_SCOPE"),
        (CROSSED, "delete-entity", "g", {"x": 1}, "UNAUTHORIZED_MEMBER"),
        (CROSSED, "update-group", "g", {"members": [{"guid": "ana", "age": 3}]}, "UNAUTHORIZED_MEMBER"),
        (
            CROSSED,
            "update-group",
            "g",
            {"members": [{"guid": "x", "type": "group", "area_id": "Z"}]},
            "UNAUTHORIZED_MEMBER",
        ),
        (LOOSE, "update-group", "g", {"size": 3}, "OUT_OF_SCOPE"),
        (LOOSE, "create-group", "new", {"area_id": "A"}, "OUT_OF_SCOPE"),
        (LOOSE, "update-record", "orphan", {"x": 1}, "OUT_OF_SCOPE"),
    ],
)
def test_what_none_of_several_assignments_reaches_may_not(
    world: World, rules: Rules, type: str, entity: str, data: dict[str, Any], code: str
) -> None:
    assert world.refused(type, entity, data, rules) == code


def test_a_member_without_an_area_is_saved_with_a_group_by_who_reaches_such_people_there(world: World) -> None:
    members = {"members": [{"guid": "baby", "name": "Baby"}]}
    world.do("create-group", "home", {"area_id": "A", **members})
    groups, people = Box(frozenset({"A", "Z"}), frozenset({"group"})), frozenset({"individual"})
    for elsewhere in (CROSSED, Rules(reach=Reach((groups, Box(frozenset({"Z"}), people))))):
        assert world.refused("update-group", "home", members, elsewhere) == "UNAUTHORIZED_MEMBER"
    world.do("update-group", "home", members, Rules(reach=Reach((groups, Box(frozenset({"A"}))))))


whoever = st.sampled_from(
    ["ana", "zoe", "nowhere", "g", "far", "child", "visit", "far-visit", "orphan", "new", "newer"]
)
told = st.fixed_dictionaries(
    {"n": st.integers(0, 3)},
    optional={"area_id": st.sampled_from(["A", "Z", None]), "parentId": whoever},
)
objects = st.builds(lambda guid, data: data | {"guid": guid}, whoever, told | st.just({}))
inner = st.builds(lambda guid, members: {"guid": guid, "type": "group", "members": members}, whoever, st.lists(objects))
with_members = st.builds(lambda data, members: data | {"members": members}, told, st.lists(objects | inner, max_size=2))
by_limited = st.one_of(
    st.tuples(
        st.sampled_from(["create-individual", "update-individual", "create-record", "update-record"]), whoever, told
    ),
    st.tuples(st.sampled_from(["create-group", "update-group", "add-member"]), whoever, with_members),
    st.tuples(st.just("remove-member"), whoever, st.fixed_dictionaries({"memberId": whoever})),
    st.tuples(st.just("delete-entity"), whoever, st.just({"x": 1})),
)


def touched_by(
    done: list[tuple[str, str, dict[str, Any]]], rules: Rules
) -> Iterator[tuple[tuple[str, str, dict[str, Any]], Entity | None, Entity, Place | None, Place | None]]:
    """After each event that is taken, every entity there is: as it was and is, and where."""
    world = World()
    for event in done:
        before = dict(world.states.entities)
        try:
            world.do(*event, rules)
        except EventRejected:
            continue
        for guid, held in world.states.entities.items():
            was = before.get(guid)
            yield event, was, held, place_of(was, before.get), place_of(held, world.states.entities.get)


@given(done=st.lists(by_limited, min_size=1, max_size=6))
@settings(max_examples=100)
def test_whatever_a_limited_sender_does_another_area_stays_as_it_is(
    done: list[tuple[str, str, dict[str, Any]]],
) -> None:
    for event, before, held, was, now in touched_by(done, IN_A):
        if (was is not None and was.area == "Z") or (now is not None and now.area == "Z"):
            assert (held, now) == (before, was), event


@given(done=st.lists(by_limited, min_size=1, max_size=6))
@settings(max_examples=100)
def test_whatever_the_sender_of_several_assignments_does_what_none_of_them_reaches_stays_as_it_is(
    done: list[tuple[str, str, dict[str, Any]]],
) -> None:
    for event, before, held, was, now in touched_by(done, CROSSED):
        if was in ((Kind.GROUP, "Z"), (Kind.INDIVIDUAL, "A")):
            assert held == before, event
        if now == (Kind.GROUP, "Z"):
            assert was == now, event
        if now == (Kind.INDIVIDUAL, "A") and was is None:
            assert event[0] in ("create-group", "update-group", "add-member"), event
