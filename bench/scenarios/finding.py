"""Lists, counts and searches of a program with many entities; `--entities` says how many."""

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec
import structlog
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from bench.client import BenchError, HubClient
from bench.payload import EventMaker, as_event
from bench.runner import Bench, say
from bench.stats import Samples, rate
from datacollect.app import create_app
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import open_database
from datacollect.db.database import closing
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.indexing.indexer import Indexer
from datacollect.features.entities.projection import EntityProjection
from datacollect.http.hub import Hub
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.settings import Settings

_BATCH = 2_000
_AREAS = 1_000
_FORMS = ("individual", "farmer", "pupil", "elder")
_SEARCHABLE = ("cardNumber", "village", "householdSize", "birthDate")
_SLOW_SAMPLES = 20
"""Requests of what goes through the program."""
_PASSWORD = "Measured-Horse-8"


@dataclass(frozen=True, slots=True)
class _Request:
    """One thing to ask for."""

    path: str
    body: Mapping[str, Any] | None = None
    is_slow: bool = False
    by_reader: bool = False
    """By somebody who is limited to one area."""


async def find(bench: Bench) -> None:
    if bench.commands is None:
        raise BenchError("--entities needs a hub of its own: add --serve sqlite or --serve postgres")
    total, environment = bench.options.entities, bench.commands.environment
    assert total is not None
    config_id = f"bench-find-{random.randrange(16**8):08x}"
    await make_program(bench.client, config_id)
    meter, begun = bench.meter(), time.perf_counter()
    made = await fill(environment, config_id, total)
    seconds = time.perf_counter() - begun
    bench.record(
        f"fill/entities{total}", meter, events=total, seconds=round(seconds, 1), events_per_s=rate(total, seconds)
    )
    if url := environment.get("DATABASE_URL"):
        # What autovacuum does by itself before long.
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute("VACUUM (ANALYZE)", timeout=1800)
        finally:
            await connection.close()
    reader = await _make_reader(bench.client, config_id, "area-7")
    async with _counting(environment) as counting:
        for name, request in _requests(config_id, made).items():
            await _measure(bench, f"find/entities{total}/{name}", request, reader, counting)


def _requests(config_id: str, made: "_Made") -> Mapping[str, _Request]:
    def of(path: str = "", **query: Any) -> str:
        return f"/api/entities{path}?{urlencode({'configId': config_id} | query, doseq=True)}"

    def search(*criteria: Any, **more: Any) -> dict[str, Any]:
        return {"path": "/api/entities/search", "body": {"configId": config_id, "criteria": list(criteria), **more}}

    card, group = made.cards[len(made.cards) // 2], made.groups[len(made.groups) // 2]
    return {
        "list100": _Request(of(limit=100)),
        "list100-without-total": _Request(of(limit=100, count="none")),
        "list100-offset-10000": _Request(of(limit=100, offset=10_000)),
        "list100-by-name": _Request(of(limit=100, sort="name")),
        "list100-of-type": _Request(of(limit=100, type="group")),
        "list100-of-form": _Request(of(limit=100, entityName="elder")),
        "list100-of-area": _Request(of(limit=100, area="area-7")),
        "list100-of-area-by-name": _Request(of(limit=100, area="area-7", sort="name")),
        "list100-of-20-areas": _Request(of(limit=100, area=[f"area-{n}" for n in range(20)])),
        "list100-of-form-by-name": _Request(of(limit=100, entityName="elder", sort="name")),
        "list100-of-parent": _Request(of(limit=100, parent=group)),
        "list100-since": _Request(of(limit=100, updatedSince=made.late)),
        "list100-in-conflict": _Request(of(limit=100, hasConflict="true")),
        "list100-two-fields": _Request(of(limit=100, fields="guid,name")),
        "list1000": _Request(of(limit=1000)),
        "one": _Request(of(f"/{made.guids[len(made.guids) // 3]}")),
        "count": _Request(of("/count")),
        "count-by-form": _Request(of("/count-by-form")),
        "q-rare": _Request(of(q=card)),
        "q-common": _Request(of(q="carmen")),
        "q-two-common": _Request(of(q="carmen gup")),
        "q-nothing": _Request(of(q="nobody")),
        "search-indexed-rare": _Request(**search({"cardNumber": card})),
        "search-indexed-common": _Request(**search({"village": "Old Mill"})),
        "search-two-indexed": _Request(**search({"village": "Old Mill"}, {"householdSize": {"$gte": 13}})),
        "search-indexed-dates": _Request(**search({"birthDate": {"$gte": "2023-12-20"}})),
        "search-guid": _Request(**search({"guid": made.guids[0]})),
        "search-unindexed-common": _Request(**search({"sex": "female"})),
        "search-unindexed-rare": _Request(**search({"email": f"p{card}@example.org"}), is_slow=True),
        "search-unindexed-nothing": _Request(**search({"phone": {"$gt": 5}}), is_slow=True),
        "search-contains-rare": _Request(**search({"email": {"$contains": card}}), is_slow=True),
        "search-regex-common": _Request(**search({"name": {"$regex": "carmen.*gup"}})),
        "search-regex-rare": _Request(**search({"name": {"$regex": f"{card}$"}}), is_slow=True),
        "search-regex-nothing-plain": _Request(**search({"address": {"$regex": "[xyz]{3}"}}), is_slow=True),
        "limited-list100": _Request(of(limit=100), by_reader=True),
        "limited-count": _Request(of("/count"), by_reader=True),
        "limited-search-unindexed": _Request(**search({"sex": "female"}), by_reader=True),
    }


async def _measure(bench: Bench, key: str, request: _Request, reader: Mapping[str, str], counting: "_Counting") -> None:
    body = None if request.body is None else msgspec.json.encode(request.body)
    signed = dict(reader) if request.by_reader else None
    left = min(bench.options.samples, _SLOW_SAMPLES if request.is_slow else bench.options.samples)
    samples, meter, size, rows = Samples(), bench.meter(), 0, 0
    deadline = time.perf_counter() + bench.options.seconds
    while left and time.perf_counter() < deadline:
        answer = await bench.client.send(
            "GET" if body is None else "POST", request.path, body, signed=signed is None, headers=signed
        )
        samples.add(answer.outcome, answer.seconds)
        left, size = left - 1, len(answer.body)
        if answer.outcome == "200":
            rows = len(msgspec.json.decode(answer.body))
    statements = await counting.statements(request, signed or bench.client.signed)
    bench.record(key, meter, body_bytes=size, rows=rows, statements=statements, **samples.summary())


# -- the program


async def make_program(client: HubClient, config_id: str) -> None:
    components = [
        {"type": "textfield", "key": key, "input": True, "properties": {"searchable": "true"}} for key in _SEARCHABLE
    ]
    forms = [
        {
            "id": f"f-{name}",
            "name": name,
            "title": name,
            "entityType": "individual",
            "formio": {"components": components},
        }
        for name in _FORMS
    ]
    config = {"id": config_id, "name": config_id, "version": "1", "entityForms": forms, "entityData": []}
    answer = await client.send("POST", "/api/apps", msgspec.json.encode(config))
    if answer.outcome != "200":
        raise BenchError(f"no program: {answer.outcome} {answer.body[:200]!r}")


async def _make_reader(client: HubClient, config_id: str, area: str) -> Mapping[str, str]:
    """The headers of somebody who sees one area."""
    email = f"{config_id}@hub.example"
    assignment = {"tenantId": config_id, "role": "enumerator", "areaId": area}
    account = {"email": email, "password": _PASSWORD, "role": "USER", "tenantIds": [config_id]}
    made = await client.send("POST", "/api/users", msgspec.json.encode(account | {"roleAssignments": [assignment]}))
    login = await client.send(
        "POST", "/api/users/login", msgspec.json.encode({"email": email, "password": _PASSWORD}), signed=False
    )
    if login.outcome != "200":
        raise BenchError(f"no reader: {made.outcome} {login.outcome} {login.body[:200]!r}")
    return {"Authorization": f"Bearer {msgspec.json.decode(login.body)['token']}"}


@dataclass(slots=True)
class _Made:
    """Some of what is in the program."""

    guids: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    late: str = ""
    """A time by which nearly all had been stored."""


async def fill(environment: Mapping[str, str], config_id: str, total: int) -> _Made:
    """Straight through the log, beside the hub: the rows, counters and terms are those of pushes."""
    scope, tenant = system_scope(TenantId(config_id)), Tenant(TenantId(config_id), config_id)
    maker, made, chance = EventMaker(), _Made(), random.Random(11)
    database = open_database(environment.get("DATABASE_URL"), data_dir=Path(environment["DATA_DIR"]), pool_size=2)
    left, said = total, time.perf_counter()
    async with closing(database):
        store = event_store(database)
        log = EventLog(store, [EntityProjection(FOLLOWERS)], SystemClock())
        while left:
            size = min(_BATCH, left)
            batch = [_next(maker, made, chance) for _ in range(size)]
            async with database.transaction(scope) as tx:
                await log.append(tx, scope, tenant, batch)
            left -= size
            if left > total // 100 or not made.late:
                made.late = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 1))
            if time.perf_counter() - said > 15:
                said = time.perf_counter()
                say(f"{total - left} of {total} entities")
        await Indexer(database, store).catch_up(scope)
    return made


