"""Records of ours become registrants, one each, whatever breaks off, and nothing of anybody else's is written over."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from datacollect.adapters.errors import AdapterError, Misconfigured
from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.openspp_v1.session import ARCHIVED
from datacollect.adapters.port import Failed, Link, Member, Outgoing, Pushed, RecordType, Skipped
from datacollect.kernel.clock import Millis
from datacollect.testing.odoo import MEMBERSHIP, FakeOdoo
from datacollect.testing.remote import DropAfter, DropBefore, Instead, Request
from tests.adapters.openspp_v1.conftest import MAPPINGS, PASSWORD, Make, calls
from tests.adapters.records import failed, household, person, pulled, pushed

pytestmark = pytest.mark.anyio

LAN, MINH = "6f1c0a52-8f7e-4c8e-9b1a-0d6f6a1b2c3d", "7a2d1b63-908f-4d9f-8c2b-1e707b2c3d4e"
HOME = "8b3e2c74-a190-4ea0-9d3c-2f818c3d4e5f"


def again(record: Outgoing, link: Link, **data: Any) -> Outgoing:
    """The same record, linked and changed."""
    return replace(record, link=link, data={**record.data, **data}, key=f"{record.key}+")


async def test_a_person_arrives_with_what_is_mapped_and_is_found_by_our_guid(make: Make, odoo: FakeOdoo) -> None:
    data = {"birthdate": "1990-02-03", "sex": "female", "genderId": "2", "disabled": "true", "secretNote": "no"}
    [link] = await pushed(make(), person(LAN, data=data))
    [there] = odoo.partners()
    assert link.external_id == str(there["id"])
    told = {name: there[name] for name in ("name", "given_name", "family_name", "gender", "gender_id", "is_disabled")}
    assert told == {
        "name": "TRAN, LAN",
        "given_name": "Lan",
        "family_name": "Tran",
        "gender": "female",
        "gender_id": 2,
        "is_disabled": True,
    }
    assert (there["is_registrant"], there["is_group"], there["ref"]) == (True, False, LAN)
    sent = next(one.json() for one in odoo.log if calls("create")(one))["params"]["args"][5][0]
    assert "phone" not in sent and "secretNote" not in str(sent)


async def test_many_new_records_take_one_call(make: Make, odoo: FakeOdoo) -> None:
    adapter = make()
    links = await pushed(adapter, *(person(f"in-{number}") for number in range(50)))
    assert len({link.external_id for link in links}) == len(odoo.partners()) == 50
    assert odoo.calls["res.partner.create"] == 1
    before = odoo.asked
    await pushed(adapter, *(person(f"in-more-{number}") for number in range(50)))
    assert odoo.asked - before == 3


async def test_one_record_by_itself_is_no_list(make: Make, odoo: FakeOdoo) -> None:
    def of_many(request: Request) -> bool:
        return calls("create")(request) and isinstance(request.json()["params"]["args"][5][0], list)

    fault = {"error": {"message": "Odoo Server Error", "data": {"name": "builtins.AttributeError"}}}
    odoo.faults.add(Instead(200, fault), times=None, matches=of_many)
    await pushed(make(), person(LAN), person(MINH))
    assert [one["given_name"] for one in odoo.partners()] == ["Lan", "Lan"]


async def test_one_record_that_is_refused_does_not_keep_the_others_back(make: Make, odoo: FakeOdoo) -> None:
    records = [person(f"in-{number}") for number in range(8)]
    records[5] = person("in-5", data={"sex": "of which the registry knows nothing"})
    outcomes = await make().push(records)
    assert [isinstance(outcome, Pushed) for outcome in outcomes] == [number != 5 for number in range(8)]
    refused = outcomes[5]
    assert isinstance(refused, Failed)
    assert (refused.failure.code, refused.failure.retryable, refused.failure.guid) == ("PUSH_FAILED", False, "in-5")
    assert refused.failure.message.endswith(": gender")
    assert len(odoo.partners()) == 7


async def test_the_same_record_twice_is_written_once(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"phone": "1"})
    [link] = await pushed(adapter, record)
    await pushed(adapter, again(record, link))
    assert (odoo.calls["res.partner.create"], odoo.calls["res.partner.write"]) == (1, 0)


async def test_only_what_differs_is_written(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"phone": "1"})
    [link] = await pushed(adapter, record)
    [link] = await pushed(adapter, again(record, link, phone="2"))
    assert _written(odoo) == {"phone": "2"}
    assert odoo.partner(int(link.external_id))["phone"] == "2"


# -- one twin


@pytest.mark.parametrize("count", [1, 30])
async def test_an_answer_that_is_lost_makes_no_second_twin(make: Make, odoo: FakeOdoo, count: int) -> None:
    records = [person(f"in-{number}") for number in range(count)]
    odoo.faults.add(DropAfter(), matches=calls("create"))
    links = await pushed(make(maxRetries=2), *records)
    assert len(links) == len(odoo.partners()) == count


async def test_a_create_that_breaks_off_is_not_repeated_but_looked_for(make: Make, odoo: FakeOdoo) -> None:
    odoo.faults.add(DropBefore(), matches=calls("create"))
    outcome = await failed(make(maxRetries=2), person(LAN))
    assert (outcome.is_uncertain, outcome.failure.retryable) == (True, True)
    assert odoo.calls["res.partner.create"] == 0
    [link] = await pushed(make(), person(LAN, is_uncertain=True))
    assert [str(one["id"]) for one in odoo.partners()] == [link.external_id]


async def test_the_answer_to_another_request_says_nothing_about_this_one(make: Make, odoo: FakeOdoo) -> None:
    odoo.faults.add(Instead(200, {"jsonrpc": "2.0", "id": 1, "result": [4711]}), matches=calls("create"))
    [outcome] = await make().push([person(LAN)])
    assert isinstance(outcome, Failed)
    assert outcome.is_uncertain and outcome.link is None


async def test_a_lost_answer_and_a_lost_hub_make_no_second_twin(make: Make, odoo: FakeOdoo) -> None:
    odoo.faults.add(DropAfter(), matches=calls("create"))
    odoo.faults.add(DropBefore(), matches=calls("search_read"), times=None)
    with pytest.raises(AdapterError):
        await make().push([person(LAN), person(MINH)])
    odoo.faults.clear()
    await pushed(make(), person(LAN, is_uncertain=True, data={"phone": "9"}), person(MINH, is_uncertain=True))
    assert sorted((one["ref"], one["phone"]) for one in odoo.partners()) == [(LAN, "9"), (MINH, None)]


async def test_a_busy_registry_is_asked_again_and_an_invalid_record_is_not(make: Make, odoo: FakeOdoo) -> None:
    odoo.faults.add(Instead(429, None, {"Retry-After": "0"}), matches=calls("create"))
    await pushed(make(maxRetries=1), person(LAN))
    before = odoo.calls["res.partner.create"]
    await failed(make(maxRetries=5), person(MINH, data={"genderId": 99}))
    assert odoo.calls["res.partner.create"] == before + 1


async def test_a_twin_in_the_archive_is_a_twin(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Lan", ref=LAN, active=False)
    [link] = await pushed(make(), person(LAN))
    assert [str(one["id"]) for one in odoo.partners()] == [link.external_id]


async def test_several_twins_are_told_and_the_oldest_is_used(make: Make, odoo: FakeOdoo) -> None:
    oldest = odoo.add_partner(name="Lan", ref=LAN)
    odoo.add_partner(name="Lan", ref=LAN)
    [outcome] = await make().push([person(LAN)])
    assert isinstance(outcome, Pushed) and outcome.link and outcome.link.external_id == str(oldest)
    assert [warning.code for warning in outcome.warnings] == ["TWIN_AMBIGUOUS"]


async def test_a_twin_that_was_deleted_there_is_made_again(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN)
    [link] = await pushed(adapter, record)
    odoo.registry.models["res.partner"].rows.clear()
    [new] = await pushed(adapter, again(record, link))
    assert new.external_id != link.external_id
    assert [str(one["id"]) for one in odoo.partners()] == [new.external_id]


async def test_a_twin_that_is_deleted_there_just_then_is_made_again_by_the_next_run(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN)
    [link] = await pushed(adapter, record)
    changed = again(record, link, firstName="Lanh")
    missing = {"error": {"message": "Odoo Server Error", "data": {"name": "odoo.exceptions.MissingError"}}}
    odoo.faults.add(Instead(200, missing), matches=calls("write"))
    outcome = await failed(adapter, changed)
    assert (outcome.failure.code, outcome.failure.retryable) == ("PUSH_FAILED", True)
    odoo.registry.models["res.partner"].rows.clear()
    [link] = await pushed(adapter, replace(changed, link=outcome.link))
    assert odoo.partner(int(link.external_id))["given_name"] == "Lanh"


async def test_another_field_can_hold_our_guid(make: Make, odoo: FakeOdoo) -> None:
    await pushed(make(referenceField="email"), person(LAN))
    assert (odoo.partners()[0]["email"], odoo.partners()[0]["ref"]) == (LAN, None)


# -- whose partner


async def test_no_data_of_a_record_says_which_partner_is_written(make: Make, odoo: FakeOdoo) -> None:
    other = odoo.add_partner(name="Somebody else")
    record = person(LAN, data={"externalId": other, "id": other, "ref": "x", "guid": "y"})
    [link] = await pushed(make(), record)
    assert link.external_id != str(other)
    assert odoo.partner(other)["given_name"] is None


@pytest.mark.parametrize("external_id", ["", "0", "-1", "1e3", "12345678901", "abc", "１２"])
async def test_a_link_that_is_no_number_names_nobody(make: Make, odoo: FakeOdoo, external_id: str) -> None:
    [link] = await pushed(make(), person(LAN, link=Link(external_id=external_id)))
    assert link.external_id == str(odoo.partners()[0]["id"])


async def test_partners_that_are_no_registrants_of_the_kind_are_left_alone(make: Make, odoo: FakeOdoo) -> None:
    company = odoo.add_partner(name="Ministry", is_registrant=False)
    group = odoo.add_partner(name="Household", is_group=True)
    for number in (company, group):
        outcome = await failed(make(), person(LAN, link=Link(external_id=str(number))))
        assert outcome.failure.retryable is False
    assert odoo.calls["res.partner.write"] == odoo.calls["res.partner.create"] == 0


@pytest.mark.parametrize("field", ["is_registrant", "active", "id", "group_membership_ids", "ref", "no_such_field"])
async def test_a_mapping_that_cannot_be_is_told_before_anything_is_sent(make: Make, odoo: FakeOdoo, field: str) -> None:
    adapter = make(mappings=(*MAPPINGS, FieldMapping(form_field="x", remote_field=field)))
    with pytest.raises(Misconfigured) as refused:
        await adapter.push([person(LAN)])
    [problem] = refused.value.problems
    assert problem.path == ("fieldMappings", len(MAPPINGS), "opensppField")
    assert odoo.partners() == []


# -- both sides


async def test_what_the_registry_changed_stays_and_what_we_changed_arrives(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"phone": "1", "sex": "male"})
    [link] = await pushed(adapter, record)
    number = int(link.external_id)
    odoo.write_partner(number, phone="from the registry")
    [link] = await pushed(adapter, again(record, link, sex="female"))
    assert _written(odoo) == {"gender": "female"}
    assert odoo.partner(number)["phone"] == "from the registry"
    # And what was left alone is told by the next pull.
    [told], _ = await pulled(adapter)
    assert told.version != link.version
    assert told.data["phone"] == "from the registry"


async def test_what_the_registry_has_filled_in_and_the_form_has_not_is_left_to_the_pull(
    make: Make, odoo: FakeOdoo
) -> None:
    adapter, record = make(), person(LAN)
    [link] = await pushed(adapter, record)
    [told], _ = await pulled(adapter)
    seen = replace(link, state=told.state)
    assert (await pushed(adapter, again(record, seen)))[0].version == link.version
    odoo.write_partner(int(link.external_id), phone="7")
    for known in (seen, replace(seen, state={}), None):
        [after] = await pushed(adapter, replace(again(record, seen, lastName="Nguyen"), link=known))
        assert after.version is None


async def test_what_both_have_changed_waits_for_the_pull_and_arrives_then(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"phone": "1"})
    [link] = await pushed(adapter, record)
    odoo.write_partner(int(link.external_id), phone="from the registry")
    mine = again(record, link, phone="ours")
    outcome = await failed(adapter, mine)
    assert (outcome.failure.code, outcome.failure.retryable, outcome.link) == ("CONFLICT", True, link)
    assert odoo.calls["res.partner.write"] == 0
    [told], _ = await pulled(adapter)
    await pushed(adapter, replace(mine, link=Link(external_id=link.external_id, state=told.state)))
    assert odoo.partner(int(link.external_id))["phone"] == "ours"


async def test_what_was_emptied_here_is_emptied_there_if_both_had_it(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"phone": "1"})
    [link] = await pushed(adapter, record)
    [link] = await pushed(adapter, again(record, link, phone=""))
    assert odoo.partner(int(link.external_id))["phone"] is None
    # But a registrant that the hub has never looked at is not emptied by a form full of empty fields.
    other = odoo.add_partner(name="Minh", phone="7")
    await pushed(adapter, person(MINH, link=Link(external_id=str(other)), data={"phone": "", "firstName": ""}))
    assert odoo.partner(other)["phone"] == "7"


async def test_a_pushed_record_is_pulled_as_the_version_that_was_pushed(make: Make, odoo: FakeOdoo) -> None:
    adapter = make()
    links = await pushed(adapter, person(LAN, data={"phone": "1"}), person(MINH))
    told, _ = await pulled(adapter)
    assert {one.external_id: one.version for one in told} == {link.external_id: link.version for link in links}
    assert {one.guid for one in told} == {LAN, MINH}


async def test_two_changes_in_one_second_are_two_versions(make: Make, odoo: FakeOdoo) -> None:
    adapter, moment = make(), odoo.now()
    odoo.now = lambda: moment
    [link] = await pushed(adapter, person(LAN, data={"phone": "1"}))
    odoo.write_partner(int(link.external_id), phone="2")
    [told], _ = await pulled(adapter)
    assert told.version != link.version


async def test_values_that_cannot_fit_fail_without_a_call(make: Make, odoo: FakeOdoo) -> None:
    outcome = await failed(make(), person(LAN, data={"size": "many"}))
    assert (outcome.failure.retryable, "hh_size" in outcome.failure.message) == (False, True)
    assert "many" not in outcome.failure.message


async def test_odoo_s_false_that_became_a_text_is_not_sent_back(make: Make, odoo: FakeOdoo) -> None:
    await pushed(make(), person(LAN, data={"phone": "false"}))
    assert odoo.partners()[0]["phone"] is None


async def test_a_zero_is_a_value(make: Make, odoo: FakeOdoo) -> None:
    plain = FieldMapping(form_field="disabled", remote_field="is_disabled")
    adapter = make(mappings=(*MAPPINGS[:-1], plain))
    record = person(LAN, data={"phone": 5, "size": 4, "disabled": 1})
    [link] = await pushed(adapter, record)
    [link] = await pushed(adapter, again(record, link, phone=0, size=0, disabled=0))
    there = odoo.partner(int(link.external_id))
    assert (there["phone"], there["hh_size"], there["is_disabled"]) == ("0", 0, False)


async def test_a_value_that_is_no_date_or_number_of_a_record_empties_nothing(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(), person(LAN, data={"birthdate": "1990-02-03", "genderId": 1})
    [link] = await pushed(adapter, record)
    [link] = await pushed(adapter, again(record, link, birthdate="about 1990", genderId={"label": "Male"}, phone="7"))
    there = odoo.partner(int(link.external_id))
    assert (str(there["birthdate"]), there["gender_id"], there["phone"]) == ("1990-02-03", 1, "7")
    [link] = await pushed(adapter, again(record, link, birthdate=" ", genderId={"id": None}))
    there = odoo.partner(int(link.external_id))
    assert (there["birthdate"], there["gender_id"]) == (None, None)


# -- groups


async def test_a_household_arrives_with_its_members_of_the_same_batch(make: Make, odoo: FakeOdoo) -> None:
    lan, minh = person(LAN), person(MINH)
    [group, first, second] = await pushed(make(), household(HOME, lan, minh), lan, minh)
    there = odoo.partner(int(group.external_id))
    assert (there["is_group"], there["name"], there["ref"]) == (True, "Tran", HOME)
    assert set(odoo.members_of(there["id"])) == {int(first.external_id), int(second.external_id)}


async def test_members_that_are_not_known_here_stay_and_so_do_the_kinds_of_all(make: Make, odoo: FakeOdoo) -> None:
    adapter, lan = make(), person(LAN)
    first, group = await pushed(adapter, lan, household(HOME, lan))
    number, stranger = int(group.external_id), odoo.add_partner(name="Somchai")
    odoo.write_partner(number, group_membership_ids=[[0, 0, {"individual": stranger, "kind": [[6, 0, [1]]]}]])
    told = replace(group, state={**group.state, "members": [int(first.external_id), stranger]})
    strange = frozenset({str(stranger)})
    outgoing = replace(household(HOME, link=told, data={"name": "Renamed"}), members=[], strange_members=strange)
    await pushed(adapter, outgoing)
    assert odoo.partner(number)["name"] == "Renamed"
    assert list(odoo.members_of(number)) == [stranger]
    kinds = {row["individual"]: row["kind"] for row in odoo.registry.models[MEMBERSHIP].rows.values()}
    assert kinds[stranger] == [1]


async def test_members_join_and_leave_and_the_registry_s_own_stay(make: Make, odoo: FakeOdoo) -> None:
    adapter, lan, minh = make(), person(LAN), person(MINH)
    first, second, group = await pushed(adapter, lan, minh, household(HOME, lan))
    number, stranger = int(group.external_id), odoo.add_partner(name="Somchai")
    odoo.write_partner(number, group_membership_ids=[[0, 0, {"individual": stranger}]])
    members = [Member(guid=MINH, type=RecordType.INDIVIDUAL, link=second)]
    [group] = await pushed(adapter, household(HOME, link=group, members=members))
    assert set(odoo.members_of(number)) == {int(second.external_id), stranger}
    ended = [row for row in odoo.registry.models[MEMBERSHIP].rows.values() if row["ended_date"]]
    assert [row["individual"] for row in ended] == [int(first.external_id)]
    # Who left there does not come back because the hub has not heard of it yet.
    for row in odoo.registry.models[MEMBERSHIP].rows.values():
        row["ended_date"] = odoo.now()
    await pushed(adapter, household(HOME, link=group, members=members))
    assert odoo.members_of(number) == []


async def test_members_are_added_once_whatever_is_lost(make: Make, odoo: FakeOdoo) -> None:
    lan = person(LAN)
    [link] = await pushed(make(), lan)
    [group] = await pushed(make(), household(HOME, members=[]))
    members = [Member(guid=LAN, type=RecordType.INDIVIDUAL, link=link)]
    odoo.faults.add(DropAfter(), matches=calls("write"))
    with pytest.raises(AdapterError):
        await make(maxRetries=3).push([household(HOME, link=group, members=members)])
    await pushed(make(), household(HOME, link=group, members=members, is_uncertain=True))
    assert odoo.members_of(int(group.external_id)) == [int(link.external_id)]


async def test_members_whose_write_may_still_be_at_work_are_waited_for(make: Make, odoo: FakeOdoo) -> None:
    adapter, lan, slept = make(), person(LAN), []
    link, group = await pushed(adapter, lan, household(HOME, members=[]))
    joining = household(HOME, link=group, members=[Member(guid=LAN, type=RecordType.INDIVIDUAL, link=link)])
    odoo.faults.add(DropBefore(), matches=calls("write"))
    with pytest.raises(AdapterError):
        await adapter.push([joining])

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        odoo.write_partner(int(group.external_id), group_membership_ids=[[0, 0, {"individual": int(link.external_id)}]])

    adapter._sleep = sleep
    await pushed(adapter, replace(joining, is_uncertain=True, told_at=Millis(adapter._context.clock.now() - 30_000)))
    assert [90 < seconds <= 100 for seconds in slept] == [True]
    assert len(odoo.registry.models[MEMBERSHIP].rows) == 1
    # Nobody joins: nothing is waited for.
    renamed = replace(joining, data={"name": "Renamed"}, is_uncertain=True, told_at=adapter._context.clock.now())
    await pushed(adapter, renamed)
    assert len(slept) == 1


async def test_a_group_waits_for_a_member_that_is_not_there_and_keeps_its_twin(make: Make, odoo: FakeOdoo) -> None:
    adapter, lan = make(), person(LAN)
    outcome = await failed(adapter, household(HOME, lan))
    assert (outcome.failure.code, outcome.failure.retryable) == ("MEMBER_NOT_LINKED", True)
    assert outcome.link is not None
    [link] = await pushed(adapter, lan)
    await pushed(adapter, household(HOME, replace(lan, link=link), link=outcome.link))
    assert odoo.members_of(int(outcome.link.external_id)) == [int(link.external_id)]
    assert len(odoo.partners()) == 2


async def test_records_deletes_and_groups_that_are_not_exchanged_are_skipped_without_a_call(
    make: Make, odoo: FakeOdoo
) -> None:
    adapter = make(groups="false")
    record = Outgoing(guid="r", type=RecordType.RECORD, data={}, version=1, key="k")
    outcomes = await adapter.push([record, household(HOME), person(LAN, is_deleted=True, data={})])
    assert outcomes == [
        Skipped(reason="TYPE_NOT_SUPPORTED"),
        Skipped(reason="GROUPS_NOT_EXCHANGED"),
        Skipped(reason="DELETES_NOT_SENT"),
    ]
    assert odoo.partners() == []


async def test_what_is_deleted_here_is_archived_there_if_the_program_says_so(make: Make, odoo: FakeOdoo) -> None:
    adapter, record = make(deletes="archive"), person(LAN)
    [link] = await pushed(adapter, record)
    gone = replace(record, link=link, is_deleted=True, data={})
    for _ in range(2):
        await pushed(adapter, gone)
    assert odoo.partner(int(link.external_id))["active"] is False
    assert odoo.calls["res.partner.write"] == 1
    [never_there] = await adapter.push([person(MINH, is_deleted=True)])
    assert never_there == Pushed(link=None)


async def test_who_was_archived_before_links_told_so_is_taken_out_of_the_archive_too(
    make: Make, odoo: FakeOdoo
) -> None:
    """Links of the release before: its restored people were in conflict with their registrants for ever."""
    adapter, record = make(deletes="archive"), person(LAN)
    [link] = await pushed(adapter, record)
    await pushed(adapter, replace(record, link=link, is_deleted=True, data={}))
    [told], _ = await pulled(adapter)
    state = {name: value for name, value in told.state.items() if name != ARCHIVED}
    link = Link(external_id=told.external_id, version=told.version, state=state)
    await pushed(adapter, again(record, link, phone="2"))
    there = odoo.partner(int(link.external_id))
    assert (there["active"], there["phone"]) == (True, "2")


# -- who is let in, and what is told


async def test_credentials_are_checked_and_never_told(make: Make, odoo: FakeOdoo) -> None:
    for changes in ({"password": "wrong-pass"}, {"username": "nobody"}):
        with pytest.raises(AdapterError) as refused:
            await make(**changes).push([person(LAN)])
        assert (refused.value.failure.code, refused.value.failure.retryable) == ("PUSH_FAILED", True)
        assert "wrong-pass" not in str(refused.value) and PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(make()._options)


async def test_a_user_whose_number_has_changed_is_signed_in_again_once(make: Make, odoo: FakeOdoo) -> None:
    adapter = make()
    await pushed(adapter, person(LAN))
    user = odoo._users["registrar"]
    odoo._users["registrar"] = replace(user, id=99)
    await pushed(adapter, person(MINH))
    assert odoo.calls["authenticate"] == 2
    odoo.add_user("registrar", "changed meanwhile")
    with pytest.raises(AdapterError):
        await adapter.push([person(HOME)])
    assert odoo.calls["authenticate"] == 3


async def test_the_registrar_group_is_seen_to_and_a_broken_call_is_not_taken_for_a_refusal(
    make: Make, odoo: FakeOdoo
) -> None:
    odoo.add_group("group_other")
    await pushed(make(registrarGroup="group_g2p_registrar"), person(LAN))
    for group in ("group_other", "no_such_group"):
        with pytest.raises(AdapterError, match=f"not in the group {group}"):
            await make(registrarGroup=group).push([person(MINH)])
    odoo.faults.add(DropBefore(), matches=calls("search_read", "ir.model.data"))
    with pytest.raises(AdapterError, match="could not be reached"):
        await make(registrarGroup="group_g2p_registrar").push([person(MINH)])


async def test_missing_rights_are_the_user_s_and_may_be_given(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_group("group_reader")
    odoo.add_user("reader", PASSWORD, "group_reader")
    outcome = await failed(make(username="reader"), person(LAN))
    assert (outcome.failure.code, outcome.failure.retryable) == ("PUSH_FAILED", True)
    assert "does not allow" in outcome.failure.message


@pytest.mark.parametrize(
    ("name", "retryable"),
    [
        ("odoo.exceptions.ValidationError", False),
        ("odoo.exceptions.UserError", False),
        ("psycopg2.IntegrityError", False),
        ("psycopg2.errors.SerializationFailure", True),
        ("builtins.ZeroDivisionError", True),
    ],
)
async def test_what_odoo_raises_says_whether_to_come_again_and_nothing_else(
    make: Make, odoo: FakeOdoo, name: str, retryable: bool
) -> None:
    text = "Somchai Jaidee, born 1990-01-01, has given_name twice at db-7.internal"
    data = {"name": name, "message": text, "debug": f"Traceback {text}"}
    odoo.faults.add(Instead(200, {"error": {"message": text, "data": data}}), matches=calls("create"), times=None)
    outcome = await failed(make(), person(LAN))
    assert outcome.failure.retryable is retryable
    assert not any(word in outcome.failure.message for word in ("Somchai", "1990", "db-7"))
    assert outcome.failure.message.endswith("given_name") is not retryable


async def test_a_database_that_is_away_ends_the_batch(make: Make, odoo: FakeOdoo) -> None:
    data = {"name": "psycopg2.OperationalError", "message": "server closed the connection"}
    fault = Instead(200, {"error": {"message": "Odoo Server Error", "data": data}})
    odoo.faults.add(fault, matches=calls("create"), times=None)
    with pytest.raises(AdapterError) as away:
        await make().push([person(f"in-{number}") for number in range(20)])
    assert away.value.failure.retryable
    assert odoo.faults.happened == 1


async def test_a_pause_is_made_between_batches(make: Make) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    adapter = make(batchDelayMs=1500)
    adapter._sleep = sleep
    for guid in ("a", "b", "c"):
        await pushed(adapter, person(guid))
    assert waited == [1.5, 1.5]


def _written(odoo: FakeOdoo) -> Mapping[str, Any]:
    """What the last update sent."""
    sent = [one.json()["params"]["args"] for one in odoo.log if calls("write")(one)]
    values: Mapping[str, Any] = sent[-1][5][1]
    return values


async def test_a_create_that_may_still_be_at_work_is_waited_for(make: Make, odoo: FakeOdoo) -> None:
    adapter, slept = make(), []
    record = person(LAN, is_uncertain=True, told_at=Millis(adapter._context.clock.now() - 30_000))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        odoo.add_partner(name="TRAN, LAN", given_name="Lan", family_name="Tran", ref=LAN)

    adapter._sleep = sleep
    await pushed(adapter, record)
    assert len(odoo.partners()) == 1
    assert [90 < seconds <= 100 for seconds in slept] == [True]
