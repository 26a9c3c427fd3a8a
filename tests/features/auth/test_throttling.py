"""How failed sign-ins are limited, for addresses and for accounts; whom that must not hurt; and what a flood costs."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import func, select

from datacollect.features.auth.attempts import (
    MOST_WAITING,
    SITE_ATTEMPTS,
    Counted,
    Quota,
    Throttle,
    count_attempt,
    give_back,
)
from datacollect.features.auth.errors import SignInsBusy, TooManyLogins
from datacollect.features.auth.model import WINDOW_SECONDS
from datacollect.features.auth.tables import familiar_origins
from datacollect.features.users import passwords
from datacollect.http.hub import Hub
from datacollect.jobs import Visitors
from datacollect.kernel.clock import Millis
from datacollect.testing.clock import TurnableClock
from tests.accounts import PASSWORD, Person, assert_refused, bearer, login, make_person
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

TOO_MANY = "Too many login attempts, please try again later"
WRONG = "Wrong-Horse-7"
BEHIND_A_PROXY = {"TRUST_PROXY": "true"}
"""The test's client then says with each request where it comes from."""


async def attempt(client: AsyncClient, email: str, password: str = WRONG, *, origin: str = "192.0.2.1") -> Response:
    body = {"email": email, "password": password}
    return await client.post("/api/users/login", json=body, headers={"X-Forwarded-For": origin})


async def statuses(client: AsyncClient, email: str, count: int, *, origin: str = "192.0.2.1") -> list[int]:
    return [(await attempt(client, email, origin=origin)).status_code for _ in range(count)]


async def a_person(app: FastAPI, client: AsyncClient, clock: TurnableClock) -> Person:
    """An account that has never signed in, made by an administrator from somewhere else."""
    headers = {"X-Forwarded-For": "198.51.100.1"}
    body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    token = (await client.post("/api/users/login", json=body, headers=headers)).json()["token"]
    account = {"email": f"u-{clock.now()}@hub.test", "password": PASSWORD, "role": "USER"}
    made = await client.post("/api/users", json=account, headers=bearer(token))
    assert made.status_code == 201
    return Person(0, account["email"])


