"""Counting in windows, and how it is told."""

from datacollect.kernel.clock import Millis
from datacollect.kernel.rates import Allowance, Rate, Windows

RATE = Rate("tries", 3, 60)
START = Millis(1_000_000)


def test_an_allowance_names_its_limit_and_when_it_is_passed_when_to_come_back() -> None:
    left = Allowance(Rate("login", 15, 900), remaining=14, reset_seconds=899, exceeded=False)
    assert left.headers() == {"RateLimit-Policy": '"login";q=15;w=900', "RateLimit": '"login";r=14;t=899'}
    assert Allowance(RATE, 0, 7, exceeded=True).headers()["Retry-After"] == "7"


def test_the_quota_is_for_each_key_and_each_window() -> None:
    windows = Windows(RATE)
    told = [windows.count("a", now=Millis(START + 1000 * n)) for n in range(4)]
    assert [(one.remaining, one.reset_seconds, one.exceeded) for one in told] == [
        (2, 60, False),
        (1, 59, False),
        (0, 58, False),
        (0, 57, True),
    ]
    assert not windows.count("b", now=Millis(START + 4000)).exceeded
    assert not windows.count("a", now=Millis(START + 60_000)).exceeded


def test_a_clock_that_was_set_back_begins_a_new_window() -> None:
    windows = Windows(RATE)
    for _ in range(4):
        windows.count("a", now=START)
    assert not windows.count("a", now=Millis(START - 1)).exceeded


def test_asking_whether_a_quota_is_used_up_uses_nothing() -> None:
    windows = Windows(RATE)
    assert windows.is_used_up("a", now=START) is None
    for _ in range(3):
        assert windows.is_used_up("a", now=START) is None
        windows.count("a", now=START)
    for _ in range(5):
        used_up = windows.is_used_up("a", now=START)
        assert used_up is not None and used_up.exceeded and used_up.reset_seconds == 60
    assert windows.is_used_up("a", now=Millis(START + 60_000)) is None


def test_a_flood_of_keys_takes_bounded_memory_and_forgets_the_oldest_first() -> None:
    windows = Windows(RATE, most_keys=100)
    for n in range(99):
        windows.count(f"old-{n}", now=START)
    for _ in range(3):
        windows.count("mine", now=START)
    for n in range(99):
        windows.count(f"flood-{n}", now=START)
    assert len(windows) == 100
    assert windows.is_used_up("mine", now=START) is not None
    for n in range(100_000):
        windows.count(f"more-{n}", now=START)
    assert len(windows) == 100
