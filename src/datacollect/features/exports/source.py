"""Where exports come from: one view of a program, walked through page by page."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datacollect.db import Reading
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.store import Head, StoredEvent
from datacollect.features.audit.model import BEGINNING
from datacollect.features.audit.service import Told, pull
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.entities.finding.service import iterate
from datacollect.features.entities.walking import FORMLESS, Form, Walked, keys_by_form, walk_page
from datacollect.features.exports.model import DECIDING, Decisions
from datacollect.features.tenants.asked import form_definitions
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

PAGE = 1000
_EVENT_PAGE = 500
_KEYS_PAGE = 20_000
_MOST_FORMS = 1000
"""That are told apart; entities of others are told together."""
_MOST_KEYS = 1000
"""Of a form, beside those that the form has; others are in the column of what is left."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Asks for the entities of all forms but these."""

    forms: Collection[str | None]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that the data of entities has, by form; of entities without one by None."""

    by_form: Mapping[str | None, Sequence[str]]
    are_all_forms: bool
    """False if there are more than are told."""


@dataclass(frozen=True, slots=True)
class Source:
    """`view` is a snapshot: everything comes from the same moment, at which the log ended with `head`."""

    view: Reading
    log: EventLog
    scope: TenantScope
    tenant: Tenant
    head: Head
    decisions: Decisions
    filters: ListFilters = EVERYTHING

    async def entities(
        self, form: Form | Beyond = None, *, with_members: bool = True
    ) -> AsyncIterator[Sequence[Walked]]:
        """Those within the reader's reach that meet the filters, by guid."""
        if isinstance(form, Beyond):
            async for page in self.entities(with_members=with_members):
                if found := [walked for walked in page if walked.entity.entity_name not in form.forms]:
                    yield found
            return
        if self.filters != EVERYTHING:
            async for walked in self._filtered(form):
                yield walked
            return
        after = ""
        while True:
            page, is_cut = await walk_page(
                self.view, self.scope, form=form, after=after, limit=PAGE, with_members=with_members
            )
            if page:
                yield page
            if len(page) < PAGE and not is_cut:
                return
            after = page[-1].entity.guid

    async def _filtered(self, form: Form) -> AsyncIterator[Sequence[Walked]]:
        filters = self.filters
        if isinstance(form, str):
            if filters.entity_names and form not in filters.entity_names:
                return
            filters = replace(filters, entity_names=frozenset({form}))
        async for shown in iterate(self.view, self.scope, self.tenant, filters, batch=PAGE):
            found = [Walked(one.entity, one.member_ids) for one in shown]
            if form is FORMLESS:
                found = [walked for walked in found if walked.entity.entity_name is None]
            if found:
                yield found

    def may_be_of(self, form: str | None) -> bool:
        """Whether the filters let entities of that form through at all."""
        return not self.filters.entity_names or form in self.filters.entity_names

    async def events(self) -> AsyncIterator[Sequence[StoredEvent]]:
        """The whole log in its order."""
        after = 0
        while after < self.head.position:
            page = await self.log.read_rows(self.view, self.scope, after=after, limit=_EVENT_PAGE)
            if not page:
                return
            yield page
            after = page[-1].position

    async def unheard(self, events: Sequence[StoredEvent]) -> Collection[str]:
        """Guids of those that decide nothing about duplicates, though they say so."""
        deciding = [event.guid for event in events if event.type == DECIDING]
        return await self.decisions.list_unheard(self.view, self.scope, deciding) if deciding else ()

    async def entries(self) -> AsyncIterator[Sequence[Told]]:
        """The whole audit trail in its order."""
        after = BEGINNING
        while True:
            page = await pull(
                self.view, self.log, self.scope, since=None, after=after, entity_guid=None, limit=_EVENT_PAGE
            )
            if page.entries:
                yield page.entries
            if page.next_cursor is None:
                return
            after = page.next_cursor

    async def definitions(self) -> Mapping[str, Any]:
        return await form_definitions(self.view, self.scope.tenant_id)

    async def keys(self, form: Form = None) -> Keys:
        found: dict[str | None, set[str]] = {}
        are_all_forms = True
        after: str | None = ""
        while after is not None:
            page, after = await keys_by_form(self.view, self.scope, form=form, after=after, limit=_KEYS_PAGE)
            for name, key in sorted(page, key=lambda pair: (pair[0] or "", pair[1])):
                if name in found or len(found) < _MOST_FORMS:
                    keys = found.setdefault(name, set())
                    if len(keys) < _MOST_KEYS:
                        keys.add(key)
                else:
                    are_all_forms = False
        return Keys({name: sorted(keys) for name, keys in found.items()}, are_all_forms)


def asked_for(name: str | None) -> Form:
    return FORMLESS if name is None else name
