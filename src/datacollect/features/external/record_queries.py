"""SQL of records: how each stands with the other system, and what of it could not be applied here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, or_, select, true, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.db.keys import rows_with
from datacollect.features.external.model import Record, Stage, Standing
from datacollect.features.external.tables import external_letters, external_outcomes
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_o = external_outcomes.c
_l = external_letters.c
_seen = msgspec.json.Decoder(dict[str, str])
_KEPT = (
    "stage", "status", "is_due", "sent_key", "agreed_key", "seen", "pulls", "state", "is_open", "code", "message",
    "tries", "run_id", "updated_ms",
)  # fmt: skip


# -- records


async def find_records(view: Reading, scope: TenantScope, system: str, guids: Collection[str]) -> Mapping[str, Record]:
    """By guid."""
    if not guids:
        return {}
    found = rows_with(view, _o.guid, sorted(guids), _of(scope, system))
    return {row.guid: _record(row) for row in await view.execute(select(found))}


async def due_records(
    view: Reading, scope: TenantScope, system: str, *, after: tuple[int, str], only_agreed: bool, limit: int
) -> Sequence[Record]:
    """Those that are to be offered again, members before groups; `after` is a stage and a guid. With `only_agreed`
    those that have not failed."""
    stage, guid = after
    found = select(external_outcomes).where(
        _of(scope, system), _o.is_due, _o.stage >= stage, or_(_o.stage > stage, _o.guid > guid)
    )
    if only_agreed:
        found = found.where(_o.status == Standing.AGREED.value)
    return [_record(row) for row in await view.execute(found.order_by(_o.stage, _o.guid).limit(limit))]


async def open_records(view: Reading, scope: TenantScope, system: str, *, after: str, limit: int) -> Sequence[Record]:
    """Those of which something is under way in the other system, by guid."""
    found = select(external_outcomes).where(_of(scope, system), _o.is_open, _o.guid > after)
    return [_record(row) for row in await view.execute(found.order_by(_o.guid).limit(limit))]


async def failed_records(
    view: Reading, scope: TenantScope, system: str, *, run_id: int | None, after: str, limit: int
) -> Sequence[Record]:
    """Those that are not where they should be, by guid; with `run_id`, those that this run met last."""
    found = select(external_outcomes).where(_of(scope, system), _o.code.is_not(None), _o.guid > after)
    if run_id is not None:
        found = found.where(_o.run_id == run_id)
    return [_record(row) for row in await view.execute(found.order_by(_o.guid).limit(limit))]


async def keep_records(tx: Tx, scope: TenantScope, system: str, records: Sequence[Record]) -> None:
    """In place of what was kept of the same entities; one statement, none for none."""
    if not records:
        return
    insert = insert_into(tx, external_outcomes)
    upsert = insert.on_conflict_do_update(
        index_elements=[_o.tenant_id, _o.system, _o.guid], set_={name: insert.excluded[name] for name in _KEPT}
    )
    ordered = sorted(records, key=lambda record: record.guid)
    await tx.execute(upsert, [_values(scope, system, record) for record in ordered])


async def make_due(tx: Tx, scope: TenantScope, system: str, guids: Collection[str]) -> None:
    """Have those of these looked at once more on which both sides agree."""
    if guids:
        wanted = and_(_of(scope, system), _o.status == Standing.AGREED.value, _o.guid.in_(sorted(guids)))
        await tx.execute(update(external_outcomes).where(wanted).values(is_due=true()))


async def retry_failed(tx: Tx, scope: TenantScope, system: str) -> int:
    """Have the next run offer all that failed for good; gives how many those are."""
    wanted = and_(_of(scope, system), _o.code.is_not(None), _o.is_due.is_(False))
    return (await tx.execute(update(external_outcomes).where(wanted).values(is_due=true()))).rowcount


def _of(scope: TenantScope, system: str) -> ColumnElement[bool]:
    return and_(_o.tenant_id == scope.tenant_id, _o.system == system)


def _values(scope: TenantScope, system: str, record: Record) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "system": system,
        "guid": record.guid,
        "stage": int(record.stage),
        "status": record.standing.value,
        "is_due": record.is_due,
        "sent_key": record.sent_key,
        "agreed_key": record.agreed_key,
        "seen": None if record.seen is None else _text(record.seen),
        "pulls": record.pulls,
        "state": _text(record.state),
        "is_open": record.is_open,
        "code": record.code,
        "message": record.message,
        "tries": record.tries,
        "run_id": record.run_id,
        "updated_ms": record.updated_at,
    }


def _record(row: Any) -> Record:
    return Record(
        guid=row.guid,
        stage=Stage(row.stage),
        standing=Standing(row.status),
        run_id=row.run_id,
        is_due=bool(row.is_due),
        sent_key=row.sent_key,
        agreed_key=row.agreed_key,
        seen=None if row.seen is None else _seen.decode(row.seen),
        pulls=row.pulls,
        state=msgspec.json.decode(row.state),
        is_open=bool(row.is_open),
        code=row.code,
        message=row.message,
        tries=row.tries,
        updated_at=Millis(row.updated_ms),
    )


# -- letters


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the other system that could not be applied."""

    external_id: str
    guid: str | None
    record: str
    """JSON of what the adapter gave; empty for one that could not even be read."""
    code: str
    message: str
    is_due: bool
    tries: int
    run_id: int
    updated_at: Millis


