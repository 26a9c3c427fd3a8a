"""SQL of the audit trail, written by hand for each engine: one part of it runs in every push that has members."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select

from datacollect.db import Reading, Tx
from datacollect.db.database import Dialect
from datacollect.db.portions import Portion
from datacollect.eventstore.event import Origin
from datacollect.features.audit.model import CASCADE, FIRST_PUSHED, AuditEntry, Place, Touching, buried_by, is_write
from datacollect.features.audit.tables import audit_log
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_COLUMNS = ", ".join(column.name for column in audit_log.columns if column.name != "tenant_id")
_COLUMNS_OF_LINE = len(_COLUMNS.split(", ")) + 1
"""In the trail, the body of an event stands behind them."""

# -- writing

# A rebuild makes the same entries again.
_KEEP = {
    "postgresql": f"""
INSERT INTO audit_log (tenant_id, {_COLUMNS})
SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
ON CONFLICT DO NOTHING""",
    "sqlite": f"""
INSERT INTO audit_log (tenant_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING""",
}


async def keep(tx: Tx, scope: TenantScope, entries: Sequence[AuditEntry]) -> None:
    """Store entries, by one statement; those that are there are left as they are."""
    rows = [_values(entry) for entry in entries]
    if tx.dialect == "sqlite":
        await tx.run_many(_KEEP["sqlite"], [(scope.tenant_id, *row) for row in rows])
    else:
        await tx.run(_KEEP["postgresql"], scope.tenant_id, *map(list, zip(*rows, strict=True)))


def _values(entry: AuditEntry) -> tuple[Any, ...]:
    """The values of `_COLUMNS`."""
    return (
        *entry.place,
        entry.guid,
        entry.recorded_at,
        entry.occurred_at,
        entry.user_id,
        entry.claimed_user_id,
        entry.actor,
        entry.device_id,
        entry.action,
        entry.event_guid,
        entry.entity_guid,
        None if entry.changes is None else msgspec.json.encode(entry.changes).decode(),
        entry.signature,
    )


# -- finding


async def count_notes(view: Reading, scope: TenantScope) -> int:
    """Entries that no event makes: of devices, and of what the hub has seen done."""
    counted = select(func.count()).where(audit_log.c.tenant_id == scope.tenant_id, audit_log.c.actor.is_not(None))
    return int((await view.execute(counted)).scalar_one())


_KNOWN = {
    # OFFSET keeps PostgreSQL, which may think the trail short, to looking each guid up by its key.
    "postgresql": f"SELECT {_COLUMNS} FROM unnest($2::text[]) AS asked (wanted) CROSS JOIN LATERAL"
    " (SELECT * FROM audit_log WHERE tenant_id = $1 AND guid = asked.wanted OFFSET 0) AS held",
    "sqlite": f"SELECT {_COLUMNS} FROM json_each(?2) AS asked"
    " CROSS JOIN audit_log ON audit_log.tenant_id = ?1 AND audit_log.guid = asked.value",
}
_LAST_ORDINAL = {
    "postgresql": "SELECT max(ordinal) FROM audit_log WHERE tenant_id = $1 AND position = $2",
    "sqlite": "SELECT max(ordinal) FROM audit_log WHERE tenant_id = ?1 AND position = ?2",
}


async def find_known(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, AuditEntry]:
    """Which of these are stored, by guid."""
    rows = await view.fetch(_KNOWN[view.dialect], scope.tenant_id, view.listed(guids))
    return {entry.guid: entry for entry in map(_entry, rows)}


async def last_ordinal(view: Reading, scope: TenantScope, position: int) -> int:
    """The highest at that position; 0 when nothing is stored there."""
    rows = await view.fetch(_LAST_ORDINAL[view.dialect], scope.tenant_id, position)
    return int(rows[0][0] or 0)


def _entry(row: Sequence[Any]) -> AuditEntry:
    position, ordinal, guid, recorded, occurred, user_id, claimed, actor, device_id, *rest = row
    action, event_guid, entity_guid, changes, signature = rest
    return AuditEntry(
        place=Place(position, ordinal),
        guid=guid,
        recorded_at=Millis(recorded),
        occurred_at=Millis(occurred),
        user_id=user_id,
        action=action,
        event_guid=event_guid,
        entity_guid=entity_guid,
        changes=None if changes is None else msgspec.json.decode(changes),
        signature=signature,
        claimed_user_id=claimed,
        actor=actor,
        device_id=device_id,
    )


# -- reading the trail

MOST_PAGE_BYTES = 16 * 1024 * 1024
"""Of entries of one page, and again of the events they come from; one more may be begun."""

ENTRY_BYTES = 400
"""Of an entry in wire form, about, without its `changes` and its signature: of many members they are most of a page."""


# Each part reads no more rows than the page has, snapshots aside, which change nothing. The third has entries that were recorded before `since` and claim to
# be later, which are few: of clocks that are ahead.
_TRAIL = """
SELECT * FROM (
  SELECT position, 0 AS ordinal, guid, recorded_ms, recorded_ms AS occurred_ms, CAST(NULL AS text) AS user_id,
    CAST(NULL AS text) AS claimed_user_id, actor, device_id, type AS action, guid AS event_guid, entity_guid,
    CAST(NULL AS text) AS changes, '' AS signature, body
  FROM events
  WHERE tenant_id = {tenant} AND position > {event_after} AND origin <> 'snapshot'{of_entity} ORDER BY position LIMIT {limit}) AS told
UNION ALL
SELECT * FROM (
  SELECT {columns}, CAST(NULL AS text) AS body FROM audit_log
  WHERE tenant_id = {tenant} AND (position, ordinal) > ({stored_after}){of_entity}
  ORDER BY position, ordinal LIMIT {limit}) AS stored
UNION ALL
SELECT * FROM (
  SELECT {columns}, CAST(NULL AS text) AS body FROM {ahead}
  WHERE tenant_id = {tenant} AND occurred_ms > recorded_ms AND occurred_ms > {since}
    AND (position, ordinal) > ({after}) AND (position, ordinal) <= ({border}){of_entity}
  ORDER BY position, ordinal LIMIT {limit}) AS ahead
ORDER BY position, ordinal LIMIT {limit}"""
_OF_ENTITY = " AND entity_guid = {entity}"
_AHEAD = {
    # Left to itself PostgreSQL may walk through the trail in its order; OFFSET keeps it to the small index.
    "postgresql": "(SELECT * FROM audit_log WHERE tenant_id = {tenant} AND occurred_ms > recorded_ms"
    " AND occurred_ms > {since} OFFSET 0) AS early",
    "sqlite": "audit_log INDEXED BY ix_audit_log_ahead",
}


def _trail(dialect: Dialect, of_entity: str) -> str:
    mark = "$" if dialect == "postgresql" else "?"
    names = {
        "tenant": f"{mark}1",
        "limit": f"{mark}2",
        "since": f"{mark}3",
        "event_after": f"{mark}4",
        "stored_after": f"{mark}5, {mark}6",
        "after": f"{mark}7, {mark}8",
        "border": f"{mark}9, {mark}10",
        "entity": f"{mark}11",
    }
    parts = {"ahead": _AHEAD[dialect].format(**names), "of_entity": of_entity.format(**names)}
    return _TRAIL.format(columns=_COLUMNS, **names, **parts)


_READ: Mapping[Dialect, tuple[str, str]] = {
    "postgresql": (_trail("postgresql", ""), _trail("postgresql", _OF_ENTITY)),
    "sqlite": (_trail("sqlite", ""), _trail("sqlite", _OF_ENTITY)),
}
_SOURCES = {
    "postgresql": "SELECT position, actor, device_id, body FROM events"
    " WHERE tenant_id = $1 AND position = ANY($2::bigint[]) ORDER BY position",
    "sqlite": "SELECT e.position, e.actor, e.device_id, e.body FROM json_each(?2) AS asked"
    " CROSS JOIN events e ON e.tenant_id = ?1 AND e.position = asked.value",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the trail: an entry as stored, or an event, then with its `body`."""

    entry: AuditEntry
    body: str | None
    size: int
    """Bytes of the entry, about, without what it leaves to the event of another line."""


@dataclass(frozen=True, slots=True)
class Source:
    """The event that an entry comes from."""

    actor: str
    device_id: str | None
    body: str


async def read_trail(
    view: Reading,
    scope: TenantScope,
    *,
    after: Place,
    border: Place,
    since: Millis,
    entity_guid: str | None,
    limit: int,
) -> Portion[Line]:
    """The next lines, up to `MOST_PAGE_BYTES`, behind `after`: all that are behind `border`, and up to it those that claim to be later than
    `since`."""
    asked = (limit, since, max(after.position, border.position), *max(after, border), *after, *border)
    plain, of_entity = _READ[view.dialect]
    sql, narrowed = (plain, ()) if entity_guid is None else (of_entity, (entity_guid,))
    found = await view.fetch_portion(
        sql, scope.tenant_id, *asked, *narrowed, texts=("changes", "body", "signature"), most_bytes=MOST_PAGE_BYTES
    )
    return Portion([_line(row) for row in found.rows], found.is_cut)


def _line(row: Sequence[Any]) -> Line:
    *values, body = row[:_COLUMNS_OF_LINE]
    if body is not None:
        values[5] = ""
    *_, changes, signature = values
    size = ENTRY_BYTES + sum(len(text.encode()) for text in (changes, signature, body) if text)
    return Line(_entry(values), body, size)


async def find_sources(view: Reading, scope: TenantScope, positions: Collection[int]) -> Mapping[int, Source]:
    """The events at these positions, the first ones first, up to `MOST_PAGE_BYTES`."""
    asked = (scope.tenant_id, view.listed(sorted(positions)))
    found = await view.fetch_portion(_SOURCES[view.dialect], *asked, texts=("body",), most_bytes=MOST_PAGE_BYTES)
    return {row[0]: Source(row[1], row[2], row[3]) for row in found.rows}


# -- who has read

_READS_OF = {
    "postgresql": f"""SELECT {_COLUMNS} FROM audit_log
WHERE tenant_id = $1 AND entity_guid = $2 AND event_guid = '' AND action = ANY($3::text[])
  AND (position, ordinal) < ($4, $5) ORDER BY position DESC, ordinal DESC LIMIT $6""",
    "sqlite": f"""SELECT {_COLUMNS} FROM audit_log INDEXED BY ix_audit_log_tenant_id_entity_guid_position
WHERE tenant_id = ?1 AND entity_guid = ?2 AND event_guid = '' AND action IN (SELECT value FROM json_each(?3))
  AND (position, ordinal) < (?4, ?5) ORDER BY position DESC, ordinal DESC LIMIT ?6""",
}


async def list_reads(
    view: Reading, scope: TenantScope, entity_guid: str, actions: Collection[str], *, before: Place, limit: int
) -> Sequence[AuditEntry]:
    """Notes of these reads, the latest first."""
    asked = view.listed(sorted(actions))
    return [
        _entry(row)
        for row in await view.fetch(_READS_OF[view.dialect], scope.tenant_id, entity_guid, asked, *before, limit)
    ]


# -- which events touched an entity: those about it, and those that wrote or deleted it along with another one

MOST_BODIES = 10_000
MOST_BODIES_BYTES = 64 * 1024 * 1024
"""Of one list, which has no pages."""
MOST_TOUCHING_BYTES = 16 * 1024 * 1024
"""Of events that are held in memory at the same time; one more may be begun."""

_MADE = f"FROM {{made}} WHERE tenant_id = {{tenant}} AND entity_guid = {{entity}} AND ordinal < {FIRST_PUSHED}"
_OWN = "FROM {own} WHERE tenant_id = {tenant} AND entity_guid = {entity} AND origin <> 'snapshot'"
_BODIES = f"""
SELECT body FROM (
  SELECT occurred_ms, position, body {_OWN}
  UNION ALL
  SELECT e.occurred_ms, e.position, e.body FROM (SELECT DISTINCT position {_MADE}) AS made
  CROSS JOIN events e WHERE e.tenant_id = {{tenant}} AND e.position = made.position AND e.entity_guid <> {{entity}}
) AS touching ORDER BY occurred_ms DESC, position DESC LIMIT {MOST_BODIES}"""
# Neither part reads more positions than are asked for. What is too much to be held at once is weighed first, and not read.
_TOUCHES = f"""
SELECT e.position, e.recorded_ms, e.actor, e.device_id, e.origin, e.body, e.chain_hash, weighed.cascade FROM (
  SELECT position, cascade, sum(size) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - size AS before FROM (
    SELECT touched.position, touched.cascade, {{size}} AS size FROM (
      SELECT position, max(cascade) AS cascade FROM (
        SELECT * FROM (
          SELECT position, CAST(NULL AS text) AS cascade {_OWN} AND position > {{after}}
          ORDER BY position LIMIT {{limit}}) AS own
        UNION ALL
        SELECT * FROM (
          SELECT position, max(CASE action WHEN '{CASCADE}' THEN changes END) AS cascade {_MADE} AND position > {{after}}
          GROUP BY position ORDER BY position LIMIT {{limit}}) AS made) AS parts
      GROUP BY position ORDER BY position LIMIT {{limit}}) AS touched
    CROSS JOIN events w WHERE w.tenant_id = {{tenant}} AND w.position = touched.position) AS sized) AS weighed
CROSS JOIN events e WHERE e.tenant_id = {{tenant}} AND e.position = weighed.position AND weighed.before < {{most}}
ORDER BY weighed.position"""
_TOUCHED_BY = {
    "postgresql": "SELECT position, entity_guid, action FROM audit_log"
    f" WHERE tenant_id = $1 AND position = ANY($2::bigint[]) AND ordinal < {FIRST_PUSHED}",
    "sqlite": "SELECT a.position, a.entity_guid, a.action FROM json_each(?2) AS asked CROSS JOIN audit_log a"
    f" ON a.tenant_id = ?1 AND a.position = asked.value AND a.ordinal < {FIRST_PUSHED}",
}


def _of_stream(statement: str) -> Mapping[Dialect, str]:
    def written(mark: str, by_entity: str) -> str:
        names = {
            "tenant": f"{mark}1",
            "entity": f"{mark}2",
            "after": f"{mark}3",
            "limit": f"{mark}4",
            "most": f"{mark}5",
        }
        # On PostgreSQL the one that does not unpack the text.
        names["size"] = "octet_length(w.body)" if mark == "$" else "length(CAST(w.body AS BLOB))"
        own, made = (table + by_entity.format(table=table) for table in ("events", "audit_log"))
        return statement.format(own=own, made=made, **names)

    # Left to itself SQLite may take an index that spares it the sorting, and read the whole tenant.
    by_entity = " INDEXED BY ix_{table}_tenant_id_entity_guid_position"
    return {"postgresql": written("$", ""), "sqlite": written("?", by_entity)}


_READ_BODIES, _READ_TOUCHES = _of_stream(_BODIES), _of_stream(_TOUCHES)


async def read_touching_bodies(view: Reading, scope: TenantScope, entity_guid: str) -> Sequence[str]:
    """The latest `MOST_BODIES`, and `MOST_BODIES_BYTES`, by event time, then position; the oldest of them first."""
    asked = (scope.tenant_id, entity_guid)
    found = await view.fetch_portion(_READ_BODIES[view.dialect], *asked, texts=("body",), most_bytes=MOST_BODIES_BYTES)
    return [row[0] for row in reversed(found.rows)]


async def read_touching(
    view: Reading, scope: TenantScope, entity_guid: str, *, after: int, limit: int
) -> Sequence[Touching]:
    """The next ones in log order, at most so many, and fewer where they are large: see `are_cut`."""
    rows = await view.fetch(
        _READ_TOUCHES[view.dialect], scope.tenant_id, entity_guid, after, limit, MOST_TOUCHING_BYTES
    )
    return [_touching(row) for row in rows]


def are_cut(found: Sequence[Touching]) -> bool:
    """Whether there may be more than `read_touching` has given, although it was fewer than were asked for."""
    if 4 * sum(len(one.body) for one in found) < MOST_TOUCHING_BYTES:
        return False  # whatever letters they are of
    return sum(len(one.body.encode()) for one in found) >= MOST_TOUCHING_BYTES


def _touching(row: Sequence[Any]) -> Touching:
    position, recorded, actor, device_id, origin, body, chain_hash, cascade = row
    by = None if cascade is None else buried_by(msgspec.json.decode(cascade))
    return Touching(
        position, Millis(recorded), actor, device_id, Origin(origin), body, bytes(chain_hash), cascade is not None, by
    )


async def find_touched(
    view: Reading, scope: TenantScope, positions: Collection[int]
) -> Mapping[int, Mapping[str, bool]]:
    """The guids of the entities that these events touched along with their own, and whether they wrote them: values
    can have been lost on one that is deleted."""
    found: dict[int, dict[str, bool]] = {}
    rows = await view.fetch(_TOUCHED_BY[view.dialect], scope.tenant_id, view.listed(positions))
    for position, guid, action in rows:
        touched = found.setdefault(position, {})
        touched[guid] = touched.get(guid, False) or is_write(action)
    return found
