"""Whatever happens on either side and on the way, in the end both sides hold the same, and nobody twice."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from datacollect.adapters.errors import Failure
from datacollect.adapters.registry import installed
from datacollect.db import Database, Tx
from datacollect.features.external.connecting import Connections
from datacollect.features.external.runner import ExternalSync
from datacollect.jobs import Continue, Done, GiveUp, Job, JobState, Retry, find_job
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_event
from tests.features.conftest import Alone, Installation
from tests.features.external.exchanging import Exchange, another_system, counts, make_exchange

pytestmark = pytest.mark.anyio

PEOPLE = tuple(f"in-{n}" for n in range(4))
GROUPS = ("hh-0", "hh-1")
EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "6"))
"""More of them when somebody looks for a mistake."""
PHASES = (Phase.explicit, Phase.generate)
"""What fails is not made smaller: each try is a program with several runs."""
LONG_AGO = 1_700_000_000_000
FIELDS = ("phone", "village", "height")


class Crash(Exception):
    """The process is gone."""


@dataclass
class Lease:
    database: Database
    scope: TenantScope
    is_ending: bool = False

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self.database.transaction(self.scope) as tx:
            yield tx


@dataclass
class Runner:
    """Does a run's steps by hand, so that it can end anywhere."""

    exchange: Exchange
    crashes: list[int] = field(default_factory=list)
    """How long each of the first calls may take, in turns of the event loop; 0 means that its answer is lost."""

    async def run(self) -> dict[str, Any]:
        exchange, hub = self.exchange, self.exchange.hub
        scope = system_scope(TenantId(exchange.program))
        job_id = await exchange.start()
        failures = 0
        handler = self._handler()
        async with hub.db.reading(scope) as view:
            job = await find_job(view, scope, job_id)
        assert job is not None
        while True:
            step = await self._step(handler, scope, job)
            if step is None:
                handler = self._handler()  # another process goes on
            elif isinstance(step, Continue):
                job = _at(job, step)
                failures = 0
            elif isinstance(step, Retry) and failures < 2:
                failures += 1
            else:
                break
        async with hub.db.transaction(scope) as tx:
            if isinstance(step, Retry):
                await handler.ended(tx, scope, _discarded(job, step.code))
            assert isinstance(step, Done | GiveUp | Retry)
        async with hub.db.transaction(scope) as tx:
            await hub.jobs.cancel(tx, scope, job.id)
        return await exchange.job(job_id)

    async def _step(self, handler: ExternalSync, scope: TenantScope, job: Job) -> Any:
        """None if the process ended in it."""
        database = self.exchange.hub.db
        patience = self.crashes.pop() if self.crashes else None
        call = asyncio.ensure_future(handler.call(scope, job, Lease(database, scope)))
        for _ in range(patience or 0):
            await asyncio.sleep(0.0002)
            if call.done():
                break
        else:
            if patience:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                return None
        result = await call
        with contextlib.suppress(Crash):
            async with database.transaction(scope) as tx:
                step = await handler.step(tx, scope, job, result)
                if patience == 0:
                    raise Crash
            return step
        return None

    def _handler(self) -> ExternalSync:
        hub = self.exchange.hub
        connections = Connections(hub.db, hub.tenants, hub.seals, hub.outgoing, hub.clock, installed)
        return ExternalSync(hub.db, hub.log, hub.checks, connections, hub.clock)


def _at(job: Job, step: Continue) -> Job:
    return replace(job, checkpoint=dict(step.checkpoint))


def _discarded(job: Job, code: str) -> Job:
    return replace(job, state=JobState.DISCARDED, error_code=code)


# -- what may happen

person, group = st.sampled_from(PEOPLE), st.sampled_from(GROUPS)
name, value = st.sampled_from(FIELDS), st.integers(0, 5)

ACTIONS = st.one_of(
    st.tuples(st.just("save"), person, name, value),
    st.tuples(st.just("delete"), person),
    st.tuples(st.just("join"), group, person),
    st.tuples(st.just("leave"), group, person),
    st.tuples(st.just("enter"), value),
    st.tuples(st.just("change"), st.integers(0, 9), name, value, st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("refuse"), person, st.booleans()),
    st.tuples(st.just("take"), person),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("break"), st.integers(0, 4)),
    st.tuples(st.just("run"), st.lists(st.integers(0, 12), max_size=4)),
)


