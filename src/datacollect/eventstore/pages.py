"""Pages of a whole log: from sealed segments as far as there are any, from the table behind them.

The same events come in the same pages either way. Where the reader stands, and of which history, is asked of the database
for every page, so what is remembered here is never served for a log that has taken another one's place.
"""

from collections import OrderedDict
from collections.abc import Mapping

import structlog

from datacollect.db import Reading
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import SIZE, Segment, Slice
from datacollect.eventstore.store import EventStore, Page, Place
from datacollect.kernel.cursor import Cursor
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

_Key = tuple[TenantId, str, int]


class Pages:
    """Reads pages, and remembers the segments that were asked for last."""

    def __init__(self, store: EventStore, sealer: Sealer, *, remembered_bytes: int = _REMEMBERED_BYTES) -> None:
        self._store = store
        self._sealer = sealer
        self._most_bytes = remembered_bytes
        self._held_bytes = 0
        self._segments: OrderedDict[_Key, Segment] = OrderedDict()
        self._touched: OrderedDict[_Key, None] = OrderedDict()
        self._ahead: set[str] = set()
        """Histories with readers ahead of them, which was said once."""

    async def read(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, limit: int) -> Page:
        """The next events for a reader that has come as far as `cursor`."""
        if cursor is None and limit < WORTH_FETCHING:
            return await self._store.read(view, scope, after=0, limit=limit)
        place = await self.locate(view, scope, cursor)
        after, slices = place.position, list[Slice]()
        end = after + limit
        for number, segment in (await self._segments_for(view, scope, place, limit)).items():
            part = segment.slice(after - number * SIZE, end - after)
            slices.append(part)
            after += len(part)
        if slices and after == end:
            return Page((), place.give_out(slices[-1].last), after, slices)
        rest = await self._store.read(view, scope, after=after, limit=end - after)
        return Page(rest.bodies, place.give_out(rest.next_cursor), rest.last_position, slices)

    async def locate(self, view: Reading, scope: TenantScope, cursor: Cursor | None) -> Place:
        """Where a reader with this cursor stands. Says so if that is ahead of the log, as after a restore."""
        place = await self._store.locate(view, scope, cursor)
        if not place.is_known and not place.was_put_back and place.epoch not in self._ahead:
            self._ahead.add(place.epoch)
            _log.warning("log.behind_its_readers", tenant_id=scope.tenant_id, help=_BEHIND)
        return place

    async def _segments_for(self, view: Reading, scope: TenantScope, place: Place, limit: int) -> Mapping[int, Segment]:
        """The segments with which the page begins, without a gap."""
        first = place.position // SIZE
        last = min((place.position + limit - 1) // SIZE, place.head // SIZE - 1)
        if first > last:
            return {}
        keys = [(scope.tenant_id, place.epoch, number) for number in range(first, last + 1)]
        found = {key: segment for key in keys if (segment := self._remembered(key)) is not None}
        # One after another: a small page that has its first segment would not fetch the second one either.
        if len(found) < len(keys) and self._is_worth_it(keys[0], limit):
            stored = await self._store.segments(view, scope, epoch=place.epoch, first=first, last=last)
            if len(stored) < len(keys):
                self._sealer.want(scope.tenant_id)
            for segment in stored:
                key = (scope.tenant_id, place.epoch, segment.number)
                if segment.is_sound():
                    found[key] = self._remember(key, segment)
                else:
                    _log.error("segments.damaged", tenant_id=scope.tenant_id, number=segment.number)
        usable: dict[int, Segment] = {}
        for key in keys:
            if key not in found or found[key].is_left_to_table:
                break
            usable[key[2]] = found[key]
        return usable

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
