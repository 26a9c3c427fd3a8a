"""What the hub must know of a tenant on every request, and how far a caller's sync reaches there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from datacollect.kernel.filetypes import DEFAULT_FILE_TYPES, MOST_FILE_BYTES, MOST_PER_ENTITY
from datacollect.kernel.ids import TenantId
from datacollect.kernel.languages import DEFAULT_LANGUAGES

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


class SignIn(StrEnum):
    """How citizens can sign in: what `authMethods` may list."""

    OTP = "otp"
    ID = "id"
    OIDC = "oidc"
    QR = "qr"
    """Of the contract's list, and nothing else: there is no such sign-in."""


@dataclass(frozen=True, slots=True)
class OidcRules:
    """The identity provider of a program's citizens, and which of its claims is which field of their records."""

    authority: str
    client_id: str
    mapping: tuple[tuple[str, str], ...]
    """(claim, field), tried in this order."""
    require_nonce: bool = False
    """Whether only ID tokens count that were asked for with a nonce of the hub's."""
    redirect_uri: str = ""
    userinfo: bool = False
    """Whether claims are what the userinfo endpoint says."""


@dataclass(frozen=True, slots=True)
class SelfServiceRules:
    """How a program lets citizens in."""

    methods: frozenset[str]
    """`SignIn`s, by name."""
    oidc: OidcRules | None = None

    @property
    def indexed_factors(self) -> tuple[str, ...]:
        """Fields that people are looked up by when they sign in."""
        found: list[str] = []
        if SignIn.OTP in self.methods:
            found += OTP_FACTORS
        if SignIn.ID in self.methods:
            found += (NATIONAL_ID, IDENTIFIERS)
        if SignIn.OIDC in self.methods and self.oidc is not None:
            found += [field for _, field in self.oidc.mapping] + [OIDC_SUBJECT]
        return tuple(dict.fromkeys(found))


OTP_FACTORS = ("phone", "email")
NATIONAL_ID = "nationalId"
IDENTIFIERS = "identifiers"
OIDC_SUBJECT = "oidcSubject"
BIRTH_DATES = ("dateOfBirth", "date_of_birth")
_FACTORS = frozenset({*OTP_FACTORS, NATIONAL_ID, "national_id", *BIRTH_DATES, IDENTIFIERS, OIDC_SUBJECT})


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What a program says of the messages it sends to people."""

    per_day: int | None = None
    """None: what the hub's operator has set."""
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
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
    self_service: SelfServiceRules | None = None
    """None where citizens have no access of their own."""


def login_factors(tenant: Tenant) -> frozenset[str]:
    """The fields of a record by which its owner signs in, or could: whoever may write one takes the record over.

    A path with dots stands for the field that it begins with as well.
    """
    rules = tenant.self_service
    mapped = [] if rules is None or rules.oidc is None else [field for _, field in rules.oidc.mapping]
    return _FACTORS.union(mapped, (field.partition(".")[0] for field in mapped))


class TenantDirectory(Protocol):
    async def find(self, tenant_id: TenantId) -> Tenant | None:
        """The running program of that id; None if it is unknown or archived. At most a second old."""

    def forget(self, tenant_ids: Iterable[TenantId]) -> None:
        """Look these up afresh next time: they have just been changed here."""
