"""The events that bring seed data into being."""

from datacollect.features.tenants.seeding import seed_events
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


def seeds(forms=FORMS, data=SEEDS, tenant="p1", now=1_000_000):
    return seed_events(TenantId(tenant), forms, data, now=Millis(now))


def test_parents_come_before_children_and_members_join_their_group():
    assert [(event.type, event.entity_guid) for event in seeds()] == [
        ("create-group", "h"),
        ("create-individual", "p"),
        ("add-member", "h"),
        ("create-record", "t"),
    ]


def test_an_event_carries_the_item_its_form_and_its_parent():
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


def test_an_item_without_a_name_is_called_by_its_id():
    (event,) = seeds(forms=[], data=[{"name": "area", "data": [{"id": "a", "name": ""}]}])
    assert event.data["name"] == "a"


def test_items_without_a_form_are_seeded_as_the_recording_shows_them():
    (event,) = seeds(forms=[], data=[{"name": "area", "data": [{"id": "area-1", "name": "North"}]}])
    assert (event.type, event.entity_guid) == ("create-individual", "area-1")
    assert event.data == {"id": "area-1", "name": "North", "entityName": "area"}


def test_each_event_has_a_millisecond_of_its_own_up_to_now():
    assert [event.occurred_at for event in seeds(now=5000)] == [4997, 4998, 4999, 5000]


def test_the_same_seeds_have_the_same_guids_and_those_of_another_program_others():
    guids = [event.guid for event in seeds()]
    assert len(set(guids)) == 4
    assert [event.guid for event in seeds(now=9_999_999)] == guids
    assert not set(guids) & {event.guid for event in seeds(tenant="p2")}


def test_a_group_below_a_group_joins_it_as_a_group():
    forms = [{"name": "village"}, {"name": "household", "dependsOn": "village", "entityType": "group"}]
    *_, joined = seeds(forms=forms, data=[{"name": "household", "data": [{"id": "h", "name": "H", "parentId": "v"}]}])
    assert joined.data["members"][0]["type"] == "group"


def test_a_child_without_a_parent_joins_nothing():
    data = [{"name": "individual", "data": [{"id": "p", "name": "Ana"}]}]
    assert [event.type for event in seeds(data=data)] == ["create-individual"]
