"""A hub with six programs full of marked data: whatever leaves one of them can be told from whatever leaves another."""

import json
import re
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import insert, update

from datacollect.app import create_app
from datacollect.eventstore.event import Event
from datacollect.features.external import service as external
from datacollect.features.reviews import service as reviews
from datacollect.features.reviews.service import Submission
from datacollect.features.reviews.tables import review_delegations
from datacollect.http.hub import Hub
from datacollect.jobs import find_active
from datacollect.jobs.tables import jobs
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.clock import TurnableClock
from datacollect.testing.oidc import OidcProvider
from datacollect.testing.remote import Answer, RemoteSystem, Request
from tests.accounts import Person, bearer, login, make_person
from tests.citizens import self_service
from tests.client import HubClient
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, make_settings
from tests.factories import make_audit_log, make_event
from tests.settling import settle

OWN = "own"
"""Where the callers have the role they are named after."""
FOREIGN = "foreign"
UNKNOWN = "unknown"
ARCHIVED = "archived"
"""Archived; the callers have the same role there as in `OWN`."""
SEALED = "sealed"
"""Archived, and foreign."""
DEFAULT = "default"
"""What a request without a program is about; foreign too."""
ELSEWHERE = "elsewhere"
"""Where one caller has more rights than in `OWN`."""

ADMINS = "admins"
"""No program: what stands for it in the marks of an ADMIN."""

PROGRAMS = (OWN, FOREIGN, ARCHIVED, SEALED, DEFAULT, ELSEWHERE)
TARGETS = (OWN, FOREIGN, UNKNOWN, ARCHIVED, SEALED)
RUNNING = frozenset({OWN, FOREIGN, DEFAULT, ELSEWHERE})
_PAIRS_AT_ONCE = 20

SHARED = "a-guid-that-all-programs-have"
_SHARED_EVENT = "5b3c1f0e-9a0d-4c53-9f1e-0d2a7c1e4b11"

_MARK = re.compile(rb"mark-(\w+)-(\w+)-x")


def mark(program: str, kind: str) -> str:
    """A text that occurs in that program only, and there only in values of that kind."""
    return f"mark-{program}-{kind}-x"


def marks_in(answer: Response) -> set[tuple[str, str]]:
    """All (program, kind) that an answer gives away, in its body or its headers."""
    headers = b"\n".join(value for _, value in answer.headers.raw)
    said = b"%s\n%s" % (headers, answer.content)
    return {(program.decode(), kind.decode()) for program, kind in _MARK.findall(said.lower())}


@dataclass(frozen=True)
class Objects:
    """One thing of each kind that a path or a body can name."""

    entity: str
    """In the south, with a conflict."""
    north: str
    group: str
    conflict: str
    quarantined: str
    device: str
    account: str
    session: str
    """Of the account."""
    artifact: str
    attachment: str
    """Of the entity in the south."""
    north_attachment: str
    job: str
    """A run of an exchange, which has ended."""
    review: str
    """Of a change in the south that waits."""
    pair: tuple[str, str] = ("no-such-entity", "no-such-other")
    """Two that may be one, the one that came later first."""


def likeness_of(name: str) -> dict[str, Any]:
    """Of those whom `make_pair` makes."""
    return {"entityName": "individual", "name": mark(name, "data"), "birthDate": "1990-04-02", "phone": "0771234567"}


