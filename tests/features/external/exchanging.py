"""A program with another system, for tests: making both, and running the exchange."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from httpx2 import AsyncClient

from datacollect.adapters.registry import installed
from datacollect.features.entities.links import service as links
from datacollect.http.hub import Hub
from datacollect.jobs import JobId, find_job
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event, make_program, push
from tests.features.external.remote import KIND, REMOTES, SECRET, TYPE, Remote

_numbers = itertools.count(1)

LATE = "2035-01-01T00:00:00.000Z"
"""After whatever a pull brings."""

installed().register(KIND)


def external_sync(url: str, **settings: Any) -> dict[str, Any]:
    return {"type": TYPE, "url": url, "adapterConfig": {"secret": SECRET} | settings}


@contextmanager
def another_system(**changes: Any) -> Iterator[tuple[str, Remote]]:
    """A system and its address."""
    url = f"https://double-{next(_numbers)}.test"
    REMOTES[url] = Remote(**changes)
    try:
        yield url, REMOTES[url]
    finally:
        del REMOTES[url]


@dataclass
class Exchange:
    """A program and its other system."""

    admin: AsyncClient
    hub: Hub
    program: str
    remote: Remote
    url: str

    async def start(self) -> str:
        answer = await self.admin.post("/api/sync/external", json={"configId": self.program})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def run(self) -> dict[str, Any]:
        """A whole run, as its job tells of it in the end."""
        return await self.ended(await self.start())

    async def ended(self, job_id: str) -> dict[str, Any]:
        await self.hub.jobs.wait_for(system_scope(TenantId(self.program)), JobId(job_id), seconds=60)
        return await self.job(job_id)

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.admin.get(f"/api/sync/external/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def state(self, job_id: str) -> str | None:
        """Of the job behind the run, as long as that is kept."""
        scope = system_scope(TenantId(self.program))
        async with self.hub.db.reading(scope) as view:
            job = await find_job(view, scope, job_id)
        return None if job is None else job.state.value

    async def turn_to(self, url: str, **settings: Any) -> None:
        """Name another system in the program's config."""
        config = (await self.admin.get(f"/api/apps/{self.program}")).json()
        answer = await self.admin.post("/api/apps", json=config | {"externalSync": external_sync(url, **settings)})
        assert answer.status_code == 200, answer.text
        self.hub.tenants.forget([TenantId(self.program)])

    async def push(self, *events: dict[str, Any]) -> None:
        answer = await push(self.admin, self.program, *events)
        assert answer.status_code == 200, answer.text

    async def save(self, guid: str, type: str = "individual", **data: Any) -> None:
        """A device saves somebody, new or known."""
        await self.push(make_event(f"update-{type}", entity=guid, data={"entityName": type} | data))

    async def merge(self, merged: str, kept: str) -> None:
        """What a merge does as far as other systems are concerned."""
        scope = system_scope(TenantId(self.program))
        async with self.hub.db.transaction(scope) as tx:
            await links.hand_over(tx, scope, merged, kept)
        await self.push(make_event("delete-entity", entity=merged, data={"why": "merged"}, timestamp=LATE))

    async def entity(self, guid: str) -> Any:
        answer = await self.admin.get(f"/api/entities/{guid}", params={"configId": self.program})
        return answer.json() if answer.status_code == 200 else None

    async def entities(self) -> list[dict[str, Any]]:
        answer = await self.admin.get("/api/entities", params={"configId": self.program, "limit": 1000})
        found: list[dict[str, Any]] = answer.json()
        return found

    async def failures(self) -> list[dict[str, Any]]:
        answer = await self.admin.get("/api/sync/failures", params={"configId": self.program})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["records"]
        return found

    async def events(self) -> list[dict[str, Any]]:
        """All that devices get."""
        answer = await self.admin.get("/api/sync/pull", params={"configId": self.program, "since": "", "limit": 5000})
        found: list[dict[str, Any]] = answer.json()["events"]
        return found


async def make_exchange(admin: AsyncClient, hub: Hub, url: str, **settings: Any) -> Exchange:
    program = await make_program(admin, externalSync=external_sync(url, **settings))
    return Exchange(admin, hub, program, REMOTES[url], url)


def counts(job: dict[str, Any]) -> tuple[int, int, int, int]:
    return job["pushed"], job["pulled"], job["failed"], job["skipped"]