async def act(exchange: Exchange, action: tuple[Any, ...]) -> None:
    await act_here(exchange, action)
    act_there(exchange, action)
    match action:
        case ("refuse", guid, retryable):
            refusal = Failure(code="REFUSED", message="It is refused.", retryable=retryable)
            exchange.remote.refusals[guid] = refusal
        case ("take", guid):
            exchange.remote.refusals.pop(guid, None)
        case ("away", is_away):
            exchange.remote.is_away = is_away
        case ("break", count):
            exchange.remote.breaks_after = count
        case ("run", crashes):
            await Runner(exchange, list(crashes)).run()
            exchange.remote.breaks_after = None


async def act_here(exchange: Exchange, action: tuple[Any, ...]) -> None:
    match action:
        case ("save", guid, field_, value_):
            await exchange.save(guid, name=guid, **{field_: value_})
        case ("delete", guid):
            if await exchange.entity(guid) is not None:
                await exchange.push(make_event("delete-entity", entity=guid, data={"by": "us"}))
        case ("join", guid, member):
            if await exchange.entity(guid) is None:
                await exchange.save(guid, "group", name=guid)
            await exchange.save(member, name=member)
            listed = {"members": [{"guid": member, "name": member, "type": "individual"}]}
            await exchange.push(make_event("add-member", entity=guid, data=listed))
        case ("leave", guid, member):
            if await exchange.entity(guid) is not None:
                await exchange.push(make_event("remove-member", entity=guid, data={"memberId": member}))


def act_there(exchange: Exchange, action: tuple[Any, ...]) -> None:
    remote = exchange.remote
    twins = list(remote.twins.values())
    match action:
        case ("enter", value_):
            remote.make({"entityName": "individual", "name": f"There {len(twins)}", "height": value_})
        case ("change", number, field_, value_, is_old):
            if twins and not twins[number % len(twins)].is_gone:
                at = LONG_AGO if is_old else None
                remote.change(twins[number % len(twins)].key, **{field_: value_}, at=at)
        case ("end", number):
            if twins and not twins[number % len(twins)].is_gone:
                twins[number % len(twins)].is_gone = True
                remote.touch(twins[number % len(twins)])


async def settle(exchange: Exchange) -> dict[str, Any]:
    """Everything is well again, and the operator has what failed tried once more."""
    remote = exchange.remote
    remote.refusals.clear()
    remote.is_away, remote.breaks_after = False, None
    await exchange.admin.post("/api/sync/failures/retry", params={"configId": exchange.program})
    for _ in range(5):
        job = await Runner(exchange).run()
        if counts(job) == (0, 0, 0, 0):
            break
    return job


async def sides(exchange: Exchange) -> tuple[list[Any], list[Any]]:
    """What each side holds, in one form: whom by name, with their fields and members."""
    entities = await exchange.entities()
    names = {entity["guid"]: entity["name"] for entity in entities}
    ours = [
        (
            entity["type"],
            entity["data"],
            sorted(names.get(guid, guid) for guid in entity["memberIds"]) if entity["type"] == "group" else None,
        )
        for entity in entities
    ]
    live = exchange.remote.live
    theirs = [
        (
            str(twin.type),
            twin.data,
            sorted(live[key].data["name"] for key in twin.members or () if key in live)
            if twin.type == "group"
            else None,
        )
        for twin in live.values()
    ]
    return _in_order(ours), _in_order(theirs)


def _in_order(side: list[Any]) -> list[Any]:
    told = [
        (kind, sorted((k, v) for k, v in data.items() if k != "externalId"), members) for kind, data, members in side
    ]
    return sorted(told, key=repr)


@pytest.fixture
async def unattended(installation: Installation) -> AsyncIterator[Alone]:
    """A hub whose jobs nobody does but the test."""
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        yield Alone(app, client, installation.clock)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=PHASES, database=None)
@given(actions=st.lists(ACTIONS, min_size=4, max_size=14))
async def test_in_the_end_both_sides_hold_the_same(unattended: Alone, actions: list[tuple[Any, ...]]) -> None:
    admin = await unattended.admin()
    with another_system() as (url, remote):
        exchange = await make_exchange(admin, unattended.hub, url)
        for action in actions:
            await act(exchange, action)
        last = await settle(exchange)
        assert (last["status"], counts(last)) == ("success", (0, 0, 0, 0)), last
        ours, theirs = await sides(exchange)
        note(f"{actions}\nours {ours}\ntheirs {theirs}")
        assert ours == theirs
        guids = [twin.guid for twin in remote.live.values() if twin.guid]
        assert len(guids) == len(set(guids))
