"""The job that sends one message.

That a message is being sent is on disk before it is, so that nobody sends it again and again who dies in the middle of it.
It is sent at least once: who was cut off without an answer sends it one more time, under the same id, and then no more. An
outcome that is known to be bad (a server that is away, or says "later") is followed by as many tries as there is time for.
"""

from dataclasses import dataclass, replace
from functools import partial

import structlog

from datacollect.db import Tx
from datacollect.features.messages import queries
from datacollect.features.messages.couriers import Couriers
from datacollect.features.messages.model import DAY_MILLIS, Code, Content, MessageId, Status, Stored, day_of
from datacollect.features.messages.service import KIND, Outbox
from datacollect.jobs import Done, Job, JobNotRetryable, JobState, Lease, Retries, Retry, Step
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.sealing import CannotOpen
from datacollect.messaging import Courier, Message, NotSent

_SEND_SECONDS = 30
_MOST_UNSURE = 2
"""How often a message may have been sent without anybody knowing."""
_KEPT_DAYS = 30
_FORGOTTEN_AT_ONCE = 100

_log = structlog.get_logger(component="messages")


@dataclass(frozen=True, slots=True)
class _Ended:
    """There was nothing to send, for that reason."""

    status: Status
    code: Code


@dataclass(frozen=True, slots=True)
class _Begun:
    message: Stored
    content: Content
    courier: Courier


_Outcome = _Ended | NotSent | None
"""None: it was taken over."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a call brings."""

    outcome: _Outcome


