"""The rules of refresh tokens. A family has a current token and remembers the one before it."""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from datacollect.kernel.clock import Millis

WINDOW_SECONDS = 900
"""Of all rate limits here."""

MOST_SIGN_INS = 1000
"""Of an account that last: one more ends the one that has been unused for longest."""

GRACE_MILLIS = 60_000
"""How long the token before the current one may come again: a client that lost the answer asks once more."""


@dataclass(frozen=True, slots=True)
class Session:
    """A family of refresh tokens: one sign-in and what follows from it."""

    family: str
    user_id: int
    version: int | None
    """The account's when it signed in; None in rows of an older hub."""
    current_hash: bytes
    previous_hash: bytes | None
    rotated_at: Millis
    expires_at: Millis
    revoked_at: Millis | None


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A sign-in that lasts, as it is shown to its owner."""

    family: str
    created_at: Millis
    last_used_at: Millis
    """When it began or last refreshed its tokens."""
    expires_at: Millis
    origin: str | None
    user_agent: str | None

    @property
    def id(self) -> str:
        return session_id(self.family)


def session_id(family: str) -> str:
    """How a family is named to people. Not as its tokens name it: what is shown and logged then leads to no token."""
    return hashlib.sha256(b"session:" + family.encode()).hexdigest()[:32]


class Verdict(Enum):
    ROTATE = "the current token: replace it"
    REPEAT = "the one before it, within the grace: answer as the first time"
    REVOKE = "an older one: somebody has a copy, end the family"
    REFUSE = "ended, or never was"


def judge(session: Session | None, token_hash: bytes, *, now: Millis) -> Verdict:
    if session is None or session.revoked_at is not None or session.expires_at <= now:
        return Verdict.REFUSE
    if hmac.compare_digest(token_hash, session.current_hash):
        return Verdict.ROTATE
    if session.previous_hash is not None and hmac.compare_digest(token_hash, session.previous_hash):
        return Verdict.REPEAT if now - session.rotated_at <= GRACE_MILLIS else Verdict.REVOKE
    return Verdict.REVOKE


def hash_of(token_id: str) -> bytes:
    return hashlib.sha256(token_id.encode()).digest()


def successor(token_id: str, *, secret: bytes) -> str:
    """The token that follows one: always the same, so that a repeated refresh gets the very token the first one got,
    and a family never has two live successors."""
    return hmac.new(secret, b"refresh-successor:" + token_id.encode(), hashlib.sha256).hexdigest()


def account_hash(email: str, *, secret: bytes) -> str:
    """What attempts on an e-mail are counted under: not the text, because people type passwords there.

    `email` is in its normal form. The same for addresses with and without an account.
    """
    text = b"login-account:" + email.encode("utf-8", "surrogatepass")
    return hmac.new(secret, text, hashlib.sha256).hexdigest()[:32]
