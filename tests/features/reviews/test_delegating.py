"""Decisions that the program's other system makes: a change request there for what is submitted here."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.app import create_app
from datacollect.features.reviews import queries
from datacollect.features.reviews.model import Status
from datacollect.features.reviews.rounds import ReviewRounds
from datacollect.http.hub import Hub
from datacollect.jobs import find_latest
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from datacollect.testing.openspp_v2 import OpenSppV2Registry
from datacollect.testing.remote import DropAfter
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, ENGINES, Migrated, asgi_client, make_settings
from tests.factories import make_event, make_program, pull_all, push
from tests.features.reviews.world import Staff, make_staff, set_policy

pytestmark = pytest.mark.anyio

EARLY, LATER, LATE = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z", "2025-01-01T10:00:00.000Z"
MARIA = "6f1c2d3e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module", params=ENGINES)
async def calling_app(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Hub, AsyncClient]]:
    """A hub that may call this machine, with a database of its own: no other one is to take its jobs."""
    folder = tmp_path_factory.mktemp("delegating")
    async with migrated_once.database(request.param, request, folder) as url:
        settings = make_settings(folder, url, ALLOW_PRIVATE_ADAPTER_HOSTS=True)
        app = create_app(settings, clock=TurnableClock())
        async with app.router.lifespan_context(app), asgi_client(app) as client:
            answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            client.headers.update(bearer(answer.json()["token"]))
            yield app.state.hub, client


@pytest.fixture
def registry() -> Any:
    with OpenSppV2Registry() as registry:
        yield registry
        assert registry.refused == []


@dataclass
class Delegated:
    """A program whose registry decides."""

    hub: Hub
    admin: AsyncClient
    program: str
    section: dict[str, Any]
    agent: Staff
    supervisor: Staff

    async def asked(self) -> None:
        """What is to be asked has been asked, and asked after."""
        await ReviewRounds(self.hub.db, self.hub.clock).look()
        await self.idle()

    async def idle(self) -> None:
        scope = system_scope(TenantId(self.program))
        async with self.hub.db.reading(scope) as view:
            job = await find_latest(view, scope, "delegate-reviews")
        if job is not None:
            await self.hub.jobs.wait_for(scope, job.id, seconds=60)

    async def review(self, review: Any) -> Any:
        return (await self.supervisor.get(review)).json()["review"]

    async def configure(self, section: Any) -> None:
        config = (await self.admin.get(f"/api/apps/{self.program}")).json()
        answer = await self.admin.post("/api/apps", json=config | {"externalSync": section})
        assert answer.status_code == 200, answer.text
        self.hub.tenants.forget([TenantId(self.program)])

    async def push(self, *events: dict[str, Any]) -> None:
        assert (await push(self.admin, self.program, *events)).status_code == 200

    async def synchronised(self) -> Any:
        started = await self.admin.post("/api/sync/external", json={"configId": self.program})
        scope = system_scope(TenantId(self.program))
        await self.hub.jobs.wait_for(scope, started.json()["jobId"], seconds=60)
        return (await self.admin.get(f"/api/sync/external/{started.json()['jobId']}")).json()


@pytest.fixture
async def delegated(calling_app: tuple[Hub, AsyncClient], registry: OpenSppV2Registry) -> Delegated:
    hub, admin = calling_app
    config = {"clientId": "dc", "clientSecret": "s3cret", "batchDelayMs": 0, "submitVia": "change-request"}
    section = {"type": "openspp-v2-adapter", "url": registry.url, "adapterConfig": config}
    program = await make_program(admin, externalSync=section)
    for event_type in ("create-individual", "update-individual", "delete-entity"):
        answer = await set_policy(admin, program, event_type, "external-delegate", externalAdapterType="openspp-v2")
        assert answer.status_code == 200, answer.text
        assert answer.json()["config"]["externalAdapterType"] == "openspp-v2"
    agent = await make_staff(admin, admin, (program, "enumerator"))
    supervisor = await make_staff(admin, admin, (program, "supervisor"))
    return Delegated(hub, admin, program, section, agent, supervisor)


def maria(type: str = "create-individual", at: str = LATE, **data: Any) -> dict[str, Any]:
    told = {"entityName": "individual", "firstName": "Maria", "lastName": "Santos"} | data
    return make_event(type, entity=MARIA, data=told, timestamp=at)


async def test_what_is_approved_there_is_applied_here(delegated: Delegated, registry: OpenSppV2Registry) -> None:
    event = maria()
    review = await delegated.agent.submitted(event)
    assert (review["status"], review["policy"]) == ("pending", "external-delegate")
    await delegated.idle()
    [reference] = registry.requests
    assert (await delegated.review(review))["delegation"]["status"] == "asked"
    await delegated.asked()
    assert list(registry.requests) == [reference]
    assert await pull_all(delegated.admin, delegated.program) == []
    registry.apply(reference)
    await delegated.asked()
    told = await delegated.review(review)
    assert (told["status"], told["reviewedBy"]) == ("approved", "external:openspp-v2-adapter")
    assert told["delegation"]["status"] == "ended"
    [pulled] = await pull_all(delegated.admin, delegated.program)
    assert (pulled["guid"], pulled["userId"]) == (event["guid"], delegated.agent.email)
    history = await delegated.admin.get(f"/api/entities/{MARIA}/history", params={"configId": delegated.program})
    assert history.json()["history"][0]["actor"] == "external:openspp-v2-adapter"
    # What is there already is not asked for a second time by the next exchange.
    run = await delegated.synchronised()
    assert run["status"] == "success", run
    assert list(registry.requests) == [reference] and len(registry.people) == 1


async def test_what_is_rejected_there_is_rejected_here_with_the_reason(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    registry.reject(next(iter(registry.requests)), "Registered twice")
    await delegated.asked()
    told = await delegated.review(review)
    assert (told["status"], told["rejectionReason"]) == ("rejected", "Registered twice")
    assert told["reviewedBy"] == "external:openspp-v2-adapter"
    assert await pull_all(delegated.admin, delegated.program) == []


async def test_what_is_sent_back_there_waits_for_changes_here(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    registry.revise(next(iter(registry.requests)), "Which village?")
    await delegated.asked()
    told = await delegated.review(review)
    assert told["status"] == "changes-requested"
    [said] = (await delegated.agent.get(review, "/comments")).json()["comments"]
    assert (said["kind"], said["text"]) == ("changes-requested", "Which village?")
    second = await delegated.agent.submitted(maria(phone="7"), replaces=review["id"])
    await delegated.asked()
    assert len(registry.requests) == 2
    registry.apply(list(registry.requests)[1])
    await delegated.asked()
    assert (await delegated.review(second))["status"] == "approved"


async def test_a_change_and_a_delete_of_somebody_who_is_there(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    await delegated.agent.submitted(maria(at=EARLY))
    await delegated.idle()
    registry.apply(list(registry.requests)[-1])
    await delegated.asked()
    change = make_event("update-individual", entity=MARIA, data={"lastName": "Cruz"}, timestamp=LATER)
    changed = await delegated.agent.submitted(change)
    await delegated.asked()
    # Something else was changed here since: it was decided there, and that holds.
    await delegated.push(
        make_event("update-individual", entity=MARIA, data={"lastName": "Reyes", "phone": "1"}, timestamp=LATE)
    )
    registry.apply(list(registry.requests)[-1])
    await delegated.asked()
    assert (await delegated.review(changed))["status"] == "approved"
    held = (await delegated.supervisor.entity(MARIA))["data"]
    assert (held["lastName"], held["phone"]) == ("Cruz", "1")
    gone = await delegated.supervisor.submitted(make_event("delete-entity", entity=MARIA, data={"why": "moved"}))
    await delegated.asked()
    registry.apply(list(registry.requests)[-1])
    await delegated.asked()
    assert (await delegated.review(gone))["status"] == "approved"
    assert await delegated.supervisor.entity(MARIA) is None


async def test_people_do_not_decide_about_it_unless_it_is_taken_back(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    for what, body in (
        ("approve", {"force": True}),
        ("reject", {"reason": "x"}),
        ("request-changes", {"comment": "x"}),
    ):
        answer = await delegated.supervisor.do(review, what, **body)
        assert (answer.status_code, answer.json()["code"]) == (409, "REVIEW_DELEGATED")
    assert (await delegated.supervisor.do(review, "take-back")).status_code == 403
    manager = await make_staff(delegated.admin, delegated.admin, (delegated.program, "program-admin"))
    taken = (await manager.done(review, "take-back"))["review"]
    assert (taken["delegation"]["status"], taken["delegation"]["code"]) == ("failed", "TAKEN_BACK")
    assert (await delegated.supervisor.do(review, "approve")).status_code == 200
    assert (await manager.do(review, "take-back")).status_code == 409
    await delegated.idle()
    for reference in registry.requests:
        registry.apply(reference)
    await delegated.asked()
    assert len(await pull_all(delegated.admin, delegated.program)) == 1


async def test_what_is_taken_back_while_an_answer_is_stored_stays_taken_back(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    manager = await make_staff(delegated.admin, delegated.admin, (delegated.program, "program-admin"))
    hub, scope = delegated.hub, system_scope(TenantId(delegated.program))
    async with hub.db.transaction(scope) as tx:
        # What the job does with an answer.
        await hub.log.lock(tx, scope)
        [known] = (await queries.find_delegations(tx, scope, [review["id"]])).values()
        taking_back = asyncio.create_task(manager.done(review, "take-back"))
        await asyncio.wait([taking_back], timeout=1)
        await queries.store_delegation(tx, scope, known)
    taken = (await taking_back)["review"]
    assert taken["delegation"]["status"] == "failed"
    assert (await delegated.review(review))["delegation"]["status"] == "failed"


async def test_what_is_withdrawn_in_the_moment_of_an_answer_costs_no_other_answer(
    delegated: Delegated, registry: OpenSppV2Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    registry.apply(next(iter(registry.requests)))
    capsys.readouterr()
    hub, scope = delegated.hub, system_scope(TenantId(delegated.program))
    async with hub.db.transaction(scope) as tx:
        now, withdrawn = hub.clock.now(), Status.WITHDRAWN.value
        await queries.change(tx, scope, review["id"], found_in={Status.PENDING}, now=now, status=withdrawn)
        asking = asyncio.create_task(delegated.asked())
        await asyncio.wait([asking], timeout=1)
    await asking
    await delegated.idle()
    told = await delegated.review(review)
    assert (told["status"], told["delegation"]["status"]) == ("withdrawn", "ended")
    assert "job.step_failed" not in capsys.readouterr().out
    assert await pull_all(delegated.admin, delegated.program) == []


async def test_what_is_withdrawn_is_not_applied_whatever_is_said_there(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    await delegated.agent.done(review, "withdraw")
    registry.apply(next(iter(registry.requests)))
    await delegated.asked()
    told = await delegated.review(review)
    assert (told["status"], told["delegation"]["status"]) == ("withdrawn", "ended")
    assert await pull_all(delegated.admin, delegated.program) == []


async def test_an_answer_that_is_lost_makes_no_second_request(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    registry.faults.add(
        DropAfter(), matches=lambda request: request.method == "POST" and request.path.endswith("/ChangeRequest")
    )
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    await delegated.asked()
    assert len(registry.requests) == 1
    assert (await delegated.review(review))["delegation"]["status"] == "asked"


async def test_what_cannot_be_asked_waits_and_says_why(delegated: Delegated, registry: OpenSppV2Registry) -> None:
    direct = delegated.section | {"adapterConfig": delegated.section["adapterConfig"] | {"submitVia": "direct"}}
    await delegated.configure(direct)
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    told = (await delegated.review(review))["delegation"]
    assert (told["status"], told["code"]) == ("waiting", "REVIEW_CANNOT_DELEGATE")
    answer = await set_policy(delegated.admin, delegated.program, "create-group", "external-delegate")
    assert (answer.status_code, answer.json()["code"]) == (409, "REVIEW_CANNOT_DELEGATE")
    await delegated.configure(delegated.section)
    await delegated.asked()
    assert (await delegated.review(review))["delegation"]["status"] == "asked"


async def test_what_was_asked_of_a_system_that_the_program_was_turned_away_from_says_so(
    delegated: Delegated, registry: OpenSppV2Registry
) -> None:
    review = await delegated.agent.submitted(maria())
    await delegated.idle()
    with OpenSppV2Registry() as other:
        await delegated.configure(delegated.section | {"url": other.url})
        await delegated.asked()
    told = (await delegated.review(review))["delegation"]
    assert (told["status"], told["code"]) == ("asked", "REVIEW_ASKED_ELSEWHERE")
    await delegated.configure(delegated.section)
    await delegated.asked()
    assert (await delegated.review(review))["delegation"]["code"] is None
    registry.apply(next(iter(registry.requests)))
    await delegated.asked()
    assert (await delegated.review(review))["status"] == "approved"


async def test_what_cannot_be_delegated_is_refused_as_a_policy(delegated: Delegated) -> None:
    for event_type, body in (
        ("create-record", {}),
        ("add-member", {}),
        ("create-group", {"externalAdapterType": "mock"}),
    ):
        answer = await set_policy(delegated.admin, delegated.program, event_type, "external-delegate", **body)
        assert (answer.status_code, answer.json()["code"]) == (409, "REVIEW_CANNOT_DELEGATE")


async def reserve(delegated: Delegated) -> None:
    """Entitlements are kept by events of their own from now on."""
    path = f"/api/apps/{delegated.program}"
    config = (await delegated.admin.get(path)).json() | {"customEventTypes": ["grant-entitlement"]}
    assert (await delegated.admin.put(path, json=config)).status_code == 200


async def test_what_has_nothing_left_that_may_be_written_is_left_to_people(
    delegated: Delegated, registry: OpenSppV2Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    await delegated.push(maria(at=EARLY))
    bare = make_event("update-individual", entity=MARIA, data={"entitlements": []}, timestamp=LATER)
    review = await delegated.agent.submitted(bare)
    await delegated.idle()
    await reserve(delegated)
    told = {"entityName": "individual", "firstName": "Rosa", "lastName": "Cruz"}
    other = await delegated.agent.submitted(make_event(data=told))
    await delegated.asked()
    for reference in registry.requests:
        registry.apply(reference)
    capsys.readouterr()
    await delegated.asked()
    assert "job.step_failed" not in capsys.readouterr().out
    told = await delegated.review(review)
    assert (told["status"], told["delegation"]["status"]) == ("pending", "failed")
    assert (await delegated.review(other))["status"] == "approved"


async def test_whoever_was_deleted_since_is_left_to_people(delegated: Delegated, registry: OpenSppV2Registry) -> None:
    await delegated.push(maria(at=EARLY))
    change = make_event("update-individual", entity=MARIA, data={"lastName": "Cruz"}, timestamp=LATER)
    review = await delegated.agent.submitted(change)
    await delegated.asked()
    await delegated.push(make_event("delete-entity", entity=MARIA, data={"why": "x"}, timestamp=LATE))
    registry.apply(next(iter(registry.requests)))
    await delegated.asked()
    told = await delegated.review(review)
    assert (told["status"], told["delegation"]["code"]) == ("pending", "REVIEWED_ENTITY_GONE")
    assert (await delegated.supervisor.do(review, "reject", reason="gone")).status_code == 200