def comparable(answer: Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Everything in an answer but what names the request."""
    body = {name: value for name, value in answer.json().items() if name != "requestId"}
    return answer.status_code, body, {name: value for name, value in answer.headers.items() if name != "x-request-id"}


# -- addresses


async def test_an_office_behind_one_address_signs_in_without_using_its_attempts_up(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=3, LOGIN_ACCOUNT_LIMIT=3) as (_, client):
        for _ in range(10):
            answer = await attempt(client, ADMIN_EMAIL, ADMIN_PASSWORD)
            assert answer.status_code == 200
            assert answer.headers["RateLimit"].startswith('"login";r=3;')


async def test_a_success_forgives_no_failure(installation: Installation) -> None:
    """Otherwise whoever has an account of their own could guess at others' for ever."""
    async with installation.running(LOGIN_RATE_LIMIT=3) as (_, client):
        seen = []
        for _ in range(4):
            seen += await statuses(client, "nobody@hub.test", 1)
            seen.append((await attempt(client, ADMIN_EMAIL, ADMIN_PASSWORD)).status_code)
        assert seen == [401, 200, 401, 200, 401, 429, 429, 429]


async def test_what_a_client_says_of_its_address_is_not_believed_without_a_proxy(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=15) as (_, client):
        seen = [
            (await attempt(client, f"u{number}@hub.test", origin=f"203.0.113.{number}")).status_code
            for number in range(30)
        ]
    assert seen == [401] * 15 + [429] * 15


@pytest.mark.parametrize(
    ("path", "body", "limit"),
    [
        ("login", {"email": "nobody@hub.test", "password": WRONG}, 1),
        ("login/provider", {"provider": "x", "token": "x"}, 1),
        ("refresh", {"refreshToken": "x"}, 40),
    ],
)
async def test_one_client_that_goes_on_asking_leaves_what_its_neighbours_have(
    installation: Installation, path: str, body: dict[str, str], limit: int
) -> None:
    """A /48 of IPv6 has eight times the limit: the other seven of eight networks in it still have theirs."""
    async with installation.running(LOGIN_RATE_LIMIT=1, **BEHIND_A_PROXY) as (_, client):

        async def asked(network: int) -> int:
            headers = {"X-Forwarded-For": f"2001:db8:abcd:{network:x}::1"}
            return (await client.post(f"/api/users/{path}", json=body, headers=headers)).status_code

        assert [await asked(0) for _ in range(limit)] == [401] * limit
        for _ in range(3):
            assert await asked(0) == 429
            installation.clock.turn(seconds=31)  # it is not remembered any more, so it is counted
        neighbours = [await asked(network) for network in range(1, SITE_ATTEMPTS) for _ in range(limit)]
        assert neighbours == [401] * len(neighbours)
        assert await asked(SITE_ATTEMPTS) == 429


# -- accounts


async def test_guesses_at_one_account_are_limited_wherever_they_come_from(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=3, **BEHIND_A_PROXY) as (app, client):
        person = await a_person(app, client, installation.clock)
        seen = [(await attempt(client, person.email, origin=f"203.0.113.{n}")).status_code for n in range(5)]
        assert seen == [401] * 3 + [429] * 2
        # Not even the right password, from where the account has never been: a guess is not to be told by its answer.
        refused = await attempt(client, person.email, PASSWORD, origin="203.0.113.9")
        assert_refused(refused, 429, TOO_MANY, "TOO_MANY_LOGINS")
        assert 0 < int(refused.headers["Retry-After"]) <= WINDOW_SECONDS
        assert (await statuses(client, "somebody-else@hub.test", 1, origin="203.0.113.9")) == [401]
        installation.clock.turn(seconds=WINDOW_SECONDS)
        assert (await attempt(client, person.email, PASSWORD, origin="203.0.113.9")).status_code == 200


async def test_a_locked_account_stays_locked_over_a_restart_and_in_other_processes(installation: Installation) -> None:
    settings = {"LOGIN_ACCOUNT_LIMIT": 3} | BEHIND_A_PROXY
    async with installation.running(**settings) as (app, client):
        person = await a_person(app, client, installation.clock)
        assert await statuses(client, person.email, 4) == [401, 401, 401, 429]
    async with installation.running(**settings) as (_, client):
        assert (await attempt(client, person.email, PASSWORD)).status_code == 429


async def test_the_owner_gets_in_from_where_they_have_been_while_strangers_are_locked_out(
    installation: Installation,
) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=3, **BEHIND_A_PROXY) as (app, client):
        person = await a_person(app, client, installation.clock)
        home, stranger = "192.0.2.50", "203.0.113.7"
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 200
        for _ in range(3):  # for as long as the stranger goes on
            assert (await statuses(client, person.email, 5, origin=stranger))[3:] == [429, 429]
            assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 200
            installation.clock.turn(seconds=WINDOW_SECONDS)


async def test_a_familiar_place_has_a_limit_of_its_own(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=3, **BEHIND_A_PROXY) as (app, client):
        person = await a_person(app, client, installation.clock)
        home = "192.0.2.50"
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 200
        assert await statuses(client, person.email, 4, origin=home) == [401, 401, 401, 429]
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 429
        assert (await attempt(client, person.email, PASSWORD, origin="198.51.100.9")).status_code == 200


