"""The event log on SQLite. The writer connection holds the database's one write lock from `BEGIN IMMEDIATE` on, so
`open` needs no lock of its own."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
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

# CROSS JOIN keeps SQLite from walking through all of the tenant's events instead: it has no statistics to know better.
_OPEN = f"""
SELECT 0 AS part, {HEAD_COLUMNS} FROM log_heads WHERE tenant_id = ?1 AND closed_ms IS NULL
UNION ALL
SELECT 1, NULL, content_hash, NULL, NULL, guid, NULL
FROM json_each(?2) AS asked CROSS JOIN events ON events.tenant_id = ?1 AND events.guid = asked.value
ORDER BY part"""

_APPEND = f"INSERT INTO events (tenant_id, {EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_MOVE_HEAD = """
UPDATE log_heads SET position = ?, chain_hash = ?, max_occurred_ms = ?, recorded_ms = ?, figures = ?
WHERE tenant_id = ?"""

# Of the history that a reader was located in: the program may have been purged and made anew since.
_STILL = "EXISTS (SELECT 1 FROM log_heads h WHERE h.tenant_id = ?1 AND (?3 IS NULL OR h.epoch = ?3))"

_NUMBERS = frozenset(("position", "occurred_ms", "max_occurred_ms", "recorded_ms"))
_HASHES = frozenset(("content_hash", "chain_hash"))
_COLUMNS = EVENT_COLUMNS.split(", ")
_TEXTS = frozenset(index for index, name in enumerate(_COLUMNS) if name not in _NUMBERS | _HASHES)


def _as_stored(column: str) -> str:
    """The value if it is stored as what the column is for: SQLite takes any kind in any column. Else, a value of a
    kind that no such column has. Texts come as bytes: the driver refuses a whole result in which one is not UTF-8.
    """
    if column in _NUMBERS:
        return f"CASE typeof({column}) WHEN 'integer' THEN {column} END"
    if column in _HASHES:
        return f"CASE typeof({column}) WHEN 'blob' THEN {column} END"
    return f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) WHEN 'null' THEN NULL ELSE 0 END"


_READ_ROWS = f"""
SELECT {", ".join(f"{_as_stored(column)} AS {column}" for column in _COLUMNS)}
FROM events WHERE tenant_id = ? AND position > ? ORDER BY position LIMIT ?"""

_DIGESTS = "group_concat(s.number || ':' || hex(s.digest), ' ')"

_STATEMENTS = Statements(
    create="""
INSERT INTO log_heads (tenant_id, position, chain_hash, max_occurred_ms, recorded_ms, figures, epoch, epoch_position)
VALUES (?, 0, x'', NULL, ?, '{}', ?, 0) ON CONFLICT DO NOTHING""",
    set_closed="UPDATE log_heads SET closed_ms = ? WHERE tenant_id = ?",
    set_scoping="UPDATE log_heads SET scoping = ? WHERE tenant_id = ?",
    set_figures="UPDATE log_heads SET figures = ? WHERE tenant_id = ?",
    renew="""
UPDATE log_heads SET epoch = ?1,
  epoch_position = CASE WHEN epoch_position > 0 OR epoch LIKE '%@%' THEN min(epoch_position, ?2) ELSE ?2 END
WHERE tenant_id = ?3""",
    start=f"""
SELECT position, epoch, (
  SELECT {_DIGESTS} FROM log_segments s WHERE s.tenant_id = ?1 AND s.number <= ?2 AND s.epoch = head.epoch)
FROM log_heads head WHERE head.tenant_id = ?1""",
    # `later` halves the range of positions until it holds one: the running maximum of event times never falls. It is not
    # looked for when an event itself tells the place, as it does at nearly every pull.
    resolve=f"""
WITH named (position, first, last) AS MATERIALIZED (
  SELECT position, position / {SIZE}, (position + ?4 - 1) / {SIZE} FROM events
  WHERE tenant_id = ?1 AND guid = ?3 AND occurred_ms = ?2)
SELECT
  (SELECT position FROM named) AS by_guid,
  (SELECT position FROM events WHERE tenant_id = ?1 AND occurred_ms = ?2 ORDER BY position LIMIT 1) AS exact,
  (WITH RECURSIVE search (low, high) AS (
     SELECT 1, head.position + 1
     WHERE NOT EXISTS (SELECT 1 FROM named)
       AND NOT EXISTS (SELECT 1 FROM events WHERE tenant_id = ?1 AND occurred_ms = ?2)
     UNION ALL
     SELECT CASE WHEN e.max_occurred_ms > ?2 THEN low ELSE e.position + 1 END,
            CASE WHEN e.max_occurred_ms > ?2 THEN e.position ELSE high END
     FROM search JOIN events e ON e.tenant_id = ?1 AND e.position = (low + high) / 2
     WHERE low < high)
   SELECT CASE WHEN low > head.position THEN NULL ELSE low END FROM search WHERE low = high) AS later,
  head.position, head.epoch_position, head.recorded_ms, head.epoch,
  (SELECT {_DIGESTS} FROM named CROSS JOIN log_segments s
   WHERE s.tenant_id = ?1 AND s.number BETWEEN named.first AND named.last AND s.epoch = head.epoch)
