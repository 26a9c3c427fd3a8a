"""Exports as tables: which there are, and their rows as they come."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from datacollect.eventstore.store import StoredEvent
from datacollect.features.audit.service import Told, shown
from datacollect.features.entities.walking import Form, Walked
from datacollect.features.exports.cells import json_of
from datacollect.features.exports.columns import (
    FORM_KEYS,
    OTHER,
    Column,
    Kind,
    Table,
    headers,
    rows_of,
    table_of,
    told_of_group,
)
from datacollect.features.exports.model import Format, Header, Order, Tally, What
from datacollect.features.exports.source import Beyond, Source, asked_for
from datacollect.features.exports.workbook import fits
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.parts import parts

WITHOUT_FORM, OTHER_FORMS = "without form", "other forms"
_SLICE = 200
"""Rows that are made before others have a turn."""

Rows = list[Sequence[Any]]

_ENTITY = (
    Column("_guid", "_guid"),
    Column("_type", "_type"),
    Column("_name", "_name"),
    Column("_members", "_members"),
    Column("_lastUpdated", "_lastUpdated", Kind.DATE),
)
_GRID = (Column("_guid", "_guid"), Column("_row", "_row"))
_MEMBER = (*_GRID, Column("_member", "_member"))
_LAST = (Column(OTHER, OTHER),)


class Sheet(ABC):
    """One table. `head` is asked for first, and to its end."""

    def __init__(self, name: str, source: Source, tally: Tally) -> None:
        self.name = name
        self.source = source
        self.tally = tally
        self.kinds: list[Kind] = []
        self._taken = {column.key for column in (*_ENTITY, *_GRID, *_LAST)}
        """Headings that no field of a form may have."""

    @abstractmethod
    def head(self) -> AsyncIterator[list[str]]:
        """The header, in parts as they become known."""

    @abstractmethod
    def rows(self) -> AsyncIterator[Rows]:
        """All rows, some at a time."""

    def _headed(self, columns: Sequence[Column], names: list[str]) -> list[str]:
        self.kinds += [column.kind for column in columns]
        return names


class FormSheet(Sheet):
    """The entities of one form, or those without one (`form` None)."""

    def __init__(
        self,
        name: str,
        source: Source,
        tally: Tally,
        form: str | None,
        table: Table,
        keys: Sequence[str] | None,
        *,
        labels: bool,
    ) -> None:
        """`keys` are those that the entities have; None if they are yet to be found."""
        super().__init__(name, source, tally)
        self._form = form
        self._asked: Form | Beyond = asked_for(form)
        self._table = table
        self._keys = keys
        self._labels = labels
        self._has_cut_members = False

    def members(self) -> "Iterator[Sheet]":
        """The members of its groups, once the rows have been made, if one cell of a sheet is too small for those of some
        group."""
        if self._has_cut_members:
            yield MembersSheet(f"{self.name}.members", self.source, self.tally, self._asked)

    async def head(self) -> AsyncIterator[list[str]]:
        known, taken = list(self._table.columns), self._taken
        yield self._headed(_ENTITY, headers(_ENTITY, labels=False))
        yield self._headed(known, headers(known, labels=self._labels, taken=taken))
        keys = self._keys
        if keys is None:
            keys = (await self.source.keys(asked_for(self._form))).by_form.get(self._form, ())
        self._table.add_keys(keys)
        more = self._table.columns[len(known) :]
        yield self._headed(more, headers(more, labels=False, taken=taken))
        yield self._headed(_LAST, headers(_LAST, labels=False))

    async def rows(self) -> AsyncIterator[Rows]:
        async for page in self.source.entities(self._asked):
            for some in parts(page, _SLICE):
                self.tally.add(entities=len(some))
                yield [self._row(walked) for walked in some]

    def _row(self, walked: Walked) -> Sequence[Any]:
        entity = walked.entity
        data = msgspec.json.decode(entity.data)
        told = FORM_KEYS if walked.member_ids is None else told_of_group(data)
        values, rest = self._table.row(data, told)
        members = "; ".join(walked.member_ids) if walked.member_ids else None
        self._has_cut_members |= members is not None and not fits(members)
        last = format_timestamp(entity.last_updated)
        return [entity.guid, entity.type, entity.name, members, last, *values, json_of(rest) if rest else None]


class OtherSheet(FormSheet):
    """The entities of forms that have no table of their own, because there are too many of them."""

    def __init__(self, source: Source, tally: Tally, beyond: Beyond) -> None:
        table = Table(OTHER_FORMS)
        table.add(table.nodes, Column("entityName", "entityName"))
        super().__init__(OTHER_FORMS, source, tally, None, table, (), labels=False)
        self._asked = beyond


class MembersSheet(Sheet):
    """The members of groups, in their order."""

    def __init__(self, name: str, source: Source, tally: Tally, asked: Form | Beyond) -> None:
        super().__init__(name, source, tally)
        self._asked = asked

    async def head(self) -> AsyncIterator[list[str]]:
        yield self._headed(_MEMBER, headers(_MEMBER, labels=False))

    async def rows(self) -> AsyncIterator[Rows]:
        async for page in self.source.entities(self._asked):
            for walked in page:
                numbered = list(enumerate(walked.member_ids or (), 1))
                for some in parts(numbered, _SLICE):
                    yield [[walked.entity.guid, number, member] for number, member in some]


class GridSheet(Sheet):
    """The rows of one grid, of all entities of its form; `_guid` says whose they are, `_row` which."""

    def __init__(
        self, name: str, source: Source, tally: Tally, form: str | None, chain: Sequence[Table], *, labels: bool
    ) -> None:
        super().__init__(name, source, tally)
        self._form = form
        self._chain = chain
        self._labels = labels

    async def head(self) -> AsyncIterator[list[str]]:
        columns = self._chain[-1].columns
        yield self._headed(_GRID, headers(_GRID, labels=False))
        yield self._headed(columns, headers(columns, labels=self._labels, taken=self._taken))
        yield self._headed(_LAST, headers(_LAST, labels=False))

    async def rows(self) -> AsyncIterator[Rows]:
        async for page in self.source.entities(asked_for(self._form), with_members=False):
            for some in parts(page, _SLICE):
                yield [row for walked in some for row in self._rows(walked)]

    def _rows(self, walked: Walked) -> Iterator[Sequence[Any]]:
        for number, item in rows_of(self._chain, msgspec.json.decode(walked.entity.data)):
            values, rest = self._chain[-1].row(item)
            yield [walked.entity.guid, number, *values, json_of(rest) if rest else None]


class _FixedSheet(Sheet):
    columns: Sequence[Column]

    async def head(self) -> AsyncIterator[list[str]]:
        yield self._headed(self.columns, headers(self.columns, labels=False))


class _Body(msgspec.Struct):
    """What of an event stands in its body only."""

    data: msgspec.Raw
    userId: str


_body = msgspec.json.Decoder(_Body)


class EventSheet(_FixedSheet):
    columns = tuple(
        Column(key, key, Kind.DATE if key in ("timestamp", "recordedAt") else Kind.PLAIN)
        for key in (
            "position", "guid", "entityGuid", "type", "timestamp", "recordedAt", "userId", "actor", "deviceId", "origin", "data",
        )
    )  # fmt: skip

    async def rows(self) -> AsyncIterator[Rows]:
        async for page in self.source.events():
            for some in parts(page, _SLICE):
                self.tally.add(events=len(some))
                yield [_event_row(event) for event in some]


def _event_row(event: StoredEvent) -> Sequence[Any]:
    body = _body.decode(event.body)
    return [
        event.position,
        event.guid,
        event.entity_guid,
        event.type,
        format_timestamp(event.occurred_at),
        format_timestamp(event.recorded_at),
        body.userId,
        event.actor,
        event.device_id,
        event.origin.value,
        bytes(body.data).decode(),
    ]


class AuditSheet(_FixedSheet):
    columns = tuple(
        Column(key, key, Kind.DATE if key in ("timestamp", "recordedAt") else Kind.PLAIN)
        for key in (
            "guid", "timestamp", "recordedAt", "userId", "claimedUserId", "actor", "deviceId", "action", "eventGuid", "entityGuid",
            "changes", "signature",
        )
    )  # fmt: skip

    async def rows(self) -> AsyncIterator[Rows]:
        async for page in self.source.entries():
            for some in parts(page, _SLICE):
                self.tally.add(entries=len(some))
                yield [self._row(told) for told in some]

    def _row(self, told: Told) -> Sequence[Any]:
        entry = shown(told) | {"changes": bytes(told.changes).decode()}
        return [entry.get(column.key) for column in self.columns]


async def sheets(source: Source, order: Order, tally: Tally) -> AsyncIterator[Sheet]:
    """The tables of an export: of entities one for each form, in the order of the config, with its grids behind it;
    then those of forms that the config does not have, of entities without one, and of what is left, if there are any."""
    if order.what is What.EVENTS:
        yield EventSheet("events", source, tally)
    elif order.what is What.AUDIT:
        yield AuditSheet("audit", source, tally)
    else:
        async for sheet in _entity_sheets(source, order, tally):
            yield sheet


async def _entity_sheets(source: Source, order: Order, tally: Tally) -> AsyncIterator[Sheet]:
    definitions = await source.definitions()
    if order.form is not None:
        for sheet in _sheets_of(_Plan(order.form, definitions.get(order.form), None), source, order, tally):
            yield sheet
        return
    keys = await source.keys()
    unknown = sorted(name for name in keys.by_form if name is not None and name not in definitions)
    names: list[str | None] = [*definitions, *unknown, *([None] if None in keys.by_form else [])]
    for name in filter(source.may_be_of, names):
        plan = _Plan(name, definitions.get(name) if name is not None else None, keys.by_form.get(name, ()))
        for sheet in _sheets_of(plan, source, order, tally):
            yield sheet
    if not keys.are_all_forms:
        others = OtherSheet(source, tally, Beyond(frozenset(names)))
        yield others
        if order.format is Format.XLSX:
            for sheet in others.members():
                yield sheet


@dataclass(frozen=True, slots=True)
class _Plan:
    form: str | None
    definition: Any
    keys: Sequence[str] | None = field(repr=False)


def _sheets_of(plan: _Plan, source: Source, order: Order, tally: Tally) -> Iterator[Sheet]:
    name = WITHOUT_FORM if plan.form is None else plan.form
    table, labels = table_of(name, plan.definition), order.header is Header.LABELS
    form = FormSheet(name, source, tally, plan.form, table, plan.keys, labels=labels)
    yield form
    if order.format is Format.XLSX:
        yield from form.members()
    for chain in table.chains():
        yield GridSheet(chain[-1].name, source, tally, plan.form, chain, labels=labels)
