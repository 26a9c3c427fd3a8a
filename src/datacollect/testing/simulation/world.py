"""One schedule being run: a tenant of its own, its devices, and the hub's core between them.

Everything runs in one event loop, and exactly one device moves at a time: it is let go from the point where it stands
and waited for until it stands again. So what happens follows from the steps alone. The one exception is real: a push
that wants the lock while another holds it is let go too, and then waits where the hub makes it wait (the writer's queue
or the row lock). When the holder ends, both run on until they are committed.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qs

import msgspec

from datacollect.db import EVERY_TENANT, Database, Reading
from datacollect.eventstore.log import Rejection
from datacollect.features.sync import service
from datacollect.features.sync.payload import read_push
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import Action, Actor, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import SyncScope
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.clock import SetClock
from datacollect.testing.devices import Device, DeviceClock, SyncFailed, SyncReport
from datacollect.testing.simulation.gate import BrokenOff, Gate, Point, WatchedStore
from datacollect.testing.simulation.rules import Core, Rule, new_core, preload
from datacollect.testing.simulation.schedule import HOUR_MS, NAMES, DeviceSpec, Do, Schedule, Step
from datacollect.testing.wire import Answer

BEGIN = parse_timestamp("2025-03-01T08:00:00.000Z")
DEFAULT_PAGE = 10
MOST_EVENTS = 100_000
_MOST_ROUNDS = 8
_STEP_MS = 8
_FIELDS = 3
_GROUP_FORM, _PERSON_FORM = "household", "individual"


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that does not hold, and what shows it."""

    law: str
    text: str


class LawBroken(Exception):
    """Raised where going on makes no sense."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(text)
        self.breach = Breach(law, text)


@dataclass(frozen=True, slots=True)
class Sync:
    """One sync that came to its end."""

    device: int
    own: int
    """How many of the device's events this sync added to the log: they come back to it."""
    report: SyncReport


@dataclass(slots=True, eq=False)
class Participant:
    """A device, what the hub's answers brought it, and where its sync stands."""

    index: int
    spec: DeviceSpec
    device: Device
    gate: Gate = field(default_factory=Gate)
    task: asyncio.Task[SyncReport] | None = None
    received: dict[str, None] = field(default_factory=dict)
    """The texts of events in answers that arrived, in the order of their first delivery."""
    was_broken_off: bool = False
    """In the sync under way."""
    own: int = 0
    """Events it added to the log in the sync under way."""

    @property
    def name(self) -> str:
        return self.device.name


