"""The attacker at the server itself: weak points S1-S18 of the reference's process and transport."""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from httpx2 import AsyncClient
from opentelemetry import trace
from structlog.testing import capture_logs

from datacollect.http.hub import Hub
from datacollect.settings import Settings, check_startup
from tests.accounts import Person, bearer, login, refresh
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client
from tests.e2e.conftest import Run, Serve
from tests.factories import make_config, make_event, make_program, new_id, pull_all, push
from tests.features.conftest import Alone, Installation
from tests.processes import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio

ADMIN = Person(1, ADMIN_EMAIL, ADMIN_PASSWORD)
INSIDE = (
    "traceback",
    "sqlite",
    "postgres",
    "asyncpg",
    "sqlalchemy",
    "select ",
    "insert ",
    "no such",
    "/src/",
    ".py",
    "relation",
)


@pytest.mark.parametrize("node_env", ["production", "test", None])
async def test_s1_a_crash_tells_nothing_of_its_inside(installation: Installation, node_env: str | None) -> None:
    """The database is broken under the running hub: every statement on these tables raises with SQL and names in it."""
    async with installation.running(NODE_ENV=node_env) as (app, client):
        hub: Hub = app.state.hub
        client.headers.update(bearer((await login(client, ADMIN))["token"]))
        program = await make_program(client)
        await push(client, program, make_event())
        for table in ("sessions", "entities", "events"):
            async with hub.db.transaction() as tx:
                await tx.run(f"ALTER TABLE {table} RENAME TO gone_{table}")
        with capture_logs():
            answers = [
                await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}),
                await client.get("/api/entities", params={"configId": program}),
                await client.get("/api/sync/pull", params={"configId": program}),
                await push(client, program, make_event()),
                await push(client, program, make_event(), atomic=False),
            ]
        for answer in answers:
            assert answer.status_code in {500, 503}, answer.text
            assert answer.json()["requestId"] == answer.headers["x-request-id"]
            assert not any(word in answer.text.lower() for word in INSIDE), answer.text
            assert "stack" not in answer.json()


class _Listening(trace.TracerProvider):
    """Somebody in the process has set up OpenTelemetry, as operators do with variables of the environment."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_tracer(self, instrumenting_module_name: str, *_: Any, **__: Any) -> trace.Tracer:
        self.asked.append(instrumenting_module_name)
        return trace.NoOpTracer()


async def test_s1_what_the_log_leaves_out_goes_no_other_way(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The framework would export exceptions with what they say, and what failed to be read."""
    listening = _Listening()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", listening)
    async with installation.running() as (_, client):
        assert (await client.post("/api/users/login", json={"email": 1})).status_code == 401
        assert (await client.get("/api/sync/pull?configId=x")).status_code == 401
    assert not listening.asked


async def test_s2_every_refusal_has_the_one_shape(client: AsyncClient, admin: AsyncClient) -> None:
    program = await make_program(admin)
    refused = [
        await client.get("/api/users"),
        await client.get("/nowhere"),
        await client.delete("/health"),
        await client.get(f"/api/apps/{new_id()}/public"),
        await client.get(f"/artifacts/{new_id()}.json"),
        await client.post("/api/users/login", content=b"{"),
        await client.post("/api/users/login", content=b"x" * (2 * 1024 * 1024)),
        await client.post("/api/users/refresh", json={"refreshToken": "x"}),
        await admin.post("/api/users", json={}),
        await admin.post("/api/apps", content=b"x", headers={"Content-Type": "text/plain"}),
        await push(admin, program, make_event("no-such-type")),
        await push(admin, program, {"guid": 1}),
        await push(admin, new_id(), make_event()),
        await admin.get("/api/sync/pull", params={"configId": program, "since": "yesterday"}),
    ]
    for answer in refused:
        body = answer.json()
        assert 400 <= answer.status_code < 500
        assert body["error"] == body["message"] and body["code"].isupper() and body["requestId"], answer.text


async def test_s3_what_the_caller_did_wrong_is_never_a_500(admin: AsyncClient) -> None:
    """Those the contract lists: unknown ids, unreadable uploads, wrong types, sizes, addresses that are taken."""
    config = make_config(new_id())
    document = json.dumps(config)
    file = ("config.json", document, "application/json")
    taken = {"email": ADMIN_EMAIL, "password": "Correct-Horse-8", "role": "USER"}
    for expected, answer in (
        (404, await admin.put(f"/api/apps/{config['id']}", json=config)),
        (404, await admin.patch(f"/api/apps/{config['id']}/syncScope", json={"syncScope": None})),
        (404, await admin.delete(f"/api/apps/{config['id']}")),
        (404, await admin.post(f"/api/apps/{config['id']}/restore")),
        (400, await admin.post("/api/apps", files={"config": ("config.json", "{", "application/json")})),
        (415, await admin.post("/api/apps", files={"config": ("config.json", document, "text/html")})),
        (413, await admin.post("/api/apps", files={"config": ("c.json", " " * 11_000_000, "application/json")})),
        (400, await admin.post("/api/apps", files={"other": file})),
        (400, await admin.post("/api/apps", content=b"--x", headers={"Content-Type": "multipart/form-data"})),
        (409, await admin.post("/api/users", json=taken)),
        (404, await admin.post("/api/users/me", json={})),
    ):
        assert answer.status_code in {expected, 405}, (expected, answer.status_code, answer.text[:300])