FROM log_heads head WHERE head.tenant_id = ?1""",
    segments=f"""
SELECT {SEGMENT_COLUMNS} FROM log_segments
WHERE tenant_id = ?1 AND number BETWEEN ?2 AND ?4 AND epoch = ?3 AND {_STILL} ORDER BY number""",
    sealed_to="""
SELECT head.position, head.epoch, (
  SELECT s.number FROM log_segments s WHERE s.tenant_id = ?1 AND s.epoch = head.epoch ORDER BY s.number DESC LIMIT 1)
FROM log_heads head WHERE head.tenant_id = ?1""",
    run="""
SELECT head.epoch, last.chain_hash, (
  SELECT sum(length(CAST(body AS BLOB))) FROM events WHERE tenant_id = ?1 AND position > ?2 AND position <= ?3)
FROM log_heads head CROSS JOIN events last ON last.tenant_id = ?1 AND last.position = ?3 WHERE head.tenant_id = ?1""",
    keep_segment=f"""
INSERT INTO log_segments (tenant_id, epoch, {SEGMENT_COLUMNS})
SELECT ?1, head.epoch, ?5, ?6, ?7, ?8, ?9, ?10, ?11
FROM (SELECT epoch FROM log_heads WHERE tenant_id = ?1 AND epoch = ?2) AS head
WHERE EXISTS (SELECT 1 FROM events WHERE tenant_id = ?1 AND position = ?4 AND chain_hash = ?3)
ON CONFLICT (tenant_id, number) DO UPDATE SET epoch = excluded.epoch, packed = excluded.packed,
  lengths = excluded.lengths, checksum = excluded.checksum, digest = excluded.digest,
  last_occurred_ms = excluded.last_occurred_ms, last_guid = excluded.last_guid
WHERE log_segments.epoch <> excluded.epoch""",
    drop_segment="DELETE FROM log_segments WHERE tenant_id = ?1 AND number = ?2",
    held="""
SELECT e.guid, e.occurred_ms, e.content_hash
FROM json_each(?2) AS asked CROSS JOIN events e ON e.tenant_id = ?1 AND e.guid = asked.value""",
    # Who was located in a history knows its name.
    read=f"""
SELECT position, occurred_ms, guid, body,
  CASE WHEN ?3 IS NULL THEN (SELECT epoch FROM log_heads WHERE tenant_id = ?1) END AS epoch
FROM events
WHERE tenant_id = ?1 AND position > ?2 AND {_STILL} ORDER BY position LIMIT ?4""",
    read_at=f"""
SELECT e.position, e.occurred_ms, e.guid, e.entity_guid, e.body
FROM json_each(?2) AS asked CROSS JOIN events e ON e.tenant_id = ?1 AND e.position = asked.value
WHERE {_STILL} ORDER BY e.position""",
    # Halves the range of positions until it holds one: the time of recording never falls.
    position_at="""
WITH RECURSIVE search (low, high) AS (
  SELECT 1, head.position + 1 FROM log_heads head WHERE head.tenant_id = ?1
  UNION ALL
  SELECT CASE WHEN e.recorded_ms >= ?2 THEN low ELSE e.position + 1 END,
         CASE WHEN e.recorded_ms >= ?2 THEN e.position ELSE high END
  FROM search JOIN events e ON e.tenant_id = ?1 AND e.position = (low + high) / 2
  WHERE low < high)
SELECT low FROM search WHERE low = high""",
    head=f"""
SELECT {", ".join(map(_as_stored, HEAD_COLUMNS.split(", ")))} FROM log_heads WHERE tenant_id = ?""",
)


class SqliteEventStore(StatementStore):
    """Implements `EventStore`."""

    def __init__(self) -> None:
        super().__init__(_STATEMENTS)

    def turn(self, scope: TenantScope) -> AbstractAsyncContextManager[None]:
        # The writer connection has a queue of its own, and those who wait in it together are committed together.
        return nullcontext()

    async def open(self, tx: Tx, scope: TenantScope, guids: Sequence[str]) -> OpenLog:
        rows = await tx.fetch(_OPEN, scope.tenant_id, msgspec.json.encode(guids).decode())
        if not rows or rows[0][0] != 0:
            raise TenantUnknown()
        return OpenLog(head_from_row(rows[0][1:]), {row[5]: row[2] for row in rows[1:]})

    async def hold(self, tx: Tx, scope: TenantScope) -> Head | None:
        return await self.head(tx, scope)

    async def append(self, tx: Tx, scope: TenantScope, events: Sequence[StoredEvent], head: Head) -> None:
        moved = (
            head.position,
            head.chain_hash,
            head.max_occurred_at,
            head.recorded_at,
            encode_figures(head.figures),
            scope.tenant_id,
        )
        rows = [(scope.tenant_id, *event_values(event)) for event in events]
        await tx.run_in_one_trip((_APPEND, rows), (_MOVE_HEAD, [moved]))

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        asked = (scope.tenant_id, after, limit)
        found = await view.fetch_portion(_READ_ROWS, *asked, texts=BODY, most_bytes=MOST_PAGE_BYTES)
        return events_from_rows(
            [_text(value) if index in _TEXTS else value for index, value in enumerate(row)] for row in found.rows
        )


def _text(value: Any) -> Any:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
