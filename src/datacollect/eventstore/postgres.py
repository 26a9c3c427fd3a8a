"""The event log on PostgreSQL. The head row is the lock: whoever holds it appends, the others wait for the commit.

`open` takes two statements, because the second must see what was committed while the first waited for the lock.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from datacollect.db import Reading, Tx
from datacollect.db.arrays import array_text
from datacollect.eventstore.rows import (
    BODY,
    EVENT_COLUMNS,
    HEAD_COLUMNS,
    SEGMENT_COLUMNS,
    encode_figures,
    event_values,
    events_from_rows,
    head_from_row,
)
from datacollect.eventstore.segments import SIZE
from datacollect.eventstore.statements import Statements, StatementStore
from datacollect.eventstore.store import (
    MOST_PAGE_BYTES,
    Head,
    OpenLog,
    StoredEvent,
)
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_LOCK = f"SELECT {HEAD_COLUMNS} FROM log_heads WHERE tenant_id = $1 AND closed_ms IS NULL FOR UPDATE"

# Each guid is looked up by its key. Asked for `guid = ANY`, PostgreSQL walks through the tenant's whole log as long as
# the table has no statistics, which it has not while a new program is filled. OFFSET keeps the inner query apart.
_BY_GUID = """
FROM unnest($2::text[]) AS asked (guid) CROSS JOIN LATERAL (
  SELECT * FROM events e WHERE e.tenant_id = $1 AND e.guid = asked.guid OFFSET 0) AS e"""

_KNOWN = f"SELECT e.guid, e.content_hash {_BY_GUID}"

_SHORT_BITS = 10
"""Of a length: it makes little difference how something is found among a thousand."""


def _known(position: int) -> str:
    """The statement for a log of that length: another one, and so another plan, whenever a log that is not short is twice
    as long.

    A connection keeps the plan that it has made of a statement. While a table is nearly empty all of its indexes cost the
    same, and the one that is taken may be any, for as long as nobody has analyzed the table.
    """
    return f"{_KNOWN} -- {max(position.bit_length(), _SHORT_BITS)}"


_APPEND = f"""
WITH appended AS (
  INSERT INTO events (tenant_id, {EVENT_COLUMNS})
  SELECT $1, * FROM unnest($2::text::bigint[], $3::text::text[], $4::text::text[], $5::text::text[],
                           $6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::text[],
                           $10::text::text[], $11::text::text[], $12::bytea[], $13::bytea[], $14::text[]))
UPDATE log_heads SET position = $15, chain_hash = $16, max_occurred_ms = $17, recorded_ms = $18, figures = $19
WHERE tenant_id = $1"""

_HOLD = f"SELECT {HEAD_COLUMNS} FROM log_heads WHERE tenant_id = $1 FOR UPDATE"

# Of the history that a reader was located in: the program may have been purged and made anew since.
_STILL = "EXISTS (SELECT 1 FROM log_heads h WHERE h.tenant_id = $1 AND ($3::text IS NULL OR h.epoch = $3))"

# Halves the range of positions until it holds one: the time of recording never falls. The middle is computed in a query
# of its own, which `OFFSET 0` keeps apart: compared with a sum (which may raise, and so might tell of rows that are not
# to be seen), a position would not be looked up by key behind row-level security.
_MIDDLE = "(SELECT low, high, (low + high) / 2 AS middle FROM search WHERE low < high OFFSET 0) AS half"

_READ_ROWS = f"SELECT {EVENT_COLUMNS} FROM events WHERE tenant_id = $1 AND position > $2 ORDER BY position LIMIT $3"

_DIGESTS = "string_agg(s.number || ':' || encode(s.digest, 'hex'), ' ')"

_STATEMENTS = Statements(
    create="""
INSERT INTO log_heads (tenant_id, position, chain_hash, max_occurred_ms, recorded_ms, figures, epoch, epoch_position)
VALUES ($1, 0, ''::bytea, NULL, $2, '{}', $3, 0) ON CONFLICT DO NOTHING""",
    set_closed="UPDATE log_heads SET closed_ms = $1 WHERE tenant_id = $2",
    set_scoping="UPDATE log_heads SET scoping = $1 WHERE tenant_id = $2",
    set_figures="UPDATE log_heads SET figures = $1 WHERE tenant_id = $2",
    renew="""
UPDATE log_heads SET epoch = $1,
  epoch_position = CASE WHEN epoch_position > 0 OR epoch LIKE '%@%' THEN least(epoch_position, $2::bigint) ELSE $2 END
WHERE tenant_id = $3""",
    start=f"""
SELECT position, epoch, (
  SELECT {_DIGESTS} FROM log_segments s WHERE s.tenant_id = $1 AND s.number <= $2 AND s.epoch = head.epoch)
FROM log_heads head WHERE head.tenant_id = $1""",
    # `later` halves the range of positions until it holds one: the running maximum of event times never falls. It is not
    # looked for when an event itself tells the place, as it does at nearly every pull.
    resolve=f"""
WITH named (position, first, last) AS MATERIALIZED (
  SELECT position, position / {SIZE}, (position + $4 - 1) / {SIZE} FROM events
  WHERE tenant_id = $1 AND guid = $3 AND occurred_ms = $2)
