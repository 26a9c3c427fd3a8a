"""Finding events by where they stand in the log."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from datacollect.db import Reading
from datacollect.eventstore.event import Event, Origin, event_from_body
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_AT = {
    "postgresql": "SELECT position, {columns} FROM events WHERE tenant_id = $1 AND position = ANY($2::bigint[])",
    "sqlite": "SELECT e.position, {columns} FROM json_each(?2) AS asked"
    " CROSS JOIN events e ON e.tenant_id = ?1 AND e.position = asked.value",
}

_BY_GUID = {
    "postgresql": "SELECT body FROM events WHERE tenant_id = $1 AND guid = $2",
    "sqlite": "SELECT body FROM events WHERE tenant_id = ?1 AND guid = ?2",
}

_OF_GUIDS = {
    "postgresql": "SELECT e.guid, e.{column} FROM unnest($2::text[]) AS asked (guid) CROSS JOIN LATERAL ("
    "SELECT * FROM events WHERE tenant_id = $1 AND guid = asked.guid OFFSET 0) AS e",
    "sqlite": "SELECT e.guid, e.{column} FROM json_each(?2) AS asked"
    " CROSS JOIN events e ON e.tenant_id = ?1 AND e.guid = asked.value",
}

# Halves the range of positions until it holds the first one that was recorded later.
_RECORDED_BY = """
WITH RECURSIVE search (low, high) AS (
  SELECT {one}, position + 1 FROM log_heads WHERE tenant_id = {tenant}
  UNION ALL
  SELECT CASE WHEN e.recorded_ms > {instant} THEN low ELSE e.position + 1 END,
         CASE WHEN e.recorded_ms > {instant} THEN e.position ELSE high END
  FROM {halved} JOIN events e ON e.tenant_id = {tenant} AND e.position = {middle}
  WHERE low < high)
SELECT low - 1 FROM search WHERE low = high"""
_POSITION_BY = {
    # The middle is computed in a query of its own, which `OFFSET 0` keeps apart: behind row-level security a position
    # is looked up by key only if it is compared with a mere column.
    "postgresql": _RECORDED_BY.format(
        one="1::bigint",
        tenant="$1",
        instant="$2",
        halved="(SELECT low, high, (low + high) / 2 AS middle FROM search OFFSET 0) AS half",
        middle="half.middle",
    ),
    "sqlite": _RECORDED_BY.format(one="1", tenant="?1", instant="?2", halved="search", middle="(low + high) / 2"),
}


async def guids_at(view: Reading, scope: TenantScope, positions: Collection[int]) -> Mapping[int, str]:
    """The guids of the events at these positions, by one statement however many they are."""
    return dict(map(tuple, await _told_at(view, scope, positions, "guid")))


async def actors_at(view: Reading, scope: TenantScope, positions: Collection[int]) -> Mapping[int, str]:
    """Likewise whose account brought them, whatever they say themselves."""
    return dict(map(tuple, await _told_at(view, scope, positions, "actor")))


async def events_at(
    view: Reading, scope: TenantScope, positions: Collection[int]
) -> Mapping[int, tuple[Event, Origin]]:
    """Likewise the events themselves, in the layout they were stored in."""
    rows = await _told_at(view, scope, positions, "origin, body")
    return {position: (event_from_body(body), Origin(origin)) for position, origin, body in rows}


async def event_of(view: Reading, scope: TenantScope, guid: str) -> Event | None:
    """The event with this guid, in the layout it was stored in; None if the log has none."""
    rows = await view.fetch(_BY_GUID[view.dialect], scope.tenant_id, guid)
    return event_from_body(rows[0][0]) if rows else None


async def bodies_of(view: Reading, scope: TenantScope, guids: Collection[str], *, most_bytes: int) -> Mapping[str, str]:
    """The bodies of the events with these guids that the log has, by guid: the first of them, up to the one with which they
    come to `most_bytes`. One statement however many they are."""
    statement = _OF_GUIDS[view.dialect].format(column="body")
    asked = (scope.tenant_id, view.listed(guids))
    found = await view.fetch_portion(statement, *asked, texts=("body",), most_bytes=most_bytes)
    return {row[0]: row[1] for row in found.rows}


async def entities_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, str]:
    """Likewise which entity each of them is about."""
    statement = _OF_GUIDS[view.dialect].format(column="entity_guid")
    return dict(map(tuple, await view.fetch(statement, scope.tenant_id, view.listed(guids))))


async def _told_at(
    view: Reading, scope: TenantScope, positions: Collection[int], columns: str
) -> Sequence[Sequence[Any]]:
    statement = _AT[view.dialect].format(columns=columns)
    return await view.fetch(statement, scope.tenant_id, view.listed(positions))


async def position_recorded_by(view: Reading, scope: TenantScope, instant: Millis) -> int:
    """The last position whose event was recorded at `instant` or before; 0 when there is none.

    The hub's time never falls along a log, so this is a binary search: one statement, no scan.
    """
    rows = await view.fetch(_POSITION_BY[view.dialect], scope.tenant_id, instant)
    return int(rows[0][0]) if rows else 0
