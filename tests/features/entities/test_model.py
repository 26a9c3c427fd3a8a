"""Each event type on an entity that is absent, present, of another kind, deleted; repeated and out of order."""

from typing import Any

import pytest

from datacollect.eventstore.event import Event, EventRejected, Origin
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Kind, LostWrite, Stamp, set_fields
from datacollect.features.entities.model import apply
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import DEEPEST_NESTING
from datacollect.kernel.clock import Millis

NOW = Millis(1_000_000)


class World:
    """States with events applied one after the other, each at a time of its own."""

    def __init__(self) -> None:
        self.states = States()
        self.position = 0
        self.lost: list[LostWrite] = []

    def do(
        self,
        type: str,
        entity: str = "e",
        data: dict[str, Any] | None = None,
        *,
        at: int | None = None,
        origin: Origin = Origin.CLIENT,
    ) -> "World":
        position = self.position + 1
        time = Millis(at if at is not None else 10 * position)
        event = Event(f"event-{position}", entity, type, {"x": 1} if data is None else data, time, "agent")
        changes = apply(self.states, event, Context(position, Millis(NOW + position), origin))
        self.position = position
        self.states.accept(changes)
        self.lost += changes.lost
        return self

    def refused(self, type: str, entity: str = "e", data: dict[str, Any] | None = None, **options: Any) -> str:
        with pytest.raises(EventRejected) as refusal:
            self.do(type, entity, data, **options)
        return refusal.value.code

    def __getitem__(self, guid: str) -> Entity:
        return self.states.entities[guid]

    def live(self) -> set[str]:
        return {guid for guid, entity in self.states.entities.items() if entity.is_live}

    def members(self, group: str = "g") -> list[str]:
        found = [held for held in self.states.members_of(group).values() if held.present]
        return [held.member_guid for held in sorted(found, key=lambda held: held.ordinal)]


@pytest.fixture
def world() -> World:
    return World()


def member(guid: str, **data: Any) -> dict[str, Any]:
    return {"guid": guid, "name": guid.upper()} | data


def group_of(*members: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"name": "G", "members": list(members)} | data


KINDS = [("individual", "Unnamed Individual"), ("group", "Unnamed Group"), ("record", "Unnamed Record")]


# -- create and update


@pytest.mark.parametrize(("kind", "name"), KINDS)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_either_verb_creates_what_is_absent(world: World, verb: str, kind: str, name: str) -> None:
    world.do(f"{verb}-{kind}", data={"firstName": "Ana"})
    entity = world["e"]
    assert (entity.guid, entity.kind, entity.version) == ("e", kind, 1)
    assert entity.data == {"firstName": "Ana", "name": name}
    assert entity.name == name
    assert (entity.changed_position, entity.last_updated) == (1, NOW + 1)


@pytest.mark.parametrize(("kind", "_name"), KINDS)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_either_verb_merges_into_what_is_present(world: World, verb: str, kind: str, _name: str) -> None:
    world.do(f"create-{kind}", data={"name": "Ana", "age": 3, "address": {"a": 1, "b": 2}})
    world.do(f"{verb}-{kind}", data={"age": None, "address": {"b": 3}})
    assert world["e"].data == {"name": "Ana", "age": None, "address": {"b": 3}}
    assert (world["e"].version, world["e"].changed_position, world["e"].last_updated) == (2, 2, NOW + 2)


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
@pytest.mark.parametrize("other", [kind for kind, _ in KINDS])
def test_the_kind_of_what_is_present_stays(world: World, kind: str, other: str) -> None:
    # Mobile apps send create-individual and update-individual for households too.
    world.do(f"create-{kind}", data={"name": "Ana"}).do(f"update-{other}", data={"age": 3})
    assert world["e"].kind == kind
    assert world["e"].data == {"name": "Ana", "age": 3}


def test_what_is_deleted_is_created_anew_by_a_later_write(world: World) -> None:
    world.do("create-individual", data={"name": "Ana", "age": 3}).do("delete-entity")
    world.do("update-record", data={"parentId": "p"})
    assert world["e"].kind == Kind.RECORD
    assert world["e"].data == {"parentId": "p", "name": "Unnamed Record"}
    assert world["e"].version == 3


def test_an_earlier_write_does_not_bring_back_what_is_deleted(world: World) -> None:
    world.do("create-individual", at=10).do("delete-entity", at=30)
    tombstone = world["e"]
    world.do("update-individual", data={"age": 3}, at=20)
    assert world["e"] == tombstone
    assert not tombstone.is_live
    assert tombstone.data == {}
    assert world.lost == [LostWrite("e", "age", None, Stamp(30, 2), 3, Stamp(20, 3))]


