"""A thing is found by the name of its file, whichever slice it is in. What import-linter cannot see."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import datacollect.features
from datacollect.app import FEATURES
from datacollect.kernel.errors import DataCollectError

SLICES = Path(datacollect.features.__path__[0])
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def layers() -> Iterator[set[str]]:
    """The slices, the first ones first; those that stand beside each other together."""
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    [slices] = [one for one in contracts if one["name"].startswith("Slices: a later one")]
    for layer in reversed(slices["layers"]):
        yield {name.strip().removeprefix("datacollect.features.") for name in layer.split("|")}


def files_but(*stems: str) -> Iterator[Path]:
    """Those of all slices, but for `routes.py` and `versions_routes.py` where the stem is `routes`."""
    for file in sorted(SLICES.rglob("*.py")):
        if file.stem.rpartition("_")[2] not in stems:
            yield file


def test_every_slice_is_listed_in_the_order_of_the_layers() -> None:
    names = [feature.name for feature in FEATURES]
    assert set(names) == {folder.name for folder in SLICES.iterdir() if (folder / "__init__.py").exists()}
    for name, feature in zip(names, FEATURES, strict=True):
        assert importlib.import_module(f"datacollect.features.{name}.feature").FEATURE is feature
        assert (SLICES / name / "routes.py").exists()
    rest = iter(names)
    for layer in layers():
        assert {next(rest) for _ in layer} == layer


@pytest.mark.parametrize(("kind", "stem"), [(DataCollectError, "errors"), (BaseModel, "schemas")])
def test_errors_and_wire_models_are_where_their_names_say(kind: type, stem: str) -> None:
    for file in files_but(stem):
        name = ".".join(("datacollect.features", *file.relative_to(SLICES).with_suffix("").parts))
        module = importlib.import_module(name.removesuffix(".__init__"))
        classes = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, kind)]
        assert not [one for one in classes if one.__module__ == module.__name__], file


@pytest.mark.parametrize(
    ("package", "name", "stems"),
    [("fastapi", "APIRouter", ("routes", "feature")), ("sqlalchemy", "Table", ("tables", "queries"))],
)
def test_routes_and_tables_are_where_their_names_say(package: str, name: str, stems: tuple[str, ...]) -> None:
    for file in files_but(*stems):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if name in text else ():
            if isinstance(node, ast.ImportFrom) and node.module == package:
                assert name not in {alias.name for alias in node.names}, file


def test_what_is_called_as_the_rooms_of_a_slice_is_its_own_too() -> None:
    """import-linter knows `queries`, and not that `versions_queries` is of the same kind."""
    for file in files_but():
        own = file.relative_to(SLICES).parts[0]
        for name in imported_by(file):
            parts = name.split(".")
            if parts[:2] == ["datacollect", "features"] and parts[2] != own:
                rooms = {part.rpartition("_")[2] for part in parts[3:]}
                assert not rooms & {"queries", "tables", "routes", "schemas"}, f"{file} imports {name}"


def imported_by(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_a_hub_that_is_put_together_without_routes_knows_every_table() -> None:
    """A purge clears the tables that are imported, and a command may be what works at it."""
    missing = """
import datacollect.assembly
from datacollect.db.metadata import metadata
before = set(metadata.tables)
import datacollect.app
print(*sorted(metadata.tables.keys() - before))
"""
    ended = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
