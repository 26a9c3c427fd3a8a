"""A pull that finds nothing new costs the same whatever the program holds: the bytes, and the statements."""

import json
from pathlib import Path

import pytest

from bench.nochange import main
from bench.options import ENGINES

MOST_STATEMENTS = {"everything": 1, "one area": 3}


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_new_costs_the_same_in_a_long_history(engine: str, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    assert main(["--serve", engine, "--held", "40", "2000", "--areas", "4", "--samples", "4", f"--out={out}"]) == 0
    result = json.loads(out.read_text())
    cells = {cell["key"]: cell for cell in result["cells"]}
    assert result["complete"] is True
    for reader, most in MOST_STATEMENTS.items():
        assert cells[f"nochange/{reader}/held40"]["statements"] <= most
        ratio = cells[f"nochange/{reader}/ratio"]
        assert (ratio["bytes"], ratio["statements"]) == (1, 1)
        assert ratio["p50"] > 0