def test_a_write_that_arrives_late_loses_only_the_fields_written_since(world: World) -> None:
    world.do("create-individual", data={"name": "Ana", "age": 1, "sex": "f"}, at=10)
    world.do("update-individual", data={"age": 2}, at=30)
    world.do("update-individual", data={"age": 3, "sex": "m"}, at=20)
    assert world["e"].data == {"name": "Ana", "age": 2, "sex": "m"}
    assert world["e"].version == 3
    assert world.lost == [LostWrite("e", "age", 2, Stamp(30, 2), 3, Stamp(20, 3))]


def test_a_write_that_loses_every_field_changes_nothing(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}, at=20)
    before = world["e"]
    world.do("update-individual", data={"name": "Eva"}, at=10)
    assert world["e"] is before


def test_losing_to_an_equal_value_is_no_loss(world: World) -> None:
    world.do("create-individual", data={"n": 1, "b": {"x": 1, "y": 2}}, at=20)
    world.do("update-individual", data={"b": {"y": 2, "x": 1}}, at=10)
    assert world.lost == []
    world.do("update-individual", data={"n": True}, at=10)
    assert [lost.lost for lost in world.lost] == [True]


def test_of_equal_times_the_later_position_wins(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}, at=10).do("update-individual", data={"name": "Eva"}, at=10)
    assert world["e"].name == "Eva"


def test_a_clock_that_is_ahead_counts_no_later_than_the_arrival(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}, at=NOW * 10)
    world.do("update-individual", data={"name": "Eva"}, at=NOW + 2)
    assert world["e"].name == "Eva"


def test_every_edit_wins_over_a_seed_and_a_later_seed_over_an_earlier_one(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}, at=5)
    world.do("create-individual", data={"name": "Seed", "age": 1}, at=50, origin=Origin.SEED)
    world.do("create-individual", data={"name": "Seed", "age": 2}, at=40, origin=Origin.SEED)
    assert world["e"].data == {"name": "Ana", "age": 2}


def test_a_seed_does_not_bring_back_what_is_deleted(world: World) -> None:
    world.do("create-individual", origin=Origin.SEED).do("delete-entity").do("create-individual", origin=Origin.SEED)
    assert world.live() == set()


def test_the_same_event_content_again_is_a_change(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}).do("create-individual", data={"name": "Ana"})
    assert world["e"].version == 2


# -- names


@pytest.mark.parametrize(
    ("kind", "data", "name"),
    [
        ("individual", {"_displayName": "D", "name": "N"}, "D"),
        ("individual", {"_displayName": "", "name": "N"}, "N"),
        ("individual", {"_displayName": 7, "name": ""}, "Unnamed Individual"),
        ("record", {"entityName": "visit"}, "visit"),
        ("record", {"entityName": "visit", "name": "Visit 1"}, "Visit 1"),
        ("group", {"name": None}, "Unnamed Group"),
        ("group", {"_displayName": "D", "name": "N"}, "D"),
    ],
)
def test_the_display_name(world: World, kind: str, data: dict[str, Any], name: str) -> None:
    assert world.do(f"create-{kind}", data=data)["e"].name == name


def test_a_groups_name_becomes_its_display_name_and_is_never_emptied(world: World) -> None:
    world.do("create-group", data={"_displayName": "D", "name": "N"})
    assert world["e"].data["name"] == "D"
    world.do("update-group", data={"name": "", "size": 3})
    assert world["e"].data == {"_displayName": "D", "name": "D", "size": 3}


def test_an_individual_whose_name_is_emptied_is_still_called_by_the_last_one(world: World) -> None:
    world.do("create-individual", data={"name": "Ana"}, at=10).do("update-individual", data={"name": ""}, at=40)
    assert (world["e"].data["name"], world["e"].name) == ("", "Ana")
    world.do("update-individual", data={"name": "Eva"}, at=30)
    assert (world["e"].data["name"], world["e"].name) == ("", "Eva")
    world.do("update-individual", data={"name": "Older"}, at=20)
    assert world["e"].name == "Eva"
    world.do("update-individual", data={"name": "Zoe"}, at=50)
    assert (world["e"].name, world["e"].former_name) == ("Zoe", None)


