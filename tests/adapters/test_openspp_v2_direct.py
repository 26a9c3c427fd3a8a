"""Records written into OpenSPP V2 at once: each registrant once, and nobody's edit lost."""

from dataclasses import replace
from typing import Any

import pytest

from datacollect.adapters.errors import AdapterError
from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.port import Failed, Link, Member, Outgoing, Pushed, RecordType, Skipped
from datacollect.kernel.clock import Millis
from datacollect.testing.remote import DropAfter, DropBefore, Instead, Late, Request
from tests.adapters.openspp_v2 import GUID, OTHER, World, after, household, linked, person


def creates(request: Request) -> bool:
    return request.method == "POST" and request.segments[3] in ("Individual", "Group")


def patches(request: Request) -> bool:
    return request.method == "PATCH"


async def push(world: World, record: Outgoing, **options: Any) -> Any:
    [outcome] = await world.adapter(**options).push([record])
    return outcome


async def test_a_person_is_created_with_our_guid_as_identifier(openspp: World) -> None:
    data = {
        "middleName": "Cruz",
        "dateOfBirth": "1985-03-15",
        "gender": "F",
        "phone": "+63917",
        "email": "m@example.org",
    }
    outcome = await push(openspp, person(data=data))
    [there] = openspp.registry.people
    assert there.identifiers == [{"system": "urn:openspp:vocab:id-type#system_id", "value": GUID}]
    assert there.fields == {
        "active": True,
        "name": {"given": "Maria", "family": "Santos", "middle": "Cruz", "text": "Santos, Maria"},
        "birthDate": "1985-03-15",
        "gender": {"coding": [{"system": "urn:iso:std:iso:5218", "code": "2", "display": "Female"}]},
        "telecom": [
            {"system": "phone", "value": "+63917", "use": "mobile"},
            {"system": "email", "value": "m@example.org"},
        ],
    }
    assert outcome.link.external_id == GUID
    assert outcome.link.version == "1"
    assert outcome.link.state["identifierType"] == "system_id"


async def test_an_update_is_one_request_with_the_version_last_seen_and_sends_what_has_changed(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record), firstName="Ana", dateOfBirth="1985-03-15")
    openspp.registry.system.log.clear()
    outcome = await push(openspp, record)
    [request] = openspp.registry.system.log
    assert request.headers["if-match"] == '"1"'
    assert set(request.json()) == {"name", "birthDate"}
    assert outcome.link.version == "2"
    assert openspp.registry.people[0].fields["name"]["given"] == "Ana"


async def test_what_the_registry_has_already_is_not_sent(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record), notes="nothing the registry knows")
    openspp.registry.system.log.clear()
    assert isinstance(await push(openspp, record), Pushed)
    assert openspp.registry.system.log == []


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_read_anew_and_keeps_what_others_edited(openspp: World, status: int) -> None:
    openspp.registry.stale_status = status
    record = person(data={"phone": "1"})
    record = after(record, await push(openspp, record), firstName="Ana")
    openspp.registry.edit(
        openspp.registry.people[0], telecom=[{"system": "phone", "value": "2"}], birthDate="1990-01-01"
    )
    outcome = await push(openspp, record)
    there = openspp.registry.people[0]
    assert isinstance(outcome, Pushed)
    assert there.version == 3
    assert outcome.link.version is None  # or it would pass for our own, and the phone would never be pulled
    assert there.fields["name"]["given"] == "Ana"
    assert there.fields["telecom"] == [{"system": "phone", "value": "2"}]


HOME, FAX = {"system": "phone", "value": "2", "use": "home"}, {"system": "fax", "value": "3"}
PO_BOX = {"type": "postal", "line": ["PO Box 1"], "city": "Cebu"}
TOWN, DISTRICT = (FieldMapping(form_field=name, remote_field=f"address.{name}") for name in ("city", "district"))


async def known(world: World, **fields: Any) -> tuple[Any, Outgoing]:
    """Somebody whom the registry had first, and the record that was made of what it told."""
    there = world.registry.add_person(given="Maria", identifiers={"system_id": GUID}, **fields)
    [told] = (await world.adapter(TOWN, DISTRICT).pull(None)).records
    link = Link(external_id=told.external_id, version=told.version, state=told.state)
    return there, replace(person(link=link), data=told.data)


