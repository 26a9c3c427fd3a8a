"""Times as other systems write them."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from datacollect.kernel.clock import Millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def instant(text: Any) -> Millis | None:
    """An ISO time at any offset; without one it is UTC. None for what is none.

    Digits below the millisecond are cut off. Whole numbers throughout: a float has no place for each of them.
    """
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return Millis((read - _EPOCH) // _MILLISECOND)


def http_date(text: str | None) -> Millis | None:
    """The header `Date` of an answer. None if there is none, or it is none."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return None if moment.tzinfo is None else Millis((moment - _EPOCH) // _MILLISECOND)