def stranger_of(name: str) -> dict[str, Any]:
    """Of somebody whom nobody is like."""
    number = uuid.uuid4().int
    word = "".join(chr(ord("a") + number // 26**place % 26) for place in range(12))
    return {
        "entityName": "individual",
        "name": f"{word[:6].title()} {word[6:].title()}",
        "village": mark(name, "data"),
        "birthDate": f"{1950 + number % 50}-{1 + number % 11:02}-{1 + number % 27:02}",
        "phone": f"07{number % 10**8:08}",
    }


def nothing() -> Objects:
    """Well-formed names of things that are nowhere."""
    return Objects(
        entity=str(uuid.uuid4()),
        north=str(uuid.uuid4()),
        group=str(uuid.uuid4()),
        conflict=str(uuid.uuid4()),
        quarantined=str(uuid.uuid4()),
        device="no-such-device",
        account="99999999",
        session=uuid.uuid4().hex,
        artifact=uuid.uuid4().hex,
        attachment=str(uuid.uuid4()),
        north_attachment=str(uuid.uuid4()),
        job=str(uuid.uuid4()),
        review=str(uuid.uuid4()),
    )


@dataclass(frozen=True)
class Sent:
    """A request without its caller."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = None
    """Of an account made for this one request, in place of the caller's."""


Rows = Mapping[str, Mapping[str, list[str]]]
"""Per table, per program ("" for none): every row as text."""


@dataclass
class Providers:
    """Identity providers on sockets of their own."""

    home: OidcProvider
    """The one of `OWN` and `ARCHIVED`."""
    other: OidcProvider
    """The one of all other programs, under the same words."""

    def entries(self, name: str) -> list[dict[str, Any]]:
        """For the config of the program of that name."""
        authority = (self.home if name in (OWN, ARCHIVED) else self.other).authority
        fields = {"authority": authority, "client_id": "app", "client_secret": mark(name, "secret")}
        return [
            {"type": "keycloak", "fields": fields},
            {"type": "supervisors", "fields": fields | {"default_role": "supervisor"}},
            {"type": "northerners", "fields": fields | {"default_area": "north"}},
        ]

    def of_citizens(self, name: str) -> dict[str, Any]:
        return {
            "authority": (self.home if name in (OWN, ARCHIVED) else self.other).authority,
            "redirectUri": "https://app.example/callback",
            "clientId": "citizens",
            "scope": "openid",
            "entityMapping": {"primaryClaim": "sub", "entityField": "oidcSubject"},
        }


@dataclass
class World:
    app: FastAPI
    superuser_url: str | None
    """Of the hub's PostgreSQL database, for somebody from whom it holds nothing back."""
    folder: Path
    clock: TurnableClock
    admin: AsyncClient
    objects: dict[str, Objects]
    guest: str
    """The e-mail of an account that belongs to `ELSEWHERE` alone."""
    shared: str
    """The id of an account that belongs to every program, with a marked area in each."""
    boss: str
    """The id of an ADMIN who belongs to `OWN` and `ELSEWHERE` too."""
    providers: Providers
    registry: RemoteSystem
    """An OpenSPP of either version, without fields or programs."""
    _client: HubClient
    _calls: Iterator[tuple[str, int]]
    _pairs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Fresh ones that nobody has taken yet, by program."""
    administrator: str = "0"
    """The id of the account that the caller `admin` has."""

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def send(self, sent: Sent, authorization: str | None) -> Response:
        """Each request comes from an address of its own: limits per address are not what is tested here."""
        self._client.hub.client = next(self._calls)
        headers = dict(sent.headers)
        authorization = sent.authorization or authorization
        if authorization is not None:
            headers["Authorization"] = authorization
        content: dict[str, Any] = {}
        if sent.raw is not None:
            content["content"] = sent.raw
        elif sent.body is not None:
            content["json"] = sent.body
        # The query is written here, so that nothing tidies up what is repeated or odd.
        query = "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in sent.query)
        url = f"{sent.path}?{query}" if query else sent.path
        return await self._client.request(sent.method, url, headers=headers, **content)

    async def rows(self) -> Rows:
        """All there is, read past the hub."""
        await self.hub.devices.flush()
        await settle(self.hub)
        if self.superuser_url is None:
            return _sqlite_rows(self.folder)
        return await _postgres_rows(self.superuser_url)

    async def make_program(self, name: str, config_id: str | None = None) -> str:
        config = self.config_of(name) | {"id": config_id or f"{name}-{uuid.uuid4().hex[:8]}"}
        answer = await self.admin.post("/api/apps", json=config)
        assert answer.status_code == 200, answer.text
        return str(config["id"])

    def config_of(self, name: str) -> dict[str, Any]:
        return config_of(name) | {
            "authConfigs": self.providers.entries(name),
            "selfService": self_service(oidcConfig=self.providers.of_citizens(name)),
        }

    async def push(self, config_id: str, *events: Any, device: str, **members: Any) -> Any:
        body = {"configId": config_id, "events": list(events)} | members
        answer = await self.admin.post("/api/sync/push", json=body, headers={"X-Device-Id": device})
        assert answer.status_code in (200, 207), answer.text
        return answer.json()

    async def make_conflict(self, config_id: str, name: str) -> tuple[str, str]:
        """An entity in the south and the conflict it has."""
        value, entity = mark(name, "data"), str(uuid.uuid4())
        early, late = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z"
        data = {"entityName": "individual", "name": value, "village": value, "area_id": "south"}
        won = make_event("update-individual", entity=entity, data={"village": f"late {value}"}, timestamp=late)
        lost = make_event("update-individual", entity=entity, data={"village": f"early {value}"}, timestamp=early)
        device = mark(name, "device")
        await self.push(config_id, make_event(entity=entity, data=data, timestamp=early), won, device=device)
        await self.push(config_id, lost, device=device)
        answer = await self.admin.get("/api/conflicts", params={"configId": config_id, "entityGuid": entity})
        return entity, str(answer.json()["conflicts"][0]["guid"])

    async def make_pair(self, config_id: str, name: str) -> tuple[str, str]:
        """Two in the south that may be one, as the hub finds them."""
        [pair] = await self._find_pairs(config_id, name, [likeness_of(name)])
        return pair

    async def fresh_pair(self, config_id: str, name: str) -> tuple[str, str]:
        """As above, and nobody else is like them. Many are made at once: looking for them costs the same."""
        waiting = self._pairs.setdefault(config_id, [])
        if not waiting:
            likenesses = [stranger_of(name) for _ in range(_PAIRS_AT_ONCE)]
            waiting += await self._find_pairs(config_id, name, likenesses)
        return waiting.pop()

    async def _find_pairs(self, config_id: str, name: str, likenesses: list[dict[str, Any]]) -> list[tuple[str, str]]:
        pairs = [(f"n-{uuid.uuid4()}", f"a-{uuid.uuid4()}") for _ in likenesses]
        for position in (1, 0):
            events = [
                make_event(entity=pair[position], data=likeness | {"area_id": "south"})
                for pair, likeness in zip(pairs, likenesses, strict=True)
            ]
            await self.push(config_id, *events, device=mark(name, "device"))
        await self.admin.post("/api/potential-duplicates/sweep", params={"configId": config_id})
        await self.hub.jobs.drain()
        return pairs

    async def make_quarantined(self, config_id: str, name: str, kind: str = "quarantine") -> str:
        """A member that came before its group; the group follows, so that the event can be replayed."""
        value, group = mark(name, kind), str(uuid.uuid4())
        device, members = mark(name, "device"), [{"guid": str(uuid.uuid4()), "name": value}]
        event = make_event("add-member", entity=group, data={"members": members})
        await self.push(config_id, event, device=device, atomic=False)
        await self.push(
            config_id,
            make_event("create-group", entity=group, data={"entityName": "household", "name": mark(name, "data")}),
            device=device,
        )
        query = {"configId": config_id, "entityGuid": group}
        answer = await self.admin.get("/api/sync/quarantine", params=query)
        return str(answer.json()["quarantined"][0]["id"])

    async def make_attachment(self, config_id: str, entity: str, value: str) -> str:
        """A text that says `value`, and is called so."""
        file = (f"{value}.txt", value.encode(), "text/plain")
        answer = await self.admin.post(
            "/api/attachments/upload", data={"configId": config_id, "entityGuid": entity}, files={"file": file}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["attachment"]["guid"])

    async def make_run(self, config_id: str) -> str:
        """The job id of a run that has ended, as it does at once: no system is behind the programs' settings."""
        answer = await self.admin.post("/api/sync/external", json={"configId": config_id})
        assert answer.status_code == 202, answer.text
        await self.exchanged(config_id)
        return str(answer.json()["jobId"])

    async def make_review(self, config_id: str, name: str, *, by: str = "0", delegated: bool = False) -> str:
        """The id of a submission about somebody in the south that waits, for another system if it is delegated; by
        that account, or by nobody who calls."""
        scope, now = system_scope(TenantId(config_id)), self.clock.now()
        tenant = await self.hub.tenants.find(scope.tenant_id)
        assert tenant is not None
        data = {"entityName": "individual", "name": mark(name, "data"), "area_id": "south"}
        event = Event(str(uuid.uuid4()), str(uuid.uuid4()), "create-individual", data, now, "nobody")
        submission = Submission(event, "nobody", f"user:{by}", at_least_internal=True)
        async with self.hub.log.turn(scope), self.hub.db.transaction(scope) as tx:
            review = await reviews.submit(tx, self.hub.log, scope, tenant, submission, now=now)
            if delegated:
                waiting = {"tenant_id": scope.tenant_id, "review_id": review.id, "status": "waiting", "updated_ms": now}
                await tx.execute(insert(review_delegations).values(waiting))
            return review.id

    async def make_waiting_run(self, config_id: str) -> str:
        """The job id of a run that no worker ever takes."""
        scope = system_scope(TenantId(config_id))
        async with self.hub.db.transaction(scope) as tx:
            job_id = await external.start(tx, scope, triggered_by="the matrix", seconds=10**7, now=self.clock.now())
            await tx.execute(update(jobs).where(jobs.c.id == job_id).values(due_ms=10**15))
        return str(job_id)

    async def exchanged(self, config_id: str) -> None:
        """Wait until no run of the program is under way."""
        scope = system_scope(TenantId(config_id))
        async with self.hub.db.reading(scope) as view:
            job = await find_active(view, scope, "external-sync")
        if job is not None:
            await self.hub.jobs.wait_for(scope, job.id, seconds=30)

    async def make_account(self, config_id: str, name: str) -> Person:
        """A new account whose e-mail is marked."""
        email = f"{mark(name, 'email')}-{uuid.uuid4().hex[:6]}@hub.test"
        return await make_person(self.admin, email=email, tenantIds=[config_id])

    async def session_of(self, person: Person) -> str:
        """The id of a new session."""
        token = (await login(self.admin, person))["token"]
        [session] = (await self.admin.get("/api/users/me/sessions", headers=bearer(token))).json()
        return str(session["id"])

    async def artifact_of(self, config_id: str) -> str:
        return str((await self.admin.get(f"/api/apps/{config_id}")).json()["artifactId"])


def config_of(name: str) -> dict[str, Any]:
    """A config with a marked value wherever one can stand, without its identity providers."""
    fields = [{"type": "textfield", "key": "name"}, {"type": "number", "key": "age", "validate": {"min": 0}}]
    return {
        "id": name,
        "name": mark(name, "name"),
        "description": mark(name, "name"),
        "entityForms": [
            {"id": "h", "name": "household", "title": mark(name, "form"), "formio": {"components": fields}},
            {
                "id": "p",
                "name": "individual",
                "title": mark(name, "form"),
                "dependsOn": "household",
                "formio": {"components": fields},
            },
        ],
        "entityData": [
            {"name": "household", "data": [{"id": f"seed-{name}", "name": mark(name, "data"), "area_id": "south"}]}
        ],
        "externalSync": {
            "type": "another-adapter",
            "url": f"https://user:{mark(name, 'secret')}@registry.example",
            "adapterConfig": {"clientSecret": mark(name, "secret")},
            "extraFields": [{"name": "password", "value": mark(name, "secret")}],
        },
        "formValidation": "warn",
        "auditReads": True,
    }


@asynccontextmanager
async def open_world(folder: Path, url: str | None, superuser_url: str | None) -> AsyncIterator[World]:
    clock = TurnableClock()
    async with OidcProvider.running(now=_seconds(clock)) as home, OidcProvider.running(now=_seconds(clock)) as other:
        with RemoteSystem(_registry) as registry:
            async with _opened(folder, url, superuser_url, clock, Providers(home, other), registry) as world:
                yield world


def _registry(request: Request) -> Answer:
    match request.path.rpartition("/")[2]:
        case "jsonrpc":
            signs_in = request.json()["params"]["method"] == "authenticate"
            return Answer(200, {"result": 7 if signs_in else {}})
        case "token":
            return Answer(200, {"access_token": "t", "expires_in": 3600, "scope": "individual:read"})
    return Answer(200, {"items": [], "data": []})


def _seconds(clock: TurnableClock) -> Callable[[], float]:
    return lambda: clock.now() / 1000


@asynccontextmanager
async def _opened(
    folder: Path,
    url: str | None,
    superuser_url: str | None,
    clock: TurnableClock,
    providers: Providers,
    registry: RemoteSystem,
) -> AsyncIterator[World]:
    staff = {"name": "office", "type": "keycloak", "authority": providers.home.authority, "client_id": "hub"}
    settings = make_settings(
        folder, url, STAFF_PROVIDERS=json.dumps([staff]), ALLOW_PRIVATE_ADAPTER_HOSTS=True, OTP_EXPOSE_DEV_CODE=True
    )
    app = create_app(settings, clock=clock)
    async with app.router.lifespan_context(app), HubClient(app) as client, HubClient(app, address="192.0.2.1") as admin:
        answer = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        world = World(
            app,
            superuser_url,
            folder,
            clock,
            admin,
            {},
            "",
            "",
            "",
            providers,
            registry,
            client,
            _addresses(),
        )
        for name in PROGRAMS:
            world.objects[name] = await _fill(world, name)
        world.objects[UNKNOWN] = nothing()
        world.guest = (await make_person(admin, tenantIds=[ELSEWHERE])).email
        parts = [{"tenantId": name, "role": "viewer", "areaId": mark(name, "part")} for name in PROGRAMS]
        world.shared = str((await make_person(admin, roleAssignments=parts)).id)
        name = f"{mark(ADMINS, 'email')}@hub.test"
        world.boss = str((await make_person(admin, email=name, role="ADMIN", tenantIds=[OWN, ELSEWHERE])).id)
        yield world


async def archive_what_is_archived(world: World) -> None:
    for name in PROGRAMS:
        if name not in RUNNING:
            assert (await world.admin.delete(f"/api/apps/{name}")).status_code == 200


async def _fill(world: World, name: str) -> Objects:
    await world.make_program(name, name)
    entity, conflict = await world.make_conflict(name, name)
    quarantined = await world.make_quarantined(name, name)
    north, group, device = str(uuid.uuid4()), str(uuid.uuid4()), mark(name, "device")
    marked = mark(name, "north")
    await world.push(
        name,
        make_event(entity=north, data={"entityName": "individual", "name": marked, "area_id": "north"}),
        make_event("create-group", entity=group, data={"entityName": "household", "name": mark(name, "data")}),
        make_event("add-member", entity=group, data={"members": [{"guid": str(uuid.uuid4()), "name": marked}]}),
        make_event(
            entity=SHARED,
            guid=_SHARED_EVENT,
            data={"entityName": "individual", "name": mark(name, "data"), "area_id": "south"},
        ),
        # Does not match its form, so there is a finding.
        make_event(data={"entityName": "individual", "name": mark(name, "data"), "age": mark(name, "data")}),
        device=device,
    )
    log = make_audit_log(changes={"note": mark(name, "audit")}, signature=mark(name, "audit"))
    answer = await world.admin.post(
        "/api/sync/push/audit-logs", json={"configId": name, "auditLogs": [log]}, headers={"X-Device-Id": device}
    )
    assert answer.status_code == 200, answer.text
    revoked = mark(name, "device").replace("mark", "lost-mark")
    query = {"configId": name}
    assert (await world.admin.post(f"/api/admin/devices/{revoked}/revoke", params=query)).status_code == 200
    account = await world.make_account(name, name)
    session, artifact = await world.session_of(account), await world.artifact_of(name)
    attachment = await world.make_attachment(name, entity, mark(name, "data"))
    north_attachment = await world.make_attachment(name, north, marked)
    return Objects(
        entity=entity,
        north=north,
        group=group,
        conflict=conflict,
        quarantined=quarantined,
        device=device,
        account=str(account.id),
        session=session,
        artifact=artifact,
        attachment=attachment,
        north_attachment=north_attachment,
        job=await world.make_run(name),
        review=await world.make_review(name, name),
        pair=await world.make_pair(name, name),
    )


def _addresses() -> Iterator[tuple[str, int]]:
    number = 0
    while True:
        number += 1
        yield f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}", 40_000


def _sqlite_rows(folder: Path) -> Rows:
    with closing(sqlite3.connect(f"file:{folder / 'hub.sqlite3'}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        tables = [row[0] for row in names]
        return {
            table: _by_program(table, map(dict, connection.execute(f'SELECT * FROM "{table}"'))) for table in tables
        }


async def _postgres_rows(url: str) -> Rows:
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [row[0] for row in names]
        return {
            table: _by_program(table, map(dict, await connection.fetch(f'SELECT * FROM "{table}"'))) for table in tables
        }
    finally:
        await connection.close()


def _by_program(table: str, rows: Iterator[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        program = row.get("tenant_id") or (row["id"] if table == "programs" else "")
        found[str(program)].append(repr(row))
    return {program: sorted(texts) for program, texts in found.items()}


def changes(
    before: Rows, after: Rows, *, apart_from: frozenset[str] = frozenset(), programs: Collection[str] | None = None
) -> list[str]:
    """What differs, as lines to read. `apart_from` names tables; `programs` whose rows count, if not all do."""
    told = []
    for table in sorted((before.keys() | after.keys()) - apart_from):
        old, new = before.get(table, {}), after.get(table, {})
        for program in sorted(old.keys() | new.keys()):
            if (programs is None or program in programs) and old.get(program) != new.get(program):
                gone = set(old.get(program, ())) - set(new.get(program, ()))
                came = set(new.get(program, ())) - set(old.get(program, ()))
                told.append(f"{table} of {program or 'all'}: gone {sorted(gone)[:2]}, came {sorted(came)[:2]}"[:800])
    return told