class SendingHandler:
    """Implements `CallingHandler` and `KeepsRuns`. A job of this kind has its message's id as key."""

    kind = KIND
    call_seconds = _SEND_SECONDS + 15.0
    retries = Retries(attempts=1000, first_seconds=2, most_seconds=300)

    def __init__(self, outbox: Outbox, couriers: Couriers, clock: Clock) -> None:
        self._outbox = outbox
        self._couriers = couriers
        self._clock = clock

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> Sent:
        async with lease.transaction() as tx:
            begun = await self._begin(tx, scope, MessageId(job.key))
        if not isinstance(begun, _Begun):
            return Sent(begun)
        return Sent(await self._send(begun))

    async def _begin(self, tx: Tx, scope: TenantScope, message_id: MessageId) -> _Begun | _Outcome:
        """Note that it is being sent, if it is to be."""
        found = await queries.find(tx, scope, message_id)
        if found is None or not found[0].status.is_open:
            return None
        message, sealed = found
        if message.status is Status.SENDING:
            # Whoever began it last has not come back.
            message = replace(message, unsure=message.unsure + 1)
        opened = self._opened(message, sealed)
        if not isinstance(opened, Content):
            return opened
        now = self._clock.now()
        message = replace(message, status=Status.SENDING, attempts=message.attempts + 1, updated_at=now)
        await queries.store_outcome(tx, scope, message, keep_content=True)
        return _Begun(message, opened, self._couriers.by_channel[message.channel])

    def _opened(self, message: Stored, sealed: str | None) -> Content | _Ended | NotSent:
        """What is to be sent, if there is a way, a reason and time."""
        if self._clock.now() >= message.expires_at:
            return NotSent(Code.EXPIRED, retryable=False)
        if message.unsure >= _MOST_UNSURE:
            return _Ended(Status.REFUSED, Code.OUTCOME_UNKNOWN)
        try:
            content = self._outbox.opened(message.id, sealed or "")
        except CannotOpen:
            return _Ended(Status.REFUSED, Code.SECRETS_LOCKED)
        if not content.deliverable:
            return _Ended(Status.DROPPED, Code.NOBODY_TO_TELL)
        if message.channel not in self._couriers.by_channel:
            return _Ended(Status.REFUSED, Code.NO_COURIER)
        return content

    async def _send(self, begun: _Begun) -> NotSent | None:
        stored, content = begun.message, begun.content
        message = Message(
            id=stored.id,
            channel=stored.channel,
            address=content.address,
            text=content.text,
            subject=content.subject,
            expires_at=stored.expires_at,
            secret=content.secret,
        )
        left = (stored.expires_at - self._clock.now()) / 1000
        if left <= 0:
            return NotSent(Code.EXPIRED, retryable=False)
        try:
            await begun.courier.send(message, seconds=min(_SEND_SECONDS, left))
        except NotSent as error:
            return error
        except Exception as error:
            # A mistake of ours. Its text and its trace may hold the address or the code.
            _log.error("courier.failed", channel=stored.channel.value, error=type(error).__name__)
            return NotSent(Code.COURIER_FAILED, retryable=True, unsure=True)
        return None

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: Sent) -> Step:
        found = await queries.find(tx, scope, MessageId(job.key))
        if found is None or not found[0].status.is_open:
            return Done()
        now = self._clock.now()
        await queries.forget(
            tx,
            scope,
            before=Millis(now - _KEPT_DAYS * DAY_MILLIS),
            day=day_of(Millis(now - _KEPT_DAYS * DAY_MILLIS)),
            most=_FORGOTTEN_AT_ONCE,
        )
        message = replace(found[0], updated_at=now)
        match result.outcome:
            case None:
                return await self._end(tx, scope, replace(message, status=Status.DELIVERED, code=None))
            case _Ended(status, code):
                return await self._end(tx, scope, replace(message, status=status, code=code.value))
            case NotSent():
                return await self._store_failure(tx, scope, message, result.outcome)

    async def _store_failure(self, tx: Tx, scope: TenantScope, message: Stored, failure: NotSent) -> Step:
        if failure.code == Code.EXPIRED:
            return await self._end(tx, scope, _expired(message))
        message = replace(message, code=str(failure.code), unsure=message.unsure + failure.unsure)
        if not failure.retryable:
            return await self._end(tx, scope, replace(message, status=Status.REFUSED))
        if message.unsure >= _MOST_UNSURE:
            unknown = replace(message, status=Status.REFUSED, code=Code.OUTCOME_UNKNOWN.value)
            return await self._end(tx, scope, unknown)
        await queries.store_outcome(tx, scope, replace(message, status=Status.WAITING), keep_content=True)
        return Retry(str(failure.code), failure.retry_after_seconds)

    async def ended(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        """Its time is over, or it was called off."""
        found = await queries.find(tx, scope, MessageId(job.key))
        if found is None or not found[0].status.is_open:
            return
        message = replace(found[0], updated_at=self._clock.now())
        if job.state is JobState.CANCELLED:
            message = replace(message, status=Status.DROPPED, code=Code.CALLED_OFF.value)
        else:
            message = _expired(message)
        await self._end(tx, scope, message)

    async def reopened(self, tx: Tx, scope: TenantScope, job: Job) -> None:
        raise JobNotRetryable("What was to be sent is kept no longer. Whoever asked for it asks again.")

    async def _end(self, tx: Tx, scope: TenantScope, message: Stored) -> Done:
        await queries.store_outcome(tx, scope, message, keep_content=False)
        told = {"message_id": message.id, "channel": message.channel.value, "purpose": message.purpose}
        if message.status in (Status.REFUSED, Status.EXPIRED):
            tx.after_commit(partial(_log.warning, f"message.{message.status}", code=message.code, **told))
        else:
            # Of decoys too: a log must not tell either who has a record.
            tx.after_commit(partial(_log.info, "message.handled", attempts=message.attempts, **told))
        return Done()


def _expired(message: Stored) -> Stored:
    """The code says why it was not sent in time, if anybody knows."""
    if message.status is Status.SENDING:
        return replace(message, status=Status.EXPIRED, code=Code.OUTCOME_UNKNOWN.value)
    return replace(message, status=Status.EXPIRED, code=message.code or Code.EXPIRED.value)
