"""What was paired, beside what should have been."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Pair = tuple[str, str]
"""Two records by their ids, the smaller one first."""


def pair_of(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of pairs: `precision` of those found that are right, `recall` of the right ones that were found."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        return self.right / max(self.right + self.missed, 1)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(2 * self.right + self.wrong + self.missed, 1)

    def shown(self) -> dict[str, float | int]:
        """Rounded down: 0.9999 is not 1."""
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: int(share * 10_000) / 10_000 for name, share in shares.items()} | {
            "wrong": self.wrong,
            "missed": self.missed,
        }


def figures(found: Collection[Pair], truth: Collection[Pair]) -> Figures:
    found, truth = set(found), set(truth)
    return Figures(len(found & truth), len(found - truth), len(truth - found))


def by_kind(found: Collection[Pair], truth: Collection[Pair], kinds: Mapping[str, str]) -> dict[str, Figures]:
    """For each kind of record: of pairs in which one is. A wrong pair of two kinds counts for both."""
    found, truth = set(found), set(truth)
    right, wrong, missed = (_counted(pairs, kinds) for pairs in (found & truth, found - truth, truth - found))
    return {kind: Figures(right[kind], wrong[kind], missed[kind]) for kind in dict.fromkeys(kinds.values())}


def _counted(pairs: Collection[Pair], kinds: Mapping[str, str]) -> Counter[str]:
    return Counter(kind for one, other in pairs for kind in {kinds[one], kinds[other]})
