"""Checks of events against forms: the check a program asks for, and the findings that are kept."""

import re
from collections.abc import Sequence

from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.checks import EventCheck, Mismatch
from datacollect.eventstore.log import Appended
from datacollect.features.forms import queries
from datacollect.features.forms.errors import FormMismatch, InvalidFindingsQuery
from datacollect.features.forms.model import ProgramForms
from datacollect.features.forms.queries import Finding, Place
from datacollect.features.tenants.asked import form_definitions
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import FormValidation, Tenant

_MOST_PROGRAMS = 500
_CURSOR = re.compile(r"([0-9]{1,15})\|([0-9]{1,5})\|(.{1,512})", re.DOTALL)


class CachedFormChecks:
    """Implements `EventChecks`. A program's forms are read and translated once for each version of its config."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[TenantId, tuple[str, ProgramForms]] = {}

    async def of(self, tenant: Tenant) -> EventCheck | None:
        """The check of the program's forms; None unless the program asks for it."""
        if tenant.form_validation is FormValidation.OFF:
            return None
        entry = self._entries.get(tenant.id)
        if entry is not None and entry[0] == tenant.version:
            return entry[1]
        async with self._database.reading() as view:
            forms = ProgramForms(await form_definitions(view, tenant.id))
        if len(self._entries) >= _MOST_PROGRAMS:
            self._entries.clear()
        self._entries[tenant.id] = (tenant.version, forms)
        return forms


def rejection(mismatches: Sequence[Mismatch]) -> FormMismatch:
    """Why an event is refused: its first mismatch, and how many there are."""
    first, *more = mismatches
    counted = f" ({len(more)} more in this event)" if more else ""
    return FormMismatch(first.message + counted, path=first.path)


def warning(mismatch: Mismatch) -> FormMismatch:
    """What the answer says of an event that is kept all the same."""
    return FormMismatch(mismatch.message, path=mismatch.path)


async def keep_findings(
    tx: Tx, scope: TenantScope, appended: Appended, found: Sequence[tuple[str, Sequence[Mismatch]]]
) -> None:
    """Keep what was found in events that have just been stored, by their guids; one statement, or none."""
    if not found:
        return
    recorded_at = appended.head.recorded_at
    findings = [
        Finding(
            Place(recorded_at, event_guid, ordinal),
            mismatch.entity_guid,
            mismatch.form,
            mismatch.path,
            FormMismatch.code,
            mismatch.message,
        )
        for event_guid, mismatches in found
        for ordinal, mismatch in enumerate(mismatches)
    ]
    await queries.keep(tx, scope, findings)


async def list_findings(
    view: Reading, scope: TenantScope, *, entity_guid: str | None, cursor: str | None, limit: int
) -> tuple[Sequence[Finding], str | None]:
    """A page of findings, the newest first, and the cursor of the next one. Raises `InvalidFindingsQuery`."""
    after = _place(cursor) if cursor else None
    found = await queries.list_newest(view, scope, entity_guid=entity_guid, after=after, limit=limit + 1)
    page = found[:limit]
    return page, _cursor(page[-1].place) if len(found) > limit else None


def _cursor(place: Place) -> str:
    return f"{place.recorded_at}|{place.ordinal}|{place.event_guid}"


def _place(cursor: str) -> Place:
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise InvalidFindingsQuery()
    return Place(Millis(int(parts[1])), parts[3], int(parts[2]))