def _next(maker: EventMaker, made: _Made, chance: random.Random) -> Event:
    """Of fifty entities one is a household, the others are people, some of whom belong to it; in a thousand areas."""
    wire = maker.create()
    area = {"area_id": f"area-{chance.randrange(_AREAS)}"}
    if len(made.guids) > 10 and chance.random() < 0.02:
        name = f"Household {len(made.groups)}"
        wire |= {"type": "create-group", "data": {"entityName": "household", "name": name} | area}
        made.groups.append(wire["entityGuid"])
    else:
        form = chance.choices(_FORMS, (90, 6, 3, 1))[0]
        wire["data"] |= {"entityName": form} | area
        if made.groups and chance.random() < 0.08:
            wire["data"]["parentGuid"] = made.groups[-1]
        made.cards.append(wire["data"]["cardNumber"])
    made.guids.append(wire["entityGuid"])
    return as_event(wire)


# -- statements


class _Counting:
    """A second hub on the same database, in this process, to see what a request sends to it."""

    def __init__(self, app: FastAPI) -> None:
        self._hub: Hub = app.state.hub
        self._client = AsyncClient(transport=ASGITransport(app=app), base_url="http://hub.example")

    async def statements(self, request: _Request, headers: Mapping[str, str]) -> int:
        await self._send(request, headers)  # what is looked up once a second is known then
        with self._hub.db.statements.record() as sent:
            await self._send(request, headers)
        return len(sent)

    async def _send(self, request: _Request, headers: Mapping[str, str]) -> None:
        if request.body is None:
            await self._client.get(request.path, headers=dict(headers))
        else:
            await self._client.post(request.path, json=dict(request.body), headers=dict(headers))

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._hub.db.close()


@contextlib.asynccontextmanager
async def _counting(environment: Mapping[str, str]) -> AsyncIterator[_Counting]:
    # Two hubs that tell of every request are one too many.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    names = {field.alias for field in Settings.model_fields.values()}
    values: dict[str, Any] = {name: value for name, value in environment.items() if name in names}
    counting = _Counting(create_app(Settings(_env_file=None, **values)))
    try:
        yield counting
    finally:
        await counting.aclose()