def test_form_area_and_parent_are_read_from_the_data(world: World) -> None:
    world.do("create-record", data={"entityName": "visit", "area_id": "a-1", "parentId": "p-1"})
    assert (world["e"].entity_name, world["e"].area_id, world["e"].parent_guid) == ("visit", "a-1", "p-1")
    world.do("update-record", data={"parentId": "", "parentGuid": "p-2", "area_id": 7, "entityName": ""})
    assert (world["e"].entity_name, world["e"].area_id, world["e"].parent_guid) == (None, None, "p-2")


# -- members inside a group event


def test_a_group_event_writes_its_members_and_keeps_them_out_of_its_data(world: World) -> None:
    world.do("create-group", "g", group_of(member("b"), member("a", type="individual"), size=2))
    assert world["g"].data == {"name": "G", "size": 2}
    assert world["g"].version == 1
    assert world.members() == ["b", "a"]
    assert world["a"].data == {"name": "A", "type": "individual"}
    assert world["a"].kind == Kind.INDIVIDUAL


def test_members_of_a_group_event_are_merged_and_nobody_is_removed(world: World) -> None:
    world.do("create-group", "g", group_of(member("a", age=1)))
    world.do("update-group", "g", group_of(member("a", age=2), member("b")))
    world.do("update-group", "g", {"size": 3})
    assert world.members() == ["a", "b"]
    assert (world["a"].data["age"], world["a"].version, world["g"].version) == (2, 2, 3)


def test_groups_nest_in_one_event(world: World) -> None:
    inner = member("h", type="group", members=[member("a"), member("b")])
    world.do("create-group", "g", group_of(inner))
    assert (world.members("g"), world.members("h")) == (["h"], ["a", "b"])
    assert world["h"].kind == Kind.GROUP
    assert "members" not in world["h"].data


def test_a_group_event_with_members_only_creates_the_group(world: World) -> None:
    world.do("create-group", "g", {"members": [member("a")]})
    assert world["g"].data == {"name": "Unnamed Group"}
    world.do("delete-entity", "g").do("create-group", "g", {"members": [member("b")]})
    assert world.live() == {"g", "b"}
    assert world.members() == ["b"]


@pytest.mark.parametrize("members", [None, {}, "a", 7])
def test_members_that_are_no_list_are_left_out(world: World, members: Any) -> None:
    assert world.do("create-group", "g", {"name": "G", "members": members})["g"].data == {"name": "G"}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"name": "A"}, "INVALID_MEMBER_DATA"),
        ({"guid": "", "name": "A"}, "INVALID_MEMBER_DATA"),
        ({"guid": 7, "name": "A"}, "INVALID_MEMBER_DATA"),
        ({"guid": "x" * 513, "name": "A"}, "INVALID_MEMBER_DATA"),
        ("a", "INVALID_MEMBER_DATA"),
        ({"guid": "a"}, "INVALID_FORM"),
        ({"guid": "g", "name": "itself", "type": "group"}, "MEMBER_CYCLE"),
    ],
)
@pytest.mark.parametrize("type", ["create-group", "update-group"])
def test_one_bad_member_refuses_the_whole_group_event(world: World, type: str, broken: Any, code: str) -> None:
    assert world.refused(type, "g", group_of(member("ok"), broken)) == code
    assert world.live() == set()
    assert world.members() == []


def test_members_nested_too_deep_are_refused(world: World) -> None:
    data = member("leaf")
    for level in range(DEEPEST_NESTING):
        data = member(f"g-{level}", type="group", members=[data])
    assert world.refused("create-group", "g", group_of(data)) == "MEMBERS_NESTED_TOO_DEEP"


@pytest.mark.parametrize("kind", ["individual", "record"])
def test_what_is_no_group_cannot_get_members(world: World, kind: str) -> None:
    world.do(f"create-{kind}")
    assert world.refused("update-group", "e", group_of(member("a"))) == "ENTITY_KIND_MISMATCH"
    assert world.refused("create-group", "g", group_of(member("e", type="group", members=[member("a")]))) == (
        "ENTITY_KIND_MISMATCH"
    )
    assert world.live() == {"e"}


@pytest.mark.parametrize("type", ["update-group", "add-member"])
def test_a_cycle_through_other_groups_is_refused(world: World, type: str) -> None:
    world.do("create-group", "g", group_of(member("h", type="group", members=[member("i", type="group")])))
    assert world.refused(type, "i", {"members": [member("g", type="group")]}) == "MEMBER_CYCLE"
    assert world.members("i") == []


def test_a_cycle_within_one_event_is_refused(world: World) -> None:
    inner = member("h", type="group", members=[member("g", type="group")])
    assert world.refused("create-group", "g", group_of(inner)) == "MEMBER_CYCLE"


