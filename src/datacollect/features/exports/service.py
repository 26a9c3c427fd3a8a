"""Taking a program's data out: one view, in pieces, and what the audit trail tells of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from datacollect import __version__
from datacollect.db import Database, Reading
from datacollect.eventstore.anchors import chain_text
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import Head
from datacollect.features.audit.service import has_noted, note
from datacollect.features.entities.service import count_by_form
from datacollect.features.exports.errors import InvalidExport
from datacollect.features.exports.model import FORMAT_NAME, FORMAT_VERSION, Decisions, Order, Policies, Tally, What
from datacollect.features.exports.places import ExportPlaces
from datacollect.features.exports.source import Source
from datacollect.features.exports.writing import written
from datacollect.features.tenants.asked import form_definitions, portable_program
from datacollect.kernel.clock import Clock, format_timestamp
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import Tenant

BEGUN, ENDED = "export-begun", "export-ended"
_EVERYTHING = "*"

_log = structlog.get_logger(component="exports")


@dataclass(frozen=True, slots=True)
class Export:
    """An export under way."""

    pieces: AsyncIterator[bytes]
    tally: Tally
    expected: int
    """About how many rows there will be, for progress."""


class Exporter:
    """Makes exports. Each is noted in the program's audit trail twice: before its first byte, and when it ended.

    Implements `Exports`.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        clock: Clock,
        decisions: Decisions,
        policies: Policies,
        *,
        at_once: int,
    ) -> None:
        self.places = ExportPlaces(at_once)
        self._database = database
        self._log = log
        self._clock = clock
        self._decisions = decisions
        self._policies = policies

    @contextlib.asynccontextmanager
    async def export(self, scope: TenantScope, tenant: Tenant, order: Order, **told: Any) -> AsyncIterator[Export]:
        """The export is whole when its pieces have been read to their end and the block ends without an exception.

        Raises `BeyondReach` for what tells of more than the reader may see, `InvalidExport` for a form that is none,
        `ExportUnderWay` and `ExportsBusy`, and `TenantUnknown` without a log. What cannot be noted beforehand is not exported. `told` is told by the audit trail.
        """
        if order.is_of_everything:
            scope.require_everything()
        with self.places.take(scope.actor.event_user_id):
            if order.form is not None:
                await self._require_form(scope, order.form)
            async with self._noted(scope, tenant, order, {"exportId": new_guid(), **order.told(), **told}) as export:
                yield export

    async def _require_form(self, scope: TenantScope, form: str) -> None:
        """A table of a form whose name is misspelt would look like one of nobody."""
        async with self._database.reading(scope) as view:
            if await self._log.head(view, scope) is None:
                return  # there is no such program, which is told later
            definitions = await form_definitions(view, scope.tenant_id)
            if form not in definitions and form not in await count_by_form(view, self._log, scope):
                raise InvalidExport(f"The program has no form {form[:100]!r}.")

    @contextlib.asynccontextmanager
    async def _noted(
        self, scope: TenantScope, tenant: Tenant, order: Order, told: Mapping[str, Any]
    ) -> AsyncIterator[Export]:
        # To its end even if the reader leaves, for then it may be there already.
        beginning = asyncio.ensure_future(self._note(scope, BEGUN, told))
        tally, outcome = Tally(), "cut-off"
        try:
            await asyncio.shield(beginning)
            async with self._database.snapshot(scope) as view:
                head = await self._log.head(view, scope)
                if head is None:
                    raise TenantUnknown()
                source = Source(view, self._log, scope, tenant, head, self._decisions, order.filters)
                now = self._clock.now()
                metadata = await self._metadata(view, scope, order, head)
                yield Export(written(source, order, metadata, tally, now), tally, _expected(order, head))
            outcome = "complete"
        finally:
            # To its end even if the reader has left, which is what is to be told.
            ending = asyncio.ensure_future(
                self._note_end(scope, beginning, {**told, "outcome": outcome, **tally.told()})
            )
            await asyncio.shield(ending)

    async def _metadata(self, view: Reading, scope: TenantScope, order: Order, head: Head) -> Mapping[str, Any]:
        program = await portable_program(view, scope.tenant_id)
        metadata: dict[str, Any] = order.told() | {
            "format": FORMAT_NAME,
            "formatVersion": FORMAT_VERSION,
            "exportedAt": format_timestamp(self._clock.now()),
            "configId": scope.tenant_id,
            "name": program.document.get("name"),
            "version": program.document.get("version"),
            "programRevision": program.revision,
            "hubVersion": __version__,
        }
        if scope.reach.is_bounded:
            metadata["limitedTo"] = "what is in the reader's areas and of their kinds, and what is one step below it"
        else:
            metadata["head"] = {
                "position": head.position,
                "chainHash": chain_text(head.chain_hash),
                "recordedAt": format_timestamp(head.recorded_at),
            }
        if order.what is What.ALL:
            metadata["entitiesByForm"] = dict(head.figures)
            metadata["program"] = program.document
            metadata["artifactId"] = program.artifact_id
            if program.archived_at is not None:
                metadata["archivedAt"] = format_timestamp(program.archived_at)
            metadata["reviewPolicies"] = await self._policies.list_portable(view, scope)
        return metadata

    async def _note(self, scope: TenantScope, action: str, told: Mapping[str, Any]) -> str:
        async with self._log.turn(scope), self._database.transaction(scope) as tx:
            return await note(tx, self._log, scope, action, _EVERYTHING, told, now=self._clock.now())

    async def _note_end(self, scope: TenantScope, beginning: asyncio.Future[str], told: Mapping[str, Any]) -> None:
        try:
            begun = await beginning
        except Exception:
            return  # whoever asked for the export is told, and there is none
        try:
            async with self._log.turn(scope), self._database.transaction(scope) as tx:
                await self._log.hold(tx, scope)
                # Not in the trail of another program that has the id of one that was purged meanwhile.
                if await has_noted(tx, scope, begun):
                    await note(tx, self._log, scope, ENDED, _EVERYTHING, told, now=self._clock.now())
        except Exception as error:
            # The trail has its beginning.
            _log.warning("export.end_not_noted", exc_info=error)


def _expected(order: Order, head: Head) -> int:
    entities = sum(head.figures.values()) if order.form is None else head.figures.get(order.form, 0)
    match order.what:
        case What.ALL:
            return entities + head.position
        case What.ENTITIES:
            return entities
        case _:
            return head.position
