"""What callers are told when they ask too much, and who is not hindered by it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from httpx2 import AsyncClient, Response

from datacollect.app import create_app
from datacollect.http.limits import CLASSES, FAILURE_SHARE, OPEN_SHARE, Gates, Limited, class_of
from datacollect.http.policy import CurrentUser, SignedIn, _account_of, operations_of
from datacollect.kernel.identity import Actor
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.permission import Callers
from datacollect.settings import Settings
from datacollect.testing.clock import TurnableClock
from tests.accounts import bearer, login, make_person
from tests.client import HubClient
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, make_settings

pytestmark = pytest.mark.anyio


class House:
    """A hub of its own settings, with an administrator's token and doors that requests wait behind."""

    def __init__(self, app: FastAPI, clock: TurnableClock) -> None:
        self.app = app
        self.clock = clock
        self.doors = asyncio.Event()
        self.entered = asyncio.Event()
        self.inside = 0
        self.most_inside = 0
        self.headers: dict[str, str] = {}

        async def wait() -> dict[str, str]:
            self.inside += 1
            self.entered.set()
            self.most_inside = max(self.most_inside, self.inside)
            try:
                await self.doors.wait()
            finally:
                self.inside -= 1
            return {}

        async def wait_as_user(_: CurrentUser) -> dict[str, str]:
            return await wait()

        async def wait_as_device(_: Annotated[Actor, Depends(SignedIn(Callers.SYNC))]) -> dict[str, str]:
            return await wait()

        app.add_api_route("/api/wait", wait_as_user, methods=["GET"])
        app.add_api_route("/api/sync/pull/wait", wait_as_device, methods=["GET"])
        app.add_api_route("/wait", wait, methods=["GET"])

    def client(self, address: str = "192.0.2.1", headers: dict[str, str] | None = None) -> AsyncClient:
        return HubClient(self.app, address=address, headers=headers)

    async def get(self, path: str, address: str = "192.0.2.1", **headers: str) -> Response:
        async with self.client(address, headers) as client:
            return await client.get(path)

    async def get_as_admin(self, path: str, address: str = "192.0.2.1") -> Response:
        return await self.get(path, address, **self.headers)

    async def until_inside(self, count: int) -> None:
        while self.inside < count:
            await self.entered.wait()
            self.entered.clear()


@contextlib.asynccontextmanager
async def house(folder: Path, **settings: object) -> AsyncIterator[House]:
    clock = TurnableClock()
    app = create_app(make_settings(folder, None, **settings), clock=clock)
    async with app.router.lifespan_context(app):
        home = House(app, clock)
        async with home.client() as client:
            credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
            home.headers = bearer((await client.post("/api/users/login", json=credentials)).json()["token"])
        yield home


def assert_refused(answer: Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert body["error"] == body["message"] != ""
    assert body["requestId"] == answer.headers["x-request-id"]
    assert int(answer.headers["retry-after"]) > 0


# -- which routes have which limits


def test_routes_are_limited_as_their_policies_know_their_callers(tmp_path: Path) -> None:
    """What is open must not be counted as failed, and what needs an account must not be had for an address's quota."""
    operations = list(operations_of(create_app(Settings(_env_file=None, data_dir=tmp_path))))
    assert len(operations) > 40
    for operation in operations:
        limited = class_of(operation.path).limited
        if operation.permission.callers is Callers.ANYBODY:
            assert limited in (Limited.NOT, Limited.IN_THE_DATABASE, Limited.BY_ADDRESS), operation.name
        else:
            assert limited in (Limited.BY_ACCOUNT, Limited.AT_ONCE), operation.name


def test_only_syncing_has_no_rate_and_only_health_no_limit(tmp_path: Path) -> None:
    paths = {operation.path for operation in operations_of(create_app(Settings(_env_file=None, data_dir=tmp_path)))}
    found = {limited: {path for path in paths if class_of(path).limited is limited} for limited in Limited}
    assert found[Limited.NOT] == {"/health", "/health/live", "/health/ready"}
    assert found[Limited.AT_ONCE] == {
        "/api/sync/pull",
        "/api/sync/pull/audit-logs",
        "/api/sync/pull/callback",
        "/api/sync/push",
        "/api/sync/push/audit-logs",
    }
    assert found[Limited.IN_THE_DATABASE] == {
        "/api/users/login",
        "/api/users/login/provider",
        "/api/users/refresh",
        "/api/auth/otp/request",
        "/api/auth/otp/verify",
        "/api/auth/id/verify",
        "/api/auth/oidc/exchange",
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/apps/p-1/public", "public"),
        ("/api/apps/p/1/public", "account"),
        ("/api/apps/public", "account"),
        ("/api/sync/pushed", "account"),
        ("/api/sync/quarantine", "account"),
        ("/healthy", "open"),
        ("/api", "open"),
        ("", "open"),
        ("//api/users", "open"),
    ],
)
def test_a_path_is_matched_part_by_part(path: str, name: str) -> None:
    assert class_of(path).name == name


