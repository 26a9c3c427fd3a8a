"""Reading what has changed, page by page, while it goes on changing.

The registry pages by offset. What is changed while we read moves to the end of the list, and everything behind it moves up
by one place: the next page would begin one record too late, and that record would never be seen. So each page is asked
for with the last record of the one before it. If that is not where it was, reading goes back in time a little.

The mark is the time of the newest record seen, less a second: a change that was stored late can carry an earlier time than
one that we have seen. Who runs the adapter skips what it knows.
"""

import email.utils
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Reply
from datacollect.adapters.errors import Failure
from datacollect.adapters.mock.mapping import NAMES, Kind, incoming, moment
from datacollect.adapters.mock.options import MockOptions
from datacollect.adapters.port import Incoming, Page
from datacollect.kernel.clock import Millis, format_timestamp

LIMIT = 100
_OVERLAP_MS = 1000
_MOST_PAGES = 10_000
_PATIENCE = 3
"""How often reading goes back without having got any further, before it goes on regardless."""
_CODES = {"persons": "PULL_PERSONS_FAILED", "groups": "PULL_GROUPS_FAILED"}
_CODES_OF_ONE = {"persons": "PULL_PERSON_FAILED", "groups": "PULL_GROUP_FAILED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """Where reading is. Times are milliseconds of the registry's own clock."""

    persons: int | None = None
    """Everything before has been seen; None if nothing has."""
    groups: int | None = None
    kind: Kind = "persons"
    offset: int = 0
    last: str | None = None
    """The uuid at the place before `offset`."""
    newest: int | None = None
    """The latest time of change on this way through."""
    begun: int | None = None
    """When this way through began, by the registry's clock."""
    sorted: bool = True
    """Whether records come in the order of change, as far as seen."""
    pages: int = 0
    stuck: int = 0

    @property
    def since(self) -> int | None:
        return self.persons if self.kind == "persons" else self.groups

    def as_text(self) -> str:
        return msgspec.json.encode(asdict(self)).decode()


class Puller:
    def __init__(self, api: JsonApi, options: MockOptions) -> None:
        self._api = api
        self._options = options

    async def page(self, text: str | None) -> Page:
        mark = _read_mark(text)
        try:
            reply, items, has_more = await self._list(mark)
        except CallFailed as failed:
            raise failed.error(_CODES[mark.kind]) from None
        if mark.begun is None:
            mark = replace(mark, begun=_date(reply))
        if mark.offset > 0:
            if items and _uuid(items[0]) == mark.last:
                items = items[1:]
            elif mark.stuck < _PATIENCE:
                return Page(records=(), mark=_back(mark).as_text(), is_last=False)
        return self._read(mark, items, has_more)

    async def _list(self, mark: _Mark) -> tuple[Reply, Sequence[Any], bool]:
        """From the last record of the page before."""
        what = f"read {mark.kind}"
        overlap = 1 if mark.offset > 0 else 0
        query = {
            "updated_since": None if mark.since is None else format_timestamp(Millis(mark.since)),
            "limit": LIMIT,
            "offset": mark.offset - overlap,
            "include_deleted": "true",
        }
        reply = await self._api.call("GET", f"/v1/{mark.kind}", what=what, query=query)
        document = reply.document
        if not (isinstance(document, dict) and isinstance(document.get("items"), list)):
            raise CallFailed(CallKind.UNREADABLE, what)
        items: list[Any] = document["items"]
        has_more = isinstance(document.get("next_offset"), int) and len(items) > overlap
        return reply, items, has_more and len(items) >= LIMIT

    def _read(self, mark: _Mark, items: Sequence[Any], has_more: bool) -> Page:
        records: list[Incoming] = []
        failures: list[Failure] = []
        skipped = 0
        for item in items:
            if _uuid(item) is None:
                skipped += 1
                continue
            try:
                records.append(incoming(item, mark.kind, self._options))
            except (TypeError, ValueError, KeyError, AttributeError):
                message = f"A {NAMES[mark.kind]} of the registry could not be read."
                failures.append(Failure(code=_CODES_OF_ONE[mark.kind], message=message, retryable=False))
            mark = _seen(mark, moment(item.get("updated_at")))
        if has_more and mark.pages + 1 < _MOST_PAGES:
            following = replace(mark, offset=mark.offset + len(items), last=_uuid(items[-1]), pages=mark.pages + 1)
            is_last = False
        else:
            following, is_last = _through(mark), mark.kind == "groups"
        return Page(records=records, mark=following.as_text(), is_last=is_last, skipped=skipped, failures=failures)


def _seen(mark: _Mark, changed: Millis | None) -> _Mark:
    if changed is None or (mark.newest is not None and changed < mark.newest):
        return replace(mark, sorted=False)
    return replace(mark, newest=changed)


def _back(mark: _Mark) -> _Mark:
    """The list has moved. Records that we have seen are before the newest of them, if they come in that order."""
    newest = mark.newest if mark.sorted else None
    since = mark.since if newest is None else max(newest - _OVERLAP_MS, mark.since or 0)
    moved = replace(mark, persons=since) if mark.kind == "persons" else replace(mark, groups=since)
    stuck = mark.stuck + 1 if since == mark.since else 0
    return replace(moved, offset=0, last=None, stuck=stuck)


def _through(mark: _Mark) -> _Mark:
    """At the end of the list: the other kind is next, and this one goes on from here in the next run."""
    # Records in any other order may have been changed behind our back, at any time since we began.
    newest = mark.newest if mark.sorted else mark.begun
    known = [since for since in (mark.since, None if newest is None else newest - _OVERLAP_MS) if since is not None]
    since = max(known, default=None)
    if mark.kind == "persons":
        return _Mark(persons=since, groups=mark.groups, kind="groups")
    return _Mark(persons=mark.persons, groups=since)


def _date(reply: Reply) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(reply.headers.get("date", "")).timestamp() * 1000)
    except ValueError:
        return None


def _uuid(item: Any) -> str | None:
    uuid = item.get("uuid") if isinstance(item, Mapping) else None
    return uuid if isinstance(uuid, str) and uuid else None


def _read_mark(text: str | None) -> _Mark:
    """One that cannot be read any more means that everything is read again."""
    if text is None:
        return _Mark()
    try:
        return msgspec.json.decode(text, type=_Mark)
    except msgspec.MsgspecError:
        return _Mark()
