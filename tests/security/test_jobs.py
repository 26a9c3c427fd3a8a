"""Secrets and people's data planted in what jobs work on and in what other systems answer them, then looked for in what is
kept of jobs, told of them, and logged."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from httpx2 import AsyncClient
from sqlalchemy import select
from structlog.typing import EventDict

from datacollect.db import EVERY_TENANT
from datacollect.features.attachments.contents.collecting import KIND as COLLECTING
from datacollect.features.duplicates.detecting import KIND as DETECTING
from datacollect.features.purging import service as purging
from datacollect.features.reviews.rounds import ReviewRounds
from datacollect.features.tenants.searchable import REINDEX
from datacollect.features.tenants.seeding import AT_ONCE
from datacollect.http.hub import Hub
from datacollect.jobs import enqueue
from datacollect.jobs.tables import jobs
from datacollect.kernel.identity import COMMAND_LINE, Action, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.source import AT_THE_COMMAND_LINE
from datacollect.logs import describe_exception
from datacollect.testing.clock import TurnableClock
from datacollect.testing.remote import Answer, RemoteSystem, Request
from tests.accounts import bearer
from tests.attachments import attach
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_program, push
from tests.features.conftest import Installation
from tests.features.messages.outbox import Box, self_service
from tests.features.reviews.world import make_staff, set_policy
from tests.security.canaries import Canaries, person_event, secret_config
from tests.security.test_secrets import break_database, breaking

pytestmark = pytest.mark.anyio


@dataclass
class Mirror:
    """Another system that tells whoever calls it all that it was told, and of people of its own."""

    canary: Canaries
    status: int = 200

    def __call__(self, request: Request) -> Answer:
        if "token" in request.path:
            return Answer(200, {"access_token": self.canary["remote-token"], "expires_in": 300})
        said = f"{self.canary['remote-person']} {request.headers} {request.body.decode()}"
        return Answer(self.status, {"detail": said, "message": said, "error": said}, {"X-Person": said[:200]})


@dataclass
class Office:
    hub: Hub
    settings: Mapping[str, str]
    """Where its database is."""
    admin: AsyncClient
    clock: TurnableClock
    mirror: Mirror
    url: str
    canary: Canaries

    async def sign_in(self) -> None:
        """Anew, as the clock is turned by hours."""
        credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        answer = await self.admin.post("/api/users/login", json=credentials)
        self.admin.headers.update(bearer(answer.json()["token"]))

    async def program(self) -> str:
        """One in which there is something to do for every kind of job."""
        await self.sign_in()
        canary = self.canary
        settings = {
            "clientId": "dc",
            "clientSecret": canary["adapter"],
            "submitVia": "change-request",
            "batchDelayMs": 0,
        }
        sections = {
            "externalSync": {"type": "openspp-v2-adapter", "url": self.url, "adapterConfig": settings},
            "selfService": self_service(),
            "reviewNotifications": {"url": f"{self.url}/hook?key={canary['query-key']}", "secret": canary["hook"]},
        }
        program = await make_program(self.admin, **(secret_config(canary) | sections))
        delegate = {"externalAdapterType": "openspp-v2"}
        await set_policy(self.admin, program, "create-individual", "external-delegate", **delegate)
        await set_policy(self.admin, program, "update-individual", "internal-review")
        return program

    async def seeded(self) -> str:
        """One with so many records that they are left to a job."""
        await self.sign_in()
        data = [{"id": f"s{n}", "name": f"{self.canary['seed']} {n}"} for n in range(AT_ONCE + 1)]
        return await make_program(self.admin, entityData=[{"name": "individual", "data": data}])

    async def put_in_line(self, program: str) -> str:
        """A job of each kind that programs in use have; the exchange's id."""
        events = [person_event(self.canary), person_event(self.canary)]
        assert (await push(self.admin, program, *events)).status_code == 200
        await attach(self.admin, program, events[0]["entityGuid"], name=f"{self.canary['person']}.jpg")
        agent = await make_staff(self.admin, self.admin, (program, "enumerator"))
        supervisor = await make_staff(self.admin, self.admin, (program, "supervisor"))
        await agent.submitted(person_event(self.canary))
        change = person_event(self.canary, type="update-individual", entity=events[0]["entityGuid"])
        await supervisor.done(await agent.submitted(change), "reject", reason=self.canary["reason"])
        await Box(self.hub, program).put(address=self.canary.also("address", "+491517238946"), text=self.canary["text"])
        started = await self.admin.post("/api/sync/external", json={"configId": program})
        assert started.status_code == 202, started.text
        scope = system_scope(TenantId(program))
        async with self.hub.db.transaction(scope) as tx:
            for kind in (COLLECTING, DETECTING, REINDEX):
                await enqueue(tx, scope, kind, {}, now=self.clock.now())
        await ReviewRounds(self.hub.db, self.hub.clock).look()
        return str(started.json()["jobId"])

    async def purge(self, program: str) -> None:
        await self.sign_in()
        assert (await self.admin.delete(f"/api/apps/{program}")).status_code == 200
        scope = COMMAND_LINE.in_tenant(TenantId(program), Action.MANAGE_CONFIG)
        async with self.hub.db.transaction(scope) as tx:
            await purging.begin(tx, scope, source=AT_THE_COMMAND_LINE, now=self.clock.now())

    async def work(self) -> None:
        """Until all have ended, or been given up."""
        for _ in range(12):
            await self.hub.jobs.drain()
            self.clock.turn(seconds=700)

    async def kept(self) -> list[dict[str, Any]]:
        async with self.hub.db.reading(EVERY_TENANT) as view:
            return [dict(row) for row in (await view.execute(select(jobs))).mappings()]

    async def told(self, program: str, run: str) -> list[str]:
        """What whoever has started the exchange and sent the messages hears of them."""
        await self.sign_in()
        paths = (f"/api/sync/external/{run}", "/api/messages", "/api/sync/failures")
        answers = [await self.admin.get(path, params={"configId": program}) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.text for answer in answers]