def test_a_long_path_is_not_kept_in_memory() -> None:
    """Whoever sends a thousand of them would have filled hundreds of MiB for as long as the process lives."""
    path = f"/api/apps/{'x' * 60_000}/public"
    held = sys.getrefcount(path)
    assert class_of(path).name == "public"
    assert sys.getrefcount(path) == held


def test_the_last_class_takes_what_no_other_holds() -> None:
    assert CLASSES[-1].patterns == ("*",)


# -- rates


async def test_work_that_can_wait_sees_the_requests_that_are_being_answered(folder: Path) -> None:
    async with house(folder) as home:
        visitors = home.app.state.hub.visitors
        come = visitors.come
        waiting = asyncio.ensure_future(home.get("/wait"))
        await home.until_inside(1)
        assert (visitors.come, visitors.at_work) == (come + 1, 1)
        home.doors.set()
        await waiting
        await home.get("/api/wait")  # refused
        await home.get("/health")  # somebody looks whether the hub lives
        assert (visitors.come, visitors.at_work) == (come + 2, 0)


async def test_an_account_has_its_quota_each_minute_wherever_it_calls_from(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=20) as home:
        answers = [await home.get_as_admin("/api/users/me", f"192.0.2.{n}") for n in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[-1].headers["ratelimit-policy"] == '"account";q=20;w=60'
        assert answers[-1].headers["ratelimit"] == '"account";r=0;t=60'
        refused = await home.get_as_admin("/api/users/me")
        assert_refused(refused, 429, "TOO_MANY_REQUESTS")
        assert refused.headers["ratelimit"] == '"account";r=0;t=60'
        assert len(refused.headers.get_list("ratelimit")) == 1
        home.clock.turn(seconds=60)
        assert (await home.get_as_admin("/api/users/me")).status_code == 200


async def test_syncing_has_no_rate(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=1) as home:
        answers = [await home.get_as_admin("/api/sync/pull?configId=none") for _ in range(200)]
        assert {answer.status_code for answer in answers} == {400}
        assert "ratelimit" not in answers[-1].headers


async def test_open_routes_are_counted_by_address_and_unknown_paths_too(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=10 * OPEN_SHARE) as home:
        paths = ["/openapi.json", "/artifacts/" + "0" * 32 + ".json", "/wp-login.php", "/"] * 2 + ["/x", "/y"]
        for path in paths:
            answer = await home.get(path)
            assert answer.status_code in (200, 404)
            assert answer.headers["ratelimit-policy"] == '"open";q=10;w=60'
        refused = await home.get("/openapi.json")
        assert_refused(refused, 429, "TOO_MANY_REQUESTS")
        assert (await home.get("/openapi.json", "192.0.2.2")).status_code == 200
        assert (await home.get("/health")).status_code == 200


async def test_of_ipv6_a_customers_whole_network_is_one(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=3 * OPEN_SHARE) as home:
        statuses = [(await home.get("/x", f"2001:db8:1:2::{n:x}")).status_code for n in range(1, 5)]
        assert statuses == [404, 404, 404, 429]
        assert (await home.get("/x", "2001:db8:1:3::1")).status_code == 404


async def test_zero_switches_these_rates_off_and_leaves_that_of_login_screens(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=0) as home:
        assert {(await home.get("/x")).status_code for _ in range(200)} == {404}
        answers = [await home.get("/api/apps/p-1/public") for _ in range(61)]
        assert [answer.status_code for answer in answers] == [404] * 60 + [429]
        assert_refused(answers[-1], 429, "TOO_MANY_REQUESTS")
        assert answers[0].headers["ratelimit"] == '"public";r=59;t=900'


# -- guessing tokens


async def test_whoever_guesses_tokens_is_soon_not_listened_to(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=5 * FAILURE_SHARE) as home:
        await home.get_as_admin("/api/users/me")
        guesses = [await home.get("/api/users/me", **bearer(f"guess-{n}")) for n in range(5)]
        assert [answer.status_code for answer in guesses] == [401] * 5
        for path in ("/api/users/me", "/api/sync/pull", "/api/nowhere"):
            refused = await home.get(path, **bearer("guess-6"))
            assert_refused(refused, 429, "TOO_MANY_FAILED_AUTHENTICATIONS")
            assert refused.headers["ratelimit-policy"] == '"failures";q=5;w=60'
        # A colleague behind the same address, whose token is known to be good.
        assert (await home.get_as_admin("/api/users/me")).status_code == 200
        assert (await home.get("/api/users/me", "192.0.2.2", **bearer("guess-6"))).status_code == 401
        home.clock.turn(seconds=60)
        assert (await home.get("/api/users/me", **bearer("guess-7"))).status_code == 401


async def test_whoever_has_just_renewed_their_token_is_listened_to_where_others_guess(folder: Path) -> None:
    """Devices do so hourly: strangers at their address would have kept them out for as long as they liked."""
    async with house(folder, REQUEST_RATE_LIMIT=5 * FAILURE_SHARE) as home:
        for n in range(5):
            await home.get("/api/users/me", **bearer(f"guess-{n}"))
        assert (await home.get_as_admin("/api/users/me")).status_code == 200
        forged = await home.get("/api/users/me", Authorization=f"{home.headers['Authorization']}x")
        assert_refused(forged, 429, "TOO_MANY_FAILED_AUTHENTICATIONS")


async def test_answers_to_a_known_account_are_no_failures(folder: Path) -> None:
    async with house(folder, REQUEST_RATE_LIMIT=5 * FAILURE_SHARE) as home:
        for _ in range(20):
            assert (await home.get_as_admin("/api/entities?configId=none")).status_code == 404
        assert (await home.get("/api/users/me")).status_code == 401


# -- at once


async def test_of_one_account_so_many_are_worked_on_and_more_wait_their_turn(folder: Path) -> None:
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=3) as home:
        calls = [asyncio.ensure_future(home.get_as_admin("/api/sync/pull/wait")) for _ in range(20)]
        await home.until_inside(3)
        home.doors.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert home.most_inside == 3


