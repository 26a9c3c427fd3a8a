"""Reading what has changed, page by page, while it goes on changing.

The registry pages by offset. What is changed while we read moves to the end of the list, and everything behind it moves up
by one place: the next page would begin one record too late, and that record would never be seen. So each page is asked
for with the last record of the one before it. If that is not in it, reading goes back, further each time.

A page that is too large to be read is asked for again with half as many records, in the end with one. One that is too large
by itself is named as a failure and passed over; what comes behind it is read without looking whether the list has moved.

The mark is the time of the newest record seen, less a second: a change that was stored late can carry an earlier time than
one that we have seen. Who runs the adapter skips what it knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Reply
from datacollect.adapters.errors import Failure
from datacollect.adapters.leniently import is_sound, read_leniently
from datacollect.adapters.mock.mapping import NAMES, Kind, incoming
from datacollect.adapters.mock.options import MockOptions
from datacollect.adapters.port import Incoming, Page
from datacollect.adapters.times import http_date, instant
from datacollect.kernel.clock import Millis, format_timestamp

LIMIT = 100
_OVERLAP_MS = 1000
_MOST_PAGES = 10_000
_MOST_PASSED = 10
"""Records on one way through that are too large by themselves: beyond that it is the registry that heeds no limit."""
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
    """The uuid of the record read last: at the place before `offset`, when it was read."""
    back: int = 1
    """How many places before `offset` the next page begins; 0 if the record before it cannot be read with another one."""
    limit: int = LIMIT
    """How many records the next page is to have."""
    passed: int = 0
    """How many were too large by themselves."""
    newest: int | None = None
    """The latest time of change on this way through."""
    previous: int | None = None
    """The time of change of the record read last."""
    begun: int | None = None
    """When this way through began, by the registry's clock."""
    sorted: bool = True
    """Whether records come in the order of change, as far as seen."""
    pages: int = 0

    @property
    def start(self) -> int:
        return max(0, self.offset - self.back)

    @property
    def since(self) -> int | None:
        return self.persons if self.kind == "persons" else self.groups

    def as_text(self) -> str:
        return msgspec.json.encode(asdict(self)).decode()


class Puller:
    def __init__(self, api: JsonApi, options: MockOptions, form_types: Mapping[str, str]) -> None:
        self._api = api
        self._options = options
        self._form_types = form_types

    async def page(self, text: str | None) -> Page:
        mark = _read_mark(text)
        try:
            reply, items, has_more = await self._list(mark)
        except CallFailed as failed:
            if failed.is_too_large and mark.passed < _MOST_PASSED:
                return _smaller(mark)
            raise failed.error(_CODES[mark.kind]) from None
        if mark.begun is None:
            mark = replace(mark, begun=http_date(reply.headers.get("date")))
            if _is_ahead(mark):
                return Page(records=(), mark=_anew(mark).as_text(), is_last=False)
        unseen = _unseen(mark, items)
        if unseen is None:
            return Page(records=(), mark=replace(mark, back=mark.back * 10).as_text(), is_last=False)
        return self._read(mark, items, unseen, has_more)

    async def _list(self, mark: _Mark) -> tuple[Reply, Sequence[Any], bool]:
        what = f"read {mark.kind}"
        query = {
            "updated_since": None if mark.since is None else format_timestamp(Millis(mark.since)),
            "limit": mark.limit,
            "offset": mark.start,
            "include_deleted": "true",
        }
        reply = await self._api.call("GET", f"/v1/{mark.kind}", what=what, query=query, read=read_leniently)
        document = reply.document
        if not (isinstance(document, dict) and isinstance(document.get("items"), list)):
            raise CallFailed(CallKind.UNREADABLE, what)
        items: list[Any] = document["items"]
        return reply, items, isinstance(document.get("next_offset"), int)

    def _read(self, mark: _Mark, items: Sequence[Any], unseen: Sequence[Any], has_more: bool) -> Page:
        records: list[Incoming] = []
        failures: list[Failure] = []
        for item in unseen:
            uuid = _uuid(item)
            if uuid is None:
                continue
            try:
                if not is_sound(item):
                    raise ValueError  # half a character, say: it could not be stored
                records.append(incoming(item, mark.kind, self._options, self._form_types))
            except (TypeError, ValueError, KeyError, AttributeError):
                message = f"A {NAMES[mark.kind]} of the registry could not be read."
                code = _CODES_OF_ONE[mark.kind]
                failures.append(Failure(code=code, message=message, retryable=False, external_id=uuid))
        mark = _read_times(mark, items)
        place = mark.start + len(items)
        gets_further = len(items) >= mark.limit or mark.back > 1 or (unseen and place > mark.offset)
        # Some registries name a next page behind the last one as well.
        if has_more and items and gets_further and mark.pages + 1 < _MOST_PAGES:
            following = replace(mark, offset=place, last=_uuid(items[-1]), back=1, pages=mark.pages + 1)
            following = replace(following, limit=min(LIMIT, 2 * mark.limit))
            is_last = False
        else:
            following, is_last = _through(mark), mark.kind == "groups"
        skipped = len(unseen) - len(records) - len(failures)
        return Page(records=records, mark=following.as_text(), is_last=is_last, skipped=skipped, failures=failures)


