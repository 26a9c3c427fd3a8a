"""Pages of a whole log: from sealed segments as far as there are any, from the table behind them.

The same events come in the same pages either way. Where the reader stands, in which history, and which segments there are
of what comes next is asked of the database in one statement. What it says is the truth for at most a second, as it is of
who may read at all: a reader who goes on within it, and all whose pages lie in segments that are remembered, are answered
without asking again. After that nothing is served that is of a log which another one has taken the place of, or of which
the database has lost events and given their positions to others.
"""

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from datacollect.db import Reading
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, Segment, Slice, can_be_served
from datacollect.eventstore.store import MOST_PAGE_BYTES, EventStore, Page, Place
from datacollect.kernel.clock import Clock, SystemClock
from datacollect.kernel.cursor import Cursor
from datacollect.kernel.fresh import Fresh, Moment, Told
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_log = structlog.get_logger(component="segments")

WORTH_FETCHING = 100
"""Events of a page for which a segment is fetched. For a smaller page it takes two that want the same one: reading ten
rows costs less than a segment, but a reader who walks through the log comes fifty times to each."""

_REMEMBERED_BYTES = 16 * 1024 * 1024
_REMEMBERED_TOUCHES = 1000

_BEHIND = (
    "A device has seen an event that this log does not hold. If the database was put back from a backup, run"
    " `datacollect restored`: docs/how-to/restore-a-backup.md. If it was not, look for who else writes to it."
)

_REMEMBERED_PLACES = 5_000
_REMEMBERED_TEXTS = 4 * 1024 * 1024
"""Bytes of full pages, each with the segments it is cut from; what is written of them takes as much again."""

_LONGEST_GUID = 100
"""Of a cursor whose page is kept: anybody can make one up, of as many letters as an address has room for."""
_SMALL_BYTES = 1000
"""What is kept of a page beside its events."""

_Key = tuple[TenantId, int, bytes]
"""The digest is of what the segment holds, and the database says which one there is."""

_DAMAGED = (
    "Pulls get these events from the log, and the segment is made anew if SEAL_SEGMENTS is on. If it happens again,"
    " look for faults of the disk, and run `datacollect verify`."
)


_Asked = tuple[TenantId, str, Cursor | None, int]
"""By whom, as in a place, and for how many events."""


class _Cut(NamedTuple):
    """What segments have of a page."""

    slices: Sequence[Slice]
    after: int
    """The last position of these."""
    room: int
    """Bytes for the rest of the page."""
    is_full: bool