async def test_s4_the_login_limit_survives_a_restart_and_counts_in_every_process(installation: Installation) -> None:
    wrong = {"email": "someone@hub.test", "password": "wrong"}
    async with (
        installation.running(LOGIN_RATE_LIMIT=6) as (_, one),
        installation.running(LOGIN_RATE_LIMIT=6) as (_, two),
    ):
        for client in (one, two, one, two):
            assert (await client.post("/api/users/login", json=wrong)).status_code == 401
    async with installation.running(LOGIN_RATE_LIMIT=6) as (_, client):
        statuses = [(await client.post("/api/users/login", json=wrong)).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]


async def test_s4_made_up_addresses_do_not_make_new_attempts(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=15) as (_, client):
        statuses = []
        for n in range(30):
            headers = {
                "X-Forwarded-For": f"198.51.100.{n}",
                "X-Real-IP": f"198.51.100.{n}",
                "Forwarded": f"for=198.51.100.{n}",
            }
            body = {"email": f"u{n}@hub.test", "password": "wrong"}
            statuses.append((await client.post("/api/users/login", json=body, headers=headers)).status_code)
    assert statuses == [401] * 15 + [429] * 15


async def test_s6_the_administrator_is_there_before_the_first_connection(serve: Serve) -> None:
    with serve() as hub:
        credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        assert httpx2.post(f"{hub.url}/api/users/login", json=credentials).status_code == 200


def test_s6_an_ordinary_account_of_that_address_never_becomes_one(run: Run, serve: Serve) -> None:
    with serve() as hub:
        credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        token = httpx2.post(f"{hub.url}/api/users/login", json=credentials).json()["token"]
        account = {"email": "plain@hub.test", "password": "Correct-Horse-8", "role": "USER"}
        httpx2.post(f"{hub.url}/api/users", json=account, headers=bearer(token))
    with serve(ADMIN_EMAIL="plain@hub.test", ADMIN_PASSWORD="Correct-Horse-9") as hub:
        # There is an administrator already, so the settings mean nothing.
        body = {"email": "plain@hub.test", "password": "Correct-Horse-9"}
        assert httpx2.post(f"{hub.url}/api/users/login", json=body).status_code == 401


async def test_s7_health_tells_nothing_but_health(client: AsyncClient) -> None:
    for path, members in (
        ("/health", {"status", "database", "timestamp"}),
        ("/health/ready", {"status", "database", "timestamp"}),
        ("/health/live", {"status"}),
    ):
        answer = await client.get(path)
        assert (answer.status_code, set(answer.json())) == (200, members)
        assert "server" not in answer.headers and "x-powered-by" not in answer.headers


async def test_s10_hubs_that_start_at_once_make_one_schema(installation: Installation) -> None:
    if installation.url is None:
        pytest.skip("on SQLite a second process is refused by its lock file")

    async def start() -> None:
        async with installation.running():
            pass

    await asyncio.gather(*(start() for _ in range(4)))


async def test_s11_an_artifact_is_gone_with_its_program_and_never_stale(
    admin: AsyncClient, client: AsyncClient
) -> None:
    config = make_config(new_id())
    saved = (await admin.post("/api/apps", json=config)).json()
    address = f"/artifacts/{saved['artifactId']}"
    assert (await client.get(f"{address}.json")).json()["name"] == config["name"]
    await admin.put(f"/api/apps/{config['id']}", json=config | {"name": "Another"})
    assert (await client.get(f"{address}.json")).json()["name"] == "Another"
    await admin.delete(f"/api/apps/{config['id']}")
    for kind in ("json", "png"):
        assert (await client.get(f"{address}.{kind}")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/../app.py",
        "/artifacts/../index.html",
        "/artifacts/..%2f..%2fetc%2fpasswd.json",
        "/artifacts/%2e%2e%2findex.html.json",
        "/api-docs/..%2f..%2f..%2fsettings.py",
        "/api-docs/../../../../settings.py",
        "/.env",
        "/data/hub.sqlite3",
        "//etc/passwd",
    ],
)
async def test_s11_no_path_leads_out_of_the_pages(client: AsyncClient, path: str) -> None:
    answer = await client.get(f"http://hub.test{path}")
    assert answer.status_code in {404, 400} or "DataCollect" in answer.text
    assert not any(word in answer.text for word in ("root:", "import ", "[project]", "JWT_SECRET"))