async def test_a_place_is_familiar_to_the_account_alone_and_for_ninety_days(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=1, **BEHIND_A_PROXY) as (app, client):
        person = await a_person(app, client, installation.clock)
        home = "192.0.2.50"
        assert (await attempt(client, ADMIN_EMAIL, ADMIN_PASSWORD, origin=home)).status_code == 200
        assert await statuses(client, person.email, 2, origin="203.0.113.7") == [401, 429]
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 429, "theirs, not this one's"
        installation.clock.turn(seconds=WINDOW_SECONDS)
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 200
        installation.clock.turn(seconds=90 * 86_400 + 1)
        assert await statuses(client, person.email, 2, origin="203.0.113.7") == [401, 429]
        assert (await attempt(client, person.email, PASSWORD, origin=home)).status_code == 429
        installation.clock.turn(seconds=WINDOW_SECONDS)
        assert (await attempt(client, person.email, PASSWORD, origin="198.51.100.9")).status_code == 200
        hub: Hub = app.state.hub
        async with hub.db.reading() as view:
            kept = (await view.execute(select(func.count()).select_from(familiar_origins))).scalar_one()
        assert kept == 1, "places not used for long are forgotten"


async def test_guesses_at_the_current_password_count_with_failed_logins(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=3) as (app, client):
        await Alone(app, client, installation.clock).admin()
        person = await make_person(client)
        headers = bearer((await login(client, person))["token"])
        change = {"currentPassword": WRONG, "newPassword": "Another-Horse-9"}
        assert await statuses(client, person.email, 2) == [401, 401]
        guesses = [await client.post("/api/users/me/password", json=change, headers=headers) for _ in range(2)]
        assert [guess.status_code for guess in guesses] == [403, 429]
        assert guesses[1].json()["code"] == "TOO_MANY_PASSWORD_CHANGES"
        assert await statuses(client, person.email, 1) == [429]


async def test_changing_the_password_uses_nothing_up(installation: Installation) -> None:
    async with installation.running(LOGIN_ACCOUNT_LIMIT=1) as (app, client):
        await Alone(app, client, installation.clock).admin()
        person = await make_person(client)
        password = PASSWORD
        for number in range(3):
            headers = bearer((await login(client, Person(person.id, person.email, password)))["token"])
            change = {"currentPassword": password, "newPassword": f"Another-Horse-{number}"}
            answer = await client.post("/api/users/me/password", json=change, headers=headers)
            assert answer.status_code == 200
            password = f"Another-Horse-{number}"


# -- nobody learns which accounts exist


async def test_known_and_unknown_emails_cannot_be_told_apart(installation: Installation) -> None:
    """By status, body, headers or number of statements, before and after the limit."""
    async with installation.running(LOGIN_ACCOUNT_LIMIT=2, **BEHIND_A_PROXY) as (app, client):
        person = await a_person(app, client, installation.clock)
        hub: Hub = app.state.hub
        seen = []
        for email, origin in ((person.email, "203.0.113.1"), ("nobody@hub.test", "203.0.113.2")):
            answers = []
            for _ in range(4):
                with hub.db.statements.record() as statements:
                    answer = await attempt(client, email, origin=origin)
                verbs = [statement.split()[0] for statement in statements]
                answers.append((comparable(answer), verbs))
            seen.append(answers)
        known, unknown = seen
        assert known == unknown
        assert [answer[0] for answer, _ in known] == [401, 401, 429, 429]


async def test_a_text_too_long_for_a_password_is_refused_without_hashing(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Any] = []
    submit = passwords._pool.submit
    monkeypatch.setattr(passwords._pool, "submit", lambda *call: hashed.append(call) or submit(*call))
    for email in (ADMIN_EMAIL, "nobody@hub.test"):
        assert (await attempt(client, email, "x" * 1025)).status_code == 401
        assert hashed == []
        assert (await attempt(client, email, "x" * 1024)).status_code == 401
        assert len(hashed) == 1
        hashed.clear()


# -- at the same time


