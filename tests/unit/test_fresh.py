"""What is remembered for a second: never longer, never more than there is room for, and not across a clock that is set back."""

from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.clock import Millis
from datacollect.kernel.fresh import FRESH_MS, Fresh
from datacollect.testing.clock import SetClock

MOST = 20


def test_it_is_told_for_a_second_since_it_was_asked() -> None:
    clock = SetClock(Millis(10_000))
    fresh = Fresh[str, int](clock, most=MOST)
    asked = fresh.now()
    clock.turn(400)
    fresh.keep("a", 1, asked)
    found = fresh.get("a")
    assert found is not None
    assert (found.value, found.when) == (1, asked)
    clock.turn(599)
    assert fresh.get("a") is not None
    clock.turn(1)
    assert fresh.get("a") is None


def test_what_is_asked_for_often_is_due_when_half_of_its_time_is_over() -> None:
    clock = SetClock(Millis(10_000))
    fresh = Fresh[str, int](clock, most=MOST)

    def ask(key: str, times: int) -> bool:
        for _ in range(times):
            fresh.get(key)
        return fresh.is_due(key)

    fresh.keep("often", 1, fresh.now())
    fresh.keep("seldom", 1, fresh.now())
    assert not ask("often", 20)
    clock.turn(499)
    assert not ask("often", 20)
    clock.turn(1)
    assert ask("often", 1)
    assert not ask("seldom", 7)
    assert ask("seldom", 1)
    assert not ask("unknown", 20)
    fresh.keep("often", 2, fresh.now())
    assert not ask("often", 20)
    clock.turn(500)
    assert ask("often", 1)
    clock.turn(500)
    assert fresh.get("often") is None, "its second is over all the same"


def test_nothing_of_before_the_clock_was_set_back_is_believed_when_it_has_caught_up() -> None:
    clock = SetClock(Millis(10_000))
    fresh = Fresh[str, int](clock, most=MOST)
    fresh.keep("a", 1, fresh.now())
    asked = fresh.now()
    clock.turn(-5_000)
    assert fresh.get("b") is None  # somebody asks meanwhile
    fresh.keep("c", 3, asked)  # it was asked for before
    clock.turn(5_000)
    assert (fresh.get("a"), fresh.get("c")) == (None, None)


def test_a_clock_that_was_set_back_while_nobody_asked_makes_nothing_younger() -> None:
    clock, elapsed = SetClock(Millis(10_000)), 0.0
    fresh = Fresh[str, int](clock, most=MOST, monotonic=lambda: elapsed)
    asked = fresh.now()
    fresh.keep("kept", 1, asked)
    clock.turn(-5_000)
    clock.turn(5_400)
    elapsed = 5.4
    fresh.keep("read for long", 2, asked)
    assert (fresh.get("kept"), fresh.get("read for long")) == (None, None)


def test_what_was_changed_is_forgotten() -> None:
    fresh = Fresh[str, int](SetClock(Millis(10_000)), most=2)
    for key in ("ab", "ac", "b"):
        fresh.keep(key, 1, fresh.now())
    fresh.forget(lambda key: key.startswith("a"))
    fresh.keep("c", 1, fresh.now())
    assert [fresh.get(key) is not None for key in ("ab", "ac", "b", "c")] == [False, False, True, True]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 500), st.sampled_from([0, 0, 0, 100, 700, -300]))
    )
)
def test_it_holds_what_there_is_room_for_and_only_what_is_true(
    steps: list[tuple[int, int, int, int]],
) -> None:
    clock = SetClock(Millis(100_000))
    fresh = Fresh[int, int](clock, most=MOST)
    told: dict[int, tuple[int, int]] = {}
    latest = 0
    for number, (key, size, ago, turned) in enumerate(steps):
        clock.turn(turned)
        if clock.now() < latest:
            told.clear()
        latest = clock.now()
        fresh.keep(key, number, fresh.now()._replace(millis=Millis(clock.now() - ago)), size=size)
        told[key] = (number, clock.now() - ago)
        sizes = [held.size for held in fresh._held.values()]
        assert fresh._size == sum(sizes) <= MOST
        for asked in range(5):
            found = fresh.get(asked)
            if found is not None:
                assert (found.value, found.when.millis) == told[asked]
                assert clock.now() - found.when.millis < FRESH_MS
        assert fresh.get(key) is not None or size > MOST or ago >= FRESH_MS
