"""Pages of a whole log: from sealed segments as far as there are any, from the table behind them.

The same events come in the same pages either way. Where the reader stands, in which history, and which segments there are
of what comes next is asked of the database for every page, in one statement. So what is remembered here is never served
for a log that has taken another one's place, nor when the database has lost events and given their positions to others.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import structlog

from datacollect.db import Reading
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.segments import MOST_TEXT_BYTES, SIZE, Segment, Slice, is_sound
from datacollect.eventstore.store import MOST_PAGE_BYTES, EventStore, Page, Place
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

_Key = tuple[TenantId, int, bytes]
"""The digest is of what the segment holds, and the database says which one there is."""

_DAMAGED = (
    "Pulls get these events from the log, and the segment is made anew if SEAL_SEGMENTS is on. If it happens again,"
    " look for faults of the disk, and run `datacollect verify`."
)


class Pages:
    """Reads pages, and remembers the segments that were asked for last."""

    def __init__(
        self,
        store: EventStore,
        sealer: Sealer,
        *,
        remembered_bytes: int = _REMEMBERED_BYTES,
        page_bytes: int = MOST_PAGE_BYTES,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._most_bytes = remembered_bytes
        self._page_bytes = page_bytes
        self._held_bytes = 0
        self._segments: OrderedDict[_Key, Segment] = OrderedDict()
        self._touched: OrderedDict[_Key, None] = OrderedDict()
        self._ahead: set[str] = set()
        """Histories with readers ahead of them, which was said once."""

    async def read(self, view: Reading, scope: TenantScope, cursor: Cursor | None, *, limit: int) -> Page:
        """The next events for a reader that has come as far as `cursor`."""
        if cursor is None and limit < WORTH_FETCHING:
            return await self._store.read(view, scope, after=0, limit=limit, most_bytes=self._page_bytes)
        place = await self.locate(view, scope, cursor, reach=limit)
        while True:
            page = await self._page(view, scope, place, limit)
            if page.next_cursor is not None or page.last_position >= place.head:
                return page
            # The log went further. Rows are missing, or it was purged since: another one may have taken its place.
            now = await self._store.locate(view, scope, cursor, reach=limit)
            if now.epoch == place.epoch:
                return page
            place = now

    async def _page(self, view: Reading, scope: TenantScope, place: Place, limit: int) -> Page:
        after, slices = place.position, list[Slice]()
        end, room = after + limit, self._page_bytes
        for number, segment in (await self._segments_for(view, scope, place, limit)).items():
            part = segment.slice(after - number * SIZE, end - after, room)
            slices.append(part)
            after += len(part)
            room -= part.body_bytes
            if after == end or room <= 0:
                return Page((), place.give_out(part.last), after, slices)
        if after >= place.head:
            return Page((), None, after, slices)
        rest = await self._store.read(view, scope, after=after, limit=end - after, epoch=place.epoch, most_bytes=room)
        return Page(rest.bodies, place.give_out(rest.next_cursor), rest.last_position, slices)

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
        """Those of the segments that are sound, as many as a page has room for; they are remembered."""
        found: dict[_Key, Segment] = {}
        inflated_bytes = 0
        for segment in await self._store.segments(view, scope, epoch=epoch, first=keys[0][1], last=keys[-1][1]):
            key = (scope.tenant_id, segment.number, segment.digest)
            if key not in keys:
                continue  # remembered, or made anew in this very moment
            if inflated_bytes > self._page_bytes + MOST_TEXT_BYTES:
                break  # wherever in the first of them the page begins
            if await is_sound(segment):
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
