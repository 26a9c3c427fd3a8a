"""The result of a run, written to its file after every cell, so that a run cut short leaves what it had."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = 1


class Report:
    """`cells` in the order they were measured, below the facts one needs to compare them with another run."""

    def __init__(self, path: Path | None, **facts: Any) -> None:
        self._path = path
        self._document: dict[str, Any] = {"format": FORMAT, "started": _now(), "finished": None, **facts, "cells": []}

    @property
    def cells(self) -> list[dict[str, Any]]:
        cells: list[dict[str, Any]] = self._document["cells"]
        return cells

    @property
    def hub(self) -> dict[str, Any]:
        """What is known of the server, which may become more."""
        hub: dict[str, Any] = self._document["hub"]
        return hub

    def add(self, cell: dict[str, Any]) -> None:
        self.cells.append(cell)
        if self._path is not None:
            self._write(self._path)

    def finish(self, *, complete: bool) -> None:
        """Close the report; `complete` is False when the run was ended early, by an error or by its time limit."""
        self._document["finished"] = _now()
        self._document["complete"] = complete
        if self._path is None:
            sys.stdout.write(self._text())
        else:
            self._write(self._path)

    def _write(self, path: Path) -> None:
        if path.exists() and not path.is_file():  # /dev/null, a pipe: not to be replaced
            path.write_text(self._text(), encoding="utf-8")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_text(self._text(), encoding="utf-8")
        unfinished.replace(path)

    def _text(self) -> str:
        return json.dumps(self._document, indent=1) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