async def edited(world: World, record: Outgoing, **data: Any) -> Any:
    [outcome] = await world.adapter(TOWN, DISTRICT).push([replace(record, data={**record.data, **data}, version=2)])
    assert isinstance(outcome, Pushed)
    return outcome


async def test_contacts_and_addresses_that_are_not_ours_stay(openspp: World) -> None:
    first = {"system": "phone", "value": "1", "use": "work", "rank": 1}
    address = {"type": "both", "text": "Main St 1, Manila", "line": ["Main St 1"], "city": "Manila"}
    there, record = await known(openspp, telecom=[FAX, first, HOME], address=[address, PO_BOX])
    outcome = await edited(openspp, record, phone="9", email="m@example.org", city="Pasig")
    assert there.fields["telecom"] == [
        FAX,
        {**first, "value": "9"},
        HOME,
        {"system": "email", "value": "m@example.org"},
    ]
    assert there.fields["address"] == [{"type": "both", "line": ["Main St 1"], "city": "Pasig"}, PO_BOX]
    assert outcome.link.version == "2"


async def test_what_is_emptied_here_takes_out_itself_only(openspp: World) -> None:
    address = {"type": "physical", "city": "Manila", "district": "Ermita", "country": "PH"}
    email = {"system": "email", "value": "m@example.org"}
    there, record = await known(openspp, telecom=[FAX, HOME, email], address=[address, PO_BOX])
    outcome = await edited(openspp, record, phone="", city="", district="")
    assert there.fields["telecom"] == [FAX, email]
    assert there.fields["address"] == [{"type": "physical", "country": "PH"}, PO_BOX]
    await edited(openspp, replace(record, link=outcome.link), phone="", email="", city="", district="")
    assert there.fields["telecom"] == [FAX]


async def test_a_phone_that_the_form_does_not_have_stays(openspp: World) -> None:
    there, record = await known(openspp, telecom=[HOME])
    await edited(openspp, replace(record, data={"firstName": "Maria", "email": "m@example.org"}))
    assert there.fields["telecom"] == [HOME, {"system": "email", "value": "m@example.org"}]


async def test_what_others_put_in_before_or_while_we_write_stays(openspp: World) -> None:
    there, record = await known(openspp, address=[PO_BOX])
    openspp.registry.edit(there, telecom=[HOME])
    interrupted = False

    def once(request: Request) -> bool:
        nonlocal interrupted
        if request.method == "PATCH" and not interrupted:
            interrupted = True
            openspp.registry.edit(there, telecom=[HOME, FAX])
        return False

    openspp.registry.faults.add(DropBefore(), times=None, matches=once)
    outcome = await edited(openspp, record, phone="", email="m@example.org")
    assert there.fields["telecom"] == [HOME, FAX, {"system": "email", "value": "m@example.org"}]
    assert openspp.registry.asked("PATCH") == 2
    assert outcome.link.version is None


async def test_a_record_that_keeps_changing_there_fails_and_is_tried_again(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record), firstName="Ana")
    openspp.registry.faults.add(Instead(412), times=3, matches=patches)
    outcome = await push(openspp, record)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.retryable) == ("PUSH_FAILED", True)
    assert isinstance(await push(openspp, replace(record, link=outcome.link)), Pushed)


@pytest.mark.parametrize("fault", [DropAfter(), DropBefore(), Instead(500), Instead(502)])
async def test_a_create_whose_answer_is_lost_makes_nobody_twice(openspp: World, fault: Any) -> None:
    openspp.registry.has_unique_identifiers = False
    openspp.registry.faults.add(fault, matches=creates)
    record = person()
    outcome = await push(openspp, record)
    if isinstance(outcome, Failed):
        assert outcome.failure.retryable
        assert outcome.is_uncertain
        outcome = await push(openspp, replace(record, is_uncertain=True))
    assert outcome.link.external_id == GUID
    assert len(openspp.registry.people) == 1


async def test_a_create_that_died_with_the_hub_is_found_and_linked(openspp: World) -> None:
    await push(openspp, person())
    await push(openspp, person(data={"firstName": "Ana"}, is_uncertain=True))
    [there] = openspp.registry.people
    assert there.fields["name"]["given"] == "Ana"
    assert openspp.registry.asked("POST", "Individual") == 1


