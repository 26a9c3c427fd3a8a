"""An answer is written once for all who are given the very same page, and nobody gets what is meant for another."""

import gzip
import itertools
import json
from typing import Any

import pytest
from starlette.requests import Request

from datacollect.eventstore.store import Page
from datacollect.features.sync.answering import answer
from datacollect.kernel.clock import Millis
from datacollect.kernel.cursor import Cursor

pytestmark = pytest.mark.anyio

EVENTS = [f'{{"guid":"g-{number}","data":{{"name":"Ana {number}"}}}}' for number in range(40)]


def asking(*, takes: str, has: str | None = None) -> Request:
    headers = [(b"accept-encoding", takes.encode())]
    if has is not None:
        headers.append((b"if-none-match", has.encode()))
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""})


async def told(page: Page, takes: str, more: Any, has: str | None = None) -> tuple[int, dict[str, str], bytes]:
    found = await answer(asking(takes=takes, has=has), page, {"nextCursor": None, "warnings": more}, {}, caching=None)
    return found.status_code, dict(found.headers), bytes(found.body)


@pytest.mark.parametrize("is_full", [True, False])
async def test_each_gets_their_own_answer_whoever_was_given_the_page_before(is_full: bool) -> None:
    cursor = Cursor(Millis(1), "g-39") if is_full else None
    held = Page(EVENTS, cursor, 40)
    kinds = list(itertools.product(("gzip", "identity"), (["a"], ["b"])))
    for takes, more in kinds * 2:
        status, headers, body = await told(held, takes, more)
        assert (status, headers, body) == await told(Page(EVENTS, cursor, 40), takes, more)
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        assert json.loads(plain) == {
            "events": [json.loads(event) for event in EVENTS],
            "nextCursor": None,
            "warnings": more,
        }
        assert (headers.get("content-encoding") == "gzip") == (takes == "gzip")
    assert len({(await told(held, takes, more))[1].get("etag") for takes, more in kinds}) == (4 if is_full else 1)


async def test_who_has_it_is_told_so_before_and_after_it_was_written() -> None:
    held = Page(EVENTS, Cursor(Millis(1), "g-39"), 40)
    tag = (await told(Page(EVENTS, Cursor(Millis(1), "g-39"), 40), "gzip", []))[1]["etag"]
    for _ in range(2):
        assert (await told(held, "gzip", [], has=tag))[::2] == (304, b"")
        status, headers, body = await told(held, "gzip", [], has='"other"')
        assert (status, headers["etag"]) == (200, tag)
        assert len(json.loads(gzip.decompress(body))["events"]) == 40
