"""The example package for authors of adapters is one that works."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from datacollect.adapters.registry import GROUP, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "adapter-csv-drop"


def test_its_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1[0-9] passed", done.stdout)


def test_the_hub_finds_it_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    [(name, value)] = project["entry-points"][GROUP].items()
    registry = load([EntryPoint(name=name, value=value, group=GROUP)])
    described = registry.describe("csv-drop").as_json()
    assert [field["name"] for field in described["fields"]] == ["accessKey", "delimiter"]


def test_the_how_to_shows_the_code_of_the_example() -> None:
    page = (ROOT / "docs/how-to/write-an-adapter.md").read_text()
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    files = [EXAMPLE / "pyproject.toml", EXAMPLE / "src/csv_drop/__init__.py"]
    texts = [re.sub(r'\n    """.*?"""\n\n', "\n", file.read_text()) for file in files]
    shown = [block for block in blocks if "…" not in block]
    assert len(shown) == 2
    for block in shown:
        assert any(block.strip() in text for text in texts), block