async def test_an_uncertain_record_whose_question_fails_stays_uncertain(openspp: World) -> None:
    openspp.registry.faults.add(DropAfter(), matches=creates)
    openspp.registry.faults.add(Instead(403), matches=lambda request: request.method == "GET")
    outcome = await push(openspp, person())
    assert isinstance(outcome, Failed)
    assert outcome.is_uncertain


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_create_that_may_still_be_at_work_is_waited_for(openspp: World, is_deleted: bool) -> None:
    openspp.registry.has_unique_identifiers = False
    openspp.while_asleep = lambda: openspp.registry.add_person(given="Maria", identifiers={"system_id": GUID})
    told_at = Millis(openspp.now() - 30_000)
    assert isinstance(await push(openspp, person(is_uncertain=True, told_at=told_at, is_deleted=is_deleted)), Pushed)
    [there] = openspp.registry.people
    assert there.fields.get("active", True) is not is_deleted
    assert openspp.slept == [100.0]


async def test_a_create_that_the_registry_must_have_given_up_is_made_again_at_once(openspp: World) -> None:
    record = person(is_uncertain=True, told_at=Millis(openspp.now() - 60_000))
    assert isinstance(await push(openspp, record, writeSeconds=60), Pushed)
    assert (len(openspp.registry.people), openspp.slept) == (1, [])


async def test_an_identifier_that_is_taken_leads_to_its_registrant(openspp: World) -> None:
    openspp.registry.add_person(given="Old", identifiers={"system_id": GUID})
    outcome = await push(openspp, person())
    [there] = openspp.registry.people
    assert outcome.link.external_id == GUID
    assert there.fields["name"]["given"] == "Maria"


async def test_a_registrant_that_is_gone_is_made_again(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record), firstName="Ana")
    openspp.registry.remove(openspp.registry.people[0])
    outcome = await push(openspp, record)
    assert outcome.link.version == "1"
    assert openspp.registry.people[0].fields["name"] == {"given": "Ana", "family": "Santos", "text": "Santos, Ana"}


async def test_a_registrant_known_by_an_older_type_of_identifier_is_found_under_the_configured_one(
    openspp: World,
) -> None:
    there = openspp.registry.add_person(given="Old", identifiers={"system_id": "17"})
    link = Link(external_id="national_id|17", version="1", state={"identifierType": "national_id"})
    outcome = await push(openspp, person(link=link))
    assert len(openspp.registry.people) == 1
    assert outcome.link.external_id == "17"
    assert there.fields["name"]["given"] == "Maria"


async def test_ids_that_a_form_holds_choose_nobody(openspp: World) -> None:
    stranger = openspp.registry.add_person(given="Stranger", identifiers={"national_id": "17", "system_id": "18"})
    data = {"national_id": "17", "externalId": "18", "identifierType": "national_id", "uin": "17"}
    await push(openspp, person(data=data))
    assert stranger.fields["name"]["given"] == "Stranger"
    assert len(openspp.registry.people) == 2


async def test_a_refused_record_names_the_fields_and_quotes_nothing(openspp: World) -> None:
    openspp.registry.faults.add(
        Instead(422, {"errors": [{"field": "birthDate", "code": "x", "message": "Maria is wrong"}], "detail": "Maria"}),
        matches=creates,
    )
    outcome = await push(openspp, person())
    assert not outcome.failure.retryable
    assert "birthDate" in outcome.failure.message
    assert "Maria" not in outcome.failure.message
    assert openspp.slept == []


async def test_a_field_that_somebody_emptied_is_cleared_and_an_unmapped_one_is_not(openspp: World) -> None:
    record = person(data={"phone": "1", "dateOfBirth": "1985-03-15"})
    record = after(record, await push(openspp, record), phone="")
    record = replace(record, data={name: value for name, value in record.data.items() if name != "dateOfBirth"})
    outcome = await push(openspp, record)
    there = openspp.registry.people[0]
    assert "telecom" not in there.fields
    assert there.fields["birthDate"] == "1985-03-15"
    openspp.registry.system.log.clear()
    await push(openspp, after(record, outcome))
    assert openspp.registry.system.log == []


