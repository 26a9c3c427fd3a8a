"""SQL of findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import insert, select, tuple_

from datacollect.db import Reading, Tx
from datacollect.features.forms.tables import form_findings
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

_columns = form_findings.c
_NEWEST_FIRST = (_columns.recorded_ms, _columns.event_guid, _columns.ordinal)


class Place(NamedTuple):
    """Where a finding stands in the list, newest first."""

    recorded_at: Millis
    event_guid: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A value in a stored event that does not match its form."""

    place: Place
    entity_guid: str
    form: str
    path: Sequence[str | int]
    code: str
    message: str


async def keep(tx: Tx, scope: TenantScope, findings: Sequence[Finding]) -> None:
    """Store the findings of events that this transaction stores."""
    await tx.execute(insert(form_findings), [_values(scope, finding) for finding in findings])


async def list_newest(
    view: Reading, scope: TenantScope, *, entity_guid: str | None, after: Place | None, limit: int
) -> Sequence[Finding]:
    wanted = select(form_findings).where(_columns.tenant_id == scope.tenant_id)
    wanted = wanted.order_by(*(column.desc() for column in _NEWEST_FIRST)).limit(limit)
    if entity_guid is not None:
        wanted = wanted.where(_columns.entity_guid == entity_guid)
    if after is not None:
        wanted = wanted.where(tuple_(*_NEWEST_FIRST) < tuple_(*after))
    return [_finding(row) for row in await view.execute(wanted)]


def _values(scope: TenantScope, finding: Finding) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "event_guid": finding.place.event_guid,
        "ordinal": finding.place.ordinal,
        "entity_guid": finding.entity_guid,
        "form": finding.form,
        "path": msgspec.json.encode(finding.path).decode(),
        "code": finding.code,
        "message": finding.message,
        "recorded_ms": finding.place.recorded_at,
    }


def _finding(row: Any) -> Finding:
    return Finding(
        place=Place(Millis(row.recorded_ms), row.event_guid, row.ordinal),
        entity_guid=row.entity_guid,
        form=row.form,
        path=msgspec.json.decode(row.path),
        code=row.code,
        message=row.message,
    )
