"""What can be said about a device's clock."""

import pytest

from datacollect.features.devices.model import Activity, ClockSamples, DeviceKey, Tally, device_time
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.ids import TenantId

HOUR = 3_600_000
KEY = DeviceKey(TenantId("p"), "7", "tablet")


@pytest.mark.parametrize(
    ("newest", "skew"),
    [
        ([], None),
        ([-900, -1_000], None),  # two may agree by chance
        ([-900, -1_000, -1_100], -1_000),
        ([HOUR - 5, HOUR, HOUR + 5], HOUR),  # an hour ahead
        ([-HOUR - 5, -HOUR, -HOUR + 5], -HOUR),  # an hour behind
        ([-3 * HOUR, -26 * HOUR, -HOUR], None),  # offline for a while, each time another
        ([-40 * HOUR, -20, -9 * HOUR, -10, -30], -20),  # what waited says nothing
        ([-10, -20, -30, 9 * HOUR], None),  # one event from the future, and nothing that bears it out
        ([HOUR] * 3 + [-10] * 8, -10),  # the clock has been put right
    ],
)
def test_the_estimate_needs_three_pushes_that_agree(newest: list[int], skew: int | None) -> None:
    assert ClockSamples().with_more(newest, []).skew_millis == skew


def test_a_clock_that_is_told_decides_alone() -> None:
    assert ClockSamples().with_more([HOUR] * 8, [-200, -90, -31_000]).skew_millis == -200


@pytest.mark.parametrize(
    ("iso", "http_date", "time"),
    [
        ("2026-01-31T00:00:00.250Z", None, "2026-01-31T00:00:00.250Z"),
        ("2026-01-31T00:00:00Z", "Sat, 31 Jan 2026 09:00:00 GMT", "2026-01-31T00:00:00.000Z"),
        (None, "Sat, 31 Jan 2026 09:00:00 GMT", "2026-01-31T09:00:00.000Z"),
        (None, "Sat, 31 Jan 2026 09:00:00 +0700", "2026-01-31T02:00:00.000Z"),
        (None, "Sat, 31 Jan 2026 09:00:00 -0000", None),
        (None, "Sat, 31 Feb 2026 09:00:00 GMT", None),
        (None, "Sat, 31 Jan 99999 09:00:00 GMT", None),
        ("now", None, None),
        ("now", "Sat, 31 Jan 2026 09:00:00 GMT", None),
        (None, None, None),
    ],
)
def test_a_devices_own_time_is_read_or_ignored(iso: str | None, http_date: str | None, time: str | None) -> None:
    assert device_time(iso, http_date) == (None if time is None else parse_timestamp(time))


def test_a_tally_that_could_not_be_written_goes_on() -> None:
    def tally(at: int, route: str, newest: int | None) -> Tally:
        made = Tally(first_at=Millis(at))
        made.count(Activity(KEY, route, 3, f"hash-{at}", Millis(at)), newest=newest, told=at)  # type: ignore[arg-type]
        return made

    both = tally(1, "pull", None).continued_by(tally(2, "push", 5))
    both = both.continued_by(tally(3, "push", None))
    assert (both.first_at, both.last_pull_at, both.last_push_at) == (1, 1, 3)
    assert (both.pulled, both.pushed, both.scope_hash) == (3, 6, "hash-3")
    assert (both.newest, both.told) == ([5], [1, 2, 3])


def test_a_future_event_is_remembered_among_many() -> None:
    tally = Tally(first_at=Millis(0))
    for sample in [200_000, *range(-20, 0)]:
        tally.count(Activity(KEY, "push", 1, "h", Millis(0)), newest=sample, told=None)
    assert tally.clock_ahead
    assert len(tally.newest) == 8
