"""What a pair is, and what may become of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from datacollect.kernel.clock import Millis
from datacollect.matching.scoring import Evidence


class Status(StrEnum):
    OPEN = "open"
    """Nobody has decided."""
    NOT_A_DUPLICATE = "not-a-duplicate"
    """Somebody has looked, and both stay. It is not told again."""
    MERGED = "merged"
    """One was merged into the other."""
    DELETED = "deleted"
    """One of the two does not exist any more."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two entities, in no order: `first` is the smaller guid."""

    first: str
    second: str

    @classmethod
    def of(cls, one: str, other: str) -> "Pair":
        return cls(*sorted((one, other)))

    def other(self, guid: str) -> str:
        return self.second if guid == self.first else self.first


@dataclass(frozen=True, slots=True)
class FoundPair:
    """A pair as it is kept."""

    pair: Pair
    newer: str
    status: Status
    bits: float
    evidence: Sequence[Evidence]
    detected_at: Millis
    decided_at: Millis | None = None
    decided_by: str | None = None
    survivor: str | None = None

    @property
    def older(self) -> str:
        return self.pair.other(self.newer)