# -- add-member


def test_add_member_adds_all_members_and_creates_those_who_are_new(world: World) -> None:
    world.do("create-group", "g").do("create-individual", "a", {"name": "Ana"})
    world.do("add-member", "g", {"members": [member("a"), member("b"), member("h", type="group")]})
    assert world.members() == ["a", "b", "h"]
    assert (world["a"].name, world["b"].name, world["h"].kind) == ("Ana", "B", Kind.GROUP)
    assert (world["g"].version, world["a"].version) == (2, 1)


def test_a_known_member_needs_no_more_than_a_guid(world: World) -> None:
    world.do("create-group", "g").do("create-individual", "a").do("add-member", "g", {"members": [{"guid": "a"}]})
    assert world.members() == ["a"]


def test_adding_a_member_again_changes_nothing_but_its_stamp(world: World) -> None:
    world.do("create-group", "g").do("add-member", "g", {"members": [member("a")]})
    version = world["g"].version
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=100)
    assert world["g"].version == version
    world.do("remove-member", "g", {"memberId": "a"}, at=99)
    assert world.members() == ["a"]


@pytest.mark.parametrize(
    "data", [{"x": 1}, {"members": None}, {"members": {}}, {"members": []}, {"members": [{}]}, {"members": ["a"]}]
)
def test_add_member_that_names_nobody_is_refused(world: World, data: dict[str, Any]) -> None:
    world.do("create-group", "g")
    assert world.refused("add-member", "g", data) == "INVALID_MEMBER_DATA"


def test_add_member_with_a_new_member_of_whom_nothing_is_known_is_refused(world: World) -> None:
    world.do("create-group", "g")
    assert world.refused("add-member", "g", {"members": [member("a"), {"guid": "b"}]}) == "INVALID_FORM"
    assert world.live() == {"g"}


@pytest.mark.parametrize("data", [{"members": [{"guid": "a", "name": "A"}]}, {"memberId": "a"}])
def test_member_events_need_a_group(world: World, data: dict[str, Any]) -> None:
    event_type = "add-member" if "members" in data else "remove-member"
    assert world.refused(event_type, "g", data) == "INVALID_GROUP"
    world.do("create-individual", "g")
    assert world.refused(event_type, "g", data) == "INVALID_GROUP"
    world.do("delete-entity", "g")
    assert world.refused(event_type, "g", data) == "INVALID_GROUP"


def test_a_member_event_that_is_older_than_the_groups_delete_has_no_effect_and_is_no_error(world: World) -> None:
    world.do("create-group", "g", at=10).do("create-individual", "a", at=10).do("delete-entity", "g", at=50)
    world.do("add-member", "g", {"members": [{"guid": "a"}, member("b")]}, at=40)
    world.do("remove-member", "g", {"memberId": "a"}, at=40)
    # As if it had come in time: the new member would have been deleted with the group.
    assert world.live() == {"a"}
    assert [(lost.entity_guid, lost.field) for lost in world.lost] == [("b", "name")]
    world.do("create-group", "g", at=60)
    assert world.members() == []


def test_a_member_deleted_after_the_event_was_made_needs_no_more_than_a_guid(world: World) -> None:
    world.do("create-group", "g").do("create-individual", "a").do("delete-entity", "a", at=90)
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=80)
    assert world.live() == {"g"}


def test_who_joins_a_group_that_was_deleted_before_is_there_and_in_it_when_it_comes_back(world: World) -> None:
    world.do("create-group", "g").do("create-individual", "a").do("delete-entity", "g")
    world.do("add-member", "g", {"members": [{"guid": "a"}, member("b")]})
    assert world.live() == {"a", "b"}
    world.do("remove-member", "g", {"memberId": "a"}).do("create-group", "g")
    assert world.members() == ["b"]


def test_a_group_of_which_only_the_end_is_known_takes_members_and_what_has_only_ended_is_one(world: World) -> None:
    world.do("delete-entity", "g").do("delete-entity", "a").do("add-member", "g", {"members": [{"guid": "a"}]})
    assert (world.live(), world.members(), world.lost) == (set(), ["a"], [])


def test_only_what_is_told_of_somebody_who_is_deleted_brings_them_back(world: World) -> None:
    world.do("create-group", "g").do("create-individual", "a").do("delete-entity", "a")
    world.do("add-member", "g", {"members": [{"guid": "a"}]})
    assert (world.live(), world.members()) == ({"g"}, ["a"])
    world.do("add-member", "g", {"members": [member("a")]})
    assert world.live() == {"g", "a"}