SELECT
  (SELECT position FROM named) AS by_guid,
  (SELECT position FROM events WHERE tenant_id = $1 AND occurred_ms = $2 ORDER BY position LIMIT 1) AS exact,
  (WITH RECURSIVE search (low, high) AS (
     SELECT 1::bigint, head.position + 1
     WHERE NOT EXISTS (SELECT 1 FROM named)
       AND NOT EXISTS (SELECT 1 FROM events WHERE tenant_id = $1 AND occurred_ms = $2)
     UNION ALL
     SELECT CASE WHEN e.max_occurred_ms > $2 THEN low ELSE e.position + 1 END,
            CASE WHEN e.max_occurred_ms > $2 THEN e.position ELSE high END
     FROM {_MIDDLE} JOIN events e ON e.tenant_id = $1 AND e.position = half.middle)
   SELECT CASE WHEN low > head.position THEN NULL ELSE low END FROM search WHERE low = high) AS later,
  head.position, head.epoch_position, head.recorded_ms, head.epoch,
  (SELECT {_DIGESTS} FROM named JOIN log_segments s
   ON s.tenant_id = $1 AND s.number >= named.first AND s.number <= named.last AND s.epoch = head.epoch)
FROM log_heads head WHERE head.tenant_id = $1""",
    segments=f"""
SELECT {SEGMENT_COLUMNS} FROM log_segments
WHERE tenant_id = $1 AND number BETWEEN $2 AND $4 AND epoch = $3 AND {_STILL} ORDER BY number""",
    sealed_to="""
SELECT head.position, head.epoch, (
  SELECT s.number FROM log_segments s WHERE s.tenant_id = $1 AND s.epoch = head.epoch ORDER BY s.number DESC LIMIT 1)
FROM log_heads head WHERE head.tenant_id = $1""",
    # Of what PostgreSQL has moved out of the row it knows the length without fetching it.
    run="""
SELECT head.epoch, last.chain_hash, (
  SELECT sum(octet_length(body)) FROM events WHERE tenant_id = $1 AND position > $2 AND position <= $3)
FROM log_heads head JOIN events last ON last.tenant_id = $1 AND last.position = $3 WHERE head.tenant_id = $1""",
    # The head's row is held against a purge, which takes it away first: it waits, or this finds none.
    keep_segment=f"""
INSERT INTO log_segments (tenant_id, epoch, {SEGMENT_COLUMNS})
SELECT $1::text, head.epoch, $5::bigint, $6::bytea, $7::bytea, $8::bigint, $9::bytea, $10::bigint, $11::text
FROM (SELECT epoch FROM log_heads WHERE tenant_id = $1 AND epoch = $2 FOR KEY SHARE) AS head
WHERE EXISTS (SELECT 1 FROM events WHERE tenant_id = $1 AND position = $4 AND chain_hash = $3)
ON CONFLICT (tenant_id, number) DO UPDATE SET epoch = excluded.epoch, packed = excluded.packed,
  lengths = excluded.lengths, checksum = excluded.checksum, digest = excluded.digest,
  last_occurred_ms = excluded.last_occurred_ms, last_guid = excluded.last_guid
WHERE log_segments.epoch <> excluded.epoch""",
    drop_segment="DELETE FROM log_segments WHERE tenant_id = $1 AND number = $2",
    held=f"SELECT e.guid, e.occurred_ms, e.content_hash {_BY_GUID}",
    # Who was located in a history knows its name.
    read=f"""
SELECT position, occurred_ms, guid, body,
  CASE WHEN $3::text IS NULL THEN (SELECT epoch FROM log_heads WHERE tenant_id = $1) END AS epoch
FROM events
WHERE tenant_id = $1 AND position > $2 AND {_STILL} ORDER BY position LIMIT $4""",
    read_at=f"""
SELECT position, occurred_ms, guid, entity_guid, body FROM events
WHERE tenant_id = $1 AND position = ANY($2::bigint[]) AND {_STILL} ORDER BY position""",
    position_at=f"""
WITH RECURSIVE search (low, high) AS (
  SELECT 1::bigint, head.position + 1 FROM log_heads head WHERE head.tenant_id = $1
  UNION ALL
  SELECT CASE WHEN e.recorded_ms >= $2 THEN low ELSE e.position + 1 END,
         CASE WHEN e.recorded_ms >= $2 THEN e.position ELSE high END
  FROM {_MIDDLE} JOIN events e ON e.tenant_id = $1 AND e.position = half.middle)
SELECT low FROM search WHERE low = high""",
    head=f"SELECT {HEAD_COLUMNS} FROM log_heads WHERE tenant_id = $1",
)


class PostgresEventStore(StatementStore):
    """Implements `EventStore`."""

    def __init__(self) -> None:
        super().__init__(_STATEMENTS)
        self._turns: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, scope: TenantScope) -> AsyncIterator[None]:
        lock = self._turns.setdefault(scope.tenant_id, asyncio.Lock())
        async with lock:
            yield

    async def open(self, tx: Tx, scope: TenantScope, guids: Sequence[str]) -> OpenLog:
        heads = await tx.fetch_locked(_LOCK, scope.tenant_id)
        if not heads:
            raise TenantUnknown()
        head = head_from_row(heads[0])
        known = await tx.fetch(_known(head.position), scope.tenant_id, guids)
        return OpenLog(head, {row[0]: row[1] for row in known})

    async def hold(self, tx: Tx, scope: TenantScope) -> Head | None:
        rows = await tx.fetch_locked(_HOLD, scope.tenant_id)
        return head_from_row(rows[0]) if rows else None

    async def append(self, tx: Tx, scope: TenantScope, events: Sequence[StoredEvent], head: Head) -> None:
        *columns, content_hashes, chain_hashes, bodies = zip(*map(event_values, events), strict=True)
        await tx.run(
            _APPEND,
            scope.tenant_id,
            *map(array_text, columns),
            content_hashes,
            chain_hashes,
            bodies,
            head.position,
            head.chain_hash,
            head.max_occurred_at,
            head.recorded_at,
            encode_figures(head.figures),
        )

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        asked = (scope.tenant_id, after, limit)
        found = await view.fetch_portion(_READ_ROWS, *asked, texts=BODY, most_bytes=MOST_PAGE_BYTES)
        return events_from_rows(found.rows)
