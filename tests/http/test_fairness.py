"""Who asks little of the hub does not wait behind those who ask much."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from datacollect.http.fairness import (
    AT_ONCE,
    BUSY_HALF_LIFE_SECONDS,
    HALF_LIFE_SECONDS,
    LEASE_SECONDS,
    LITTLE,
    MOST_AT_ONCE,
    WINDOW_SECONDS,
    FairTurns,
    Visit,
)
from datacollect.http.limits import ACCOUNT_LINE, RequestLimits, account_known, ticket_of
from datacollect.jobs import Visitors
from datacollect.kernel.clock import SystemClock

LINE = 50
MUCH = 2.0
"""Seconds."""
_PATIENCE_SECONDS = 10


@dataclass
class Clock:
    now: float = 1000.0
    step: float = 0.0
    """By which it goes on whenever somebody looks."""

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@dataclass
class Door:
    """Fair turns, and who is in and who waits."""

    clock: Clock = field(default_factory=Clock)
    inside: list[Visit] = field(default_factory=list)
    waiting: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = FairTurns(line=LINE, monotonic=self.clock)

    async def asked(self, caller: Hashable, seconds: float, *, body_bytes: int = 0) -> None:
        visit = await self.turns.enter(caller)
        assert visit is not None
        self.turns.leave(visit, seconds, body_bytes=body_bytes)

    async def used(self, caller: Hashable, seconds: float) -> None:
        """The caller has been here a moment ago, and has kept the loop for so long."""
        await self.asked(caller, seconds)
        self.clock.now += 2 * WINDOW_SECONDS
        self.keep_busy()

    def keep_busy(self) -> None:
        """Somebody else's requests keep the loop."""
        self.turns.leave(Visit("somebody else"), BUSY_HALF_LIFE_SECONDS)

    async def come(self, caller: Hashable) -> "asyncio.Task[None]":
        async def enter() -> None:
            visit = await self.turns.enter(caller)
            assert visit is not None
            self.inside.append(visit)

        task = asyncio.create_task(enter())
        self.waiting.append(task)
        await settle()
        return task

    async def go(self, visit: Visit, seconds: float = 0.0) -> None:
        self.inside.remove(visit)
        self.turns.leave(visit, seconds)
        await settle()

    def of(self, caller: Hashable) -> int:
        return sum(visit.caller == caller for visit in self.inside)

    async def close(self) -> None:
        for task in self.waiting:
            task.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)


