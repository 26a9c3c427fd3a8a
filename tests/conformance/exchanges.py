"""The recorded exchanges of a running v1, and how an answer of ours is held against one of theirs."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDING = Path(__file__).with_name("recorded-v1-exchanges.jsonl")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and the answer v1 gave."""

    n: int
    note: str
    method: str
    path: str
    auth: str | None
    content_type: str | None
    sent: Any
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def media_type(self) -> str | None:
        return _media_type(self.headers)


def read_recording() -> Sequence[Exchange]:
    return [_exchange(json.loads(line)) for line in RECORDING.read_text("utf-8").splitlines()]


def _exchange(line: Mapping[str, Any]) -> Exchange:
    request, response = line["request"], line["response"]
    return Exchange(
        n=line["n"],
        note=line["note"],
        method=request["method"],
        path=request["path"],
        auth=request.get("auth"),
        content_type=request.get("content_type"),
        sent=request.get("body"),
        status=response["status"],
        headers=response["headers"],
        body=response["body"],
    )


def _media_type(headers: Mapping[str, str]) -> str | None:
    return headers["content-type"].partition(";")[0] if "content-type" in headers else None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Stands in an expected body for a value that differs from run to run."""

    expression: str

    def fits(self, value: Any) -> bool:
        return re.fullmatch(self.expression, str(value)) is not None

    def __repr__(self) -> str:
        return f"<{self.expression}>"


INSTANT = Pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID = Pattern(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
JWT = Pattern(r"[\w-]+\.[\w-]+\.[\w-]+")
TEXT = Pattern(r"(?s).+")
SCOPE_HASH = Pattern(r"sha256:[0-9a-f]{64}")
PNG = Pattern(r"(?s)\x89PNG\r\n\x1a\n.*")


class Names:
    """What the recording calls things, and what they are called here.

    Ids, artifact ids and moments of upload cannot be equal; the first time one shows, it is bound to ours, and from
    then on the two must go together.
    """

    def __init__(self) -> None:
        self._ours: dict[Any, Any] = {}

    def bind(self, theirs: Any, ours: Any) -> bool:
        return bool(self._ours.setdefault(theirs, ours) == ours)

    def translate(self, text: str) -> str:
        for theirs, ours in self._ours.items():
            text = text.replace(str(theirs), str(ours)) if isinstance(theirs, str) else text
        return text

    def user_id(self, recorded: int) -> Any:
        return self._ours.get(("id", recorded), recorded)


_PER_RUN: Mapping[str, Callable[[Any], bool]] = {
    "token": lambda value: JWT.fits(value),
    "artifactId": lambda value: re.fullmatch("[0-9a-f]{32}", value) is not None,
    "lastUpdated": lambda value: INSTANT.fits(value),
    "id": lambda value: isinstance(value, int),
    "userId": lambda value: isinstance(value, int),
}
_MADE_AT_UPLOAD = re.compile(r"2026-\d\d-\d\dT.*Z")


def faults(recorded: Any, ours: Any, names: Names, path: str = "") -> list[str]:
    """Where our answer lacks or changes something the recorded one has. Additional members are not faults."""
    if isinstance(recorded, dict):
        if not isinstance(ours, dict):
            return [f"{path}: {ours!r} instead of an object"]
        missing = [f"{path}.{key}: missing" for key in recorded if key not in ours]
        shared = [key for key in recorded if key in ours]
        return missing + [f for key in shared for f in _member_faults(key, recorded, ours, names, f"{path}.{key}")]
    if isinstance(recorded, list):
        if not isinstance(ours, list) or len(ours) != len(recorded):
            return [f"{path}: {ours!r} instead of {recorded!r}"]
        return [
            f for i, pair in enumerate(zip(recorded, ours, strict=True)) for f in faults(*pair, names, f"{path}[{i}]")
        ]
    return [] if recorded == ours else [f"{path}: {ours!r} instead of {recorded!r}"]


def _member_faults(
    key: str, recorded: Mapping[str, Any], ours: Mapping[str, Any], names: Names, path: str
) -> list[str]:
    theirs, mine = recorded[key], ours[key]
    if key in ("token", "lastUpdated"):
        return [] if _PER_RUN[key](mine) else [f"{path}: {mine!r}"]
    if key == "artifactId" or (key in ("id", "userId") and isinstance(theirs, int)):
        fits = _PER_RUN[key](mine) and names.bind(theirs if key == "artifactId" else ("id", theirs), mine)
        return [] if fits else [f"{path}: {mine!r} instead of what stands for {theirs!r}"]
    return faults(theirs, mine, names, path)


def differences(expected: Any, ours: Any, path: str = "") -> list[str]:
    """Where our answer is not exactly what is expected; a `Pattern` in the expectation fits many values."""
    if isinstance(expected, Pattern):
        return [] if expected.fits(ours) else [f"{path}: {ours!r} does not fit {expected!r}"]
    if isinstance(expected, dict) and isinstance(ours, dict):
        keys = dict.fromkeys([*expected, *ours])
        absent = [f"{path}.{key}: missing" for key in keys if key not in ours]
        surplus = [f"{path}.{key}: not expected ({ours[key]!r})" for key in keys if key not in expected]
        shared = [key for key in keys if key in expected and key in ours]
        return absent + surplus + [d for key in shared for d in differences(expected[key], ours[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(ours, list) and len(expected) == len(ours):
        return [
            d for i, pair in enumerate(zip(expected, ours, strict=True)) for d in differences(*pair, f"{path}[{i}]")
        ]
    return [] if expected == ours else [f"{path}: {ours!r} instead of {expected!r}"]