async def test_groups_are_written_with_their_members(openspp: World) -> None:
    adapter = openspp.adapter()
    members = [Member(guid=guid, type=RecordType.INDIVIDUAL, link=None) for guid in (GUID, OTHER)]
    group = household(members=members, data={"groupType": "family"})
    outcomes = await adapter.push([group, person(), person(OTHER)])
    [there] = openspp.registry.groups
    assert there.fields == {"active": True, "name": "Santos", "groupType": "family"}
    assert list(there.members.values()) == [None, None]

    for number in there.members:
        there.members[number] = "head"
    links = [outcome.link for outcome in outcomes if isinstance(outcome, Pushed)]
    assert len(links) == 3
    left = [replace(members[0], link=links[1])]
    await push(openspp, replace(after(group, outcomes[0]), members=left))
    assert list(there.members.values()) == ["head"]


async def test_members_the_registry_got_elsewhere_stay(openspp: World) -> None:
    adapter = openspp.adapter()
    group = household(members=[Member(guid=GUID, type=RecordType.INDIVIDUAL, link=None)])
    _, outcome = await adapter.push([person(), group])
    there = openspp.registry.groups[0]
    openspp.registry.join(there, openspp.registry.add_person(given="Guest"))
    await push(openspp, replace(after(group, outcome), members=[]))
    assert [openspp.registry.registrants[number - 1].fields["name"]["given"] for number in there.members] == ["Guest"]


async def test_members_that_were_seen_and_are_not_known_here_stay(openspp: World) -> None:
    group = household(members=[Member(guid=GUID, type=RecordType.INDIVIDUAL, link=None)])
    _, outcome = await openspp.adapter().push([person(), group])
    there, guest = openspp.registry.groups[0], openspp.registry.add_person(given="Guest")
    openspp.registry.join(there, guest)
    stranger = f"urn:openspp:vocab:id-type#system_id|{guest.identifiers[0]['value']}"
    # As links were kept when members still had their roles in them.
    known = dict.fromkeys(outcome.link.state["members"]) | {f"Individual/{stranger}": "head"}
    told = replace(outcome.link, state={**outcome.link.state, "members": known})
    strange = frozenset({guest.identifiers[0]["value"]})
    renamed = replace(after(group, outcome), link=told, members=[], strange_members=strange)
    again = await push(openspp, renamed)
    assert list(there.members) == [guest.number]
    assert again.link.state["members"] == [f"Individual/{stranger}"]


async def test_a_group_waits_for_members_that_are_not_there_yet(openspp: World) -> None:
    group = household(members=[Member(guid=GUID, type=RecordType.INDIVIDUAL, link=None)])
    outcome = await push(openspp, group)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.retryable) == ("MEMBER_NOT_LINKED", True)
    member = await push(openspp, person())
    members = [Member(guid=GUID, type=RecordType.INDIVIDUAL, link=member.link)]
    assert isinstance(await push(openspp, replace(group, link=outcome.link, members=members)), Pushed)
    assert len(openspp.registry.groups[0].members) == 1


async def test_joining_twice_and_leaving_twice_are_no_errors(openspp: World) -> None:
    _, outcome = await openspp.adapter().push([person(), household(members=[])])
    there, maria = openspp.registry.groups[0], openspp.registry.people[0]
    there.members[maria.number] = None
    members = [Member(guid=GUID, type=RecordType.INDIVIDUAL, link=linked(GUID))]
    joined = await push(openspp, replace(household(members=members), link=outcome.link))
    assert isinstance(joined, Pushed)
    there.members.clear()
    assert isinstance(await push(openspp, replace(household(members=[]), link=joined.link)), Pushed)


async def test_groups_inside_groups_are_told_of_and_keep_nobody_back(openspp: World) -> None:
    outcome = await push(openspp, household(members=[Member(guid=OTHER, type=RecordType.GROUP, link=None)]))
    assert isinstance(outcome, Pushed)
    assert [warning.code for warning in outcome.warnings] == ["MEMBER_TYPE_NOT_SUPPORTED"]


async def test_a_deleted_record_is_archived_once_and_comes_back_with_its_next_edit(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record))
    outcome = await push(openspp, replace(record, is_deleted=True, data={}))
    there = openspp.registry.people[0]
    assert there.fields["active"] is False
    openspp.registry.system.log.clear()
    again = await push(openspp, replace(record, link=outcome.link, is_deleted=True, data={}))
    assert isinstance(again, Pushed)
    assert openspp.registry.system.log == []
    back = await push(openspp, replace(record, link=again.link, version=3))
    assert there.fields["active"] is True
    assert "isArchived" not in back.link.state


