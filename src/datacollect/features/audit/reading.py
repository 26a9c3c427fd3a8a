"""Noting who has read what, for programs that ask for it (`auditReads`). Source: the contract's model, 2.5."""

from typing import Any

import structlog

from datacollect.db import Database
from datacollect.eventstore.log import EventLog
from datacollect.features.audit import service
from datacollect.features.audit.model import BEGINNING, AuditEntry
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import Tenant

_log = structlog.get_logger(component="audit")


class ReadAuditor:
    """Implements `ReadAudit`. An entry takes the log's lock like everything in the trail: asking for it costs that."""

    def __init__(self, database: Database, log: EventLog, clock: Clock) -> None:
        self._database = database
        self._log = log
        self._clock = clock

    async def note(self, scope: TenantScope, tenant: Tenant, action: str, entity_guid: str, **told: Any) -> None:
        if not tenant.audit_reads:
            return
        now = self._clock.now()
        entry = AuditEntry(
            place=BEGINNING,
            guid=new_guid(),
            recorded_at=now,
            occurred_at=now,
            user_id=scope.actor.event_user_id,
            action=action,
            event_guid="",
            entity_guid=entity_guid,
            changes=told,
            actor=scope.actor.event_user_id,
        )
        try:
            async with self._log.turn(scope), self._database.transaction(scope) as tx:
                await service.push(tx, self._log, scope, [entry], now=now)
        except Exception as error:
            # What was read has been read; the trail must not be a reason to refuse it.
            _log.warning("audit.read_not_noted", action=action, exc_info=error)
