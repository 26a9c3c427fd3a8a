"""People who are registered twice, in a program with many: asking before saving, looking through all, and what looking at
each push costs. `--people` says how many; they are those of `datacollect.testing.people`."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from bench.client import BenchError
from bench.machine import peak_memory_mib, reset_peak_memory, usage
from bench.pairs import Pair, figures, pair_of
from bench.payload import push_body
from bench.runner import Bench, say
from bench.stats import Samples, rate
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.comparing import RULES, keys_of, subjects_among
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.service import entities_changed
from datacollect.features.tenants.asked import matching_of
from datacollect.kernel.clock import SystemClock, format_timestamp, parse_timestamp
from datacollect.kernel.cursor import write_place
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.tenancy import Tenant
from datacollect.testing.people import FieldTeams, Household, Kind, Registration, form, in_one_name

DEFAULT_PEOPLE = 20_000
_BATCH = 2_000
_TOLD_AT = parse_timestamp("2025-06-01T08:00:00.000Z")
_LOOK_SECONDS = 0.5
_KEPT = 2_000
"""Registrations of whom some are asked for."""
_ROUNDS, _PUSHED, _PUSH_BATCH = 4, 400, 10
_PAGE = 1000


async def duplicates(bench: Bench) -> None:
    """Checks before saving, a sweep, and what detection costs a push, with --people registered; needs --serve."""
    if bench.commands is None or bench.options.pid is None:
        raise BenchError("duplicates needs a hub of its own: add --serve sqlite or --serve postgres")
    environment, total = bench.commands.environment, bench.options.people or DEFAULT_PEOPLE
    program = _Program(f"bench-twice-{random.randrange(16**8):08x}", random.Random(5))
    await program.store(bench, detects=False)
    url = environment.get("DATABASE_URL")
    async with closing(open_database(url, data_dir=Path(environment["DATA_DIR"]), pool_size=2)) as database:
        await _fill(bench, database, program, total)
        await program.store(bench, detects=True)
        if bench.options.keys_only:
            await _bring_keys(bench, database, program, total)
        else:
            await _sweep(bench, database, program, total)
        await bench.client.sign_in()
        await _vacuum(url)
        await _check(bench, program, total)
        if not bench.options.keys_only:
            await _tell_found(bench, program, total)
        await _push(bench, database, program, total)


@dataclass(slots=True)
class _Program:
    """What is in it, as far as it is known."""

    id: str
    chance: random.Random
    people: dict[str, int] = field(default_factory=dict)
    """Who each registration is of."""
    kept: list[Registration] = field(default_factory=list)
    _seen: int = 0

    @property
    def scope(self) -> TenantScope:
        return system_scope(TenantId(self.id))

    async def store(self, bench: Bench, *, detects: bool) -> None:
        config = {
            "id": self.id, "name": self.id, "version": "1", "entityData": [], "duplicates": {"detect": detects},
            "entityForms": [form(whole_names=True)],
        }  # fmt: skip
        answer = await bench.client.send("POST", "/api/apps", msgspec.json.encode(config))
        if answer.outcome != "200":
            raise BenchError(f"no program: {answer.outcome} {answer.body[:200]!r}")

    def note(self, household: Household) -> None:
        for member in household.members:
            self.people[member.guid] = member.person.number
            self._seen += 1
            if len(self.kept) < _KEPT:
                self.kept.append(member)
            elif (place := self.chance.randrange(self._seen)) < _KEPT:
                self.kept[place] = member

    def truth(self) -> set[Pair]:
        registered: dict[int, list[str]] = {}
        for guid, person in self.people.items():
            registered.setdefault(person, []).append(guid)
        return {
            pair_of(one, other)
            for guids in registered.values()
            for n, one in enumerate(guids)
            for other in guids[n + 1 :]
        }


# -- the program


async def _fill(bench: Bench, database: Database, program: _Program, total: int) -> None:
    """Straight through the log, beside the hub: the rows are those of pushes."""
    tenant = Tenant(TenantId(program.id), program.id)
    log = EventLog(event_store(database), [EntityProjection(FOLLOWERS)], SystemClock())
    meter, begun, said, stored = bench.meter(), time.perf_counter(), time.perf_counter(), 0
    events = _events(program, FieldTeams(people=total).households())
    while batch := list(islice(events, _BATCH)):
        async with database.transaction(program.scope) as tx:
            await log.append(tx, program.scope, tenant, batch)
        stored += len(batch)
        if time.perf_counter() - said > 15:
            said = time.perf_counter()
            say(f"{len(program.people)} of {total} people")
    await Indexer(database, event_store(database)).catch_up(program.scope)
    seconds = time.perf_counter() - begun
    bench.record(
        f"duplicates/people{total}/fill", meter, people=len(program.people), events=stored, seconds=round(seconds, 1),
        events_per_s=rate(stored, seconds), load=_load(),
    )  # fmt: skip


def _events(program: _Program, households: Iterator[Household]) -> Iterator[Event]:
    for household in households:
        program.note(household)
        for told in household.events(whole_names=True):
            yield Event(new_guid(), told["entityGuid"], told["type"], told["data"], _TOLD_AT, "bench")


async def _vacuum(url: str | None) -> None:
    """What autovacuum does by itself before long."""
    if url is None:
        return
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute("VACUUM (ANALYZE)", timeout=1800)
    finally:
        await connection.close()


# -- looking through all of it


async def _sweep(bench: Bench, database: Database, program: _Program, total: int) -> None:
    meter, begun = bench.meter(), time.perf_counter()
    async with _memory(bench) as memory:
        answer = await bench.client.send("POST", f"/api/potential-duplicates/sweep?configId={program.id}")
        if answer.outcome != "202":
            raise BenchError(f"no sweep: {answer.outcome} {answer.body[:200]!r}")
        entities = await _until_looked_at(database, program)
    seconds = time.perf_counter() - begun
    bench.record(
        f"duplicates/people{total}/sweep", meter, entities=entities, seconds=round(seconds, 1),
        records_per_s=rate(entities, seconds), load=_load(), **memory,
    )  # fmt: skip


async def _until_looked_at(database: Database, program: _Program) -> int:
    """Wait until the job has come to the end of the log; how many entities there are."""
    log, said, pause = EventLog(event_store(database), [], SystemClock()), time.perf_counter(), _LOOK_SECONDS / 64
    while True:
        async with database.reading(program.scope) as view:
            head = await log.head(view, program.scope)
            mark = await queries.find_mark(view, program.scope, RULES) or 0
        assert head is not None
        if mark >= head.position:
            return sum(head.figures.values())
        if time.perf_counter() - said > 30:
            said = time.perf_counter()
            say(f"looked at {mark} of {head.position} events")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LOOK_SECONDS)


async def _bring_keys(bench: Bench, database: Database, program: _Program, total: int) -> None:
    """The keys that the job stores, by its own functions and without comparing anybody: what a check needs to be there."""
    scope, meter, begun, said = program.scope, bench.meter(), time.perf_counter(), time.perf_counter()
    log, position, rows = EventLog(event_store(database), [], SystemClock()), 0, 0
    while True:
        async with database.transaction(scope) as tx:
            head, matching = await log.hold(tx, scope), await matching_of(tx, scope.tenant_id)
            assert head is not None and matching is not None
            batch = await entities_changed(tx, scope, after=position, to=head.position, limit=_BATCH)
            keys = keys_of(await subjects_among(tx, scope, batch.entities, matching.roles))
            told = {(key, guid) for guid, own in keys.items() for key in own}
            await queries.add_keys(tx, scope, told)
            await queries.store_mark(tx, scope, batch.through, RULES, now=SystemClock().now())
        position, rows = batch.through, rows + len(told)
        if position >= head.position:
            break
        if time.perf_counter() - said > 30:
            said = time.perf_counter()
            say(f"keys of {position} of {head.position} events")
    bench.record(
        f"duplicates/people{total}/keys", meter, rows=rows, seconds=round(time.perf_counter() - begun, 1), load=_load()
    )


async def _tell_found(bench: Bench, program: _Program, total: int) -> None:
    """What the sweep has found, beside who is who."""
    found: set[Pair] = set()
    cursor = ""
    while True:
        path = f"/api/potential-duplicates?configId={program.id}&limit={_PAGE}{cursor}"
        page, last = await _page(bench, path)
        found |= {pair for pair in page if pair[0] in program.people and pair[1] in program.people}
        if len(page) < _PAGE:
            break
        cursor = f"&cursor={last}"
    of = figures(found, program.truth())
    bench.record(f"duplicates/people{total}/found", bench.meter(), pairs=len(found), **of.shown())
    say(f"precision {of.precision:.4f}, recall {of.recall:.4f}")


async def _page(bench: Bench, path: str) -> tuple[list[Pair], str]:
    listed = await bench.client.get_json(path)
    pairs = [pair_of(each["entityGuid"], each["duplicateGuid"]) for each in listed]
    return pairs, _place_after(listed) if listed else ""


def _place_after(listed: Sequence[Mapping[str, Any]]) -> str:
    last = listed[-1]
    first, second = sorted((last["entityGuid"], last["duplicateGuid"]))
    return write_place([parse_timestamp(last["detectedAt"]), first, second])


# -- asking before somebody is saved


async def _check(bench: Bench, program: _Program, total: int) -> None:
    bodies = _questions(program, bench.options.samples)
    samples, matched, meter = Samples(), 0, bench.meter()
    deadline = time.perf_counter() + bench.options.seconds
    for body in bodies:
        if time.perf_counter() > deadline:
            break
        answer = await bench.client.send("POST", "/api/potential-duplicates/check", body)
        samples.add(answer.outcome, answer.seconds)
        matched += answer.outcome == "200" and bool(msgspec.json.decode(answer.body)["matches"])
    bench.record(f"duplicates/people{total}/check", meter, matched=matched, load=_load(), **samples.summary())


def _questions(program: _Program, count: int) -> list[bytes]:
    """Every second one is about somebody who is there, as they were told; the others are new."""
    others = [m for h in FieldTeams(seed=77, people=count).households() for m in h.members if m.kind is Kind.FIRST]
    mixed = [member for pair in zip(program.kept, others, strict=False) for member in pair][:count]
    return [msgspec.json.encode({"configId": program.id, "data": in_one_name(member.data)}) for member in mixed]


# -- what detection costs a push


async def _push(bench: Bench, database: Database, program: _Program, total: int) -> None:
    """Pushes with detection on and off in turn; of those with detection, what is used until all of it was looked at."""
    newcomers = _newcomers()
    # Fewer than are there, so that a turn changes little of what is measured.
    pushed = min(_PUSHED, max(_PUSH_BATCH, total // 10))
    for detects in (False, True):
        await program.store(bench, detects=detects)
        await _push_some(bench, program, newcomers, Samples(), events=pushed)
    await _until_looked_at(database, program)
    taken: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    samples = {False: Samples(), True: Samples()}
    rounds = bench.options.rounds or _ROUNDS
    for turn in range(rounds):
        for detects in (False, True) if turn % 2 else (True, False):
            await program.store(bench, detects=detects)
            begun, used = time.perf_counter(), usage(bench.options.pid or 0).cpu_seconds
            await _push_some(bench, program, newcomers, samples[detects], events=pushed)
            taken[detects].append(time.perf_counter() - begun)
            if detects:
                await _until_looked_at(database, program)
            cpu[detects].append(usage(bench.options.pid or 0).cpu_seconds - used)
            if not detects:
                # What was pushed meanwhile is looked at before the next turn.
                await program.store(bench, detects=True)
                await _push_some(bench, program, newcomers, Samples(), events=_PUSH_BATCH)
                await _until_looked_at(database, program)
    on, off = sum(taken[True]), sum(taken[False])
    events = rounds * pushed
    bench.record(
        f"duplicates/people{total}/push", bench.meter(), events=events,
        events_per_s_on=rate(events, on), events_per_s_off=rate(events, off), ratio=round(off / on, 3),
        hub_cpu_ms_per_event_on=round(1000 * sum(cpu[True]) / events, 2),
        hub_cpu_ms_per_event_off=round(1000 * sum(cpu[False]) / events, 2),
        on=samples[True].summary(), off=samples[False].summary(), load=_load(),
    )  # fmt: skip


def _newcomers() -> Iterator[dict[str, Any]]:
    for household in FieldTeams(seed=random.randrange(2**32), people=10**9).households():
        for told in household.events(whole_names=True):
            if told["type"] == "create-individual":
                now = format_timestamp(SystemClock().now())
                yield {**told, "guid": new_guid(), "timestamp": now, "userId": "bench", "syncLevel": 0}


async def _push_some(
    bench: Bench, program: _Program, newcomers: Iterator[dict[str, Any]], samples: Samples, *, events: int
) -> None:
    for _ in range(events // _PUSH_BATCH):
        answer = await bench.client.push(push_body(list(islice(newcomers, _PUSH_BATCH)), program.id))
        if answer.outcome != "200":
            raise BenchError(f"not pushed: {answer.outcome} {answer.body[:200]!r}")
        samples.add(answer.outcome, answer.seconds)


# -- what it takes


@contextlib.asynccontextmanager
async def _memory(bench: Bench) -> AsyncIterator[dict[str, Any]]:
    """The most memory that the hub's process holds during the block, and what it held before."""
    pid, found = bench.options.pid or 0, dict[str, Any]()
    reset_peak_memory(pid)
    before = usage(pid).rss_mib
    yield found
    found |= {"rss_before_mib": before, "peak_rss_mib": peak_memory_mib(pid)}


def _load() -> float:
    return round(os.getloadavg()[0], 1)
