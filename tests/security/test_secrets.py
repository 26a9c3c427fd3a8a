"""Secrets planted everywhere, then looked for in everything the hub says to those who may not know them, and writes."""

import contextlib
import json
import re
import socket
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
import pytest
from httpx2 import AsyncClient, Response
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from datacollect.app import create_app  # imports every slice, and so every table
from datacollect.db.metadata import metadata
from datacollect.db.postgres import PostgresDatabase
from datacollect.logs import describe_exception
from datacollect.settings import Settings
from tests.accounts import bearer
from tests.description import Document, json_schema_of
from tests.e2e.conftest import Run, Running, Serve
from tests.security.canaries import CONFIG, MARK, PEOPLE, Canaries, person_event, secret_config

pytestmark = pytest.mark.anyio


class Visitor:
    """Speaks to a hub in a process of its own, and holds each answer to the secrets its reader may know."""

    def __init__(self, hub: Running, canary: Canaries) -> None:
        self.hub, self.canary = hub, canary
        self.client = httpx2.Client(base_url=hub.url, timeout=20)
        self.calls = 0

    def call(self, method: str, path: str, *may: str, **request: Any) -> Response:
        """`may` names the secrets that the answer may hold."""
        answer = self.client.request(method, path, **request)
        self.calls += 1
        told = f"{answer.status_code} {answer.text} {dict(answer.headers)}"
        leaked = self.canary.found_in(told, *may)
        assert not leaked, f"{method} {path.partition('?')[0]} told {leaked}: {answer.text[:400]}"
        return answer

    def both_kinds(self, method: str, path: str, **request: Any) -> None:
        """A request that is refused, in both representations of its error."""
        headers = request.pop("headers", {})
        for accept in ("*/*", "application/problem+json"):
            self.call(method, path, headers=headers | {"Accept": accept}, **request)


@contextlib.contextmanager
def visiting(hub: Running, canary: Canaries) -> Iterator[Visitor]:
    visitor = Visitor(hub, canary)
    with visitor.client:
        yield visitor


@pytest.fixture(params=["sqlite", "postgres"])
def planted(request: pytest.FixtureRequest, canary: Canaries) -> dict[str, str]:
    """Settings full of secrets: the key of all tokens, the administrator's password, the database's."""
    settings = {
        "ADMIN_EMAIL": "admin@hub.test",
        "ADMIN_PASSWORD": canary["first"],
        "JWT_SECRET": canary["jwt-secret"] + "-" * 16,
        "LOG_LEVEL": "debug",
        "LOGIN_RATE_LIMIT": "1000",
        "LOGIN_ACCOUNT_LIMIT": "1000",
        "REQUEST_RATE_LIMIT": "0",
        "PUBLIC_BASE_URL": "http://hub.test",
    }
    if request.param == "postgres":
        url = urlsplit(request.getfixturevalue("postgres_url"))
        user, _, place = url.netloc.rpartition("@")
        account = f"{user.partition(':')[0] or 'postgres'}:{canary['database']}@{place}"
        settings["DATABASE_URL"] = urlunsplit(url._replace(netloc=account))
    return settings


