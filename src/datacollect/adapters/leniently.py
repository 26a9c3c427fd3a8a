"""Reads a JSON answer in which single values cannot be read, so that what holds one keeps nothing else back.

JavaScript writes half an emoji and Python infinities, and reads them again; no strict reader does. Whoever reads an answer so
asks of each of its parts whether it is sound before it looks into it.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from datacollect.kernel.canonical import is_too_dense
from datacollect.outgoing import Answer, UpstreamUnreadable


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A number that is none, or beyond all bounds."""

    text: str


def read_leniently(answer: Answer) -> Any:
    """The document, strictly read if that is possible. Raises `UpstreamUnreadable`."""
    try:
        return answer.json()
    except (UpstreamUnreadable, UnicodeDecodeError):
        if is_too_dense(answer.body):
            raise UpstreamUnreadable from None
    try:
        text = answer.body.decode("utf-8", "surrogateescape")
        return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_Unfit)
    except (ValueError, RecursionError):
        raise UpstreamUnreadable from None


def is_sound(value: Any) -> bool:
    """Whether a strict reader would have read it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def digest_of(value: Any) -> str:
    """Names what is not sound, always alike."""
    text = json.dumps(value, sort_keys=True, default=lambda unfit: unfit.text)
    return hashlib.sha256(text.encode()).hexdigest()


def _float(text: str) -> float | _Unfit:
    value = float(text)
    return value if math.isfinite(value) else _Unfit(text)


def _int(text: str) -> int | _Unfit:
    try:
        return int(text)
    except ValueError:  # more digits than Python reads
        return _Unfit(text)