class World:
    def __init__(self, database: Database, view: Reading, rule: Rule, schedule: Schedule, tenant: str) -> None:
        self.database = database
        self.view = view
        """What everybody reads through, one at a time: taking a connection for each pull would double its cost."""
        self.rule = rule
        self.schedule = schedule
        self.tenant = Tenant(TenantId(tenant), tenant)
        self.clock = SetClock(BEGIN)
        self.cores = self._start()
        self.committed: dict[str, None] = {}
        """Guids of events in pushes that were committed."""
        self.acknowledged: dict[str, None] = {}
        """Those whose devices were told."""
        self.breaches: list[Breach] = []
        self.syncs: list[Sync] = []
        self.trace: list[tuple[str, str]] = []
        """Who did what; steps are nobody's."""
        self.participants = [self._join(index, spec) for index, spec in enumerate(schedule.devices)]
        self._door = Point.LOADED if rule is Rule.LOAD_BEFORE_LOCK else Point.PUSH_ARRIVED
        self._holder: Participant | None = None
        self._contender: Participant | None = None

    def _start(self) -> Sequence[Core]:
        """Two processes of the hub."""
        return [new_core(self.database, self.rule, self.clock) for _ in range(2)]

    def _join(self, index: int, spec: DeviceSpec) -> Participant:
        name = NAMES[index]
        # Every tenant's devices draw the same guids: whatever confuses two tenants, shows.
        device = Device(
            name=name,
            wire=_nowhere,
            config_id=self.tenant.id,
            generation=spec.generation,
            clock=DeviceClock(Millis(BEGIN + index), skew_ms=spec.skew_ms, tick_ms=_STEP_MS),
            token="in process",
            page_size=spec.page_size,
            sleep=_no_wait,
            random=Random(f"device {name}"),
        )
        participant = Participant(index, spec, device)
        device.wire = _CoreWire(self, participant)
        participant.gate.stands_still.set()
        return participant

    def scope_of(self, spec: DeviceSpec) -> TenantScope:
        actor = Actor("user", "agent@hub.test", UserId(7), tenant_ids=frozenset({self.tenant.id}))
        return actor.in_tenant(self.tenant.id, Action.CREATE).limited_to(spec.reach)

    # -- running

    async def run(self) -> None:
        """Go through all steps, then let everybody sync until nothing moves any more. Raises `LawBroken`."""
        try:
            async with self.database.transaction(EVERY_TENANT) as tx:
                await self.cores[0].log().create(tx, system_scope(self.tenant.id))
            for number, step in enumerate(self.schedule.steps, 1):
                self.trace.append(("", f"{number}. {step}"))
                self._let_pass(_STEP_MS)
                await self._do(step, number)
            self.trace.append(("", "Everybody syncs until quiet"))
            await self._settle()
        finally:
            await self._abandon()

    async def _do(self, step: Step, number: int) -> None:
        if step.do is Do.RESTART:
            await self._restart()
        elif step.do is Do.PASS:
            self._let_pass(step.number)
        elif step.device < len(self.participants):
            participant = self.participants[step.device]
            if step.do in (Do.SYNC, Do.ADVANCE, Do.CUT):
                await self._sync(participant, step)
            else:
                _happen(participant.device, step, number, self.tenant.id)

    def _let_pass(self, milliseconds: int) -> None:
        self.clock.turn(milliseconds)
        for participant in self.participants:
            participant.device.clock.go_on(milliseconds)

    async def _sync(self, participant: Participant, step: Step) -> None:
        if step.do is Do.SYNC:
            await self._finish(participant)
            return
        for _ in range(step.number):
            if not await self._advance(participant) or participant.task is None:
                break
        if step.do is Do.CUT and participant.task is not None and participant is not self._contender:
            await self._break_off(participant)

    async def _finish(self, participant: Participant) -> None:
        """To the end of the sync, unless it has to wait for somebody."""
        while await self._advance(participant):
            if participant.task is None:
                return

    async def _settle(self) -> None:
        if self._holder is not None:
            await self._finish(self._holder)
        for participant in self.participants:
            if participant.task is not None:
                await self._finish(participant)
        # Whoever has synced since the last commit has nothing more to get, and nothing to give.
        at_rest: dict[int, int] = {}
        for _ in range(_MOST_ROUNDS):
            for participant in self.participants:
                if at_rest.get(participant.index) != len(self.committed):
                    await self._finish(participant)
                    at_rest[participant.index] = len(self.committed)
            if set(at_rest.values()) == {len(self.committed)}:
                return
        raise LawBroken("quiet", f"after {_MOST_ROUNDS} rounds of syncs, events are still being stored")

    async def _restart(self) -> None:
        if self._holder is not None:
            await self._break_off(self._holder)
        for participant in self.participants:
            if participant.task is not None:
                await self._break_off(participant)
        self.cores = self._start()
        await self._require_durable()

    async def _require_durable(self) -> None:
        rows = await self.cores[0].store.read_rows(self.view, system_scope(self.tenant.id), after=0, limit=MOST_EVENTS)
        stored = {row.guid for row in rows}
        lost = [guid for guid in self.acknowledged if guid not in stored]
        kept = [guid for guid in stored if guid not in self.committed]
        if lost or kept:
            text = f"after the restart the log lacks {len(lost)} acknowledged events and holds {len(kept)} uncommitted"
            raise LawBroken("durable", text)

    # -- one move

    async def _advance(self, participant: Participant) -> bool:
        """Let a device go on to its next point; False if it has to wait for another."""
        gate = participant.gate
        if participant is self._contender:
            return False
        if participant.task is None:
            participant.was_broken_off, participant.own = False, 0
            gate.stands_still.clear()
            participant.task = asyncio.create_task(participant.device.sync())
            participant.task.add_done_callback(lambda _: gate.stands_still.set())
        elif gate.point is self._door and self._holder is not None:
            return self._contend(participant)
        elif participant is self._holder and gate.point is Point.WRITTEN:
            await self._leave(participant, broken_off=False)
            return True
        else:
            if gate.point is self._door:
                self._holder = participant
            gate.go()
        await self._stand(participant)
        return True

    def _contend(self, participant: Participant) -> bool:
        # One real contender at most: among several the engine would choose, and not the seed.
        if self._contender is None:
            self._contender = participant
            participant.gate.go()
            self._note(participant, "waiting for the lock")
        return False

    async def _break_off(self, participant: Participant) -> None:
        participant.was_broken_off = True
        if participant is self._holder:
            await self._leave(participant, broken_off=True)
        else:
            self._note(participant, "broken off")
            participant.gate.break_off()
            await self._stand(participant)

    async def _leave(self, holder: Participant, *, broken_off: bool) -> None:
        """The transaction ends. Who waits for the lock gets it, and ends its own: they may share the commit."""
        contender = self._contender
        if contender is not None:
            if contender.gate.point is Point.LOCKED:
                raise LawBroken("one at a time", f"{holder.name} and {contender.name} hold the tenant's lock together")
            contender.gate.passing = True
        if broken_off:
            self._note(holder, "broken off")
            holder.gate.break_off()
        else:
            holder.gate.go()
        await self._stand(holder)
        if contender is not None:
            await self._stand(contender)
            contender.gate.passing = False
        self._holder = self._contender = None

    async def _stand(self, participant: Participant) -> None:
        await participant.gate.stands_still.wait()
        task = participant.task
        if task is None or not task.done():
            self._note(participant, str(participant.gate.point))
            return
        participant.task, participant.gate.point = None, None
        if participant is self._holder:
            self._holder = None
        self._end(participant, task)

    def _end(self, participant: Participant, task: asyncio.Task[SyncReport]) -> None:
        error = task.exception()
        if error is None:
            report = task.result()
            self._note(participant, f"done (sent {report.uploaded}, got {report.new} new, {report.redelivered} known)")
            self.syncs.append(Sync(participant.index, participant.own, report))
        elif isinstance(error, SyncFailed) and participant.was_broken_off:
            self._note(participant, "given up")
        elif isinstance(error, LawBroken):
            raise error
        else:
            self._note(participant, f"failed with {error!r}")
            raise LawBroken("accepted", f"{participant.name}'s sync failed: {error!r}") from error

    def _note(self, participant: Participant, text: str) -> None:
        self.trace.append((participant.name, text))

    async def _abandon(self) -> None:
        """Leave nothing running, whatever went wrong."""
        tasks = [participant.task for participant in self.participants if participant.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _CoreWire:
    """One device's way to the hub's core: what the routes do, without HTTP, and with points to stop at."""

    def __init__(self, world: World, participant: Participant) -> None:
        self._world = world
        self._participant = participant
        self._scope = world.scope_of(participant.spec)

    async def __call__(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        what = self._push(body) if method == "POST" else self._pull(parse_qs(target.partition("?")[2]))
        try:
            return await what
        except BrokenOff as broken:
            raise ConnectionError("the connection broke off") from broken
        except DataCollectError as refused:
            text = f"the hub refuses {method} of {self._participant.name}: {refused.code}, {refused.message}"
            raise LawBroken("accepted", text) from refused

    async def _push(self, body: bytes) -> Answer:
        world, gate, scope = self._world, self._participant.gate, self._scope
        await gate.at(Point.PUSH_ARRIVED)
        pushed = read_push(msgspec.json.decode(body))
        core, projections = world.cores[self._participant.spec.hub], None
        if world.rule is Rule.LOAD_BEFORE_LOCK:
            projections = await preload(world.view, core.projections, scope, world.tenant, pushed.events)
            await gate.at(Point.LOADED)
        log = core.log(WatchedStore(core.store, gate), projections)
        prepared = await service.prepare(log, pushed, now=world.clock.now())
        async with world.database.in_turn(scope, events=prepared.weight) as tx:
            device = self._participant.name
            result = await service.push(
                tx, log, scope, world.tenant, prepared, mismatches={}, device_id=device, keep=_keep_nothing
            )
            await gate.at(Point.WRITTEN)
        guids = [event.guid for event in pushed.events]
        self._participant.own += sum(guid not in world.committed for guid in guids)
        world.committed.update(dict.fromkeys(guids))
        await gate.at(Point.COMMITTED)
        world.acknowledged.update(dict.fromkeys(guids))
        if result.applied != len(guids) or result.warnings:
            raise LawBroken("accepted", f"{self._participant.name}'s push of {len(guids)}: {result}")
        return Answer(200, {}, b'{"status":"success"}')

    async def _pull(self, query: dict[str, list[str]]) -> Answer:
        world, gate = self._world, self._participant.gate
        await gate.at(Point.PULL_ARRIVED)
        core = world.cores[self._participant.spec.hub]
        limit = int(query.get("limit", [str(DEFAULT_PAGE)])[0])
        since, everything = query.get("since", [""])[0], SyncScope()
        page = await service.pull(
            lambda: contextlib.nullcontext(world.view),
            core.log(),
            core.pages,
            self._scope,
            world.tenant.version,
            everything,
            since,
            areas=(),
            limit=limit,
            now=world.clock.now(),
        )
        await gate.at(Point.READ)
        self._participant.received.update(dict.fromkeys(page.bodies))
        cursor = msgspec.json.encode(None if page.next_cursor is None else str(page.next_cursor)).decode()
        return Answer(200, {}, f'{{"events":[{",".join(page.bodies)}],"nextCursor":{cursor}}}'.encode())


async def _nowhere(method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    raise ConnectionError("not connected yet")


async def _no_wait(_seconds: float) -> None:
    """The waits between a client's tries, without the waiting."""


# -- what people do with their devices


def _happen(device: Device, step: Step, number: int, tenant: str) -> None:
    match step.do:
        case Do.CREATE:
            for _ in range(step.number):
                device.create(program=tenant)
        case Do.BURST:
            # Not before any of their clocks, so that it is uploaded.
            moment = format_timestamp(Millis((device.clock.now() // HOUR_MS + 1) * HOUR_MS))
            for _ in range(step.number):
                device.create(timestamp=moment, program=tenant)
        case Do.EDIT if device.entities:
            guid = _pick(sorted(device.entities), step.number)
            form = device.entities[guid].data.get("entityName", _PERSON_FORM)
            kind = "group" if form == _GROUP_FORM else "individual"
            values = {f"field{step.number % _FIELDS}": f"{device.name}{number}", "entityName": form, "program": tenant}
            device.record(f"update-{kind}", guid, values)
        case Do.GROUP:
            _make_group(device, step.number, tenant)
        case Do.MEMBER:
            _change_members(device, step.number, tenant)
        case Do.DELETE if persons := _persons(device):
            device.record("delete-entity", _pick(persons, step.number), {"reason": "moved away", "program": tenant})
        case Do.SKEW:
            device.clock.skew_ms = step.number
        case Do.ECHO:
            device.local_mark = ""
        case Do.FORGET:
            device.remote_mark = ""


def _make_group(device: Device, number: int, tenant: str) -> None:
    persons = _persons(device)
    chosen = {_pick(persons, number), _pick(persons, number // 7)} if persons else set()
    guid, newcomer = _guid(device), _guid(device)
    members = [{"guid": member, "role": f"of {device.name}"} for member in (*sorted(chosen), newcomer)]
    data = {"name": f"Group of {device.name}", "members": members, "entityName": _GROUP_FORM, "program": tenant}
    device.record("create-group", guid, data)


def _change_members(device: Device, number: int, tenant: str) -> None:
    """Only in groups the hub has: a device that is refused is stuck for ever, and nothing can be said of it."""
    groups = [
        event["entityGuid"]
        for event in device.events.values()
        if event["type"] == "create-group" and (event["syncLevel"] == 1 or event["guid"] in device.uploaded)
    ]
    persons = _persons(device)
    if not groups or not persons:
        return
    group, member = _pick(sorted(groups), number), _pick(persons, number // 7)
    if number % 3:
        data: dict[str, Any] = {"members": [{"guid": member, "name": f"Joined by {device.name}"}]}
        device.record("add-member", group, data | {"program": tenant})
    else:
        device.record("remove-member", group, {"memberId": member, "program": tenant})


def _persons(device: Device) -> list[str]:
    return sorted(guid for guid, held in device.entities.items() if held.data.get("entityName") == _PERSON_FORM)


def _pick(guids: Sequence[str], number: int) -> str:
    return guids[number % len(guids)]


def _guid(device: Device) -> str:
    return str(uuid.UUID(int=device.random.getrandbits(128), version=4))


async def _keep_nothing(_refused: Sequence[Rejection]) -> Collection[int]:
    """No quarantine: whatever is refused breaks a law."""
    return ()
