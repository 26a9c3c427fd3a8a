"""What many ask for at the same time is looked up once."""

import asyncio
import gc

import pytest
import structlog

from datacollect.db.flights import Flights
from datacollect.kernel.errors import Unavailable

pytestmark = pytest.mark.anyio


class LookUp:
    """Counts how often it is begun, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends: list[asyncio.Future[int]] = []

    async def __call__(self) -> int:
        self.begun += 1
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


async def started(*asked: "asyncio.Task[int]") -> None:
    """Until each has come to where it waits."""
    for _ in range(3 + len(asked)):
        await asyncio.sleep(0)


async def test_who_asks_while_it_is_under_way_shares_it_and_who_asks_later_does_not() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    asked = [asyncio.create_task(flights.join("a", look_up)) for _ in range(5)]
    other = asyncio.create_task(flights.join("b", look_up))
    await started(*asked, other)
    assert look_up.begun == 2
    look_up.ends[0].set_result(1)
    look_up.ends[1].set_result(2)
    assert await asyncio.gather(*asked, other) == [1] * 5 + [2]
    later = asyncio.create_task(flights.join("a", look_up))
    await started(later)
    look_up.ends[2].set_result(3)
    assert await later == 3


async def test_nobodys_end_is_that_of_the_others() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    first, second = [asyncio.create_task(flights.join("a", look_up)) for _ in range(2)]
    await started(first, second)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    look_up.ends[0].set_result(1)
    assert await second == 1
    assert look_up.begun == 1


async def test_a_failure_is_that_of_whoever_began_and_the_others_ask_once_more_together() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    asked = [asyncio.create_task(flights.join("a", look_up)) for _ in range(4)]
    await started(*asked)
    look_up.ends[0].set_exception(Unavailable())
    await started(*asked)
    assert look_up.begun == 2
    look_up.ends[1].set_result(1)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable, int, int, int]


async def test_who_asks_once_more_takes_what_comes() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    asked = [asyncio.create_task(flights.join("a", look_up)) for _ in range(3)]
    for end in range(2):
        await started(*asked)
        look_up.ends[end].set_exception(Unavailable())
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 3
    assert look_up.begun == 2
    again = asyncio.create_task(flights.join("a", look_up))
    await started(again)
    look_up.ends[2].set_result(1)
    assert await again == 1


async def test_nobody_joins_a_look_up_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    flights, look_up = Flights[str, int](), LookUp()
    first = asyncio.create_task(flights.join("a", look_up))
    await started(first)
    monkeypatch.setattr("datacollect.db.flights.JOINED_SECONDS", 0.0)  # as if that time had passed
    late = asyncio.create_task(flights.join("a", look_up))
    await started(late)
    assert look_up.begun == 2
    look_up.ends[1].set_result(2)
    assert await late == 2
    look_up.ends[0].set_result(1)
    assert await first == 1


async def test_a_look_up_speaks_for_no_request_that_began_it() -> None:
    flights = Flights[str, dict[str, object]]()

    async def look_up() -> dict[str, object]:
        return structlog.contextvars.get_contextvars()

    structlog.contextvars.clear_contextvars()  # tests of one process share theirs
    structlog.contextvars.bind_contextvars(request_id="r-1")
    assert await flights.join("a", look_up) == {}
    assert structlog.contextvars.get_contextvars() == {"request_id": "r-1"}
    structlog.contextvars.clear_contextvars()


async def test_a_look_up_that_nobody_waits_for_is_one_that_others_can_join() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    flights.renew("a", look_up)
    flights.renew("a", look_up)
    joined = asyncio.create_task(flights.join("a", look_up))
    await started(joined)
    assert look_up.begun == 1
    look_up.ends[0].set_result(1)
    assert await joined == 1


async def test_the_failure_of_a_look_up_that_nobody_waits_for_is_nobodys() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    try:
        flights.renew("a", look_up)
        joined = asyncio.create_task(flights.join("a", look_up))
        await started(joined)
        look_up.ends[0].set_exception(Unavailable())
        await started(joined)
        look_up.ends[1].set_result(2)
        assert await joined == 2, "who needs to know asks anew"
        flights.renew("a", look_up)
        await asyncio.sleep(0)
        look_up.ends[2].set_exception(Unavailable())
        await started(joined)
        gc.collect()
        assert not told
    finally:
        asyncio.get_running_loop().set_exception_handler(None)


async def test_who_asks_after_a_change_is_not_told_what_was_read_before() -> None:
    flights, look_up = Flights[str, int](), LookUp()
    before = asyncio.create_task(flights.join("a", look_up))
    await started(before)
    flights.forget()
    after = [asyncio.create_task(flights.join("a", look_up)) for _ in range(2)]
    await started(*after)
    assert look_up.begun == 2
    look_up.ends[0].set_result(1)
    assert await before == 1
    joined = asyncio.create_task(flights.join("a", look_up))  # the end of the first is not that of the second
    await started(joined)
    look_up.ends[1].set_result(2)
    assert await asyncio.gather(*after, joined) == [2] * 3
    assert look_up.begun == 2