def test_a_deleted_group_keeps_nobody_and_still_stands_in_nobodys_circle(world: World) -> None:
    world.do("create-group", "g").do("create-group", "h").do("delete-entity", "g")
    world.do("add-member", "g", {"members": [{"guid": "h"}]})
    assert world.refused("add-member", "h", {"members": [{"guid": "g"}]}) == "MEMBER_CYCLE"
    world.do("create-group", "i").do("add-member", "i", {"members": [{"guid": "h"}]}).do("delete-entity", "i")
    assert world.live() == set()


# -- remove-member


def test_remove_member_ends_the_membership_and_leaves_the_individual(world: World) -> None:
    world.do("create-group", "g", group_of(member("a"), member("b"))).do("remove-member", "g", {"memberId": "a"})
    assert world.members() == ["b"]
    assert "a" in world.live()
    assert world["g"].version == 2


def test_removing_who_is_no_member_still_counts_as_a_change(world: World) -> None:
    world.do("create-group", "g").do("remove-member", "g", {"memberId": "nobody"})
    assert world["g"].version == 2


@pytest.mark.parametrize("data", [{"x": 1}, {"memberId": ""}, {"memberId": 7}, {"memberId": "x" * 513}])
def test_remove_member_must_name_whom_before_anything_else_is_checked(world: World, data: dict[str, Any]) -> None:
    assert world.refused("remove-member", "absent", data) == "INVALID_MEMBER_DATA"


def test_removing_a_subgroup_deletes_it_with_all_below(world: World) -> None:
    world.do("create-group", "g", group_of(member("h", type="group", members=[member("a")]), member("b")))
    world.do("remove-member", "g", {"memberId": "h"})
    assert world.live() == {"g", "b"}


def test_removing_a_group_that_is_no_member_does_not_delete_it(world: World) -> None:
    world.do("create-group", "g").do("create-group", "h", group_of(member("a")))
    world.do("remove-member", "g", {"memberId": "h"})
    assert world.live() == {"g", "h", "a"}


def test_a_subgroup_of_two_groups_survives_being_removed_from_one(world: World) -> None:
    sub = member("h", type="group", members=[member("a")])
    world.do("create-group", "g", group_of(sub)).do("create-group", "i", group_of(sub))
    world.do("remove-member", "g", {"memberId": "h"})
    assert world.live() == {"g", "h", "a", "i"}
    assert world.members("i") == ["h"]


def test_additions_and_removals_are_ordered_by_their_times_not_their_arrival(world: World) -> None:
    world.do("create-group", "g", group_of(member("a")), at=10)
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=40)
    version = world["g"].version
    world.do("remove-member", "g", {"memberId": "a"}, at=30)
    assert (world.members(), world["g"].version) == (["a"], version)
    world.do("remove-member", "g", {"memberId": "a"}, at=60)
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=50)
    assert world.members() == []
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=70)
    assert world.members() == ["a"]


def test_a_member_who_comes_back_is_listed_last(world: World) -> None:
    world.do("create-group", "g", group_of(member("a"), member("b"))).do("remove-member", "g", {"memberId": "a"})
    world.do("add-member", "g", {"members": [{"guid": "a"}]})
    assert world.members() == ["b", "a"]


# -- deleting

DELETING = [("delete-entity", {"reason": "left"}), ("resolve-duplicate", {"duplicates": [], "shouldDelete": True})]


@pytest.mark.parametrize(("type", "data"), DELETING)
def test_a_deleted_group_takes_all_below_it_along(world: World, type: str, data: dict[str, Any]) -> None:
    world.do("create-group", "g", group_of(member("h", type="group", members=[member("a")]), member("b")))
    world.do("create-record", "r", {"parentId": "a"}).do(type, "g", data)
    assert world.live() == {"r"}
    assert world.members("g") == world.members("h") == []


@pytest.mark.parametrize(("type", "data"), DELETING)
def test_deleting_what_is_unknown_is_harmless_and_remembered(world: World, type: str, data: dict[str, Any]) -> None:
    world.do(type, data=data, at=50).do("create-individual", at=40)
    assert world.live() == set()
    world.do("create-individual", at=60)
    assert world["e"].version == 1


def test_deleting_again_keeps_the_latest_time(world: World) -> None:
    world.do("create-individual", at=10).do("delete-entity", at=30).do("delete-entity", at=20)
    assert world["e"].deleted == Stamp(30, 2)
    world.do("delete-entity", at=50).do("create-individual", at=40)
    assert world.live() == set()


