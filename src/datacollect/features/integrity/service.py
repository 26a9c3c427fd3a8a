"""The state of a log's integrity, from what is known already: nothing here reads events."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from datacollect.db import Reading, Tx
from datacollect.eventstore.anchors import Anchor, AnchorsUnreadable, anchored_tenants, last_anchor
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import Head
from datacollect.eventstore.verification import logs, positions
from datacollect.features.audit.service import note
from datacollect.features.integrity import queries
from datacollect.features.integrity.model import LastVerification
from datacollect.features.tenants.asked import being_purged, running_without_log
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

RESTORED = "restored"
"""In the audit trail."""

_log = structlog.get_logger(component="integrity")


@dataclass(frozen=True, slots=True)
class Known:
    """`head` is None if the log has no events."""

    head: Head | None
    verification: LastVerification | None


async def known(view: Reading, log: EventLog, scope: TenantScope) -> Known:
    """Where the log ends, and what its last verification found. Raises `HeadUnreadable`."""
    head = await log.head(view, scope)
    return Known(head if head and head.position else None, await queries.find(view, scope))


async def logs_there(view: Reading) -> Sequence[TenantId]:
    """The programs that have a log, or run and should have one: a dump may have left it out. Asked for all tenants.

    Not those being purged: what is left of them is nobody's.
    """
    gone = frozenset(await being_purged(view))
    return sorted({*await logs(view), *await running_without_log(view)}.difference(gone))


async def newest_anchor(data_dir: Path, scope: TenantScope) -> Anchor | None:
    """The anchor written last by the hubs that share this data folder; None, too, if it cannot be read."""
    try:
        return await asyncio.to_thread(last_anchor, data_dir, scope.tenant_id)
    except AnchorsUnreadable:
        _log.warning("anchors.unreadable", tenant_id=scope.tenant_id)
        return None


async def behind_anchors(view: Reading, data_dir: Path) -> Sequence[TenantId]:
    """The programs whose last anchor is of a position that their log does not reach, or that have no log any more. Reads
    the end of each anchor file. Asked for all tenants."""
    try:
        anchored = await asyncio.to_thread(_last_anchors, data_dir)
    except AnchorsUnreadable:
        _log.warning("anchors.unreadable")
        return []
    # The anchors before the heads: a hub on another machine may append meanwhile.
    reached, gone = await positions(view), frozenset(await being_purged(view))
    return [
        tenant_id
        for tenant_id, anchor in anchored.items()
        if tenant_id not in gone and anchor.position > reached.get(tenant_id, 0)
    ]


def _last_anchors(data_dir: Path) -> Mapping[TenantId, Anchor]:
    found: dict[TenantId, Anchor] = {}
    for tenant_id in anchored_tenants(data_dir):
        try:
            anchor = last_anchor(data_dir, tenant_id)
        except AnchorsUnreadable:
            _log.warning("anchors.unreadable", tenant_id=tenant_id)
            continue
        if anchor is not None:
            found[tenant_id] = anchor
    return found


async def put_back(tx: Tx, log: EventLog, scope: TenantScope, *, backup_at: Millis | None, now: Millis) -> int:
    """Note that the log was put back from a backup; how many of its events were in that.

    Without the time of the backup all that it holds now were. Raises `TenantUnknown`.
    """
    head = await log.hold(tx, scope)
    if head is None:
        raise TenantUnknown()
    kept = head.position if backup_at is None else await log.position_at(tx, scope, backup_at) - 1
    await log.renew(tx, scope, position=kept)
    await note(tx, log, scope, RESTORED, "*", {"events": kept}, now=now)
    return kept


async def keep_verification(tx: Tx, scope: TenantScope, last: LastVerification) -> None:
    """Remember the result of verifying a log until it is verified again."""
    await queries.keep(tx, scope, last)