async def test_deleting_what_is_gone_or_never_was_there_is_done(openspp: World) -> None:
    assert await push(openspp, person(is_deleted=True)) == Skipped(reason="NEVER_SENT")
    assert isinstance(await push(openspp, person(is_deleted=True, link=linked(GUID))), Pushed)


async def test_an_uncertain_create_of_a_deleted_record_is_archived(openspp: World) -> None:
    await push(openspp, person())
    await push(openspp, person(is_deleted=True, is_uncertain=True, data={}))
    assert openspp.registry.people[0].fields["active"] is False


async def test_records_of_forms_are_skipped(openspp: World) -> None:
    record = Outgoing(guid="r", type=RecordType.RECORD, data={}, version=1, key="k")
    assert await push(openspp, record) == Skipped(reason="RECORD_TYPE_NOT_SUPPORTED")
    assert openspp.registry.system.asked == 0


async def test_an_empty_batch_makes_no_call(openspp: World) -> None:
    assert list(await openspp.adapter().push([])) == []
    assert openspp.registry.system.asked == 0


async def test_one_refused_record_does_not_keep_the_others_back(openspp: World) -> None:
    openspp.registry.faults.add(
        Instead(422, {"detail": "no"}), matches=lambda r: creates(r) and GUID.encode() in r.body
    )
    outcomes = await openspp.adapter().push([person(), person(OTHER), household()])
    assert [type(outcome) for outcome in outcomes] == [Failed, Pushed, Pushed]


async def test_a_registry_that_is_away_ends_the_push(openspp: World) -> None:
    openspp.registry.system.stop()
    with pytest.raises(AdapterError) as raised:
        await openspp.adapter().push([person(), person(OTHER)])
    assert raised.value.failure.retryable


async def test_it_waits_as_long_as_the_registry_asks_for(openspp: World) -> None:
    openspp.registry.faults.add(Instead(429, None, {"Retry-After": "7"}), matches=creates)
    assert isinstance(await push(openspp, person()), Pushed)
    assert [seconds for seconds in openspp.slept if seconds >= 7] == [7.0]


async def test_a_late_answer_is_a_lost_one(openspp: World) -> None:
    openspp.registry.faults.add(Late(0.05), matches=creates)
    assert isinstance(await push(openspp, person()), Pushed)


async def test_batches_are_set_apart(openspp: World) -> None:
    adapter = openspp.adapter(batchDelayMs=250)
    await adapter.push([person()])
    await adapter.push([person(OTHER)])
    assert openspp.slept == [0.25]


async def test_studio_fields_go_where_the_registry_looks_for_them(openspp: World) -> None:
    openspp.registry.add_studio_field("x_household_income")
    openspp.registry.add_studio_field("x_crop_id")
    mappings = [
        FieldMapping(form_field="income", remote_field="extension.x_household_income"),
        FieldMapping(form_field="crop", remote_field="x_crop_id", options={"system": "urn:crops"}),
    ]
    [outcome] = await openspp.adapter(*mappings).push([person(data={"income": 25000, "crop": "rice"})])
    assert isinstance(outcome, Pushed)
    url = "urn:openspp:extension:studio-individual"
    assert openspp.registry.people[0].fields["extension"] == {
        url: {"url": url, "householdIncome": "25000", "crop": {"coding": [{"system": "urn:crops", "code": "rice"}]}}
    }
    [outcome] = await openspp.adapter(*mappings, includeStudioExtensions="false").push([household(data={"income": 1})])
    assert isinstance(outcome, Pushed)
    assert "extension" not in openspp.registry.groups[0].fields


async def test_the_twin_of_another_record_is_neither_written_nor_ended(openspp: World) -> None:
    await push(openspp, person())

    async def owners(_: Any) -> dict[str, str]:
        return {GUID: OTHER}

    openspp.context = replace(openspp.context, owners=owners)
    for is_uncertain in (False, True):
        outcome = await push(openspp, person(data={"firstName": "Somebody"}, is_uncertain=is_uncertain))
        assert isinstance(outcome, Failed)
    assert await push(openspp, person(is_deleted=True, is_uncertain=True)) == Skipped(reason="NEVER_SENT")
    [there] = openspp.registry.people
    assert (there.version, there.fields["name"]["given"]) == (1, "Maria")
