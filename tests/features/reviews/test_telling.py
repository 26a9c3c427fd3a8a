"""Who is told of what has become of a review, over real sockets; and that nothing of anybody is told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from datacollect.app import create_app
from datacollect.eventstore.event import Event
from datacollect.features.reviews import service
from datacollect.features.reviews.model import Submission, SubmissionOrigin, citizen_key
from datacollect.features.reviews.rounds import ReviewRounds
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.clock import TurnableClock
from datacollect.testing.remote import RemoteSystem
from tests.accounts import make_person
from tests.conftest import ENGINES, Migrated, asgi_client, make_settings
from tests.factories import make_event, push
from tests.features.messages.outbox import Gateway, Post
from tests.features.reviews.world import Staff, World, make_world, set_policy
from tests.messaging.servers import mail_server

pytestmark = pytest.mark.anyio

PHONE = "+26377000111"


@pytest.fixture(scope="module", params=ENGINES)
async def office(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Post]:
    gateway, clock, folder = Gateway(), TurnableClock(), tmp_path_factory.mktemp("telling")
    async with migrated_once.database(request.param, request, folder) as url, mail_server() as mail:
        with RemoteSystem(gateway) as system:
            settings = make_settings(
                folder,
                url,
                JOBS_AT_ONCE=0,
                SMTP_URL=f"smtp://127.0.0.1:{mail.port}",
                SMTP_FROM="noreply@hub.test",
                SMS_GATEWAY_URL=system.url,
                ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            )
            app = create_app(settings, clock=clock)
            async with app.router.lifespan_context(app), asgi_client(app) as admin:
                yield Post(app, admin, system, gateway, mail, clock)


@pytest.fixture
async def world(office: Post) -> World:
    await office.reset()
    await office.box()  # signs in
    return await make_world(office.app.state.hub, office.admin, office.admin)


async def told(office: Post) -> tuple[list[Any], list[str]]:
    """What the gateway or the webhook got, and to whom mails went, since the last time."""
    await office.deliver()
    requests = [request.json() for request in office.gateway.taken]
    to = [str(mail) for mail in office.mail.mails]
    office.gateway.taken.clear()
    office.mail.mails.clear()
    return requests, to


async def test_staff_are_told_when_something_is_to_be_done(office: Post, world: World) -> None:
    first, second, third = [await world.agent.submitted() for _ in range(3)]
    assert await told(office) == ([], [])
    await world.supervisor.done(first, "approve")
    assert await told(office) == ([], [])
    await world.supervisor.done(second, "reject", reason="Rudo Moyo is known already")
    _, [mail] = await told(office)
    assert world.agent.email in mail and "Rudo" not in mail
    await world.supervisor.done(third, "request-changes", comment="x")
    assert len((await told(office))[1]) == 1
    assert await told(office) == ([], [])


async def test_staff_are_told_at_the_address_that_they_have_by_then(office: Post, world: World) -> None:
    review, before = await world.agent.submitted(), world.agent.email
    moved = await world.admin.put(
        f"/api/users/{world.agent.person.id}", json={"email": f"new-{before}", "role": "USER"}
    )
    assert moved.status_code == 200, moved.text
    # Who has the old address now has submitted nothing.
    await make_person(world.admin, email=before)
    await world.supervisor.done(review, "reject", reason="x")
    _, [mail] = await told(office)
    assert f"To: new-{before}" in mail


async def test_who_is_named_for_a_decision_is_told_and_told_again_when_it_is_due(office: Post, world: World) -> None:
    await set_policy(world.admin, world.program, "create-individual", "internal-review", dueDays=1)
    review = await world.agent.submitted()
    await world.supervisor.done(review, "assign", assignee=world.supervisor.email)
    _, [mail] = await told(office)
    assert world.supervisor.email in mail
    rounds = ReviewRounds(office.hub.db, office.clock)
    await rounds.look()
    assert await told(office) == ([], [])
    office.clock.turn(seconds=24 * 3600 + 1)
    for mails in (1, 0):
        await rounds.look()
        assert len((await told(office))[1]) == mails


async def test_who_may_decide_no_more_is_told_of_no_decision(office: Post, world: World) -> None:
    review, supervisor = await world.agent.submitted(), world.supervisor
    await supervisor.done(review, "assign", assignee=supervisor.email)
    await put_out(world, supervisor)
    assert await told(office) == ([], [])


async def test_who_has_submitted_something_is_told_nothing_of_a_program_that_has_put_them_out(
    office: Post, world: World
) -> None:
    review = await world.agent.submitted()
    await put_out(world, world.agent)
    await world.supervisor.done(review, "reject", reason="x")
    assert await told(office) == ([], [])


async def put_out(world: World, member: Staff) -> None:
    account = {"email": member.email, "role": "USER", "tenantIds": []}
    answer = await world.admin.put(f"/api/users/{member.person.id}", json=account)
    assert answer.status_code == 200, answer.text


async def test_who_is_to_change_something_is_told_though_somebody_is_named_in_the_same_moment(
    office: Post, world: World
) -> None:
    review = await world.agent.submitted()
    await world.supervisor.done(review, "request-changes", comment="x")
    await world.supervisor.done(review, "assign", assignee=world.supervisor.email)
    _, [mail] = await told(office)
    assert world.agent.email in mail
    await world.supervisor.done(review, "assign", assignee=world.supervisor.email)
    _, [mail] = await told(office)
    assert world.supervisor.email in mail


async def cited(office: Post, world: World, identifier: str) -> Any:
    """A citizen submits something, and it is rejected."""
    scope = system_scope(TenantId(world.program))
    tenant = await office.hub.tenants.find(scope.tenant_id)
    assert tenant is not None
    label = f"self-service:{identifier}"
    at = parse_timestamp("2025-03-01T08:00:00.000Z")
    event = Event(new_guid(), "e", "update-individual", {"village": "Pak"}, at, label)
    one = Submission(event, label, citizen_key("e"), SubmissionOrigin.CITIZEN, at_least_internal=True)
    async with office.hub.log.turn(scope), office.hub.db.transaction(scope) as tx:
        review = await service.submit(tx, office.hub.log, scope, tenant, one, now=office.clock.now())
    await world.supervisor.done(review.id, "reject", reason="Rudo Moyo is somebody else")
    return await told(office)


async def test_a_citizen_is_told_where_they_signed_in_if_that_is_on_their_record(office: Post, world: World) -> None:
    await push(world.admin, world.program, make_event(entity="e", data={"name": "Rudo", "phone": PHONE}))
    [message], _ = await cited(office, world, PHONE)
    assert PHONE in str(message) and "Rudo" not in str(message)
    # Where the record says, however it was typed.
    for typed in (f" {PHONE} ", "0026377000111", "+263 (77) 000-111"):
        [message], _ = await cited(office, world, typed)
        assert f"'{PHONE}'" in str(message)
    changed = make_event("update-individual", entity="e", data={"phone": "+1"}, timestamp="2025-04-01T08:00:00.000Z")
    await push(world.admin, world.program, changed)
    assert await cited(office, world, PHONE) == ([], [])


async def test_a_webhook_is_told_of_everything_with_ids_alone(office: Post, world: World) -> None:
    config = (await world.admin.get(f"/api/apps/{world.program}")).json()
    section = {"url": office.system.url, "secret": "whsec_" + "c2VjcmV0LW9mLXRoZS1wcm9ncmFt"}
    answer = await world.admin.post("/api/apps", json=config | {"reviewNotifications": section})
    assert answer.status_code == 200, answer.text
    review = await world.agent.submitted(make_event(entity="e", data={"name": "Rudo", "phone": PHONE}))
    [submitted], _ = await told(office)
    await world.supervisor.done(review, "approve")
    [approved], _ = await told(office)
    assert [one["type"] for one in (submitted, approved)] == ["review.submitted", "review.approved"]
    assert (approved["reviewId"], approved["status"], approved["entityGuid"]) == (review["id"], "approved", "e")
    assert "Rudo" not in str((submitted, approved)) and PHONE not in str((submitted, approved))
    withdrawn = await world.agent.submitted()
    await world.agent.done(withdrawn, "withdraw")
    assert [one["type"] for one in (await told(office))[0]] == ["review.withdrawn"]