async def settle() -> None:
    """Rounds of the loop enough for everybody who has been let in to go on."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    await made.close()


async def test_whoever_is_alone_is_not_held_up_however_much_they_ask(door: Door) -> None:
    await door.used("office", MUCH)
    for _ in range(MOST_AT_ONCE):
        await door.come("office")
    assert door.of("office") == MOST_AT_ONCE


async def test_more_than_one_who_comes_could_wait_for_do_not_begin(door: Door) -> None:
    """However many connections somebody has."""
    await door.used("office", MUCH)
    for _ in range(MOST_AT_ONCE + 1):
        await door.come("office")
    assert door.of("office") == MOST_AT_ONCE
    await door.go(door.inside[0])
    assert door.of("office") == MOST_AT_ONCE


async def test_those_who_ask_as_much_as_each_other_do_not_wait(door: Door) -> None:
    for number in range(8):
        await door.used(number, MUCH)
    for number in range(8):
        await door.come(number)
    assert len(door.inside) == 8


async def test_beside_somebody_who_asks_little_few_of_the_others_are_worked_on(door: Door) -> None:
    for number in range(8):
        await door.used(number, MUCH)
    await door.come("agent")
    for number in range(8):
        await door.come(number)
    assert door.of("agent") == 1
    assert len(door.inside) == 1 + AT_ONCE


async def test_whoever_asks_little_never_waits(door: Door) -> None:
    for number in range(8):
        await door.used(number, MUCH)
        await door.come("agent")
        await door.come(number)
    for _ in range(10):
        await door.come("another agent")
    assert door.of("another agent") == 10


async def test_one_who_goes_makes_room_for_the_next(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    for _ in range(AT_ONCE + 2):
        await door.come("office")
    for left in (2, 1, 0):
        await door.go(next(visit for visit in door.inside if visit.caller == "office"))
        assert door.of("office") == AT_ONCE - (left == 0)


async def test_the_waiting_callers_are_let_in_in_turn(door: Door) -> None:
    for caller in ("first", "greedy", "modest"):
        await door.used(caller, MUCH)
    await door.come("agent")
    for _ in range(AT_ONCE):
        await door.come("first")
    for caller in ("greedy", "greedy", "greedy", "modest"):
        await door.come(caller)
    let_in = []
    for _ in range(2):
        gone = next(visit for visit in door.inside if visit.caller != "agent")
        before = list(door.inside)
        await door.go(gone)
        let_in += [visit.caller for visit in door.inside if visit not in before]
    assert let_in == ["greedy", "modest"]


async def test_who_asked_much_a_while_ago_asks_little_now(door: Door) -> None:
    await door.used("office", MUCH)
    await door.used("other", MUCH)
    door.clock.now += 5 * HALF_LIFE_SECONDS
    await door.used("other", MUCH)
    await door.come("agent")
    for caller in ("other", "other", "other", "office", "office", "office"):
        await door.come(caller)
    assert door.of("other") == AT_ONCE
    assert door.of("office") == 3


async def test_who_asks_less_than_the_others_goes_before_them(door: Door) -> None:
    """Neither asks little by itself."""
    await door.used("office", MUCH)
    await door.used("smaller office", MUCH / 2)
    for _ in range(10):
        await door.used("office", 0.0)
    for _ in range(3):
        await door.come("office")
    for _ in range(3):
        await door.come("smaller office")
    await door.come("office")
    assert door.of("smaller office") == 3
    assert door.of("office") == 3  # the last one waits


async def test_who_asked_a_little_all_along_goes_before_those_who_have_just_begun_to_ask_much(door: Door) -> None:
    """What somebody keeps the loop for is judged by when they began."""
    for _ in range(40):
        await door.used("agent", 3 * LITTLE * 0.5)
        door.clock.now += 0.5
    for _ in range(5):
        for number in range(10):
            await door.asked(number, 0.09 * 0.2)
        door.clock.now += 0.2
    door.keep_busy()
    for number in range(AT_ONCE):
        await door.come(number)
    for _ in range(3):
        await door.come("agent")
    await door.come(9)
    assert door.of("agent") == 3
    assert len(door.inside) == 3 + AT_ONCE


async def test_large_bodies_count_for_more_than_they_keep_the_loop(door: Door) -> None:
    await door.used("office", MUCH)
    for caller, body_bytes in (("reads", 0), ("pushes", 5_000_000)):
        for _ in range(5):
            await door.asked(caller, LITTLE / 10, body_bytes=body_bytes)
    await door.come("office")
    for _ in range(3):
        await door.come("reads")
        await door.come("pushes")
    assert door.of("reads") == 3
    assert door.of("pushes") == 0


async def test_one_request_is_not_yet_much(door: Door) -> None:
    await door.used("office", MUCH)
    for _ in range(AT_ONCE):
        await door.come("office")
    await door.asked("newcomer", 0.01)
    for _ in range(3):
        await door.come("newcomer")
    assert door.of("newcomer") == 3


async def test_when_nobody_who_asks_little_has_come_for_a_while_all_are_let_in(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(10)]
    assert door.of("office") == AT_ONCE
    await door.go(next(visit for visit in door.inside if visit.caller == "agent"))
    door.keep_busy()
    waiting.append(await door.come("office"))
    assert door.of("office") == AT_ONCE
    door.clock.now += 2 * WINDOW_SECONDS
    await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE_SECONDS)
    assert door.of("office") == 11


async def test_one_who_asks_little_and_stays_long_is_not_waited_for(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(10)]
    door.clock.now += LEASE_SECONDS + 2 * WINDOW_SECONDS
    door.keep_busy()
    await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE_SECONDS)


async def test_who_has_stayed_long_and_goes_is_not_counted_any_more(door: Door) -> None:
    await door.used("export", MUCH)
    await door.come("export")
    door.clock.now += 2 * LEASE_SECONDS
    await door.used("office", MUCH)
    await door.used("smaller office", MUCH / 8)
    await door.go(next(visit for visit in door.inside if visit.caller == "export"))
    await door.come("office")
    await door.come("smaller office")
    await door.come("office")
    assert (door.of("smaller office"), door.of("office")) == (1, 1)


async def test_one_long_request_does_not_make_the_loop_busy_for_long(door: Door) -> None:
    await door.used("office", 100 * MUCH)
    door.clock.now += 4 * BUSY_HALF_LIFE_SECONDS
    await door.come("agent")
    for _ in range(3):
        await door.come("office")
    assert door.of("office") == 3


async def test_it_is_looked_for_them_until_they_are_in(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(10)]
    door.clock.step = WINDOW_SECONDS / 5
    await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE_SECONDS)


async def test_while_the_loop_has_time_each_who_comes_lets_one_in(door: Door) -> None:
    """A disk or a database is waited for then."""
    await door.used("office", MUCH)
    await door.come("agent")
    for _ in range(5):
        await door.come("office")
    assert door.of("office") == AT_ONCE
    door.clock.now += 2 * BUSY_HALF_LIFE_SECONDS
    await door.come("office")
    assert door.of("office") == AT_ONCE + 1
    await door.come("office")
    assert door.of("office") == AT_ONCE + 2


async def test_somebody_who_asks_little_is_there_as_long_as_they_are_answered(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    for _ in range(5):
        await door.come("office")
    door.clock.now += 1.5 * WINDOW_SECONDS
    door.keep_busy()
    await door.come("office")
    assert door.of("office") == AT_ONCE


async def test_a_long_stay_of_who_asked_much_makes_nobody_else_ask_little(door: Door) -> None:
    await door.used("exports", 100 * MUCH)
    await door.come("exports")
    door.clock.now += 2 * LEASE_SECONDS
    for number in range(8):
        await door.used(number, MUCH)
    await door.come("agent")
    for number in range(8):
        await door.come(number)
    assert sum(door.of(number) for number in range(8)) == AT_ONCE


async def test_nobody_passes_those_who_wait(door: Door) -> None:
    await door.used("first", MUCH)
    await door.used("second", MUCH)
    await door.come("agent")
    for _ in range(AT_ONCE):
        await door.come("first")
    waiting = await door.come("first")
    await door.go(next(visit for visit in door.inside if visit.caller == "agent"))
    door.clock.now += 2 * WINDOW_SECONDS
    await door.come("second")
    assert waiting.done()


async def test_too_long_a_line_of_one_caller_is_no_line_of_the_others(door: Door) -> None:
    for caller in ("office", "other"):
        await door.used(caller, MUCH)
    await door.come("agent")
    for _ in range(AT_ONCE + LINE):
        await door.come("office")
    assert await door.turns.enter("office") is None
    await door.come("other")
    for _ in range(2):
        await door.go(next(visit for visit in door.inside if visit.caller == "office"))
    assert door.of("other") == 1


async def test_who_takes_long_takes_nobodys_place(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(AT_ONCE + 1)]
    door.clock.now += LEASE_SECONDS
    door.keep_busy()
    await asyncio.wait_for(waiting[-1], _PATIENCE_SECONDS)
    assert door.of("office") == AT_ONCE + 1


async def test_who_does_not_wait_any_more_is_forgotten(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(AT_ONCE + 2)]
    waiting[AT_ONCE].cancel()
    await settle()
    await door.go(next(visit for visit in door.inside if visit.caller == "office"))
    assert waiting[-1].done()
    assert door.of("office") == AT_ONCE


async def test_who_is_cancelled_when_their_turn_has_come_gives_it_on(door: Door) -> None:
    await door.used("office", MUCH)
    await door.come("agent")
    waiting = [await door.come("office") for _ in range(AT_ONCE + 2)]
    gone = next(visit for visit in door.inside if visit.caller == "office")
    door.inside.remove(gone)
    door.turns.leave(gone, 0.0)
    waiting[AT_ONCE].cancel()  # its turn has just come
    await settle()
    assert waiting[-1].done()
    assert door.of("office") == AT_ONCE


# -- in front of the routes


class House:
    """The limits, and a route behind them that keeps the loop for as long as it is told, or until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Event()
        self.clock = Clock()
        self.limits = RequestLimits(
            self._route,
            clock=SystemClock(),
            requests_per_minute=0,
            account_at_once=32,
            at_once=500,
            visitors=Visitors(),
            working=Visitors(),
            is_own_token=lambda _: True,
            monotonic=self.clock,
        )

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = scope["headers"][0][1].decode()
        account = token.partition(" of ")[2]
        await account_known(scope, account)
        query = scope["query_string"].decode()
        if query.startswith("body="):
            ticket = ticket_of(scope)
            assert ticket is not None
            ticket.body_bytes = int(query.removeprefix("body="))
        elif query == "fail":
            raise ZeroDivisionError
        elif query == "wait":
            self.begun.append(account)
            await self.go.wait()
        else:
            self.clock.now += float(query)

    def _scope(self, token: str, query: str) -> Scope:
        return {
            "type": "http", "path": "/api/sync/pull", "method": "GET", "query_string": query.encode(),
            "headers": [(b"authorization", token.encode())], "client": ("192.0.2.1", 1),
        }  # fmt: skip

    async def ask(self, token: str, query: str) -> None:
        await self.limits(self._scope(token, query), _nothing_more, _nobody_reads)

    async def refused(self, token: str) -> tuple[int, bytes]:
        """The status of the answer, and its body."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        await self.limits(self._scope(token, "wait"), _nothing_more, send)
        return sent[0]["status"], sent[1]["body"]


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}


async def _nobody_reads(message: Message) -> None:
    pass


@pytest.mark.parametrize("bulk", ["0.015", "body=300000"])
async def test_requests_of_an_account_are_let_in_by_what_its_requests_have_taken(bulk: str) -> None:
    house = House()
    tokens = [f"{number} of office" for number in range(30)]
    for token in (*tokens, "0 of agent"):
        await house.ask(token, "0")
    for token in tokens:
        await house.ask(token, bulk)
    with pytest.raises(ZeroDivisionError):
        await house.ask(tokens[0], "fail")
    await house.ask("0 of agent", "0.001")
    house.clock.now += 2 * WINDOW_SECONDS
    await house.ask(tokens[0], "0.3")  # and so the loop is busy
    asked = [asyncio.create_task(house.ask("another of nobody", "wait"))]
    asked += [asyncio.create_task(house.ask(token, "wait")) for token in tokens[:2]]
    await settle()
    assert house.begun == ["nobody", "office", "office"]  # for somebody whom the hub does not know
    asked.append(asyncio.create_task(house.ask("0 of agent", "wait")))
    asked += [asyncio.create_task(house.ask(token, "wait")) for token in tokens]
    await settle()
    asked += [asyncio.create_task(house.ask("0 of agent", "wait")) for _ in range(3)]
    await settle()
    assert (house.begun.count("office"), house.begun.count("agent")) == (2, 4)
    house.go.set()
    await asyncio.wait_for(asyncio.gather(*asked), _PATIENCE_SECONDS)
    assert house.begun.count("office") == 2 + len(tokens)


async def test_an_account_with_too_long_a_line_is_told_so() -> None:
    house, asked = await busy_house()
    asked += [asyncio.create_task(house.ask("0 of office", "wait")) for _ in range(AT_ONCE + 32 + ACCOUNT_LINE)]
    await settle()
    status, body = await house.refused("0 of office")
    assert (status, b"TOO_MANY_AT_ONCE" in body) == (429, True)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_many_who_come_with_new_tokens_through_one_address_are_all_let_in() -> None:
    """As after a restart of the hub, when it knows none of them."""
    house, asked = await busy_house()
    await house.ask("0 of first", "0.5")
    asked += [asyncio.create_task(house.ask(f"0 of phone-{number}", "wait")) for number in range(400)]
    await settle()
    assert sum(account.startswith("phone-") for account in house.begun) == 400
    house.go.set()
    await asyncio.wait_for(asyncio.gather(*asked), _PATIENCE_SECONDS)


async def busy_house() -> tuple[House, "list[asyncio.Task[None]]"]:
    """In which an office asks much, and an agent's request lasts."""
    house = House()
    for token in ("0 of office", "0 of agent"):
        await house.ask(token, "0")
    await house.ask("0 of office", "0.5")
    asked = [asyncio.create_task(house.ask("0 of agent", "wait"))]
    await settle()
    return house, asked


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "go", "cancel", "later"]), st.integers(0, 5), st.sampled_from([LITTLE / 10, MUCH])
    ),
    max_size=60,
)


@given(_STEPS)
def test_nobody_is_forgotten_whatever_happens(steps: list[tuple[str, int, float]]) -> None:
    asyncio.run(_live(steps))


async def _live(steps: list[tuple[str, int, float]]) -> None:
    door = Door()
    acts: dict[str, Callable[[int, float], Any]] = {
        "come": lambda number, _: door.come(number),
        "go": lambda number, seconds: door.go(door.inside[number % len(door.inside)], seconds),
        "cancel": lambda number, _: _cancelled(door.waiting[number % len(door.waiting)]),
        "later": lambda number, _: _later(door, number * WINDOW_SECONDS / 4),
    }
    for act, number, seconds in steps:
        if (act != "go" or door.inside) and (act != "cancel" or door.waiting):
            await acts[act](number, seconds)
    while door.inside:
        await door.go(door.inside[0])
    assert all(task.done() for task in door.waiting)
    await door.used("office", MUCH)
    await door.come("agent")
    for _ in range(AT_ONCE + 1):
        await door.come("office")
    assert door.of("office") == AT_ONCE  # places are neither lost nor made
    await door.close()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await settle()


async def _later(door: Door, seconds: float) -> None:
    door.clock.now += seconds
