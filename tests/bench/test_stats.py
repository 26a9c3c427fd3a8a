import pytest

from bench.stats import Samples, percentile, rate, separation


def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]


def test_percentiles_of_few_values_are_values_that_were_measured() -> None:
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([1.0, 9.0], 0.5) == 1.0
    assert percentile([1.0, 9.0], 0.51) == 9.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_failures_are_counted_but_do_not_flatter_the_latencies() -> None:
    samples = Samples()
    for seconds in (0.2, 0.1, 0.3):
        samples.add("200", seconds)
    samples.add("500", 0.0001)
    samples.add("TimeoutError", 60)
    assert samples.summary() == {
        "requests": 5,
        "outcomes": {"200": 3, "500": 1, "TimeoutError": 1},
        "latency_ms": {"p50": 200.0, "p95": 300.0, "p99": 300.0, "max": 300.0},
    }


def test_without_a_success_there_are_no_latencies() -> None:
    samples = Samples()
    samples.add("401", 0.1)
    assert samples.summary()["latency_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}


def test_a_rate_over_no_time_is_nothing() -> None:
    assert rate(100, 4.0) == 25.0
    assert rate(100, 0.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.5),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
        ([3.0, 4.0], [1.0, 2.0], 0.0),
        ([1.0, 1.0], [1.0], 0.5),
        ([1.0, 3.0], [2.0, 4.0], 0.75),
    ],
)
def test_values_are_apart_as_far_as_one_tells_which_kind_it_is_of(
    one: list[float], other: list[float], apart: float
) -> None:
    assert separation(one, other) == apart


def test_nothing_is_not_compared() -> None:
    with pytest.raises(ValueError, match="no values"):
        separation([], [1.0])
