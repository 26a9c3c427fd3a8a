from typing import Any

import pytest

from bench.checks import loss


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"offered": 20, "acknowledged": 10, "held": 10},
        {"offered": 20, "acknowledged": 10, "held": 11},
        {"before": 100, "acknowledged": 5, "held": 105},
        {"acknowledged": 64, "survived": 64},
        {"held": 50, "fewest_distinct": 50, "delivered_twice": 3, "complete": True},
    ],
)
def test_what_agrees_is_no_loss(check: dict[str, Any]) -> None:
    assert loss({"key": "x", "check": check}) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"acknowledged": 10, "held": 9}, "1 of 10 acknowledged"),
        ({"before": 100, "acknowledged": 5, "held": 102}, "3 of 5 acknowledged"),
        ({"acknowledged": 64, "survived": 1}, "63 of 64 acknowledged"),
        ({"held": 50, "fewest_distinct": 48, "complete": True}, "2 of 50 events too few"),
        ({"held": 50, "fewest_distinct": 20, "complete": False}, "did not reach the end"),
    ],
)
def test_what_is_missing_is_said(check: dict[str, Any], words: str) -> None:
    assert words in (loss({"key": "x", "check": check}) or "")


def test_a_cell_without_a_check_has_lost_nothing() -> None:
    assert loss({"key": "memory/idle"}) is None
