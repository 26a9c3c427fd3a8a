"""What an export is asked for, and what it has given so far."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from datacollect.db import Reading, Tx
from datacollect.features.entities.finding.filters import EVERYTHING, ListFilters
from datacollect.features.exports.errors import InvalidExport
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import TenantScope

FORMAT_NAME, FORMAT_VERSION = "datacollect-export", 1
DECIDING = "resolve-duplicate"
"""The events that may decide nothing, as `Decisions` tells."""


class Format(StrEnum):
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    XLSX = "xlsx"


class What(StrEnum):
    ALL = "all"
    """Entities and events as one, to be imported again: JSON only."""
    ENTITIES = "entities"
    EVENTS = "events"
    AUDIT = "audit"


class Header(StrEnum):
    LABELS = "labels"
    KEYS = "keys"


class Decisions(Protocol):
    """Which events decide nothing about duplicates, though they say so: their senders may not."""

    async def list_unheard(self, view: Reading, scope: TenantScope, events: Collection[str]) -> Collection[str]:
        """Those of the events, by their guids."""

    async def note_unheard(self, tx: Tx, scope: TenantScope, events: Collection[str]) -> None:
        """To be called before the events are told to who follows them."""


class Policies(Protocol):
    """What a program has set about who approves changes."""

    async def list_portable(self, view: Reading, scope: TenantScope) -> Sequence[Mapping[str, Any]]:
        """As the file holds them."""

    async def take_up(self, tx: Tx, scope: TenantScope, documents: Sequence[Mapping[str, Any]], *, now: Millis) -> None:
        """Set them for the types of events of which nothing is set. The log is held. Raises `FileUnreadable`."""


MEDIA_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "zip": "application/zip",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True, slots=True)
class Order:
    """An export as it is asked for."""

    format: Format
    what: What
    form: str | None = None
    """Only entities of this form; as CSV, one table without an archive around it."""
    header: Header = Header.LABELS
    filters: ListFilters = EVERYTHING
    """As of lists."""
    filter_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The filters as they were sent."""
    bom: bool = False
    """Begin each CSV with the mark by which Excel knows UTF-8."""

    @property
    def is_archive(self) -> bool:
        """Whether it is a zip of CSVs."""
        return self.format is Format.CSV and self.what is What.ENTITIES and self.form is None

    @property
    def suffix(self) -> str:
        return "zip" if self.is_archive else self.format.value

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.suffix]

    @property
    def is_of_everything(self) -> bool:
        """Whether it tells what an area does not limit, so that only a reader without limits may have it."""
        return self.what is not What.ENTITIES

    def file_name(self, tenant_id: str, now: Millis) -> str:
        """Of letters that every system takes: a config id has no others, and a form's name is not in it."""
        moment = format_timestamp(now)[:19].replace(":", "").replace("-", "")
        return f"{tenant_id[:80]}-{self.what}-{moment}Z.{self.suffix}"

    def told(self) -> dict[str, Any]:
        """As the audit trail tells it."""
        told: dict[str, Any] = {"format": self.format.value, "what": self.what.value}
        if self.form is not None:
            told["form"] = self.form
        if self.filter_texts:
            told["filters"] = self.filter_texts
        return told


def order_of(
    chosen: Format,
    wanted: What,
    *,
    form: str | None,
    header: Header,
    bom: bool,
    filters: ListFilters = EVERYTHING,
    filter_texts: Mapping[str, Sequence[str]] | None = None,
) -> Order:
    """Raises `InvalidExport` for what does not go together."""
    if wanted is What.ALL and chosen is not Format.JSON:
        raise InvalidExport("`what=all` goes with `format=json` only.")
    if form is not None and wanted is not What.ENTITIES:
        raise InvalidExport("`form` goes with `what=entities` only.")
    if filters != EVERYTHING and wanted is not What.ENTITIES:
        raise InvalidExport("Filters go with `what=entities` only.")
    return Order(chosen, wanted, form, header, filters, filter_texts or {}, bom)


@dataclass(slots=True)
class Tally:
    """What has been given so far."""

    entities: int = 0
    events: int = 0
    entries: int = 0
    bytes: int = 0
    on_progress: Callable[[int], None] | None = field(default=None, repr=False)

    def add(self, *, entities: int = 0, events: int = 0, entries: int = 0) -> None:
        self.entities += entities
        self.events += events
        self.entries += entries
        if self.on_progress is not None:
            self.on_progress(self.entities + self.events + self.entries)

    def told(self) -> dict[str, int]:
        counts = {"entities": self.entities, "events": self.events, "auditEntries": self.entries}
        return {name: count for name, count in counts.items() if count} | {"bytes": self.bytes}
