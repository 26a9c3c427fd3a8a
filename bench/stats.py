"""Latencies and outcomes of requests, and their summary."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SUCCESS = "200"
_SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ascending values: the smallest one that `share` of them do not exceed."""
    if not ordered:
        raise ValueError("no values to take a percentile of")
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    return ordered[math.ceil(share * len(ordered)) - 1]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the longest."""
    ordered = sorted(seconds)
    return {"p50": round(percentile(ordered, 0.5), 3), "max": round(percentile(ordered, 1.0), 3)}


@dataclass(slots=True)
class Samples:
    """What happened to one kind of request. Only successful ones count towards the latencies."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        if outcome == SUCCESS:
            self.seconds.append(seconds)

    def summary(self) -> dict[str, Any]:
        """`requests`, `outcomes` and `latency_ms` with p50, p95, p99 and max (None without a success)."""
        ordered = sorted(self.seconds)
        return {
            "requests": self.outcomes.total(),
            "outcomes": dict(self.outcomes),
            "latency_ms": {
                name: round(1000 * percentile(ordered, share), 3) if ordered else None
                for name, share in _SHARES.items()
            },
        }


def separation(one: Sequence[float], other: Sequence[float]) -> float:
    """How well a value tells which of two kinds it is of: the chance that one of `other` is above one of `one`.

    0.5 when they cannot be told apart, 1 or 0 when every value tells; equal values count half. (The Mann-Whitney U
    divided by the number of pairs, which is also the area under the ROC curve.)
    """
    if not one or not other:
        raise ValueError("no values to compare")
    ordered = sorted(one)
    above = sum((bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in other)
    return round(above / (len(one) * len(other)), 3)


def rate(count: int, seconds: float) -> float:
    """Things per second; 0 when no time has passed."""
    return round(count / seconds, 2) if seconds > 0 else 0.0
