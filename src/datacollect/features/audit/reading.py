"""Noting who has read what, for programs that ask for it (`auditReads`). Source: the contract's model, 2.5."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from datacollect.db import Database
from datacollect.eventstore.log import EventLog
from datacollect.features.audit import service
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

READS = frozenset({
    "read-entity", "read-events", "read-attachment", "link-attachment", "read-audit-trail",
    "read-own-record", "read-own-submissions", "export-own-record", "read-access-log",
    "read-review", "read-reviews", "read-conflicts", "read-quarantine",
})  # fmt: skip
"""What notes of reads are called that name one entity."""
WIDE_READS = frozenset({
    "read-events", "read-audit-trail", "read-all-entities", "search-entities", "read-duplicates", "check-duplicates",
    "read-reviews", "read-conflicts", "read-quarantine", "read-members", "export-begun",
})  # fmt: skip
"""Of those that took many entities at once."""
MANY = ("*", "events")
"""What they name in place of an entity's guid."""
MOST_NAMED = 100
"""Members of a group whose records are noted one by one. Of more it is noted once, as of other lists."""

_Note = tuple[str, str, Mapping[str, Any]]
"""An action, an entity's guid, and what is told."""

_log = structlog.get_logger(component="audit")


class ReadAuditor:
    """Implements `ReadAudit`. An entry takes the log's lock like everything in the trail: asking for it costs that."""

    def __init__(self, database: Database, log: EventLog, clock: Clock) -> None:
        self._database = database
        self._log = log
        self._clock = clock

    async def note(self, scope: TenantScope, tenant: Tenant, action: str, entity_guid: str, **told: Any) -> None:
        await self._note_all(scope, tenant, [(action, entity_guid, told)])

    async def note_members(self, scope: TenantScope, tenant: Tenant, group_guid: str, members: Sequence[str]) -> None:
        notes: list[_Note] = [("read-entity", group_guid, {"members": len(members)})]
        if len(members) > MOST_NAMED:
            notes.append(("read-members", "*", {"count": len(members), "groupGuid": group_guid}))
        else:
            notes += [("read-entity", guid, {"groupGuid": group_guid}) for guid in members]
        await self._note_all(scope, tenant, notes)

    async def _note_all(self, scope: TenantScope, tenant: Tenant, notes: Sequence[_Note]) -> None:
        if not tenant.audit_reads:
            return
        now = self._clock.now()
        try:
            async with self._log.turn(scope), self._database.transaction(scope) as tx:
                await service.note_all(tx, self._log, scope, notes, now=now)
        except Exception as error:
            # What was read has been read; the trail must not be a reason to refuse it.
            _log.warning("audit.read_not_noted", action=notes[0][0], exc_info=error)
