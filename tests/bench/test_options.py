import pytest

from bench.options import parse
from bench.scenarios import HELP


def test_the_flags_may_stand_before_and_after_the_scenario() -> None:
    options = parse(["--pid", "7", "push", "--batch", "1", "10", "--concurrency", "8"], HELP)
    assert (options.scenario, options.pid, options.batch, options.concurrency) == ("push", 7, (1, 10), (8,))


def test_without_flags_the_sizes_are_those_of_the_table() -> None:
    options = parse(["suite"], HELP)
    assert options.batch == (1, 10, 100, 1000)
    assert options.concurrency == (1, 8, 32)
    assert options.sizes == (0, 10_000, 50_000)


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch", "0"],
        ["--batch", "10001"],
        ["--concurrency", "257"],
        ["--events", "20000001"],
        ["--seconds", "3601"],
        ["--seconds", "nan"],
        ["--limit", "5001"],
        ["--serve", "oracle"],
    ],
)
def test_what_has_no_bound_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["push", *flags], HELP)
    assert "push" not in capsys.readouterr().out


def test_every_scenario_says_in_one_line_what_it_measures() -> None:
    assert all(text and len(text) < 120 for text in HELP.values())
