"""Enrolments in programmes of OpenSPP V2, in both modes of writing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from datacollect.adapters.port import FollowUp, Outgoing, Pushed, RecordType
from datacollect.testing.remote import DropAfter, DropBefore, Instead, Request
from tests.adapters.openspp_v2 import GUID, World, after, after_follow_up, codes, followed, linked, person

FIRST, SECOND = "CR/2026/00001", "CR/2026/00002"
ASKED_AT = "2026-03-09T08:00:00.000Z"


@pytest.fixture
def programs(openspp: World) -> None:
    openspp.registry.add_program(7, "Widows")
    openspp.registry.add_program(8, "Schools")


pytestmark = pytest.mark.usefixtures("programs")


def pending(*entries: Any, **changes: Any) -> Outgoing:
    """A person the registry has, with enrolments asked for."""
    return person(link=linked(GUID), data={"pendingProgramEnrolments": list(entries)}, **changes)


def entry(program: Any = 7, at: str | None = ASKED_AT, **more: Any) -> dict[str, Any]:
    return {"programId": program, "programName": "Widows", **({"enrolledAt": at} if at else {}), **more}


async def push(world: World, record: Outgoing, **options: Any) -> Pushed:
    [outcome] = await world.adapter(**options).push([record])
    assert isinstance(outcome, Pushed), outcome
    return outcome


async def follow(world: World, record: Outgoing, **options: Any) -> FollowUp:
    [told] = await world.adapter(**options).follow_up([followed(record)])
    return told


async def seen(world: World, *entries: Any) -> Outgoing:
    """A person both have alike."""
    world.registry.add_person(given="Maria", family="Santos", identifiers={"system_id": GUID})
    record = person(data={"pendingProgramEnrolments": list(entries)})
    [there] = (await world.adapter().pull(None)).records
    world.registry.system.log.clear()
    return replace(record, link=linked(GUID, **there.state))


def asked_for(world: World) -> list[tuple[str, Any]]:
    return [(one.body["requestType"]["code"], one.body["detail"]) for one in world.registry.requests.values()]


def makes_requests(request: Request) -> bool:
    return request.method == "POST" and request.segments[3:] == ("ChangeRequest",)


async def test_an_enrolment_is_a_request_and_the_registrant_is_not_written(openspp: World) -> None:
    outcome = await push(openspp, await seen(openspp, entry()))
    assert asked_for(openspp) == [("assign_program", {"program_id": 7})]
    [request] = openspp.registry.requests.values()
    assert request.registrant == {"system": "urn:openspp:vocab:id-type", "value": GUID}
    assert outcome.is_open
    assert openspp.registry.asked("PATCH") == 0


async def test_a_new_person_is_enrolled_in_the_push_that_makes_them(openspp: World) -> None:
    await push(openspp, person(data={"pendingProgramEnrolments": [entry()]}))
    assert len(openspp.registry.people) == 1
    assert asked_for(openspp) == [("assign_program", {"program_id": 7})]


async def test_a_program_that_is_no_number_is_told_and_the_others_are_asked_for(openspp: World) -> None:
    outcome = await push(openspp, await seen(openspp, entry("widows"), entry("8"), entry()))
    assert codes(outcome.warnings) == ["INVALID_PROGRAM_ID"]
    assert sorted(detail["program_id"] for _, detail in asked_for(openspp)) == [7, 8]


async def test_an_enrolment_that_is_applied_is_told_by_one_event(openspp: World) -> None:
    record = await seen(openspp, entry("7"))
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    openspp.time += timedelta(hours=1)
    told = await follow(openspp, record)
    [event] = told.events
    assert event.type == "program-enrolment-applied"
    assert event.data == {
        "programId": 7,
        "programName": "Widows",
        "appliedAt": "2026-03-10T12:00:00.000Z",
        "crId": FIRST,
        "crName": FIRST,
    }
    assert not told.is_open
    assert openspp.registry.people[0].programs == {7}
    [again] = (await follow(openspp, record)).events
    assert again.key == event.key
    # The event is in, and the record has not been read since.
    assert (await push(openspp, after_follow_up(record, told))).state == told.state
    assert len(openspp.registry.requests) == 1


async def test_a_rejected_program_can_be_asked_for_again(openspp: World) -> None:
    record = await seen(openspp, entry())
    record = after(record, await push(openspp, record))
    openspp.registry.reject(FIRST, "Not a widow")
    told = await follow(openspp, record)
    [event] = told.events
    assert event.type == "program-enrolment-rejected"
    assert event.data["rejectionReason"] == "Not a widow"
    assert event.data["rejectedAt"] == "2026-03-10T12:00:00.000Z"
    assert codes(told.failures) == ["CR_REJECTED"]
    assert "widow" not in told.failures[0].message.lower()
    assert not told.is_open
    record = after_follow_up(record, told)
    record = replace(record, data={"pendingProgramEnrolments": [entry(at="2026-03-11T08:00:00.000Z")]}, version=3)
    await push(openspp, record)
    assert len(openspp.registry.requests) == 2
    assert openspp.registry.requests[SECOND].status == "pending"


async def test_a_program_asked_for_without_a_time_is_not_asked_for_twice_by_its_own_answer(openspp: World) -> None:
    record = await seen(openspp, entry(at=None))
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record)
    assert len(told.events) == 1
    assert len(openspp.registry.requests) == 1


async def test_one_program_sent_back_fails_neither_the_record_nor_the_other_program(openspp: World) -> None:
    record = await seen(openspp, entry())
    record = after(record, await push(openspp, record))
    openspp.registry.revise(FIRST)
    told = await follow(openspp, record)
    assert codes(told.failures) == ["CR_REVISION_NEEDED"]
    assert told.is_open
    record = replace(
        after_follow_up(record, told), data=record.data | {"pendingProgramEnrolments": [entry(), entry(8)]}
    )
    await push(openspp, record)
    assert [one.status for one in openspp.registry.requests.values()] == ["revision", "pending"]
    assert (await follow(openspp, record)).failures == []
    openspp.registry.reset(FIRST)
    await follow(openspp, record)
    assert openspp.registry.requests[FIRST].status == "pending"


async def test_what_could_not_be_asked_for_is_asked_for_later(openspp: World) -> None:
    openspp.registry.faults.add(Instead(503), times=3, matches=makes_requests)
    record = await seen(openspp, entry())
    outcome = await push(openspp, record)
    assert codes(outcome.warnings) == ["PUSH_FAILED"]
    assert outcome.is_open
    told = await follow(openspp, after(record, outcome))
    assert told.failures == []
    assert len(openspp.registry.requests) == 1


async def test_an_enrolment_whose_answer_is_lost_is_asked_for_once(openspp: World) -> None:
    openspp.registry.faults.add(DropAfter(), matches=makes_requests)
    openspp.registry.faults.add(Instead(403), matches=lambda request: request.path.endswith("/ChangeRequest"))
    record = await seen(openspp, entry())
    record = after(record, await push(openspp, record))
    await follow(openspp, record)
    assert [one.status for one in openspp.registry.requests.values()] == ["pending"]


async def test_an_enrolment_that_the_registry_may_still_be_at_work_on_is_waited_for(openspp: World) -> None:
    openspp.registry.faults.add(DropBefore(), matches=makes_requests)
    record = await seen(openspp, entry())
    lost = after(record, await push(openspp, record))
    await push(openspp, record)
    made = dict(openspp.registry.requests)
    openspp.registry.requests.clear()
    openspp.while_asleep = lambda: openspp.registry.requests.update(made)
    openspp.time += timedelta(seconds=30)
    assert (await follow(openspp, lost)).is_open
    assert [one.status for one in openspp.registry.requests.values()] == ["pending"]
    assert openspp.slept == [100.0]


@pytest.mark.parametrize("options", [{}, {"submitVia": "change-request"}])
async def test_a_follow_up_whose_end_is_not_noted_has_asked_for_everybody(openspp: World, options: Any) -> None:
    record = person(data={"pendingProgramEnrolments": [entry()]})
    if options:
        record = after(record, await push(openspp, record, **options))
        openspp.registry.apply(FIRST)
    else:
        openspp.registry.faults.add(Instead(503), times=3, matches=makes_requests)
        record = after(record, await push(openspp, record))
    for _ in range(2):  # the first one's hub dies: the second begins where that began
        told = await follow(openspp, record, **options)
    if not options:
        await push(openspp, record)  # a push knows as little of it
    assert [code for code, _ in asked_for(openspp)].count("assign_program") == 1
    assert told.is_open


async def test_a_program_the_registry_does_not_know_is_not_asked_for_until_the_record_changes(openspp: World) -> None:
    record = await seen(openspp, entry(99))
    outcome = await push(openspp, record)
    assert codes(outcome.warnings) == ["PUSH_FAILED"]
    assert not outcome.is_open
    openspp.registry.refused.clear()
    await follow(openspp, after(record, outcome))
    assert openspp.registry.refused == []
    await push(openspp, after(record, outcome))
    assert len(openspp.registry.refused) == 1
    openspp.registry.refused.clear()


async def test_somebody_still_under_review_is_enrolled_when_the_registry_has_them(openspp: World) -> None:
    reviewed = {"submitVia": "change-request"}
    record = person(data={"pendingProgramEnrolments": [entry()]})
    record = after(record, await push(openspp, record, **reviewed))
    assert [code for code, _ in asked_for(openspp)] == ["add_individual"]
    openspp.registry.apply(FIRST)
    told = await follow(openspp, record, **reviewed)
    assert told.is_open
    assert [code for code, _ in asked_for(openspp)] == ["add_individual", "assign_program"]
    openspp.registry.apply(SECOND)
    told = await follow(openspp, after_follow_up(record, told), **reviewed)
    assert [event.type for event in told.events] == ["program-enrolment-applied"]


async def test_groups_are_enrolled_too_and_the_code_can_be_chosen(openspp: World) -> None:
    openspp.registry.add_group(identifiers={"system_id": GUID})
    record = replace(pending(entry()), type=RecordType.GROUP)
    outcome = await push(openspp, record, changeRequestTypeMap={"enrol-in-program": "mine"})
    assert codes(outcome.warnings) == ["PUSH_FAILED"]
    openspp.registry.refused.clear()
    await push(openspp, record)
    assert asked_for(openspp) == [("assign_program", {"program_id": 7})]


async def test_an_enrolment_taken_back_before_it_was_asked_for_is_forgotten(openspp: World) -> None:
    openspp.registry.faults.add(Instead(503), times=3, matches=makes_requests)
    record = await seen(openspp, entry())
    outcome = await push(openspp, record)
    record = replace(after(record, outcome), data={"pendingProgramEnrolments": []})
    told = await follow(openspp, record)
    assert not told.is_open
    assert openspp.registry.requests == {}


async def test_questions_about_an_enrolment_that_fail_are_told_and_change_nothing(openspp: World) -> None:
    record = await seen(openspp, entry())
    record = after(record, await push(openspp, record))
    openspp.registry.apply(FIRST)
    openspp.registry.faults.add(Instead(403), matches=lambda request: request.method == "GET")
    told = await follow(openspp, record)
    assert codes(told.failures) == ["CR_POLL_FAILED"]
    assert (told.events, told.is_open) == ([], True)
    assert len((await follow(openspp, after_follow_up(record, told))).events) == 1
