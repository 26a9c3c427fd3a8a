"""Reads what a workflow answers when it is asked for changes: a list, or an object that holds one and may tell of more."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from datacollect.adapters.calling import CallFailed, CallKind, Reply
from datacollect.adapters.openfn.items import Item, as_item
from datacollect.adapters.openfn.marks import Mark
from datacollect.adapters.openfn.webhook import GIVES_NOTHING

_NEXT_LINK = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    question: Mark
    items: Sequence[Item]
    """By time, those without one first."""
    onward: Mark | None
    """What to ask next; None where the workflow has told everything."""


def read_answer(question: Mark, reply: Reply, *, webhook: str, now: int) -> Answered:
    """Raises `CallFailed` if it tells to go on where it has told to go on before, or at another system."""
    document = None if reply.status == GIVES_NOTHING else reply.document
    raw = document.get("events") if isinstance(document, dict) else document
    items = sorted(map(as_item, raw if isinstance(raw, list) else ()), key=lambda item: item.place)
    onward = _onward(question, document, reply, webhook, newest_of(question, items, now))
    if onward is not None and onward.question == question.question:
        raise _unreadable()
    return Answered(question.question, items, onward)


def newest_of(question: Mark, items: Sequence[Item], now: int) -> int | None:
    """A time in the future counts as now: it would keep everything that happens until then from us."""
    times = [max(0, min(item.time, now)) for item in items if item.time is not None]
    return max([*times, *([] if question.newest is None else [question.newest])], default=None)


def _onward(question: Mark, document: Any, reply: Reply, webhook: str, newest: int | None) -> Mark | None:
    told = document if isinstance(document, dict) else {}
    cursor = told.get("nextCursor")
    if isinstance(cursor, str | int) and not isinstance(cursor, bool) and cursor != "":
        return question.onward(newest=newest, cursor=str(cursor))
    if (url := _next_url(told, reply, question.url or webhook)) is not None:
        if _origin(url) != _origin(webhook):  # the API key goes with it
            raise _unreadable()
        return question.onward(newest=newest, url=url)
    if told.get("hasMore") is True:
        # Just before the newest, however `since` is read there: an item of the same moment may be on the next page.
        return question.onward(newest=newest, since=None if newest is None else max(0, newest - 1))
    return None


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