def _smaller(mark: _Mark) -> Page:
    """What to ask for after a page that was too large."""
    failures: list[Failure] = []
    if mark.limit > 3:
        following = replace(mark, limit=mark.limit // 2)
    elif mark.back:
        # Also without the record before it, which would be half of so small a page.
        following = replace(mark, limit=1, back=0, offset=mark.offset if mark.back == 1 else mark.start)
    else:
        message = f"A {NAMES[mark.kind]} of the registry is too large to be read."
        # Nobody knows what it is called.
        name = f"{mark.kind} {mark.passed + 1} behind {mark.last or 'nobody'}"
        failures = [Failure(code=_CODES_OF_ONE[mark.kind], message=message, retryable=False, external_id=name)]
        following = replace(mark, offset=mark.offset + 1, passed=mark.passed + 1)
    return Page(records=(), mark=following.as_text(), is_last=False, failures=failures)


def _unseen(mark: _Mark, items: Sequence[Any]) -> Sequence[Any] | None:
    """What of a page is new, and perhaps some that is not; None if there may be something between it and the last one."""
    if mark.start == 0 or mark.back == 0:
        return items
    for place, item in enumerate(items):
        if mark.last is not None and _uuid(item) == mark.last:
            return items[place + 1 :]
    # Gone from there: it was changed itself. In the order of change, what is before an older one has been seen.
    first = _changed(items[0]) if items else None
    is_older = mark.sorted and first is not None and mark.previous is not None and first < mark.previous
    return items if is_older else None


def _is_ahead(mark: _Mark) -> bool:
    """Whether a record, or a clock that has been set back since, has told a time that the registry has not reached yet."""
    return mark.since is not None and mark.begun is not None and mark.since > mark.begun + _OVERLAP_MS


def _anew(mark: _Mark) -> _Mark:
    """Read all of this kind: nobody knows what has changed since."""
    return _Mark(groups=mark.groups) if mark.kind == "persons" else _Mark(persons=mark.persons, kind="groups")


def _read_times(mark: _Mark, items: Sequence[Any]) -> _Mark:
    times = [_changed(item) for item in items]
    known = [time for time in times if time is not None]
    is_sorted = len(known) == len(times) and known == sorted(known)
    newest = max([*known, mark.newest or 0], default=None) if known else mark.newest
    return replace(mark, sorted=mark.sorted and is_sorted, newest=newest, previous=known[-1] if known else None)


def _changed(item: Any) -> Millis | None:
    return instant(item.get("updated_at")) if isinstance(item, Mapping) else None


def _through(mark: _Mark) -> _Mark:
    """At the end of the list: the other kind is next, and this one goes on from here in the next run."""
    # Records in any other order may have been changed behind our back, at any time since we began.
    newest = mark.newest if mark.sorted else mark.begun
    if newest is not None and mark.begun is not None:
        # A time ahead of the registry's clock would keep all that changes until then from us.
        newest = min(newest, mark.begun + _OVERLAP_MS)
    known = [since for since in (mark.since, None if newest is None else newest - _OVERLAP_MS) if since is not None]
    since = max(known, default=None)
    if mark.kind == "persons":
        return _Mark(persons=since, groups=mark.groups, kind="groups")
    return _Mark(persons=mark.persons, groups=since)


def _uuid(item: Any) -> str | None:
    uuid = item.get("uuid") if isinstance(item, Mapping) else None
    return uuid if isinstance(uuid, str) and uuid and is_sound(uuid) else None


def _read_mark(text: str | None) -> _Mark:
    """One that cannot be read any more means that everything is read again."""
    if text is None:
        return _Mark()
    try:
        return msgspec.json.decode(text, type=_Mark)
    except msgspec.MsgspecError:
        return _Mark()
