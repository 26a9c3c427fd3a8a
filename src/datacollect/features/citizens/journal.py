"""What the security log is told of citizens' sign-ins: never what they have typed."""

from dataclasses import dataclass

from datacollect.db import Tx
from datacollect.features.security_log import service as security_log
from datacollect.features.security_log.service import SecurityAction
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.source import Source


@dataclass(frozen=True, slots=True)
class Journal:
    """Of one request."""

    tx: Tx
    scope: TenantScope
    source: Source
    method: str
    now: Millis
    secret: bytes = b""
    """Of hints, by which the same text is known again."""

    async def signed_in(self, entity_guid: str) -> None:
        await self._record(SecurityAction.CITIZEN_SIGNED_IN, entity=entity_guid)

    async def signed_out(self, entity_guid: str) -> None:
        await self._record(SecurityAction.CITIZEN_SIGNED_OUT, entity=entity_guid)

    async def refused(self, typed: str, *, locks: bool) -> None:
        """`locks`: it was the one wrong try too many."""
        await self._record(SecurityAction.CITIZEN_REFUSED, hint=security_log.hint_of(typed, secret=self.secret))
        if locks:
            await self._record(SecurityAction.CITIZEN_LOCKED, hint=security_log.hint_of(typed, secret=self.secret))

    async def throttled(self, *, by: str) -> None:
        await self._record(SecurityAction.CITIZEN_THROTTLED, limit=by)

    async def _record(self, action: SecurityAction, *, hint: str | None = None, **told: str) -> None:
        await security_log.record(
            self.tx,
            action,
            source=self.source,
            now=self.now,
            hint=hint,
            tenant_id=self.scope.tenant_id,
            details={"by": self.method, **told},
        )
