"""Reads what a workflow answers when it is asked for changes: a list, or an object that holds one and may tell of more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from msgspec.structs import replace

from datacollect.adapters.calling import CallFailed, CallKind, Reply
from datacollect.adapters.leniently import is_sound
from datacollect.adapters.openfn.items import Item, as_item
from datacollect.adapters.openfn.marks import MOST_KNOWN, OVERLAP_MILLIS, Mark, Place
from datacollect.adapters.openfn.webhook import GIVES_NOTHING

_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    question: Mark
    items: Sequence[Item]
    """Those that are not known yet, by time, those without one first."""
    onward: Mark
    """What to ask next: at once, or in the next run if this was all."""
    is_last: bool


def read_answer(question: Mark, reply: Reply, *, webhook: str, now: int) -> Answered:
    """Raises `CallFailed` if it tells to go on where it has told to go on before, or at another system."""
    document = None if reply.status == GIVES_NOTHING else reply.document
    raw = document.get("events") if isinstance(document, dict) else document
    told = sorted(map(as_item, raw if isinstance(raw, list) else ()), key=lambda item: item.place)
    seen = _seen(question, told, now)
    more = _more(question, document, reply, webhook, seen)
    if more == question:
        raise _unreadable()
    known = frozenset(question.known)
    fresh = [item for item in told if item.place not in known]
    return Answered(question, fresh, more or seen.at_rest(), more is None)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known once an answer is done with."""

    newest: int | None
    places: Sequence[Place]

    def at_rest(self) -> Mark:
        return self.asking(OVERLAP_MILLIS)

    def asking(self, overlap: int) -> Mark:
        """For what changed from so many milliseconds before the newest on."""
        if self.newest is None:
            return Mark()
        since = max(0, self.newest - overlap)
        return Mark(since=since, newest=self.newest, known=self.known(since))

    def known(self, since: int) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place[0] >= since)[-MOST_KNOWN:]


def _seen(question: Mark, told: Sequence[Item], now: int) -> _Seen:
    """A time in the future counts as now: it would keep everything that happens until then from us."""
    times = [max(0, min(item.time, now)) for item in told if item.time is not None]
    newest = max([*times, *([] if question.newest is None else [question.newest])], default=None)
    timed = {item.place for item in told if item.time is not None}
    return _Seen(newest, sorted(timed | set(question.known)))


def _more(question: Mark, document: Any, reply: Reply, webhook: str, seen: _Seen) -> Mark | None:
    """What to ask next; None where the workflow has told everything."""
    told = document if isinstance(document, dict) else {}
    if not all(is_sound(told.get(name)) for name in ("nextCursor", "next", "hasMore")):
        raise _unreadable()
    known = () if seen.newest is None else seen.known(max(0, seen.newest - OVERLAP_MILLIS))
    page = Mark(since=question.since, newest=seen.newest, known=known, has_begun_anew=question.has_begun_anew)
    cursor = told.get("nextCursor")
    if isinstance(cursor, str | int) and not isinstance(cursor, bool) and cursor != "":
        return replace(page, cursor=str(cursor))
    if (url := _next_url(told, reply, question.url or webhook)) is not None:
        if _origin(url) != _origin(webhook):  # the API key goes with it
            raise _unreadable()
        return replace(page, url=url)
    # Just before the newest, however `since` is read there: an item of the same moment may be on the next page.
    return seen.asking(1) if told.get("hasMore") is True else None


def _next_url(told: Any, reply: Reply, base: str) -> str | None:
    url = told.get("next")
    if not isinstance(url, str) or not url:
        found = _NEXT_LINK.search(reply.headers.get("link", ""))
        if found is None:
            return None
        url = str(found[1])
    try:
        return urljoin(base, url)
    except ValueError:
        raise _unreadable() from None


def _unreadable() -> CallFailed:
    return CallFailed(CallKind.UNREADABLE, "go on to its next page")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