@pytest.mark.parametrize("path", ["/api/wait", "/api/sync/pull/wait"])
async def test_who_has_waited_in_line_is_let_in_as_who_they_are_by_then(folder: Path, path: str) -> None:
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=1) as home, home.client(headers=home.headers) as admin:
        person = await make_person(admin)
        async with home.client() as client:
            token = bearer((await login(client, person))["token"])
        first = asyncio.ensure_future(home.get(path, **token))
        await home.until_inside(1)
        second = asyncio.ensure_future(home.get(path, **token))
        for _ in range(100):  # until it stands in line
            await asyncio.sleep(0)
        assert (await admin.delete(f"/api/users/{person.id}")).status_code == 200
        home.doors.set()
        assert (await first).status_code == 200
        assert (await second).status_code == 401


async def test_an_account_that_waits_in_line_does_not_fill_the_hub_for_others(folder: Path) -> None:
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=2, REQUESTS_AT_ONCE=4) as home:
        calls = [asyncio.ensure_future(home.get_as_admin("/api/wait")) for _ in range(30)]
        await home.until_inside(2)
        assert (await home.get("/api/users/me")).status_code == 401
        assert (await home.get("/")).status_code == 200
        home.doors.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_an_account_with_too_long_a_line_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacollect.http.limits.ACCOUNT_LINE", 1)
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=1) as home:
        calls = [asyncio.ensure_future(home.get_as_admin("/api/sync/pull/wait")) for _ in range(3)]
        done, calls_left = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        [refused] = [call.result() for call in done]
        assert_refused(refused, 429, "TOO_MANY_AT_ONCE")
        assert refused.headers["ratelimit-policy"] == '"at-once";q=1;qu="concurrent-requests"'
        home.doors.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls_left)} == {200}
        assert (await home.get_as_admin("/api/sync/pull/wait")).status_code == 200


async def test_a_full_hub_says_so_in_the_shape_of_all_errors_and_stays_healthy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacollect.http.limits.LINE", 0)
    async with house(folder, REQUESTS_AT_ONCE=2) as home:
        calls = [asyncio.ensure_future(home.get("/wait")) for _ in range(2)]
        await home.until_inside(2)
        for path in ("/openapi.json", "/api/users/me", "/api/sync/pull"):
            assert_refused(await home.get_as_admin(path), 503, "HUB_BUSY")
        problem = await home.get("/x", Accept="application/problem+json")
        assert (problem.status_code, problem.json()["status"]) == (503, 503)
        assert (await home.get("/health")).status_code == 200
        assert (await home.get("/health/live")).status_code == 200
        home.doors.set()
        await asyncio.gather(*calls)
        assert (await home.get("/")).status_code == 200


