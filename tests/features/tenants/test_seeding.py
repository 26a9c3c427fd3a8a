"""The records a program starts with, and the events that bring them into being."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from datacollect.eventstore.event import Event, EventRejected
from datacollect.eventstore.integrity import hash_event
from datacollect.eventstore.log import Appended, Rejection
from datacollect.eventstore.store import Head, HeldEvent
from datacollect.features.tenants.seeding import (
    MOST_REJECTIONS,
    SeedRecord,
    Tally,
    drafts_of,
    first_moment,
    fresh_events,
    plan_of,
    records_of,
    seed_records,
    seeding_warnings,
    tally,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId

FORMS = [
    {"name": "training", "dependsOn": "individual"},
    {"name": "individual", "dependsOn": "household"},
    {"name": "household"},
]
SEEDS = [
    {"name": "training", "data": [{"id": "t", "name": "First aid", "parentId": "p"}]},
    {"name": "individual", "data": [{"id": "p", "name": "Ana", "parentId": "h", "nationalId": "N1"}]},
    {"name": "household", "data": [{"id": "h", "name": "House"}]},
]


def records(forms: Any = FORMS, data: Any = SEEDS) -> list[SeedRecord]:
    return list(seed_records(forms, data))


def seeds(forms: Any = FORMS, data: Any = SEEDS, *, tenant: str = "p1", now: int = 1_000_000) -> list[Event]:
    drafts = drafts_of(TenantId(tenant), records(forms, data))
    return fresh_events(drafts, {}, first_moment(len(drafts), now=Millis(now), not_before=Millis(0)))


def test_parents_come_before_children_and_members_join_their_group() -> None:
    assert [(event.type, event.entity_guid) for event in seeds()] == [
        ("create-group", "h"),
        ("create-individual", "p"),
        ("add-member", "h"),
        ("create-record", "t"),
    ]


def test_an_event_carries_the_item_its_form_and_its_parent() -> None:
    _, person, membership, _ = seeds()
    assert person.data == {
        "id": "p",
        "name": "Ana",
        "parentId": "h",
        "nationalId": "N1",
        "entityName": "individual",
        "parentGuid": "h",
    }
    assert membership.data == {"members": [{"guid": "p", "name": "Ana", "type": "individual"}]}
    assert {event.user_id for event in seeds()} == {"admin"}


def test_an_item_without_a_name_is_called_by_its_id() -> None:
    (event,) = seeds(forms=[], data=[{"name": "area", "data": [{"id": "a", "name": ""}]}])
    assert event.data["name"] == "a"


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"fullName": "Ana Maria"}, "Ana Maria"),
        ({"fullName": ""}, "Ana"),
        ({"fullName": 7}, "Ana"),
        ({}, "Ana"),
    ],
)
def test_the_forms_name_field_gives_the_display_name_if_the_item_has_it(item: dict[str, Any], name: str) -> None:
    forms = [{"name": "household"}, {"name": "person", "dependsOn": "household", "nameField": "fullName"}]
    data = [{"name": "person", "data": [{"id": "p", "name": "Ana", "parentId": "h"} | item]}]
    person, joined = seeds(forms=forms, data=data)
    assert (person.data["name"], joined.data["members"][0]["name"]) == (name, name)


def test_items_without_a_form_are_seeded_as_the_recording_shows_them() -> None:
    (event,) = seeds(forms=[], data=[{"name": "area", "data": [{"id": "area-1", "name": "North"}]}])
    assert (event.type, event.entity_guid) == ("create-individual", "area-1")
    assert event.data == {"id": "area-1", "name": "North", "entityName": "area"}


def test_the_same_seeds_have_the_same_guids_and_those_of_another_program_others() -> None:
    guids = [event.guid for event in seeds()]
    assert len(set(guids)) == 4
    assert [event.guid for event in seeds(now=9_999_999)] == guids
    assert not set(guids) & {event.guid for event in seeds(tenant="p2")}


def test_a_group_below_a_group_joins_it_as_a_group() -> None:
    forms = [{"name": "village"}, {"name": "household", "dependsOn": "village", "entityType": "group"}]
    *_, joined = seeds(forms=forms, data=[{"name": "household", "data": [{"id": "h", "name": "H", "parentId": "v"}]}])
    assert joined.data["members"][0]["type"] == "group"


@pytest.mark.parametrize(
    ("parent", "child", "joins"),
    [
        ({}, {}, True),
        ({"entityType": "group", "dependsOn": "top"}, {"entityType": "individual"}, True),
        # The lowest of three levels are records.
        ({"entityType": "group", "dependsOn": "top"}, {}, False),
        ({"entityType": "individual"}, {}, False),
        ({}, {"entityType": "record"}, False),
        ({}, {"entityType": "individual"}, True),
    ],
)
def test_only_entities_below_a_group_join_it(parent: dict[str, str], child: dict[str, str], joins: bool) -> None:
    forms = [{"name": "top"}, {"name": "parent"} | parent, {"name": "child", "dependsOn": "parent"} | child]
    data = [{"name": "child", "data": [{"id": "c", "name": "C", "parentId": "x"}]}]
    assert ("add-member" in [event.type for event in seeds(forms=forms, data=data)]) is joins


def test_a_child_without_a_parent_joins_nothing() -> None:
    data = [{"name": "individual", "data": [{"id": "p", "name": "Ana"}]}]
    assert [event.type for event in seeds(data=data)] == ["create-individual"]


# -- times


def test_each_event_has_a_millisecond_of_its_own_up_to_now() -> None:
    assert [event.occurred_at for event in seeds(now=5000)] == [4997, 4998, 4999, 5000]


def test_seeds_of_a_later_upload_have_times_behind_those_of_the_earlier_one() -> None:
    assert first_moment(4, now=Millis(5000), not_before=Millis(4990)) == 4997
    assert first_moment(4, now=Millis(5000), not_before=Millis(5001)) == 5001


def test_what_the_log_holds_takes_no_time() -> None:
    drafts = drafts_of(TenantId("p1"), records())
    held = {draft.guid: HeldEvent(Millis(1), b"") for draft in drafts[1:3]}
    assert [event.occurred_at for event in fresh_events(drafts, held, Millis(10))] == [10, 11]


# -- batches


def people(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "household", "data": [{"id": f"h-{n}", "name": f"House {n}"} | more for n in range(count)]}]


def test_batches_hold_all_records_in_their_order() -> None:
    found = records(data=people(25))
    plan = plan_of(iter(found), most_records=10)
    assert [batch.records for batch in plan.batches] == [10, 10, 5]
    assert (plan.records, plan.events) == (25, 25)
    assert [record for batch in plan.batches for record in records_of(batch.text)] == found


def test_a_batch_of_large_records_is_short_and_one_that_is_too_large_stands_alone() -> None:
    plan = plan_of(records(data=people(5, note="x" * 400)), most_characters=1000)
    assert [batch.records for batch in plan.batches] == [2, 2, 1]
    assert [
        batch.records for batch in plan_of(records(data=people(2, note="x" * 5000)), most_characters=1000).batches
    ] == [1, 1]


def test_a_record_that_joins_is_two_events() -> None:
    assert (plan_of(records()).records, plan_of(records()).events) == (3, 4)


def test_nothing_makes_no_batch() -> None:
    assert plan_of(records(data=[])).batches == []


def test_numbers_of_any_size_survive_a_batch() -> None:
    (record,) = records(data=people(1, big=2**80, small=1e-300, list=[1, 1.0, None]))
    assert json.dumps(records_of(plan_of([record]).batches[0].text)[0].item) == json.dumps(record.item)


# -- what became of them


def appended(*rejected: Event) -> Appended:
    rejections = [Rejection(index, event, EventRejected("No such group.")) for index, event in enumerate(rejected)]
    return Appended(Head(0, b"", None, Millis(0)), rejections=rejections)


def told(held: Sequence[Event] = (), rejected: Sequence[int] = (), **changes: Any) -> Tally:
    drafts = drafts_of(TenantId("p1"), records(**changes))
    known = {event.guid: HeldEvent(event.occurred_at, hash_event(event).content) for event in held}
    fresh = fresh_events(drafts, known, Millis(10))
    return tally(drafts, known, appended(*(fresh[index] for index in rejected)))


def test_every_record_is_counted_once() -> None:
    assert told() == Tally(added=3)
    assert told(rejected=[2]) == Tally(added=2, rejected=1, rejections=told(rejected=[2]).rejections)
    assert told(rejected=[1, 2]).rejected == 1


def test_what_was_seeded_at_another_time_is_there_and_not_changed() -> None:
    assert told(held=seeds(now=77)) == Tally(existing=3)


def test_a_record_whose_content_is_another_now_is_told() -> None:
    before = seeds(now=77)
    other = [*SEEDS[:2], {"name": "household", "data": [{"id": "h", "name": "Other house"}]}]
    assert told(held=before, data=other) == Tally(existing=2, changed=1)


def test_tallies_add_up_and_keep_the_first_rejections() -> None:
    one = told(rejected=[2])
    many = Tally()
    for _ in range(MOST_REJECTIONS + 5):
        many += one
    assert (many.done, many.rejected, many.added) == (3 * 25, 25, 50)
    assert list(many.rejections) == list(one.rejections) * MOST_REJECTIONS
    warnings = list(seeding_warnings(many))
    assert warnings[0] == (
        'Program saved, but starting its runtime instance failed: add-member of seed "h": No such group.'
    )
    assert warnings[-1] == "5 more seeds could not be applied"
    assert len(warnings) == MOST_REJECTIONS + 1


def test_changed_records_are_a_warning() -> None:
    assert list(seeding_warnings(Tally(changed=2, existing=4))) == [
        "2 seeds were seeded before with other content; what is there stays as it is"
    ]