class Pages:
    """Reads pages, and remembers the segments that were asked for last."""

    def __init__(
        self,
        store: EventStore,
        sealer: Sealer,
        *,
        remembered_bytes: int = _REMEMBERED_BYTES,
        page_bytes: int = MOST_PAGE_BYTES,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._store = store
        self._sealer = sealer
        self._most_bytes = remembered_bytes
        self._page_bytes = page_bytes
        self._held_bytes = 0
        self._segments: OrderedDict[_Key, Segment] = OrderedDict()
        self._touched: OrderedDict[_Key, None] = OrderedDict()
        self._places = Fresh[tuple[TenantId, str, Cursor], Place](clock, most=_REMEMBERED_PLACES)
        """Of readers with these cursors, by the version of the program's config."""
        self._full = Fresh[_Asked, Page](clock, most=_REMEMBERED_TEXTS)
        """Full pages, with what was written of them."""
        self._ahead: set[str] = set()
        """Histories with readers ahead of them, which was said once."""

    def at_once(self, scope: TenantScope, version: str, cursor: Cursor | None, *, limit: int) -> Page | None:
        """The page, if nothing has to be asked for it: it was full and was read less than a second ago, or the reader was
        given this cursor then, and all of the page is in segments that are remembered.

        `version` is that of the program's config: of a program that was made anew under an old one's id it is another one.
        """
        asked = (scope.tenant_id, version, cursor, limit)
        page = self._full.get(asked)
        if page is not None:
            return page.value
        told = None if cursor is None else self._places.get((scope.tenant_id, version, cursor))
        if told is None:
            return None
        place = told.value
        known = place.sealed or {}
        last = (place.position + limit - 1) // SIZE
        if last >= place.head // SIZE:
            return None
        found: dict[int, Segment] = {}
        for number in range(place.position // SIZE, last + 1):
            digest = known.get(number)
            segment = self._remembered((scope.tenant_id, number, digest)) if digest else None
            if segment is None:
                return None
            found[number] = segment
        cut = self._cut(place, limit, found)
        return (
            self._remember_page(asked, self._whole_page(scope, version, told, cut), told.when) if cut.is_full else None
        )

    async def read(self, view: Reading, scope: TenantScope, version: str, cursor: Cursor | None, *, limit: int) -> Page:
        """The next events for a reader that has come as far as `cursor`."""
        when = self._places.now()
        page = await self._read(view, scope, version, cursor, limit)
        return self._remember_page((scope.tenant_id, version, cursor, limit), page, when)

    def _remember_page(self, asked: _Asked, page: Page, when: Moment) -> Page:
        """Keep a full one, and with it what will be written of it: devices that begin together come for the same pages."""
        _, _, cursor, _ = asked
        if page.next_cursor is not None and (cursor is None or len(cursor.event_guid or "") <= _LONGEST_GUID):
            size = sum(map(sys.getsizeof, page.bodies)) + sum(part.segment.size_bytes for part in page.sealed)
            self._full.keep(asked, page, when, size=_SMALL_BYTES + size)
        return page

    async def _read(self, view: Reading, scope: TenantScope, version: str, cursor: Cursor | None, limit: int) -> Page:
        if cursor is None and limit < WORTH_FETCHING:
            async with view.for_rows(limit) as rows:
                return await self._store.read(rows, scope, after=0, limit=limit, most_bytes=self._page_bytes)
        when = self._places.now()
        place = await self.locate(view, scope, cursor, reach=limit)
        self._remember_place(scope, version, cursor, Told(place, when))
        while True:
            page = await self._page(view, scope, version, Told(place, when), limit)
            if page.next_cursor is not None or page.last_position >= place.head:
                return page
            # The log went further. Rows are missing, or it was purged since: another one may have taken its place.
            when = self._places.now()
            now = await self._store.locate(view, scope, cursor, reach=limit)
            if now.epoch == place.epoch:
                return page
            place = now

    async def _page(self, view: Reading, scope: TenantScope, version: str, told: Told[Place], limit: int) -> Page:
        place = told.value
        cut = self._cut(place, limit, await self._segments_for(view, scope, place, limit))
        if cut.is_full:
            return self._whole_page(scope, version, told, cut)
        after, end = cut.after, place.position + limit
        if after >= place.head:
            return Page((), None, after, cut.slices)
        async with view.for_rows(min(end, place.head) - after) as rows:
            rest = await self._store.read(
                rows, scope, after=after, limit=end - after, epoch=place.epoch, most_bytes=cut.room
            )
        return Page(rest.bodies, place.give_out(rest.next_cursor), rest.last_position, cut.slices)

    def _cut(self, place: Place, limit: int, segments: Mapping[int, Segment]) -> "_Cut":
        """As much of the page as is in these segments, with which it begins."""
        after, slices = place.position, list[Slice]()
        end, room = after + limit, self._page_bytes
        for number, segment in segments.items():
            part = segment.slice(after - number * SIZE, end - after, room)
            slices.append(part)
            after += len(part)
            room -= part.body_bytes
            if after == end or room <= 0:
                return _Cut(slices, after, room, is_full=True)
        return _Cut(slices, after, room, is_full=False)

    def _whole_page(self, scope: TenantScope, version: str, told: Told[Place], cut: "_Cut") -> Page:
        """One that is full. Where its reader stands behind it need not be asked."""
        cursor = told.value.give_out(cut.slices[-1].last)
        self._remember_place(scope, version, cursor, Told(replace(told.value, position=cut.after), told.when))
        return Page((), cursor, cut.after, cut.slices)

    def _remember_place(self, scope: TenantScope, version: str, cursor: Cursor | None, told: Told[Place]) -> None:
        """Keep it, if it is one at which a page from segments can begin."""
        if cursor is not None and told.value.sealed:
            self._places.keep((scope.tenant_id, version, cursor), *told)

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, reach: int = 0) -> Place:
        """Where a reader with this cursor stands. Says so if that is ahead of the log, as after a restore."""
        place = await self._store.locate(view, scope, cursor, reach=reach)
        if not place.is_known and not place.was_put_back and place.epoch not in self._ahead:
            self._ahead.add(place.epoch)
            _log.warning("log.behind_its_readers", tenant_id=scope.tenant_id, help=_BEHIND)
        return place

    async def _segments_for(self, view: Reading, scope: TenantScope, place: Place, limit: int) -> Mapping[int, Segment]:
        """The segments with which the page begins, without a gap."""
        if place.sealed is None:
            return {}
        first = place.position // SIZE
        last = min((place.position + limit - 1) // SIZE, place.head // SIZE - 1)
        keys: list[_Key] = []
        for number in range(first, last + 1):
            if number not in place.sealed:
                self._sealer.want(scope.tenant_id, range(number, last + 1))
                break
            if not place.sealed[number]:  # left to the table
                break
            keys.append((scope.tenant_id, number, place.sealed[number]))
        found = {key: segment for key in keys if (segment := self._remembered(key)) is not None}
        lacking = [key for key in keys if key not in found]
        if lacking and self._is_worth_it(lacking[0], limit):
            found |= await self._fetched(view, scope, place.epoch, lacking)
        usable: dict[int, Segment] = {}
        for key in keys:
            if key not in found:
                break
            usable[key[1]] = found[key]
        return usable

    async def _fetched(
        self, view: Reading, scope: TenantScope, epoch: str, keys: Sequence[_Key]
    ) -> Mapping[_Key, Segment]:
        """Those of the segments that can be served, as many as a page has room for; they are remembered."""
        found: dict[_Key, Segment] = {}
        inflated_bytes = 0
        first, last = keys[0][1], keys[-1][1]
        async with view.for_rows((last - first + 1) * SIZE) as rows:  # as much as those are of which they are made
            segments = await self._store.segments(rows, scope, epoch=epoch, first=first, last=last)
        for segment in segments:
            key = (scope.tenant_id, segment.number, segment.digest)
            if key not in keys:
                continue  # remembered, or made anew in this very moment
            if inflated_bytes > self._page_bytes + MOST_TEXT_BYTES:
                break  # wherever in the first of them the page begins
            if await can_be_served(segment):
                found[key] = self._remember(key, segment)
                inflated_bytes += segment.text_bytes
            else:
                self._tell_of_damage(scope.tenant_id, segment.number)
        return found

    def _tell_of_damage(self, tenant_id: TenantId, number: int) -> None:
        positions = {"first_position": number * SIZE + 1, "last_position": (number + 1) * SIZE}
        _log.error("segments.damaged", tenant_id=tenant_id, **positions, help=_DAMAGED)
        self._sealer.want(tenant_id, [number])

    def _is_worth_it(self, key: _Key, limit: int) -> bool:
        if limit >= WORTH_FETCHING:
            return True
        if key in self._touched:
            return True
        self._touched[key] = None
        if len(self._touched) > _REMEMBERED_TOUCHES:
            self._touched.popitem(last=False)
        return False

    def _remembered(self, key: _Key) -> Segment | None:
        segment = self._segments.get(key)
        if segment is not None:
            self._segments.move_to_end(key)
        return segment

    def _remember(self, key: _Key, segment: Segment) -> Segment:
        """Keep it, and let go of those that were asked for longest ago."""
        known = self._segments.pop(key, None)
        if known is not None:
            self._segments[key] = known
            return known
        self._segments[key] = segment
        self._held_bytes += segment.size_bytes
        while self._held_bytes > self._most_bytes and len(self._segments) > 1:
            _, dropped = self._segments.popitem(last=False)
            self._held_bytes -= dropped.size_bytes
        return segment