def test_s12_trusting_every_proxy_is_said_loudly(serve: Serve, tmp_path: Path) -> None:
    with serve(TRUST_PROXY="true") as hub:
        hub.stop()
        assert "proxy.any_address_believed" in (tmp_path / f"serve-{hub.port}.log").read_text()


def test_s13_a_body_that_never_comes_holds_nobody_up(serve: Serve) -> None:
    """Fifty senders that announce a body and fall silent; an honest one is answered at once."""
    head = b"POST /api/users/login HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n{"
    with serve() as hub:
        silent = [socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE_SECONDS) for _ in range(50)]
        try:
            for connection in silent:
                connection.sendall(head)
            began = time.monotonic()
            assert httpx2.get(f"{hub.url}/health").status_code == 200
            assert time.monotonic() - began < 5
        finally:
            for connection in silent:
                connection.close()


@pytest.mark.parametrize("node_env", ["test", "development", "production", "staging"])
async def test_s14_no_environment_switches_a_limit_off(installation: Installation, node_env: str) -> None:
    async with installation.running(NODE_ENV=node_env, LOGIN_RATE_LIMIT=3) as (_, client):
        body = {"email": "someone@hub.test", "password": "wrong"}
        statuses = [(await client.post("/api/users/login", json=body)).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        public = [(await client.get("/api/apps/none/public")).status_code for _ in range(61)]
        assert public[-1] == 429


def test_s15_short_secrets_stop_the_start() -> None:
    settings = {"ADMIN_EMAIL": "a@b.c", "ADMIN_PASSWORD": "Correct-Horse-7", "JWT_SECRET": "x" * 31}
    with pytest.raises(Exception, match="at least 32 characters"):
        check_startup(Settings(_env_file=None, **settings))  # type: ignore[arg-type]


async def test_s15_tokens_of_one_kind_are_none_of_the_others(client: AsyncClient) -> None:
    pair = await login(client, ADMIN)
    assert (await client.get("/api/users/me", headers=bearer(pair["refreshToken"]))).status_code == 401
    assert (await refresh(client, pair["token"])).status_code == 401
    assert (await client.post("/api/users/logout", json={"refreshToken": pair["token"]})).status_code == 401


async def test_s17_what_crashes_one_request_ends_no_process(serve: Serve) -> None:
    """Garbage over sockets; the process stays, and so does everybody's service."""
    garbage: list[bytes] = [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/sync/push HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/sync/push HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /api/sync/push HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /api/sync/push HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"\xff" * 2000 + b"\r\n\r\n",
        b"GET /api/users/me HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    with serve() as hub:
        for sent in garbage:
            with socket.create_connection(("127.0.0.1", hub.port), timeout=2) as connection:
                connection.settimeout(0.3)
                try:
                    connection.sendall(sent)
                    answer = connection.recv(65536)
                except OSError:
                    continue
                assert not answer.startswith(b"HTTP/1.1 5"), (sent[:80], answer[:200])
                assert answer.count(b"HTTP/1.1 ") <= 1, sent[:80]
        assert hub.process.poll() is None
        assert httpx2.get(f"{hub.url}/health").status_code == 200


async def test_s18_what_one_process_decides_the_other_one_keeps(installation: Installation) -> None:
    """Two hubs on one database, as two machines are. Nothing that matters is in the memory of one of them."""
    async with installation.running() as (app_one, one), installation.running() as (app_two, two):
        pair = await login(one, ADMIN)
        async with asgi_client(app_one, pair["token"]) as first, asgi_client(app_two, pair["token"]) as second:
            program = await make_program(first)
            assert (await push(second, program, make_event())).status_code == 200
            assert len(await pull_all(first, program)) == 1
            # Signed out here, signed out there.
            other = await login(one, ADMIN)
            await one.post("/api/users/logout", json={"refreshToken": other["refreshToken"]})
            assert (await refresh(two, other["refreshToken"])).status_code == 401
            # Stopped here, stopped there within a second.
            await first.delete(f"/api/apps/{program}")
            installation.clock.turn(seconds=1.1)
            assert (await push(second, program, make_event())).status_code == 400


async def test_s8_a_request_id_of_the_caller_is_not_believed(client: AsyncClient) -> None:
    forged: Any = {"X-Request-Id": 'forged","level":"critical'}
    answer = await client.get("/health", headers=forged)
    assert answer.headers["x-request-id"] != forged["X-Request-Id"]


async def test_s5_a_flood_on_the_public_route_is_stopped(alone: Alone) -> None:
    statuses = [(await alone.client.get(f"/api/apps/p{n}/public")).status_code for n in range(70)]
    assert statuses[:60] == [404] * 60 and set(statuses[60:]) == {429}
