"""A result beside the committed one."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.compare import main, table, trimmed


def result(rate: float, p50: float, cpu: float, load: float = 1.0) -> dict[str, Any]:
    cell = {
        "key": "push/batch10",
        "events_per_s": rate,
        "requests": 100,
        "latency_ms": {"p50": p50},
        "server": {"cpu_seconds": cpu},
        "outcomes": {"200": 100},
    }
    facts = {"format": 1, "started": "2026-01-01", "machine": {"load_average": [load]}, "hub": {"engine": "sqlite"}}
    return {**facts, "options": {}, "cells": [cell, {"key": "memory/idle"}]}


def test_more_than_one_is_better_whatever_the_figure() -> None:
    lines = list(table(result(200, 5, 0.5), result(100, 10, 2)))
    assert lines[-2] == "| push/batch10 | 200 | 2.00 | 5 | 2.00 | 5 | 4.00 |"
    assert lines[-1] == "| memory/idle | – | – | – | – | – | – |"


def test_cells_that_only_one_has_are_left_out() -> None:
    before = result(1, 1, 1)
    before["cells"] = []
    assert len(list(table(result(1, 1, 1), before))) == 4


def test_what_is_kept_is_what_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, kept = tmp_path / "1.json", tmp_path / "2.json", tmp_path / "kept.json"
    first.write_text(json.dumps(result(100, 10, 2, load=3.0)))
    second.write_text(json.dumps(result(200, 5, 0.5)))
    assert main([str(second), f"--baseline={kept}"]) == 1
    assert main([str(first), f"--baseline={kept}", "--keep"]) == 0
    assert json.loads(kept.read_text()) == trimmed(result(100, 10, 2, load=3.0))
    assert main([str(second), f"--baseline={kept}"]) == 0
    assert "at load 3.0; now 1.0" in capsys.readouterr().out
