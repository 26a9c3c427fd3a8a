"""Records that OpenSPP V2 changes when somebody there approves: no edit swallowed, no request made twice."""

from dataclasses import replace
from typing import Any

import pytest

from datacollect.adapters.openspp_v2.requests import Asked
from datacollect.adapters.port import Delivery, Failed, FollowUp, Outgoing, Pushed, Skipped
from datacollect.kernel.clock import Millis
from datacollect.testing.remote import DropAfter, DropBefore, Instead, Request
from tests.adapters.openspp_v2 import GUID, World, after, after_follow_up, codes, followed, household, linked, person

FIRST, SECOND, THIRD = "CR/2026/00001", "CR/2026/00002", "CR/2026/00003"


def makes_requests(request: Request) -> bool:
    return request.method == "POST" and request.segments[3:] == ("ChangeRequest",)


def submits(request: Request) -> bool:
    return request.path.endswith("/$submit")


async def push(world: World, record: Outgoing, **options: Any) -> Any:
    [outcome] = await world.adapter(submitVia="change-request", **options).push([record])
    return outcome


async def follow(world: World, record: Outgoing) -> FollowUp:
    [told] = await world.adapter(submitVia="change-request").follow_up([followed(record)])
    return told


async def asked(world: World, **changes: Any) -> Outgoing:
    """A registrant of the registry's own, with an edit of ours under way."""
    world.registry.add_person(given="Maria", family="Santos", identifiers={"system_id": GUID})
    record = person(link=linked(GUID), **changes)
    return after(record, await push(world, record))


def state(world: World) -> dict[str, str]:
    return {reference: one.status for reference, one in world.registry.requests.items()}


async def test_a_new_person_is_asked_for_and_nobody_is_made(openspp: World) -> None:
    outcome = await push(openspp, person())
    assert (outcome.link, outcome.is_open) == (None, True)
    assert openspp.registry.people == []
    [request] = openspp.registry.requests.values()
    assert request.status == "pending"
    assert request.body["requestType"] == {"code": "add_individual"}
    assert request.registrant == {"system": "datacollect:guid", "value": GUID}
    assert request.body["description"] == f"DataCollect entity {GUID}"
    assert request.body["detail"] == {
        "type": "Individual",
        "active": True,
        "identifier": [{"system": "urn:openspp:vocab:id-type#system_id", "value": GUID}],
        "name": {"given": "Maria", "family": "Santos", "text": "Santos, Maria"},
    }


async def test_an_edit_names_the_registrant_and_codes_can_be_chosen(openspp: World) -> None:
    await asked(openspp)
    [request] = openspp.registry.requests.values()
    assert request.body["requestType"] == {"code": "edit_individual"}
    assert request.registrant == {
        "system": "urn:openspp:vocab:id-type#system_id",
        "value": GUID,
        "display": "Santos, Maria",
    }
    await push(openspp, household(), changeRequestTypeMap='{"create-group": "mine"}')
    assert (
        "requestType" in openspp.registry.refused.pop()
    )  # the registry has no such type: it was asked for all the same


async def test_nothing_is_asked_twice_while_it_is_under_way(openspp: World) -> None:
    record = await asked(openspp)
    outcome = await push(openspp, record)
    assert isinstance(outcome, Pushed)
    assert outcome.is_open
    openspp.registry.approve(FIRST)
    told = await follow(openspp, record)
    assert told.is_open
    assert state(openspp) == {FIRST: "approved"}


@pytest.mark.parametrize("keeps_identifiers", [True, False])
async def test_a_request_to_create_learns_who_came_of_it(openspp: World, keeps_identifiers: bool) -> None:
    openspp.registry.keeps_identifiers = keeps_identifiers
    record = person()
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record)
    assert not told.is_open
    assert told.link is not None
    assert told.link.external_id == (GUID if keeps_identifiers else "REG-1")
    record = replace(after_follow_up(record, told), data={"firstName": "Ana"}, version=2)
    assert isinstance(await push(openspp, record), Pushed)
    assert openspp.registry.requests[SECOND].body["requestType"] == {"code": "edit_individual"}


