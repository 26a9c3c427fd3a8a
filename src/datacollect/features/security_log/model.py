"""What the security log tells, and how it names what must not be told."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from datacollect.kernel.clock import Millis


class SecurityAction(StrEnum):
    """What can have happened. A name never changes its meaning; others may be added."""

    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LOGIN_THROTTLED = "login.throttled"
    """An address has used up its attempts; told once per window."""
    LOGIN_LOCKED = "login.locked"
    """An account has had too many wrong passwords; told once per window."""
    REFRESH_SUCCEEDED = "refresh.succeeded"
    REFRESH_REFUSED = "refresh.refused"
    REFRESH_REUSED = "refresh.reused"
    """A spent refresh token came back, so somebody had a copy: the session was ended."""
    REFRESH_THROTTLED = "refresh.throttled"
    LOGOUT = "logout"
    SESSION_REVOKED = "session.revoked"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - what happened, not a password
    PASSWORD_REFUSED = "password.refused"  # noqa: S105
    """A wrong current password, where somebody wanted to change it."""
    CITIZEN_SIGNED_IN = "citizen.signed_in"
    CITIZEN_REFUSED = "citizen.refused"
    """A wrong code, a wrong national id or date of birth, or nobody's ID token."""
    CITIZEN_THROTTLED = "citizen.throttled"
    """Too many codes were asked for, by an address or for an identifier; told once per window."""
    CITIZEN_LOCKED = "citizen.locked"
    """An identifier or a national id is locked for a while, after too many wrong tries."""
    CITIZEN_SIGNED_OUT = "citizen.signed_out"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DELETED = "user.deleted"
    PROGRAM_CREATED = "program.created"
    PROGRAM_CHANGED = "program.changed"
    PROGRAM_ARCHIVED = "program.archived"
    PROGRAM_RESTORED = "program.restored"
    PROGRAM_PURGE_BEGUN = "program.purge_begun"
    """It is gone for everybody from now on; its data is being deleted."""
    PROGRAM_PURGED = "program.purged"
    """Nothing of it is left; the details count what there was."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of an entry in the log, which is ordered by time; `id` orders those of one millisecond."""

    recorded_at: Millis
    id: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. Accounts are told by number; `subject_hint` stands for one that does not exist."""

    id: int
    recorded_at: Millis
    action: str
    actor_user_id: int | None
    subject_user_id: int | None
    subject_hint: str | None
    tenant_id: str | None
    origin: str | None
    request_id: str | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries are asked for. None: whatever it is."""

    action: SecurityAction | None = None
    actor_user_id: int | None = None
    subject_user_id: int | None = None
    tenant_id: str | None = None
    since: Millis | None = None
    """This instant and later."""
    until: Millis | None = None
    """Before this instant."""


def hint_of(typed: str, *, secret: bytes) -> str:
    """Stands for a text that was typed as an e-mail: the same for the same text, and nothing to read it from.

    People type passwords there, so the text itself is kept nowhere; and an unkeyed hash could be guessed.
    """
    return hmac.new(secret, b"security-log-hint:" + typed.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[
        :32
    ]