async def test_of_two_hundred_guesses_at_once_no_more_than_the_limit_are_looked_at(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over two hubs on one database, where the engine allows that."""
    hashed: list[Any] = []
    submit = passwords._pool.submit
    monkeypatch.setattr(passwords._pool, "submit", lambda *call: hashed.append(call) or submit(*call))
    settings = {"LOGIN_RATE_LIMIT": 1000, "LOGIN_ACCOUNT_LIMIT": 7} | BEHIND_A_PROXY
    async with installation.running(**settings) as (app, client):
        person = await a_person(app, client, installation.clock)
        hashed.clear()
        if app.state.hub.db.dialect == "sqlite":
            answers = await two_hundred(client, client, person)
        else:
            async with installation.running(**settings) as (_, other):
                answers = await two_hundred(client, other, person)
    seen = {status: sum(answer.status_code == status for answer in answers) for status in (401, 429, 503)}
    assert sum(seen.values()) == 200
    assert seen[401] == len(hashed) == 7
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code != 401)


async def two_hundred(one: AsyncClient, other: AsyncClient, person: Person) -> list[Response]:
    return await asyncio.gather(
        *(attempt((one, other)[number % 2], person.email, origin=f"203.0.113.{number % 50}") for number in range(200))
    )


async def test_attempts_of_one_address_on_many_accounts_at_once_do_not_wait_for_each_other(
    installation: Installation,
) -> None:
    """Each counts for two keys and gives both back: in another order than others it would end in a deadlock."""
    async with installation.running(LOGIN_RATE_LIMIT=1000) as (app, client):
        await Alone(app, client, installation.clock).admin()
        people = [await make_person(client) for _ in range(3)]
        bodies = [
            {"email": person.email, "password": password}
            for password in (PASSWORD, WRONG)
            for person in people
            for _ in range(5)
        ]
        answers = await asyncio.gather(*(client.post("/api/users/login", json=body) for body in bodies))
        assert [answer.status_code for answer in answers] == [200] * 15 + [401] * 15


# -- floods


async def test_who_is_refused_costs_no_statement(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=2) as (app, client):
        assert await statuses(client, "nobody@hub.test", 3) == [401, 401, 429]
        hub: Hub = app.state.hub
        with hub.db.statements.record() as made:
            assert await statuses(client, "nobody@hub.test", 5) == [429] * 5
        assert made == []
        installation.clock.turn(seconds=WINDOW_SECONDS - 10)
        refused = await attempt(client, "nobody@hub.test")
        assert (refused.status_code, int(refused.headers["Retry-After"])) == (429, 10)
        installation.clock.turn(seconds=10)
        assert await statuses(client, "nobody@hub.test", 1) == [401]


async def test_attempts_that_another_process_gives_back_are_soon_noticed(installation: Installation) -> None:
    """Agents of an office who sign in at once, most by another process: nobody has failed."""
    async with installation.running() as (app, _):
        hub: Hub = app.state.hub
        clock, quota = installation.clock, Quota("login:ip:192.0.2.1", 2)
        here = Throttle(clock, at_once=1, others=Visitors())

        async def counted() -> Counted:
            async with hub.db.transaction() as tx:
                return (await count_attempt(tx, quota, now=clock.now()))[0]

        there = [await counted() for _ in range(2)]
        here.refuse(await counted(), TooManyLogins)
        async with hub.db.transaction() as tx:
            for one in there:
                await give_back(tx, [one])
        with pytest.raises(TooManyLogins):
            here.check(quota.key)
        clock.turn(seconds=30)
        here.check(quota.key)
        assert not (await counted()).allowance.exceeded


async def test_a_window_that_a_clock_far_ahead_has_begun_ends_when_the_clock_is_right_again(hub: Hub) -> None:
    clock, quota = TurnableClock(), Quota("login:ip:ahead", 1)
    throttle = Throttle(clock, at_once=1, others=Visitors())
    clock.turn(seconds=86_400)
    async with hub.db.transaction() as tx:
        for _ in range(2):
            [counted] = await count_attempt(tx, quota, now=clock.now())
    assert counted.allowance.exceeded
    throttle.refuse(counted, TooManyLogins)
    clock.turn(seconds=-86_400)
    throttle.check(quota.key)
    async with hub.db.transaction() as tx:
        [counted] = await count_attempt(tx, quota, now=clock.now())
    assert (counted.count, counted.allowance.exceeded) == (1, False)


async def test_what_was_refused_by_a_clock_that_was_set_back_since_is_asked_of_the_database(hub: Hub) -> None:
    clock, quota = TurnableClock(), Quota("login:ip:back", 0)
    async with hub.db.transaction() as tx:
        [counted] = await count_attempt(tx, quota, now=clock.now())
    here, elsewhere = (Throttle(clock, at_once=1, others=Visitors()) for _ in range(2))
    clock.turn(seconds=60)
    here.refuse(counted, TooManyLogins)
    with pytest.raises(TooManyLogins):
        here.check(quota.key)
    clock.turn(seconds=-30)
    here.check(quota.key)
    # Counted by another process, whose clock was days ahead.
    elsewhere.refuse(replace(counted, began=Millis(counted.began + 86_400_000)), TooManyLogins)
    elsewhere.check(quota.key)


async def test_an_attempt_is_given_back_once_and_to_the_window_it_was_counted_in(hub: Hub) -> None:
    clock, quota = TurnableClock(), Quota("login:ip:given-back", 9)

    async def counted() -> Counted:
        async with hub.db.transaction() as tx:
            return (await count_attempt(tx, quota, now=clock.now()))[0]

    first = await counted()
    async with hub.db.transaction() as tx:
        for _ in range(3):
            await give_back(tx, [first])
    assert (await counted()).count == 1
    clock.turn(seconds=WINDOW_SECONDS)
    assert (await counted()).count == 1
    async with hub.db.transaction() as tx:
        await give_back(tx, [first])
    assert (await counted()).count == 2


async def test_what_another_request_counted_is_given_back_to_no_later_window(hub: Hub) -> None:
    clock, quota = TurnableClock(), Quota("login:ip:given-back-earlier", 9)
    throttle = Throttle(clock, at_once=1, others=Visitors())

    async def counted() -> Counted:
        async with hub.db.transaction() as tx:
            return (await count_attempt(tx, quota, now=clock.now()))[0]

    async def give_back_earlier(counted_at: Millis) -> None:
        async with hub.db.transaction() as tx:
            await throttle.give_back_earlier(tx, [quota], counted_at=counted_at)

    earlier = (await counted()).began
    await give_back_earlier(earlier)
    assert (await counted()).count == 1
    clock.turn(seconds=WINDOW_SECONDS)
    assert (await counted()).count == 1
    await give_back_earlier(earlier)
    assert (await counted()).count == 2


async def test_who_tries_a_locked_account_again_and_again_uses_up_none_of_their_offices_attempts(
    installation: Installation,
) -> None:
    """Strangers had locked it: nobody at the office of its owner could sign in any more."""
    async with installation.running(LOGIN_RATE_LIMIT=3, LOGIN_ACCOUNT_LIMIT=1, **BEHIND_A_PROXY) as (_, client):
        assert await statuses(client, "owner@hub.test", 1, origin="198.51.100.7") == [401]
        for _ in range(5):
            assert await statuses(client, "owner@hub.test", 1) == [429]
            installation.clock.turn(seconds=40)
        assert await statuses(client, "colleague@hub.test", 1) == [401]


async def test_refresh_tokens_that_flood_in_cost_no_statement_either(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=1) as (app, client):
        body = {"refreshToken": "abc"}
        answers = [await client.post("/api/users/refresh", json=body) for _ in range(41)]
        assert [answer.status_code for answer in answers] == [401] * 40 + [429]
        hub: Hub = app.state.hub
        with hub.db.statements.record() as made:
            assert (await client.post("/api/users/refresh", json=body)).status_code == 429
        assert made == []


async def test_a_few_sign_ins_wait_for_their_turn_and_no_more() -> None:
    throttle = Throttle(TurnableClock(), others=Visitors(), at_once=1, most_waiting=2)
    done = asyncio.Event()

    async def taking_a_turn() -> None:
        async with throttle.turn():
            await done.wait()

    taking = [asyncio.create_task(taking_a_turn()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(SignInsBusy) as busy:
        async with throttle.turn():
            pytest.fail("there was no room")
    assert busy.value.headers["Retry-After"] == "2"
    done.set()
    await asyncio.gather(*taking)
    async with throttle.turn():
        pass


async def test_a_client_that_goes_away_leaves_its_place_to_others() -> None:
    throttle = Throttle(TurnableClock(), others=Visitors(), at_once=1, most_waiting=1)
    async with throttle.turn():
        for _ in range(3):
            waiting = asyncio.create_task(_turn(throttle))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    await asyncio.wait_for(_turn(throttle), 5)


async def _turn(throttle: Throttle) -> None:
    async with throttle.turn():
        pass


async def test_a_sign_in_for_which_there_is_no_room_costs_no_statement(installation: Installation) -> None:
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):  # jobs make statements, too
        hub: Hub = app.state.hub
        async with contextlib.AsyncExitStack() as held:
            for _ in range(passwords.HASHING_THREADS):
                await held.enter_async_context(hub.throttle.turn())
            waiting = [asyncio.create_task(_turn(hub.throttle)) for _ in range(MOST_WAITING)]
            await asyncio.sleep(0)
            with hub.db.statements.record() as made:
                assert await statuses(client, "nobody@hub.test", 5) == [503] * 5
            assert made == []
        await asyncio.gather(*waiting)
        assert await statuses(client, "nobody@hub.test", 1) == [401]


async def _rests(throttle: Throttle, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether the place rests after a check that another one waited for."""
    async with throttle.turn():
        waiting = asyncio.create_task(_turn(throttle))
        await passwords.hash_password("some 20 ms of work")
        meanwhile()
    for _ in range(10):
        await asyncio.sleep(0)
    rested = not waiting.done()
    await waiting
    return rested


@pytest.mark.usefixtures("dear_hashes")
async def test_a_place_rests_after_a_check_while_more_wait_for_one_and_others_are_at_work() -> None:
    others = Visitors()
    throttle = Throttle(TurnableClock(), others=others, at_once=1)
    assert not await _rests(throttle), "nobody is there but those who sign in"
    others.enter()
    assert await _rests(throttle)
    others.leave()
    assert not await _rests(throttle), "they have gone"

    def come_and_go() -> None:
        others.enter()
        others.leave()

    assert await _rests(throttle, come_and_go), "somebody came meanwhile"
    others.enter()
    for _ in range(3):
        async with throttle.turn():
            await passwords.hash_password("some 20 ms of work")
        alone = asyncio.create_task(_turn(throttle))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert alone.done(), "nobody waited"


async def test_those_who_sign_in_are_no_others_to_each_other(installation: Installation) -> None:
    async with installation.running(JOBS_AT_ONCE=0) as (app, client):
        hub: Hub = app.state.hub
        assert await statuses(client, "nobody@hub.test", 2) == [401] * 2
        assert (hub.visitors.come, hub.working.come) == (2, 0)
        await client.get("/api/users/check-token")
        assert (hub.visitors.come, hub.working.come, hub.working.at_work) == (3, 1, 0)


async def test_what_is_remembered_of_floods_is_bounded(hub: Hub) -> None:
    clock = TurnableClock()
    throttle = Throttle(clock, others=Visitors(), at_once=1)
    async with hub.db.transaction() as tx:
        for _ in range(2):
            [counted] = await count_attempt(tx, Quota("login:ip:bounded", 1), now=clock.now())
    for number in range(10_001):
        key = Quota(f"login:ip:{number}", 1)
        throttle.refuse(type(counted)(key, counted.count, counted.began, counted.allowance), TooManyLogins)
    throttle.check("login:ip:0")
    with pytest.raises(TooManyLogins):
        throttle.check("login:ip:10000")