def test_fields_written_after_a_delete_that_arrives_late_stay(world: World) -> None:
    world.do("create-individual", data={"name": "Ana", "age": 1}, at=10)
    world.do("update-individual", data={"age": 2}, at=30).do("delete-entity", at=20)
    assert world["e"].data == {"age": 2, "name": "Unnamed Individual"}


def test_a_member_who_is_also_in_another_group_is_not_deleted(world: World) -> None:
    world.do("create-group", "g", group_of(member("a"), member("b"))).do("create-group", "h", group_of(member("a")))
    world.do("delete-entity", "g")
    assert world.live() == {"h", "a"}
    assert world.members("h") == ["a"]


def test_a_member_reached_over_paths_of_different_length_is_deleted(world: World) -> None:
    inner = member("h", type="group", members=[member("i", type="group", members=[member("a")])])
    world.do("create-group", "g", group_of(member("a"), inner)).do("delete-entity", "g")
    assert world.live() == set()


def test_who_was_there_before_and_joined_after_a_delete_that_arrives_late_is_not_taken_along(world: World) -> None:
    world.do("create-individual", "a", {"name": "A"}, at=10)
    world.do("create-group", "g", {"name": "G"}, at=20)
    world.do("add-member", "g", {"members": [{"guid": "a"}]}, at=40)
    world.do("delete-entity", "g", at=30)
    assert "a" in world.live()


def test_what_is_computed_late_leaves_a_later_write_its_time(world: World) -> None:
    held = world.do("create-individual", "e", {"name": "A", "balance": 1}, at=50)["e"]
    computed = set_fields(held, {"balance": 2}, stamp=Stamp(40, 9), context=Context(9, NOW))
    assert (computed.data["balance"], computed.stamp_of_field("balance")) == (2, held.base)


def test_who_joined_after_the_delete_is_not_taken_along(world: World) -> None:
    world.do("create-group", "g", group_of(member("a")), at=10)
    world.do("add-member", "g", {"members": [member("b")]}, at=40).do("delete-entity", "g", at=30)
    assert world.live() == {"b"}


@pytest.mark.parametrize(("type", "data"), DELETING)
def test_who_was_put_into_a_deleted_group_is_not_deleted_with_it_once_more(
    world: World, type: str, data: dict[str, Any]
) -> None:
    world.do("create-group", "g").do("create-individual", "a").do("create-group", "h", group_of(member("b")))
    world.do("delete-entity", "g").do("add-member", "g", {"members": [{"guid": "a"}, member("c"), {"guid": "h"}]})
    world.do(type, "g", data)
    assert world.live() == {"a", "b", "c", "h"}
    world.do("create-group", "g")
    assert (world.members("g"), world.members("h")) == ([], ["b"])


def test_a_deleted_group_inside_another_one_takes_nobody_along(world: World) -> None:
    world.do("create-group", "g", group_of(member("h", type="group"))).do("delete-entity", "h")
    world.do("add-member", "g", {"members": [{"guid": "h"}]}).do("add-member", "h", {"members": [member("a")]})
    world.do("delete-entity", "g")
    assert world.live() == {"a"}


def test_a_group_created_anew_has_no_members(world: World) -> None:
    world.do("create-group", "g", group_of(member("a"))).do("delete-entity", "g").do("create-group", "g")
    assert world.members() == []


def test_a_chain_of_groups_of_any_length_is_deleted(world: World) -> None:
    for level in range(3000):
        world.do("create-group", f"g-{level}", {"name": "G"})
        if level:
            world.do("add-member", f"g-{level}", {"members": [{"guid": f"g-{level - 1}"}]})
    world.do("delete-entity", "g-2999")
    assert world.live() == set()


def test_resolving_a_duplicate_without_deleting_changes_no_entity(world: World) -> None:
    world.do("create-individual")
    before = world["e"]
    world.do("resolve-duplicate", data={"duplicates": [{"entityGuid": "e", "duplicateGuid": "f"}]})
    assert world["e"] is before


# -- what cannot be applied


@pytest.mark.parametrize("type", ["delete-individual", "transfer", "create-Individual"])
def test_an_unknown_event_type_is_named(world: World, type: str) -> None:
    with pytest.raises(EventRejected, match=f"^No event applier found for event type: {type}$") as refusal:
        world.do(type)
    assert refusal.value.code == "UNKNOWN_EVENT_TYPE"
