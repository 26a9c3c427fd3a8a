"""The rules of refresh tokens. A family has a current token and remembers the one before it."""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from datacollect.kernel.clock import Millis

WINDOW_SECONDS = 900
"""Of all rate limits here."""

GRACE_MILLIS = 60_000
"""How long the token before the current one may come again: a client that lost the answer asks once more."""


@dataclass(frozen=True, slots=True)
class Session:
    """A family of refresh tokens: one sign-in and what follows from it."""

    family: str
    user_id: int
    current_hash: bytes
    previous_hash: bytes | None
    rotated_at: Millis
    expires_at: Millis
    revoked_at: Millis | None


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
