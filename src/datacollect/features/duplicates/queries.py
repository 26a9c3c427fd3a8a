"""SQL of keys and pairs."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, tuple_, union_all, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.keys import rows_with
from datacollect.features.duplicates.model import FoundPair, Pair, Status
from datacollect.features.duplicates.tables import duplicate_pairs, match_keys, match_marks, unheard_decisions
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.parts import parts
from datacollect.matching.scoring import Evidence

_k, _m, _p, _u = match_keys.c, match_marks.c, duplicate_pairs.c, unheard_decisions.c
_PAIRS_AT_ONCE = 500
_guids = msgspec.json.Decoder(list[str])
_RANDOM_GUIDS = re.compile(r"(?:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12} )*", re.ASCII)

# -- how far the log has been looked at


async def find_mark(view: Reading, scope: TenantScope, rules: int) -> int | None:
    """The position; None if nothing has been looked at by these rules."""
    found = select(_m.position).where(_m.tenant_id == scope.tenant_id, _m.rules == rules)
    return (await view.execute(found)).scalar_one_or_none()


async def store_mark(tx: Tx, scope: TenantScope, position: int, rules: int, *, now: Millis) -> None:
    """The log is held."""
    insert = insert_into(tx, match_marks).values(
        tenant_id=scope.tenant_id, position=position, rules=rules, updated_ms=now
    )
    changed = {"position": position, "rules": rules, "updated_ms": now}
    await tx.execute(insert.on_conflict_do_update(index_elements=[_m.tenant_id], set_=changed))


async def put_back_mark(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    """Let everything be looked at once more. The log is held."""
    await tx.execute(update(match_marks).where(_m.tenant_id == scope.tenant_id).values(position=0, updated_ms=now))


async def programs_behind(view: Reading, rules: int) -> Sequence[TenantId]:
    """Those whose logs have not been looked at to the end."""
    found = await view.fetch(
        "SELECT h.tenant_id FROM log_heads h LEFT JOIN match_marks m ON m.tenant_id = h.tenant_id"
        f" AND m.rules = {int(rules)} WHERE h.position > COALESCE(m.position, 0) ORDER BY h.tenant_id"
    )
    return [TenantId(row[0]) for row in found]


# -- keys

Key = tuple[str, str]
"""A key, and the guid that has it."""

_KEYS_OF = {
    "postgresql": """
SELECT k.key, k.guid FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (SELECT key, guid FROM match_keys WHERE tenant_id = $1 AND guid = asked.guid OFFSET 0) k""",
    "sqlite": """
SELECT k.key, k.guid FROM json_each(?2) AS asked CROSS JOIN match_keys k ON k.tenant_id = ?1 AND k.guid = asked.value""",
}
# One more than a block may have: then it says nothing, and nobody of it is compared for it. A row for each key: of those
# that say nothing there are many, each with as many guids as are read.
_SHARING = {
    "postgresql": """
SELECT asked.key, k.guids FROM unnest($2::text[]) AS asked (key)
CROSS JOIN LATERAL (
  SELECT array_agg(guid) AS guids FROM (
    SELECT guid FROM match_keys WHERE tenant_id = $1 AND key = asked.key ORDER BY guid LIMIT $3) n) k
WHERE k.guids IS NOT NULL""",
    "sqlite": """
SELECT asked.value, (
  SELECT json_group_array(n.guid) FROM (
    SELECT k.guid FROM match_keys k WHERE k.tenant_id = ?1 AND k.key = asked.value ORDER BY k.guid LIMIT ?3) n)
FROM json_each(?2) AS asked""",
}
_ADD = {
    "postgresql": """