def sign_in(visitor: Visitor, email: str, password: str, name: str) -> dict[str, str]:
    """Headers of a session; its tokens are secrets from now on."""
    tokens = (f"{name}-access", f"{name}-refresh")
    answer = visitor.client.post("/api/users/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.status_code
    for token, member in zip(tokens, ("token", "refreshToken"), strict=True):
        visitor.canary.also(token, answer.json()[member])
    return bearer(answer.json()["token"])


def accounts(visitor: Visitor, admin: dict[str, str], program: str) -> dict[str, str]:
    """Passwords right, wrong, weak, new; tokens used, renewed, reused, in the wrong place. Gives a member's headers."""
    canary = visitor.canary
    account = {"email": f"{canary['email'].lower()}@hub.test", "role": "USER", "tenantIds": [program]}
    visitor.call("POST", "/api/users", json=account | {"password": canary["password"]}, headers=admin)
    visitor.both_kinds("POST", "/api/users", json=account | {"password": canary["password"]}, headers=admin)
    visitor.both_kinds(
        "POST", "/api/users", json=account | {"password": f"{MARK.lower()}{canary['weak'].lower()}"}, headers=admin
    )
    visitor.both_kinds(
        "POST", "/api/users", json=account | {"password": [canary["listed"]], "role": canary["role"]}, headers=admin
    )
    for body in (
        {"email": account["email"], "password": canary["wrong"]},
        {"email": canary["nobody"], "password": canary["wrong"]},
        {"email": [canary["nobody"]], "password": {"x": canary["wrong"]}},
    ):
        visitor.both_kinds("POST", "/api/users/login", json=body)
    visitor.both_kinds("POST", "/api/users/login", content=f'{{"password":"{canary["cut"]}'.encode())
    visitor.both_kinds("POST", "/api/users/login", content=f'{{"password":"{canary["cut"]}\xff"}}'.encode("latin-1"))
    visitor.both_kinds("POST", "/api/users/login", content=f'{{"a":{canary["cut"]}}}'.encode())
    member = sign_in(visitor, account["email"], canary["password"], "member")
    for value in (canary["made-up-token"], canary.words["member-refresh"], canary.words["member-access"] + "x"):
        visitor.both_kinds("GET", "/api/users/me", headers=bearer(value))
        visitor.both_kinds("GET", "/api/sync/pull", headers={"Authorization": f"{canary['scheme']} {value}"})
    used = canary.words["member-refresh"]
    renewed = visitor.client.post("/api/users/refresh", json={"refreshToken": used}).json()
    canary.also("renewed-access", renewed["token"])
    canary.also("renewed-refresh", renewed["refreshToken"])
    again = visitor.client.post("/api/users/refresh", json={"refreshToken": renewed["refreshToken"]}).json()
    canary.also("third-access", again["token"])
    canary.also("third-refresh", again["refreshToken"])
    visitor.both_kinds("POST", "/api/users/refresh", json={"refreshToken": canary["made-up-token"]})
    visitor.both_kinds("POST", "/api/users/refresh", json={"refreshToken": canary.words["member-access"]})
    visitor.both_kinds("POST", "/api/users/refresh", json={"refreshToken": used})
    # The token that came again has ended that session.
    member = sign_in(visitor, account["email"], canary["password"], "second")
    change = {"currentPassword": canary["wrong"], "newPassword": canary["new"]}
    visitor.both_kinds("POST", "/api/users/me/password", json=change, headers=member)
    visitor.both_kinds("POST", "/api/users/me/password", json=change | {"newPassword": "weak"}, headers=member)
    right = change | {"currentPassword": canary["password"]}
    assert visitor.call("POST", "/api/users/me/password", json=right, headers=member).status_code == 200
    return sign_in(visitor, account["email"], canary["new"], "again")


def configs(visitor: Visitor, admin: dict[str, str], config: dict[str, Any]) -> str:
    """A program full of secrets, uploaded well and badly, and read by whoever may not see them. Gives its artifact."""
    canary = visitor.canary
    document = json.dumps(config)
    file = ("config.json", document, "application/json")
    saved = visitor.call("POST", "/api/apps", files={"config": file}, headers=admin)
    assert saved.status_code == 200, saved.text
    for part in (
        ("c.json", document[:-9], "application/json"),
        ("c.json", document, canary["mime"]),
        ("c.txt", canary["text"], "text/plain"),
    ):
        visitor.both_kinds("POST", "/api/apps", files={"config": part}, headers=admin)
    visitor.both_kinds("POST", "/api/apps", files={canary["field"]: file}, headers=admin)
    broken = b"--b\r\nContent-Disposition: form-data; name=config\r\n\r\n" + canary["multipart"].encode()
    visitor.both_kinds(
        "POST", "/api/apps", content=broken, headers=admin | {"Content-Type": "multipart/form-data; boundary=b"}
    )
    visitor.both_kinds("POST", "/api/apps", content=broken, headers=admin | {"Content-Type": "multipart/form-data"})
    visitor.both_kinds("POST", "/api/apps", json=config | {"externalSync": canary["adapter"]}, headers=admin)
    visitor.both_kinds(
        "POST", "/api/apps", json=config | {"externalSync": {"adapterConfig": canary["adapter"]}}, headers=admin
    )
    visitor.both_kinds("POST", "/api/apps", json=config | {"authConfigs": [canary["provider"]]}, headers=admin)
    visitor.both_kinds("POST", "/api/apps", json=config | {"url": f"https://u:{canary['url']}@x.test"}, headers=admin)
    visitor.both_kinds("PUT", f"/api/apps/{config['id']}", json=config | {"name": {canary["seed"]: 1}}, headers=admin)
    visitor.call("GET", f"/api/apps/{config['id']}", *CONFIG, headers=admin)
    return str(saved.json()["artifactId"])


def events(visitor: Visitor, member: dict[str, str], program: str) -> None:
    """People's data pushed well and badly."""
    canary, push = visitor.canary, "/api/sync/push"
    named = {"configId": program}
    good = person_event(canary)
    assert visitor.call("POST", push, json=named | {"events": [good]}, headers=member).status_code == 200
    data = good["data"]
    for event in (
        person_event(canary, type="no-such-type"),
        person_event(canary, data=[canary["person"]]),
        person_event(canary, data=canary["person"]),
        person_event(canary, timestamp=canary["person"]),
        person_event(canary, syncLevel=canary["person"]),
        person_event(canary, userId={"x": canary["person"]}),
        person_event(canary, type="add-member", data=data | {"members": [{"guid": "x", "name": canary["person"]}]}),
        person_event(canary, type="add-member", data=data | {"members": canary["person"]}),
        person_event(canary, type="create-entity", data=data),
        person_event(canary, type="enrol-in-program", data=data | {"programId": canary["person"]}),
        good | {"data": data | {"name": "another"}},
    ):
        for atomic in (True, False):
            visitor.both_kinds("POST", push, json=named | {"events": [event], "atomic": atomic}, headers=member)
    body = json.dumps(named | {"events": [good]}).encode()
    for broken in (
        body[:-20],
        body.replace(b'"data"', b'"guid"'),
        body + canary["person"].encode(),
        body.replace(b"name", b"\xff\xfe"),
    ):
        visitor.both_kinds("POST", push, content=broken, headers=member)
    visitor.both_kinds("POST", push, content=body, headers={"Authorization": "Bearer x"})
    log = {"guid": "x", "timestamp": canary["person"], "changes": {"name": canary["person"]}}
    visitor.both_kinds("POST", "/api/sync/push/audit-logs", json=named | {"auditLogs": [log]}, headers=member)
    visitor.call("GET", "/api/sync/pull", *PEOPLE, params=named | {"limit": 5000}, headers=member)
    # For supervisors: what was refused, with people's data in it, and the trail.
    for path in (
        "/api/sync/quarantine",
        "/api/sync/pull/audit-logs",
        "/api/sync/form-findings",
        "/api/users",
        "/api/admin/devices",
    ):
        assert visitor.call("GET", path, params=named, headers=member).status_code == 403
    query = f"token={canary['query-token']}&since={canary['query-token']}&configId={program}"
    visitor.both_kinds("GET", f"/api/sync/pull?{query}", headers=member)
    visitor.both_kinds("GET", f"/api/entities/{canary['person']}?configId=other&{query}", headers=member)
    visitor.both_kinds("POST", f"/api/users/login?password={canary['query-token']}", json={})


def strangers(visitor: Visitor, member: dict[str, str], program: str, artifact: str) -> None:
    """Everything that is open to everybody, or to members who may not see secrets."""
    for path in (
        "/",
        "/openapi.json",
        "/api-docs/openapi.json",
        "/api-docs",
        "/health",
        f"/artifacts/{artifact}.json",
        f"/artifacts/{artifact}.png",
        f"/artifacts/{artifact}.svg",
        f"/api/apps/{program}/public",
    ):
        assert visitor.call("GET", path).status_code == 200, path
    visitor.call("GET", "/api/apps", headers=member)
    visitor.call("GET", f"/api/apps/{program}", headers=member)
    # The contract wants the address back; its sender knows it. Nobody else sees it, the log included.
    visitor.call("GET", f"/nowhere?x={visitor.canary['not-found']}", "not-found")


def garbage(hub: Running, canary: Canaries) -> None:
    """What no client sends: the server below the application must not write it down either."""
    word = canary["garbage"].encode()
    for sent in (
        b"GET /" + word + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + word + b"\r\nContent-Length: z\r\n\r\n",
        word + b"\r\n\r\n",
        b"POST /api/users/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + word + b"\r\n",
        b"POST /api/users/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n" + word,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
        + word
        + b"\r\n\r\n",
        b"GET /" + word * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + word + b"\r\nCookie: " + word + b"\r\nX: \x00" + word + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", hub.port), timeout=2) as connection, contextlib.suppress(OSError):
            connection.settimeout(0.3)
            connection.sendall(sent)
            answer = connection.recv(65536)
            assert not canary.found_in(answer), answer[:300]


def every_route(visitor: Visitor, headers: dict[str, str], program: str) -> int:
    """Each operation as its description shows it, with a secret in the place of one text of the body and then of all;
    also in its path, its query and the headers that anybody may set. How many crashed: no answer of those tells one."""
    canary, document = visitor.canary, Document(visitor.client.get("/openapi.json").json())
    told = dict.fromkeys(("User-Agent", "X-Device-Id", "Accept-Language", "Cookie", "Referer"), canary["header"])
    crashed = 0
    for method, path, operation in document.operations():
        if (method, path) in ENDING:
            continue
        named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
        query = dict.fromkeys(named, canary["asked"]) | {"configId": program}
        where = path.replace("/apps/{id}", f"/apps/{program}")
        where = re.sub(r"\{\w+\}", canary["path"], where)
        schema = json_schema_of(operation.get("requestBody", {}).get("content", {}))
        bodies = [body for example in document.examples_of(schema)[:1] for body in planted_in(example, canary["sent"])]
        for body in bodies or [None]:
            answer = visitor.client.request(method, where, params=query, headers=headers | told, json=body)
            visitor.calls += 1
            if answer.status_code >= 500:
                crashed += 1
                assert not canary.found_in(answer.text), f"{method} {path} told a secret: {answer.text[:400]}"
    return crashed


ENDING = (
    ("DELETE", "/api/apps/{id}"),
    ("DELETE", "/api/users/me/sessions"),
)
"""With these it would be over."""


PROGRAMS = ("id", "configId", "tenantId")
"""These name programs, which the log may tell."""


def planted_in(example: Any, word: str) -> list[Any]:
    """The example with the word in the place of each member, one after the other, and of all texts."""
    if not isinstance(example, dict):
        return [filled(example, word)]
    # Nobody is called from here.
    at_home = example | dict.fromkeys(("url", "baseUrl") & example.keys(), "http://127.0.0.1:1")
    alone = [at_home | filled({name: value}, word) for name, value in example.items()]
    return [*alone, filled(example, word)]


def filled(value: Any, word: str) -> Any:
    match value:
        case dict():
            return {name: inner if name in PROGRAMS else filled(inner, word) for name, inner in value.items()}
        case list():
            return [filled(inner, word) for inner in value]
    return word


def breaking(engine: str, *, but: str = "") -> list[str]:
    """Nothing can be written any more, but to one table: PostgreSQL quotes the row in what it says, SQLite the constraint."""
    assert create_app
    tables = sorted(metadata.tables.keys() - {but})
    if engine.startswith("postgres"):
        return [f"ALTER TABLE {table} ADD CONSTRAINT never_{table} CHECK (1 = 2) NOT VALID" for table in tables]
    return [
        f"CREATE TRIGGER {table}_{when} BEFORE {when} ON {table} BEGIN SELECT RAISE(ABORT, 'never'); END"
        for table in tables
        for when in ("INSERT", "UPDATE")
    ]


GONE = ("entities", "events", "users")


async def break_database(settings: dict[str, str], folder: Path, statements: list[str]) -> None:
    url = settings.get("DATABASE_URL")
    if url is None:
        with contextlib.closing(sqlite3.connect(database_in(folder), timeout=10)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def database_in(folder: Path) -> Path:
    [file] = folder.rglob("hub.sqlite3")
    return file


def crashes(visitor: Visitor, admin: dict[str, str], member: dict[str, str], program: str) -> int:
    """Requests full of secrets to a hub whose database refuses them; how many of them really crashed."""
    canary = visitor.canary
    account = {"email": f"other-{canary['email'].lower()}@hub.test", "password": canary["password"], "role": "USER"}
    body = {"configId": program, "events": [person_event(canary)]}
    wrong = {"configId": program, "events": [person_event(canary, type="no-such-type")], "atomic": False}
    config = secret_config(canary)
    credentials = {"email": f"{canary['email'].lower()}@hub.test", "password": canary["new"]}
    statuses = []
    for method, path, sent, headers in (
        ("POST", "/api/users/login", credentials, {}),
        ("POST", "/api/users", account, admin),
        ("POST", "/api/sync/push", body, member),
        ("POST", "/api/sync/push", wrong, member),
        ("POST", "/api/apps", config, admin),
        ("GET", f"/api/sync/pull?configId={program}", None, member),
        ("GET", f"/api/entities?configId={program}", None, member),
    ):
        may = PEOPLE if method == "GET" else ()
        statuses.append(visitor.call(method, path, *may, json=sent, headers=headers).status_code)
    return sum(status in {500, 503} for status in statuses)


def files_beside_the_database(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name]


async def test_no_secret_is_told_to_strangers_or_written_down(
    serve: Serve, planted: dict[str, str], canary: Canaries, tmp_path: Path, measured: Any
) -> None:
    engine = "postgres" if "DATABASE_URL" in planted else "sqlite"
    config = secret_config(canary)
    with serve(**planted) as hub, visiting(hub, canary) as visitor:
        admin = sign_in(visitor, "admin@hub.test", canary["first"], "admin")
        artifact = configs(visitor, admin, config)
        member = accounts(visitor, admin, config["id"])
        events(visitor, member, config["id"])
        strangers(visitor, member, config["id"], artifact)
        garbage(hub, canary)
        assert every_route(visitor, admin, config["id"]) == 0
        await break_database(planted, tmp_path, breaking(engine))
        refused = crashes(visitor, admin, member, config["id"]) + every_route(visitor, admin, config["id"])
        await break_database(planted, tmp_path, [f"ALTER TABLE {table} RENAME TO gone_{table}" for table in GONE])
        gone = crashes(visitor, admin, member, config["id"])
        assert refused >= 3 and gone >= 5, "nothing crashed, so nothing was shown"
        calls = visitor.calls
        assert hub.stop() == 0
    log = (tmp_path / f"serve-{hub.port}.log").read_bytes()
    assert log.count(b"request.crashed") >= 5 and log.count(b"request.finished") >= calls
    assert canary.found_in(log) == []
    assert MARK.encode() not in log and MARK.lower().encode() not in log
    assert b"$argon2" not in log
    beside = files_beside_the_database(tmp_path)
    assert beside
    for path in beside:
        assert canary.found_in(path.read_bytes()) == [], path.name
    measured("answers looked through", calls)
    measured("secrets", len(canary.words))
    measured("bytes of log", len(log))


def test_settings_tell_no_secret_however_they_are_printed(canary: Canaries, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "ADMIN_EMAIL": "admin@hub.test",
        "ADMIN_PASSWORD": canary["admin"],
        "JWT_SECRET": canary["jwt"],
        "POSTGRES": f"postgresql://u:{canary['postgres']}@127.0.0.1/x",
        "DATABASE_URL": f"postgresql://u:{canary['database']}@127.0.0.1/x",
        "DATA_DIR": tmp_path,
    }
    settings = Settings(_env_file=None, **values)
    printed = [repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.model_dump())]
    printed += [repr(vars(settings)), *(str(getattr(settings, name)) for name in ("admin_password", "jwt_secret"))]
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, **(values | {"SYNC_SERVER_PORT": canary["port"]}))
    # The start-up never prints that error itself, whose text quotes the value: `load_settings` takes its parts.
    assert canary.found_in(" ".join(printed)) == []
    assert canary.found_in(str(refused.value), "port") == []


@pytest.mark.parametrize("way", ["sqlalchemy", "driver"])
async def test_an_exception_of_the_database_is_described_without_the_values(
    postgres_server: str, canary: Canaries, way: str
) -> None:
    """Drivers quote the value that they cannot send in the first line of what they say."""
    value = canary["value"]
    if way == "driver":
        connection = await asyncpg.connect(postgres_server)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.fetch("SELECT $1::text::int", value)
        await connection.close()
        raised: BaseException = refused.value
    else:
        engine = create_async_engine(PostgresDatabase(postgres_server, pool_size=1)._engine.url)
        with pytest.raises(DBAPIError) as wrapped:
            async with engine.connect() as opened:
                await opened.execute(text("SELECT CAST(:value AS INTEGER)"), {"value": value})
        await engine.dispose()
        raised = wrapped.value
    assert canary.found_in("".join(traceback.format_exception(raised))) == ["value"]
    assert canary.found_in(describe_exception(raised)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://u:{}@127.0.0.1:1/x"),
        ("DATABASE_URL", "postgresql://u:{}@[bad/x"),
        ("DATABASE_URL", "postgresql://u:x@127.0.0.1:{}/x"),
        ("DATABASE_URL", "mysql://u:{}@127.0.0.1/x"),
        ("POSTGRES", "{}"),
        ("SYNC_SERVER_PORT", "{}"),
    ],
)
def test_a_hub_that_cannot_start_says_no_secret(run: Run, canary: Canaries, name: str, value: str) -> None:
    ended = run("serve", "--port", "0", LOG_LEVEL="debug", **{name: value.format(canary["secret"])})
    assert ended.returncode == 1
    assert ended.stderr.startswith("datacollect: ") and "Traceback" not in ended.stderr
    assert canary.found_in(ended.stdout + ended.stderr) == []


async def test_a_stack_is_for_developers_only(client: AsyncClient) -> None:
    for path in ("/nowhere", "/api/users/me"):
        assert "stack" not in (await client.get(path)).json()