async def test_sign_ins_take_only_a_part_of_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacollect.http.limits.SIGN_INS_AT_ONCE", 1)
    monkeypatch.setattr("datacollect.http.limits.SIGN_IN_LINE", 0)
    async with house(folder) as home, home.client() as client:
        body: Any = {"email": "nobody@hub.test", "password": "Wrong-Horse-7"}
        answers = await asyncio.gather(*(client.post("/api/users/login", json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [401, 503, 503, 503]
        for answer in answers:
            if answer.status_code == 503:
                assert_refused(answer, 503, "HUB_BUSY")
        assert (await home.get_as_admin("/api/users/me")).status_code == 200


async def test_an_address_that_nobody_knows_takes_no_more_than_its_own_places(folder: Path) -> None:
    """However slowly it reads what it is sent."""
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=2, REQUESTS_AT_ONCE=4) as home:
        calls = [asyncio.ensure_future(home.get("/wait")) for _ in range(30)]
        await home.until_inside(2)
        assert (await home.get("/", "192.0.2.2")).status_code == 200
        assert (await home.get_as_admin("/api/users/me")).status_code == 200
        home.doors.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert home.most_inside == 2


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/users/login", {}),
        # Whose it is may stand in the body only, so it is read for anybody.
        ("/api/sync/push", {"Authorization": "auth0 x"}),
        # Of two, routes look at the first.
        ("/api/sync/push", [("Authorization", "auth0 x"), ("Authorization", "Bearer x")]),
    ],
)
async def test_who_sends_slowly_keeps_nobody_else_out(
    path: str, headers: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ADDRESS_SIGN_INS_AT_ONCE", "SIGN_INS_AT_ONCE"):
        monkeypatch.setattr(f"datacollect.http.limits.{name}", 1 + (name == "SIGN_INS_AT_ONCE"))
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=1, REQUESTS_AT_ONCE=2) as home, home.client() as slow:

        async def never_whole() -> AsyncIterator[bytes]:
            yield b"{"
            home.entered.set()
            await home.doors.wait()

        calls = [asyncio.ensure_future(slow.post(path, content=never_whole(), headers=headers)) for _ in range(5)]
        await home.entered.wait()
        async with home.client("192.0.2.2") as client:
            assert (await client.post(path, content=b"{}", headers=headers)).status_code == 401
        assert (await home.get_as_admin("/api/users/me", "192.0.2.3")).status_code == 200
        home.doors.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {400}


async def test_an_address_with_too_long_a_line_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacollect.http.limits.ACCOUNT_LINE", 0)
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=1) as home:
        call = asyncio.ensure_future(home.get("/wait"))
        await home.until_inside(1)
        assert_refused(await home.get("/openapi.json"), 429, "TOO_MANY_AT_ONCE_FROM_ADDRESS")
        home.doors.set()
        assert (await call).status_code == 200
        assert (await home.get("/")).status_code == 200


async def test_places_are_given_back_whatever_becomes_of_a_request(folder: Path) -> None:
    async with house(folder, ACCOUNT_REQUESTS_AT_ONCE=1, REQUESTS_AT_ONCE=1) as home:
        for _ in range(3):
            call = asyncio.ensure_future(home.get_as_admin("/api/wait"))
            await home.until_inside(1)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            for path in ("/api/users/99999999", "/api/nowhere", "/nowhere"):
                assert (await home.get_as_admin(path)).status_code in (404, 405)
        home.doors.set()
        assert (await home.get_as_admin("/api/wait")).status_code == 200


@pytest.mark.parametrize("has_turn", [False, True])
async def test_no_gate_is_kept_of_who_left_the_line(has_turn: bool) -> None:
    gates = Gates(1, line=1, patience_seconds=60)
    inside = await gates.enter("a")
    waiting = asyncio.ensure_future(gates.enter("a"))
    await asyncio.sleep(0)
    assert inside is not None
    if has_turn:
        gates.left("a", inside)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not has_turn:
        gates.left("a", inside)
    assert "a" not in gates._open


def test_a_providers_caller_takes_the_share_of_nobody_else() -> None:
    def provided(tenant: str) -> Actor:
        return Actor(kind="provider", label="x:7", user_id=UserId(7), tenant_ids=frozenset({TenantId(tenant)}))

    accounts = [_account_of(actor) for actor in (provided("a"), provided("b"), Actor("user", "x:7", UserId(7)))]
    assert len(set(accounts)) == 3
