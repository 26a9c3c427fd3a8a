"""What the hub must know of a tenant on every request, and how far a caller's sync reaches there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from datacollect.kernel.filetypes import DEFAULT_FILE_TYPES, MOST_FILE_BYTES, MOST_PER_ENTITY
from datacollect.kernel.ids import TenantId

CUSTOM_EVENT_TYPES = frozenset({"record-attendance", "grant-entitlement", "redeem-entitlement", "void-redemption"})
"""Event types that a program has to switch on, by `customEventTypes`."""


class FormValidation(StrEnum):
    """What becomes of an event whose data does not match the program's form."""

    OFF = "off"
    """Nobody looks."""
    WARN = "warn"
    """It is kept, and flagged."""
    REJECT = "reject"
    """It is refused."""


@dataclass(frozen=True, slots=True)
class AttachmentRules:
    """What a program takes as attachments."""

    most_bytes: int = MOST_FILE_BYTES
    """Of one file."""
    types: frozenset[str] = DEFAULT_FILE_TYPES
    most_per_entity: int = MOST_PER_ENTITY


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What a program says of the messages it sends to people."""

    per_day: int | None = None
    """None: what the hub's operator has set."""
    languages: tuple[str, ...] = ("en",)
    """The first is the program's own."""
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Words of its own, by purpose (`reviewDecided`) and language (in lower case)."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A running (not archived) program."""

    id: TenantId
    name: str
    sync_scope: Mapping[str, Any] | None = None
    custom_event_types: frozenset[str] = frozenset()
    form_validation: FormValidation = FormValidation.OFF
    audit_reads: bool = False
    """Whether the audit trail tells who has read what."""
    version: str = ""
    """Of the program's config: another one after every change, and never one again."""
    searchable: tuple[str, ...] = ()
    """Paths of the fields that its forms mark as searchable."""
    attachments: AttachmentRules = AttachmentRules()
    messages: MessageRules = MessageRules()


class TenantDirectory(Protocol):
    async def find(self, tenant_id: TenantId) -> Tenant | None:
        """The running program of that id; None if it is unknown or archived. At most a second old."""

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Look these up afresh next time: they have just been changed here."""