@pytest.fixture
async def office(installation: Installation, canary: Canaries) -> AsyncIterator[Office]:
    mirror = Mirror(canary)
    with RemoteSystem(mirror) as system:
        settings = {
            "JOBS_AT_ONCE": 0,
            "PURGE": True,
            "ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
            "SMS_GATEWAY_URL": f"{system.url}/{canary['gateway']}",
        }
        async with installation.running(**settings) as (app, client):
            where = {"DATABASE_URL": installation.url} if installation.url else {}
            yield Office(app.state.hub, where, client, installation.clock, mirror, system.url, canary)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_nothing_of_anybody_is_kept_told_or_logged_of_jobs(
    office: Office, canary: Canaries, lines: list[EventDict]
) -> None:
    program, seeded = await office.program(), await office.seeded()
    told = []
    for office.mirror.status in (400, 200):
        run = await office.put_in_line(program)
        await office.work()
        told += await office.told(program, run)
    kept = await office.kept()
    await office.purge(seeded)
    await office.work()
    kept += await office.kept()
    assert {row["kind"] for row in kept} == set(office.hub.jobs._handlers), "put_in_line knows not all kinds of jobs"
    for said in (*told, *_written(kept), *_written(lines)):
        assert canary.found_in(said) == [], said


async def test_a_job_that_breaks_down_tells_nothing_of_anybody(
    office: Office, canary: Canaries, lines: list[EventDict], tmp_path: Path
) -> None:
    """PostgreSQL quotes the row that it refuses."""
    program, _ = await office.program(), await office.seeded()
    await office.put_in_line(program)
    await break_database(office.settings, tmp_path, breaking(office.hub.db.dialect, but="jobs"))
    await office.work()
    kept = await office.kept()
    given_up = {row["kind"] for row in kept if (row["state"], row["error_code"]) == ("discarded", "JOB_FAILED")}
    assert len(given_up) >= 4, "hardly anything broke down, so nothing was shown"
    for said in (*_written(kept), *_written(lines)):
        assert canary.found_in(said) == [], said


def _written(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """As `logs` writes it: of an exception, the traceback and the first line."""
    return [
        json.dumps(
            {**one, "exc_info": describe_exception(error)} if isinstance(error, BaseException) else one, default=str
        )
        for one in found
        for error in (one.get("exc_info"),)
    ]
