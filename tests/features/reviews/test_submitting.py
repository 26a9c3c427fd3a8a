"""Submitting, without HTTP: what other slices build on."""

from dataclasses import replace

import pytest
from httpx2 import AsyncClient

from datacollect.eventstore.event import Event
from datacollect.features.entities.errors import EntityAbsent
from datacollect.features.reviews import service
from datacollect.features.reviews.errors import NotSubmitter, ReviewNotPending, SubmissionReused
from datacollect.features.reviews.model import Policy, Review, Status, Submission, SubmissionOrigin, citizen_key
from datacollect.http.hub import Hub
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

AT = parse_timestamp("2025-03-01T08:00:00.000Z")


def submission(entity: str = "e", **changes: object) -> Submission:
    event = Event(new_guid(), entity, "update-individual", {"phone": "7"}, AT, "self-service:7")
    values = {
        "submitted_by": "self-service:7",
        "submitter_key": citizen_key(entity),
        "origin": SubmissionOrigin.CITIZEN,
    }
    return Submission(event, **(values | changes))  # type: ignore[arg-type]


async def submit(hub: Hub, program: str, one: Submission) -> Review:
    scope = scope_of(program)
    tenant = await hub.tenants.find(TenantId(program))
    assert tenant is not None
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        return await service.submit(tx, hub.log, scope, tenant, one, now=hub.clock.now())


def scope_of(program: str) -> TenantScope:
    return system_scope(TenantId(program))


async def test_without_a_policy_it_is_applied_at_once(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event(entity="e"))
    one = submission()
    review = await submit(hub, program, one)
    assert (review.status, review.reviewed_by, review.policy) == (Status.APPROVED, "system", Policy.AUTO_APPROVE)
    assert (await pull_all(admin, program))[-1]["guid"] == one.event.guid


async def test_what_somebody_must_look_at_waits_without_a_policy(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    await push(admin, program, make_event(entity="e"))
    review = await submit(hub, program, submission(at_least_internal=True))
    assert (review.status, review.required_role) == (Status.PENDING, "supervisor")
    assert [event["entityGuid"] for event in await pull_all(admin, program)] == ["e"]
    async with hub.db.reading(scope_of(program)) as view:
        assert await service.find(view, scope_of(program), review.id) == review
        assert await service.list_of_entity(view, scope_of(program), "e", before=None, limit=9) == ([review], False)


async def test_what_stands_by_itself_is_never_approved_by_nobody(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    assert (await submit(hub, program, submission(standalone=True))).status is Status.PENDING


async def test_the_same_again_is_the_same_review_and_other_content_is_refused(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    one = submission(at_least_internal=True)
    first = await submit(hub, program, one)
    assert await submit(hub, program, one) == first
    other = Submission(one.event, "self-service:8", citizen_key("f"))
    with pytest.raises(SubmissionReused):
        await submit(hub, program, other)


async def test_the_same_again_under_a_new_e_mail_is_the_same_review(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = Event(new_guid(), "e", "create-individual", {"name": "Maria"}, AT, "old@example.org")
    first = await submit(hub, program, Submission(event, "old@example.org", "user:7"))
    renamed = replace(event, user_id="new@example.org")
    assert await submit(hub, program, Submission(renamed, "new@example.org", "user:7")) == first
    with pytest.raises(SubmissionReused):
        await submit(hub, program, Submission(renamed, "new@example.org", "user:8"))


async def test_what_the_log_has_already_is_approved_and_not_appended_again(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    wire = make_event(entity="e")
    await push(admin, program, wire)
    at = parse_timestamp(wire["timestamp"])
    event = Event(wire["guid"], "e", wire["type"], wire["data"], at, wire["userId"])
    review = await submit(hub, program, Submission(event, "agent-7", "user:7", at_least_internal=True))
    assert review.status is Status.APPROVED
    assert len(await pull_all(admin, program)) == 1


async def test_what_could_not_be_applied_is_refused_at_once(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    event = Event(new_guid(), "nobody", "enrol-in-program", {"programId": 1}, AT, "a")
    with pytest.raises(EntityAbsent):
        await submit(hub, program, Submission(event, "a", "user:1", at_least_internal=True))


async def test_only_who_has_submitted_it_withdraws_it_and_once(hub: Hub, admin: AsyncClient) -> None:
    program = await make_program(admin)
    review = await submit(hub, program, submission(at_least_internal=True))
    scope, now = scope_of(program), hub.clock.now()
    with pytest.raises(NotSubmitter):
        async with hub.db.transaction(scope) as tx:
            await service.withdraw(tx, scope, review.id, citizen_key("f"), now=now)
    async with hub.db.transaction(scope) as tx:
        assert (await service.withdraw(tx, scope, review.id, citizen_key("e"), now=now)).status is Status.WITHDRAWN
    with pytest.raises(ReviewNotPending):
        async with hub.db.transaction(scope) as tx:
            await service.withdraw(tx, scope, review.id, citizen_key("e"), now=now)