INSERT INTO match_keys (tenant_id, key, guid) SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING""",
    "sqlite": "INSERT INTO match_keys (tenant_id, key, guid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
}
_REMOVE = {
    "postgresql": "DELETE FROM match_keys WHERE tenant_id = $1 AND key = $2 AND guid = $3",
    "sqlite": "DELETE FROM match_keys WHERE tenant_id = ? AND key = ? AND guid = ?",
}


async def keys_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> set[Key]:
    return {(row[0], row[1]) for row in await view.fetch(_KEYS_OF[view.dialect], scope.tenant_id, view.listed(guids))}


@dataclass(frozen=True, slots=True)
class Block:
    """Those who share a key. `guids` is empty if there are too many to compare them: then as many were `counted`, or the
    `least` are known."""

    guids: Sequence[str]
    counted: int
    least: Sequence[str] = ()

    @property
    def size(self) -> float:
        """About how many there are."""
        return _size_of(self.least) if self.least else self.counted


Shared = str | Sequence[str]
"""Guids as the engine tells them. There may be hundreds of such lists at once: they are read one by one."""


async def sharing(view: Reading, scope: TenantScope, keys: Collection[str], *, most: int) -> Mapping[str, Shared]:
    """Who has each of the keys that somebody has, and of those that more than `most` have the first of them: see
    `block_of`."""
    asked = view.listed(sorted(keys))
    rows = await view.fetch(_SHARING[view.dialect], scope.tenant_id, asked, most + 1)
    return {row[0]: row[1] for row in rows if row[1] != "[]"}


def block_of(shared: Shared, *, most: int) -> Block:
    guids = _guids.decode(shared) if isinstance(shared, str) else shared
    return Block(guids, len(guids)) if len(guids) <= most else Block((), len(guids), guids)


def _size_of(least: Sequence[str]) -> float:
    """How many there are, told from the smallest guids of them: random ones lie as far apart as they are few. Of guids
    that are not random, no more is known than that these are there."""
    # All of them at once: there are as many as guids are long, then.
    if not _RANDOM_GUIDS.fullmatch(told := "".join(f"{guid} " for guid in least)) or len(told) != 37 * len(least):
        return len(least)
    furthest = max(least)
    share = int(furthest[:8] + furthest[9:13], 16) / 2**48
    return max(len(least), (len(least) - 1) / max(share, 2.0**-48))


async def add_keys(tx: Tx, scope: TenantScope, rows: Collection[Key]) -> None:
    if not rows:
        return
    if tx.dialect == "sqlite":
        await tx.run_many(_ADD["sqlite"], [(scope.tenant_id, *row) for row in sorted(rows)])
    else:
        await tx.run(_ADD["postgresql"], scope.tenant_id, *map(list, zip(*sorted(rows), strict=True)))


async def remove_keys(tx: Tx, scope: TenantScope, rows: Collection[Key]) -> None:
    if rows:
        await tx.run_many(_REMOVE[tx.dialect], [(scope.tenant_id, *row) for row in sorted(rows)])


async def forget(tx: Tx, scope: TenantScope, guids: Collection[str], *, now: Millis) -> None:
    """Of entities that do not exist any more: their keys go, and their open pairs are over."""
    for some in parts(sorted(guids), _PAIRS_AT_ONCE):
        await tx.execute(delete(match_keys).where(_k.tenant_id == scope.tenant_id, _k.guid.in_(some)))
        over = update(duplicate_pairs).where(
            _p.tenant_id == scope.tenant_id,
            _p.status == Status.OPEN.value,
            or_(_p.first_guid.in_(some), _p.second_guid.in_(some)),
        )
        await tx.execute(over.values(status=Status.DELETED.value, decided_ms=now))


# -- pairs


async def pairs_of(
    view: Reading, scope: TenantScope, guids: Collection[str], *, status: Status | None = None
) -> Sequence[FoundPair]:
    """All pairs with one of these in it."""
    found: dict[Pair, FoundPair] = {}
    for some in parts(sorted(guids), _PAIRS_AT_ONCE):
        within = [_p.tenant_id == scope.tenant_id, *([] if status is None else [_p.status == status.value])]
        sides = [select(rows_with(view, side, some, *within)) for side in (_p.first_guid, _p.second_guid)]
        found |= {(pair := _pair(row)).pair: pair for row in await view.execute(union_all(*sides))}
    return list(found.values())


async def find_pair(view: Reading, scope: TenantScope, pair: Pair) -> FoundPair | None:
    row = (await view.execute(_of(scope).where(_is(pair)))).one_or_none()
    return None if row is None else _pair(row)


async def keep_pairs(tx: Tx, scope: TenantScope, found: Sequence[FoundPair]) -> None:
    """Store open pairs. One that is known has its evidence brought up to date, and stays decided if it is."""
    insert = insert_into(tx, duplicate_pairs)
    for some in parts(found, _PAIRS_AT_ONCE):
        statement = insert.values([_values(scope, pair) for pair in some])
        new = statement.excluded
        await tx.execute(
            statement.on_conflict_do_update(
                index_elements=[_p.tenant_id, _p.first_guid, _p.second_guid],
                set_={"bits": new.bits, "evidence": new.evidence},
                where=_p.status == Status.OPEN.value,
            )
        )


async def reopen_pairs(tx: Tx, scope: TenantScope, pairs: Iterable[Pair], *, now: Millis) -> None:
    """Pairs that were over because one was deleted, and both are there again."""
    for some in parts(list(pairs), _PAIRS_AT_ONCE):
        keys = [(pair.first, pair.second) for pair in some]
        again = update(duplicate_pairs).where(
            _p.tenant_id == scope.tenant_id,
            tuple_(_p.first_guid, _p.second_guid).in_(keys),
            _p.status == Status.DELETED.value,
        )
        await tx.execute(again.values(status=Status.OPEN.value, detected_ms=now, decided_ms=None, decided_by=None))


async def drop_open(tx: Tx, scope: TenantScope, pairs: Iterable[Pair]) -> None:
    """Pairs of which nothing is left to speak for them."""
    for some in parts(list(pairs), _PAIRS_AT_ONCE):
        keys = [(pair.first, pair.second) for pair in some]
        await tx.execute(
            delete(duplicate_pairs).where(
                _p.tenant_id == scope.tenant_id,
                tuple_(_p.first_guid, _p.second_guid).in_(keys),
                _p.status == Status.OPEN.value,
            )
        )


async def decide(tx: Tx, scope: TenantScope, decided: Sequence[FoundPair]) -> None:
    """Store what has become of pairs, known ones or not."""
    insert = insert_into(tx, duplicate_pairs)
    for some in parts(decided, _PAIRS_AT_ONCE):
        statement = insert.values([_values(scope, pair) for pair in some])
        new = statement.excluded
        await tx.execute(
            statement.on_conflict_do_update(
                index_elements=[_p.tenant_id, _p.first_guid, _p.second_guid],
                set_={
                    "status": new.status,
                    "decided_ms": new.decided_ms,
                    "decided_by": new.decided_by,
                    "survivor_guid": new.survivor_guid,
                },
                # Somebody who did not know of a merge does not undo it.
                where=or_(_p.status != Status.MERGED.value, new.survivor_guid.is_not(None)),
            )
        )


async def note_unheard(tx: Tx, scope: TenantScope, events: Collection[str]) -> None:
    """That these events decide nothing, by their guids."""
    insert = insert_into(tx, unheard_decisions)
    for some in parts(list(events), _PAIRS_AT_ONCE):
        rows = [{"tenant_id": scope.tenant_id, "event_guid": guid} for guid in some]
        await tx.execute(insert.values(rows).on_conflict_do_nothing())


async def list_unheard(view: Reading, scope: TenantScope, events: Collection[str]) -> Collection[str]:
    """Those of the events that decide nothing."""
    found: set[str] = set()
    for some in parts(list(events), _PAIRS_AT_ONCE):
        asked = select(_u.event_guid).where(_u.tenant_id == scope.tenant_id, _u.event_guid.in_(some))
        found.update((await view.execute(asked)).scalars())
    return found


async def list_pairs(
    view: Reading, scope: TenantScope, *, status: Status | None, after: tuple[Millis, Pair] | None, limit: int
) -> Sequence[FoundPair]:
    """The pairs found last, the latest first."""
    wanted = _of(scope).order_by(_p.detected_ms.desc(), _p.first_guid.desc(), _p.second_guid.desc())
    if status is not None:
        wanted = wanted.where(_p.status == status.value)
    if after is not None:
        at, pair = after
        wanted = wanted.where(
            tuple_(_p.detected_ms, _p.first_guid, _p.second_guid) < tuple_(at, pair.first, pair.second)
        )
    return [_pair(row) for row in await view.execute(wanted.limit(limit))]


async def count_pairs(view: Reading, scope: TenantScope, *, status: Status | None) -> int:
    counted = select(func.count()).where(_p.tenant_id == scope.tenant_id)
    if status is not None:
        counted = counted.where(_p.status == status.value)
    return int((await view.execute(counted)).scalar_one())


async def has_any(view: Reading, scope: TenantScope, status: Status) -> bool:
    found = exists().where(_p.tenant_id == scope.tenant_id, _p.status == status.value)
    return bool((await view.execute(select(found))).scalar_one())


def guids_in_pairs(tenant: str) -> str:
    """An `EntityMark`: the SQL that gives the guids of entities with an open pair."""
    return (
        f"SELECT p.first_guid FROM duplicate_pairs p WHERE p.tenant_id = {tenant} AND p.status = 'open'"
        f" UNION ALL SELECT p.second_guid FROM duplicate_pairs p WHERE p.tenant_id = {tenant} AND p.status = 'open'"
    )


def _of(scope: TenantScope) -> Select[Any]:
    return select(duplicate_pairs).where(_p.tenant_id == scope.tenant_id)


def _is(pair: Pair) -> ColumnElement[bool]:
    return and_(_p.first_guid == pair.first, _p.second_guid == pair.second)


def _values(scope: TenantScope, found: FoundPair) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "first_guid": found.pair.first,
        "second_guid": found.pair.second,
        "newer_guid": found.newer,
        "status": found.status.value,
        "bits": found.bits,
        "evidence": msgspec.json.encode(found.evidence).decode(),
        "detected_ms": found.detected_at,
        "decided_ms": found.decided_at,
        "decided_by": found.decided_by,
        "survivor_guid": found.survivor,
    }


def _pair(row: Any) -> FoundPair:
    return FoundPair(
        pair=Pair(row.first_guid, row.second_guid),
        newer=row.newer_guid,
        status=Status(row.status),
        bits=row.bits,
        evidence=msgspec.json.decode(row.evidence, type=tuple[Evidence, ...]),
        detected_at=Millis(row.detected_ms),
        decided_at=None if row.decided_ms is None else Millis(row.decided_ms),
        decided_by=row.decided_by,
        survivor=row.survivor_guid,
    )
