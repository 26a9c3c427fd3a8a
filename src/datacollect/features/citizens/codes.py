"""One-time codes: asking for one, and signing in with it. Source: the contract's self-service area, 3.1 and 3.2; its weak
points R2 to R7.

What is asked for an identifier that nobody has takes the same statements and the same answer: a code is stored that opens
nothing, and a message is enqueued that is not sent.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from datacollect.db import Reading, Tx
from datacollect.features.auth import attempts
from datacollect.features.citizens import queries
from datacollect.features.citizens.errors import (
    TooManyCodes,
    TooManyCodesForIdentifier,
    TooManyVerifications,
    WrongCode,
)
from datacollect.features.citizens.journal import Journal
from datacollect.features.citizens.model import (
    CODE_SECONDS,
    KEPT_CODES,
    OTP_LOCK,
    REQUEST_BUCKET,
    REQUESTS,
    Code,
    Holder,
    comparable,
)
from datacollect.features.citizens.service import begin_session, require_program
from datacollect.features.citizens.standing import Claimed, Standing, lock_of, standing_of
from datacollect.features.messages.service import NewMessage, Purpose, channel_of, compose
from datacollect.http.hub import Messages, Throttle
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import DataCollectError, TooManyRequests
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.source import Source
from datacollect.kernel.tenancy import SignIn, Tenant
from datacollect.kernel.tokens import Tokens

_PROGRAM_CODES = "citizen-program-code"
_PROGRAM_GUESSES = "citizen-program-guess"


@dataclass(frozen=True, slots=True)
class Limits:
    """In 15 minutes. Those of a program are for all who have not signed in from where they are."""

    requests: int
    """Codes that are asked for at one address."""
    program_requests: int
    program_guesses: int
    """Wrong ones."""


@dataclass(frozen=True, slots=True)
class CodeSent:
    """What whoever asked for a code is told: the same, whether or not anybody has the identifier."""

    expires_in: int
    """Seconds."""
    resend_in: int
    """Seconds until asking again sends another one."""
    code: str | None
    """None where the code is one that was made before: nobody knows it but who was sent it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and for which identifier, as it was typed."""

    identifier: str
    source: Source
    language: str | None = None

    @property
    def claimed(self) -> Claimed:
        return Claimed("otp", comparable(self.identifier))


async def require_unlocked(
    view: Reading, scope: TenantScope, peppers: Peppers, asked: Asked, *, guesses: bool, now: Millis
) -> None:
    """Raises `SignInLocked`. Strangers lock strangers out: whoever was sent a code where they are may still use it."""
    locked = await lock_of(view, scope, peppers, asked.claimed, OTP_LOCK, source=asked.source, now=now)
    if locked is None:
        return
    identifier_hash = _identifier_hash(peppers, scope, asked)
    if not guesses or not await queries.has_own_code(view, scope, identifier_hash, origin=asked.source.origin, now=now):
        raise locked


async def send_code(
    tx: Tx,
    scope: TenantScope,
    peppers: Peppers,
    outbox: Messages,
    tenant: Tenant,
    asked: Asked,
    holder: Holder | None,
    *,
    resend_seconds: int,
    limits: Limits,
    now: Millis,
) -> CodeSent | DataCollectError:
    """Make a code and have it sent. Who asks again soon keeps the code they have, and so does who is asked for by others.

    A refusal is returned, not raised: what led to it is to be kept.
    """
    await require_program(tx, scope)
    standing = await standing_of(tx, scope, peppers, asked.claimed, OTP_LOCK, source=asked.source, now=now)
    if (locked := standing.refusal(now)) is not None:
        return locked
    identifier_hash = _identifier_hash(peppers, scope, asked)
    held = await queries.lock_live_codes(tx, scope, identifier_hash, now=now, limit=1)
    if held and now - held[0].created_at < resend_seconds * 1000:
        return CodeSent(_until(held[0].expires_at, now), resend_seconds - (now - held[0].created_at) // 1000, None)
    quotas = [attempts.Quota(f"citizen-code:{standing.key}", REQUESTS)]
    quotas += _program_quotas(scope, standing, _PROGRAM_CODES, limits.program_requests)
    counted, *of_program = await attempts.count_attempt(tx, *quotas, now=now)
    journal = Journal(tx, scope, asked.source, "otp", now)
    if counted.allowance.exceeded:
        if counted.is_first_refusal:
            await journal.throttled(by="identifier")
        if of_program:
            await attempts.give_back(tx, of_program)  # none is sent
        return TooManyCodesForIdentifier(headers=counted.allowance.headers())
    if (refused := await _refused_by_program(of_program, TooManyCodes, journal)) is not None:
        await attempts.give_back(tx, [counted])
        return refused
    code = f"{secrets.randbelow(10**6):06}"
    stored = _new_code(peppers, scope, asked, code, holder, now=now)
    await queries.insert_code(tx, scope, identifier_hash, stored)
    await queries.forget_codes(tx, scope, now=now)
    await outbox.enqueue(tx, scope, tenant, _message(tenant, asked, code, holder, stored.expires_at), now=now)
    return CodeSent(CODE_SECONDS, resend_seconds, code)


async def sign_in(
    tx: Tx,
    scope: TenantScope,
    peppers: Peppers,
    tokens: Tokens,
    asked: Asked,
    guess: str,
    holder: Holder | None,
    *,
    limits: Limits,
    throttle: Throttle,
    journal: Journal,
    now: Millis,
) -> str | DataCollectError:
    """A citizen's token for the right code. Any other guess gets the same refusal, whatever is wrong with it.

    A refusal is returned, not raised: that the try was wrong is to be kept.
    """
    await require_program(tx, scope)
    standing = await standing_of(tx, scope, peppers, asked.claimed, OTP_LOCK, source=asked.source, now=now)
    identifier_hash = _identifier_hash(peppers, scope, asked)
    live = await queries.lock_live_codes(tx, scope, identifier_hash, now=now, limit=KEPT_CODES)
    origin = asked.source.origin
    locked = standing.refusal(now)
    # As `require_unlocked` says.
    tried = [code for code in live if code.is_open_to(origin) and (locked is None or code.origin == origin)]
    if locked is not None and not tried:
        return locked
    # A guess that no code is held against is none.
    quotas = _program_quotas(scope, standing, _PROGRAM_GUESSES, limits.program_guesses) if tried else []
    guesses = await attempts.count_attempt(tx, *quotas, now=now) if quotas else []
    if (refused := await _refused_by_program(guesses, TooManyVerifications, journal)) is not None:
        # Strangers hold up strangers: of a code that was asked for here one try is looked at all the same. More would give
        # whoever guesses at many people three for each code, and the limit would be none.
        tried = [code for code in tried if code.origin == origin and not code.own_tries]
        if not tried:
            return refused
    right = [code for code in tried if peppers.matches(code.hash, *_told(scope, asked, code.id, guess))]
    used = next((code for code in right if holder is not None and code.entity_guid == holder.guid), None)
    if holder is None or used is None:
        await queries.store_tries(tx, scope, [code.tried_from(origin) for code in tried])
        # What no code was there for cannot have been right. Were it counted, anybody could lock out whose number they know.
        locks = bool(tried) and await standing.note_wrong(tx, scope, chances=len(tried), now=now)
        await journal.refused(asked.claimed.value, locks=locks)
        return WrongCode()
    if guesses:
        await attempts.give_back(tx, guesses)
    await queries.spend_codes(tx, scope, identifier_hash)
    # That it was asked for was in order too: people of a camp have one address, and come one after the other.
    asked_for = list(attempts.address_quotas(REQUEST_BUCKET, used.origin, limit=limits.requests))
    if used.origin == origin:  # of other places nobody knows whether they were familiar
        asked_for += _program_quotas(scope, standing, _PROGRAM_CODES, limits.program_requests)
    await throttle.give_back_earlier(tx, asked_for, counted_at=used.created_at)
    await standing.note_right(tx, scope, asked.source, now=now)
    await journal.signed_in(holder.guid)
    return await begin_session(
        tx, scope, tokens, peppers, holder, method=SignIn.OTP, identifier=asked.identifier, now=now
    )


def _program_quotas(scope: TenantScope, standing: Standing, bucket: str, limit: int) -> Sequence[attempts.Quota]:
    """What everybody in a program has together, but for those who have signed in from where they are."""
    return [] if standing.is_familiar else [attempts.Quota(f"{bucket}:{scope.tenant_id}", limit)]


async def _refused_by_program(
    of_program: Sequence[attempts.Counted], error: type[TooManyRequests], journal: Journal
) -> TooManyRequests | None:
    for counted in of_program:
        if counted.is_first_refusal:
            await journal.throttled(by="program")
        if counted.allowance.exceeded:
            return error(headers=counted.allowance.headers())
    return None


def _new_code(
    peppers: Peppers, scope: TenantScope, asked: Asked, code: str, holder: Holder | None, *, now: Millis
) -> Code:
    code_id = new_guid()
    return Code(
        id=code_id,
        hash=peppers.hash(*_told(scope, asked, code_id, code)),
        entity_guid=None if holder is None else holder.guid,
        origin=asked.source.origin,
        own_tries=0,
        other_tries=0,
        created_at=now,
        expires_at=Millis(now + CODE_SECONDS * 1000),
    )


def _told(scope: TenantScope, asked: Asked, code_id: str, code: str) -> tuple[str, str, str, str, str]:
    """What a code is hashed with: moved to another row, identifier or program, a hash is good for nothing."""
    return ("citizens-code", scope.tenant_id, asked.claimed.value, code_id, code)


def _identifier_hash(peppers: Peppers, scope: TenantScope, asked: Asked) -> bytes:
    return peppers.hash("citizens-identifier", scope.tenant_id, asked.claimed.value)


def _message(tenant: Tenant, asked: Asked, code: str, holder: Holder | None, expires_at: Millis) -> NewMessage:
    address = asked.identifier.strip() if holder is None else holder.address
    text = compose(tenant, Purpose.OTP, language=asked.language, code=code, minutes=str(CODE_SECONDS // 60))
    return NewMessage(
        channel=channel_of(address),
        address=address,
        purpose=Purpose.OTP,
        text=text.text,
        subject=text.subject,
        expires_at=expires_at,
        deliverable=holder is not None,
    )


def _until(instant: Millis, now: Millis) -> int:
    return max(1, (instant - now) // 1000)