async def test_who_came_of_it_is_learnt_at_the_next_push_too(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    record = after_follow_up(record, await follow(openspp, record))
    outcome = await push(openspp, replace(record, link=None, data={"firstName": "Ana"}, version=2))
    assert outcome.link.external_id == GUID
    assert len(openspp.registry.people) == 1


async def test_a_registry_that_names_nobody_is_asked_again_and_not_for_a_second_one(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    openspp.registry.identify(openspp.registry.people[0], [{"system": "urn:else#x", "value": "1"}])
    told = await follow(openspp, record)
    assert told.is_open
    assert codes(told.failures) == ["CR_PROJECTION_FAILED"]
    assert len(openspp.registry.requests) == 1


async def test_an_applied_request_does_not_block_the_next_edit(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record)
    assert (told.is_open, told.failures) == (False, [])
    record = after_follow_up(record, told)
    outcome = await push(openspp, record)
    assert state(openspp) == {FIRST: "applied"}
    record = after(record, outcome, firstName="Ana")
    assert (await push(openspp, record)).is_open
    assert state(openspp) == {FIRST: "applied", SECOND: "pending"}


async def test_a_newer_edit_waits_and_is_asked_for_when_the_request_has_ended(openspp: World) -> None:
    record = await asked(openspp)
    record = replace(record, data={**record.data, "firstName": "Ana"}, version=2)
    record = after(record, await push(openspp, record))
    assert state(openspp) == {FIRST: "pending"}
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record)
    assert told.is_open
    assert state(openspp) == {FIRST: "applied", SECOND: "pending"}
    assert openspp.registry.requests[SECOND].body["detail"]["name"]["given"] == "Ana"
    record = after_follow_up(record, told)
    assert (await push(openspp, record)).is_open
    openspp.registry.apply(SECOND)
    assert not (await follow(openspp, record)).is_open
    assert len(openspp.registry.requests) == 2


async def test_an_edit_taken_back_while_waiting_asks_for_nothing(openspp: World) -> None:
    record = await asked(openspp)
    waiting = after(
        replace(record, data={**record.data, "firstName": "Ana"}),
        await push(openspp, replace(record, data={**record.data, "firstName": "Ana"})),
    )
    back = after(replace(waiting, data=record.data), await push(openspp, replace(waiting, data=record.data)))
    openspp.registry.apply(FIRST)
    assert not (await follow(openspp, back)).is_open
    assert len(openspp.registry.requests) == 1


async def test_a_draft_takes_the_newest_content_before_it_is_submitted(openspp: World) -> None:
    openspp.registry.faults.add(Instead(403), matches=submits)
    record = person()
    failed = await push(openspp, record)
    assert isinstance(failed, Failed)
    assert state(openspp) == {FIRST: "draft"}
    record = replace(record, state=failed.state or {}, data={**record.data, "firstName": "Ana"}, version=2)
    assert (await push(openspp, record)).is_open
    assert state(openspp) == {FIRST: "pending"}
    assert openspp.registry.requests[FIRST].body["detail"]["name"]["given"] == "Ana"


@pytest.mark.parametrize("fault", [DropAfter(), DropBefore(), Instead(500)])
async def test_a_request_whose_answer_is_lost_is_made_once(openspp: World, fault: Any) -> None:
    openspp.registry.faults.add(fault, matches=makes_requests)
    record = person()
    outcome = await push(openspp, record)
    if isinstance(outcome, Failed):
        assert outcome.is_uncertain
        outcome = await push(openspp, replace(record, is_uncertain=True))
    assert outcome.is_open
    assert state(openspp) == {FIRST: "pending"}


async def test_a_request_that_was_made_before_the_hub_died_is_found(openspp: World) -> None:
    await push(openspp, person())
    assert (await push(openspp, person(is_uncertain=True))).is_open
    assert len(openspp.registry.requests) == 1


async def test_a_request_that_the_registry_may_still_be_at_work_on_is_waited_for(openspp: World) -> None:
    await push(openspp, person())
    made = dict(openspp.registry.requests)
    openspp.registry.requests.clear()
    openspp.while_asleep = lambda: openspp.registry.requests.update(made)
    told_at = Millis(openspp.now() - 30_000)
    assert (await push(openspp, person(is_uncertain=True, told_at=told_at))).is_open
    assert (state(openspp), openspp.slept) == ({FIRST: "pending"}, [100.0])


async def test_a_request_that_was_made_before_many_others_is_found(openspp: World) -> None:
    await push(openspp, person())
    others = [person(f"6f1c2d3e-0000-4000-8000-0000000{number:05}") for number in range(10, 130)]
    await openspp.adapter(submitVia="change-request").push(others)
    told_at = Millis(openspp.now() - 3_600_000)
    assert (await push(openspp, person(is_uncertain=True, told_at=told_at))).is_open
    assert (len(openspp.registry.requests), openspp.slept) == (121, [])


async def test_a_release_that_lists_no_requests_is_asked_all_the_same(openspp: World) -> None:
    openspp.registry.faults.add(Instead(405), matches=lambda request: request.method == "GET")
    assert (await push(openspp, person(is_uncertain=True))).is_open


async def test_a_submission_whose_answer_is_lost_counts(openspp: World) -> None:
    openspp.registry.faults.add(DropAfter(), matches=submits)
    assert (await push(openspp, person())).is_open
    assert state(openspp) == {FIRST: "pending"}


async def test_a_rejected_request_is_told_once_and_not_made_again_by_itself(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.reject(FIRST, "Maria is unknown to us")
    told = await follow(openspp, record)
    assert codes(told.failures) == ["CR_REJECTED"]
    assert not told.is_open
    assert not told.failures[0].retryable
    assert "Maria" not in told.failures[0].message
    record = replace(
        after_follow_up(record, told), version=record.version + 1
    )  # changed in what the registry does not know
    failed = await push(openspp, record)
    assert failed.failure.code == "CR_REVISION_NEEDED"
    assert not failed.failure.retryable
    assert len(openspp.registry.requests) == 1


async def test_a_rejected_request_is_made_again_when_an_operator_says_so(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.reject(FIRST)
    record = after_follow_up(record, await follow(openspp, record))
    assert isinstance(await push(openspp, replace(record, is_uncertain=True)), Failed)
    assert (await push(openspp, record)).is_open
    assert state(openspp) == {FIRST: "rejected", SECOND: "pending"}


async def test_a_changed_record_is_asked_for_after_a_rejection(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.reject(FIRST)
    record = after_follow_up(record, await follow(openspp, record))
    record = replace(record, data={**record.data, "firstName": "Ana"}, version=2)
    assert (await push(openspp, record)).is_open
    assert state(openspp) == {FIRST: "rejected", SECOND: "pending"}


async def test_what_is_sent_back_for_revision_is_told_and_taken_up_when_it_is_a_draft_again(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.revise(FIRST)
    told = await follow(openspp, record)
    assert codes(told.failures) == ["CR_REVISION_NEEDED"]
    assert told.is_open
    record = after_follow_up(record, told)
    assert (await follow(openspp, record)).failures == []
    openspp.registry.reset(FIRST)
    assert (await follow(openspp, record)).is_open
    assert state(openspp) == {FIRST: "pending"}


async def test_a_push_sees_that_a_rejected_request_was_reopened(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.reject(FIRST)
    record = after_follow_up(record, await follow(openspp, record))
    openspp.registry.reset(FIRST)
    assert (await push(openspp, record)).is_open
    assert state(openspp) == {FIRST: "pending"}


async def test_a_deleted_record_is_asked_to_be_archived(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.apply(FIRST)
    record = after_follow_up(record, await follow(openspp, record))
    gone = replace(record, is_deleted=True, data={}, version=2)
    gone = after(gone, await push(openspp, gone))
    assert openspp.registry.requests[SECOND].body["requestType"] == {"code": "archive_individual"}
    openspp.registry.apply(SECOND)
    assert openspp.registry.people[0].fields["active"] is False
    gone = after_follow_up(gone, await follow(openspp, gone))
    assert isinstance(await push(openspp, gone), Pushed)
    assert len(openspp.registry.requests) == 2


async def test_deleting_what_is_still_asked_for_waits_for_its_end(openspp: World) -> None:
    record = person()
    record = after(record, await push(openspp, record))
    gone = replace(record, is_deleted=True, data={}, version=2)
    gone = after(gone, await push(openspp, gone))
    openspp.registry.apply(FIRST)
    told = await follow(openspp, gone)
    assert told.is_open
    assert openspp.registry.requests[SECOND].body["requestType"] == {"code": "archive_individual"}
    assert openspp.registry.requests[SECOND].registrant["value"] == GUID


async def test_what_was_never_asked_for_need_not_be_archived(openspp: World) -> None:
    assert await push(openspp, person(is_deleted=True)) == Skipped(reason="NEVER_SENT")


async def test_what_the_registry_told_us_is_not_asked_for(openspp: World) -> None:
    openspp.registry.add_person(given="Maria", family="Santos", identifiers={"system_id": GUID})
    [record] = (await openspp.adapter().pull(None)).records
    link = linked(record.external_id, **record.state)
    assert isinstance(await push(openspp, replace(person(link=link), data=record.data)), Pushed)
    assert openspp.registry.requests == {}


async def test_a_request_the_registry_does_not_find_stays_as_it_was(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.requests.clear()
    told = await follow(openspp, record)
    assert told.is_open
    assert told.failures == []


async def test_questions_that_fail_are_told_and_change_nothing(openspp: World) -> None:
    record = await asked(openspp)
    openspp.registry.faults.add(Instead(403), matches=lambda request: "ChangeRequest" in request.path)
    told = await follow(openspp, record)
    assert codes(told.failures) == ["CR_POLL_FAILED"]
    assert told.failures[0].guid == GUID
    assert (told.state, told.is_open, told.link) == (record.state, True, record.link)


async def test_the_longest_under_way_is_asked_about_first_and_nobody_when_the_registry_is_away(openspp: World) -> None:
    def waiting(number: int, since: int | None) -> Any:
        one = Asked(reference=f"CR/{number}", status="pending", content="x", submitted_at=since)  # type: ignore[arg-type]
        return followed(person(f"guid-{number}", state={"request": one.state}))

    many = [waiting(1, None), waiting(2, 20), waiting(3, 10), *(waiting(number, 100) for number in range(4, 150))]
    told = await openspp.adapter().follow_up(many)
    assert [one.guid for one in told[:3]] == ["guid-3", "guid-2", "guid-4"]
    assert len(told) == len(many)
    openspp.registry.system.stop()
    assert len(await openspp.adapter().follow_up(many)) <= 5


async def test_it_is_told_how_far_the_registry_is_with_a_record(openspp: World) -> None:
    record = person()
    outcome = await push(openspp, record)
    assert outcome.delivery is Delivery.REQUESTED
    record = after(record, outcome, firstName="Ana")
    outcome = await push(openspp, record)
    assert outcome.delivery is Delivery.WAITING
    record = after(record, outcome)
    openspp.registry.approve(FIRST)
    told = await follow(openspp, record)
    assert (told.is_done, told.is_requested) == (False, False)
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record)
    assert (told.is_done, told.is_requested) == (True, True)
    record = after_follow_up(record, told)
    openspp.registry.apply(SECOND)
    told = await follow(openspp, record)
    assert (told.is_done, told.is_requested) == (True, False)
    assert (await push(openspp, after_follow_up(record, told))).delivery is Delivery.DONE