async def due_letters(view: Reading, scope: TenantScope, system: str, *, after: str, limit: int) -> Sequence[Letter]:
    """Those that are to be tried again, by their key."""
    found = select(external_letters).where(_about(scope, system), _l.is_due, _l.external_id > after)
    return [_letter(row) for row in await view.execute(found.order_by(_l.external_id).limit(limit))]


async def list_letters(
    view: Reading, scope: TenantScope, system: str, *, run_id: int | None, after: str, limit: int
) -> Sequence[Letter]:
    found = select(external_letters).where(_about(scope, system), _l.external_id > after)
    if run_id is not None:
        found = found.where(_l.run_id == run_id)
    return [_letter(row) for row in await view.execute(found.order_by(_l.external_id).limit(limit))]


async def keep_letters(tx: Tx, scope: TenantScope, system: str, letters: Sequence[Letter]) -> None:
    if not letters:
        return
    insert = insert_into(tx, external_letters)
    changed = {
        name: insert.excluded[name] for name in ("guid", "record", "code", "message", "is_due", "run_id", "updated_ms")
    } | {"tries": _l.tries + 1}
    upsert = insert.on_conflict_do_update(index_elements=[_l.tenant_id, _l.system, _l.external_id], set_=changed)
    await tx.execute(
        upsert,
        [
            {
                "tenant_id": scope.tenant_id,
                "system": system,
                "external_id": letter.external_id,
                "guid": letter.guid,
                "record": letter.record,
                "code": letter.code,
                "message": letter.message,
                "is_due": letter.is_due,
                "tries": letter.tries,
                "run_id": letter.run_id,
                "updated_ms": letter.updated_at,
            }
            for letter in sorted(letters, key=lambda letter: letter.external_id)
        ],
    )


async def drop_letters(tx: Tx, scope: TenantScope, system: str, external_ids: Collection[str]) -> None:
    if external_ids:
        await tx.execute(
            delete(external_letters).where(_about(scope, system), _l.external_id.in_(sorted(external_ids)))
        )


async def make_letters_due(tx: Tx, scope: TenantScope, system: str) -> int:
    wanted = and_(_about(scope, system), _l.is_due.is_(False), _l.record != "")
    return (await tx.execute(update(external_letters).where(wanted).values(is_due=true()))).rowcount


def _about(scope: TenantScope, system: str) -> ColumnElement[bool]:
    return and_(_l.tenant_id == scope.tenant_id, _l.system == system)


def _letter(row: Any) -> Letter:
    return Letter(
        row.external_id, row.guid, row.record, row.code, row.message, bool(row.is_due), row.tries, row.run_id,
        Millis(row.updated_ms),
    )  # fmt: skip


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
