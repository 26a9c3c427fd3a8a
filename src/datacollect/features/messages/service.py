"""The outbox: `Outbox.enqueue` puts a message in it, in the caller's own transaction; a job sends it after the commit.

Whoever enqueues for an address that nobody has says so (`deliverable=False`) and does the same otherwise: a decoy takes the
same statements, and nobody can tell from the answer or the time whether an address is on a record.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import structlog

from datacollect.db import Reading, Tx
from datacollect.features.messages import queries
from datacollect.features.messages.model import (
    LONGEST_ADDRESS,
    LONGEST_TEXT,
    Code,
    Content,
    MessageId,
    NewMessage,
    Purpose,
    Status,
    Stored,
    day_of,
    place_of,
)
from datacollect.features.messages.resealing import reseal
from datacollect.features.messages.texts import Text, best_language, compose
from datacollect.jobs import enqueue as enqueue_job
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.sealing import Seals
from datacollect.kernel.tenancy import Tenant
from datacollect.messaging import Channel, channel_of, masked

__all__ = [
    "KIND",
    "Channel",
    "MessageId",
    "NewMessage",
    "Outbox",
    "Purpose",
    "Status",
    "Stored",
    "Text",
    "best_language",
    "channel_of",
    "compose",
    "get",
    "newest",
    "reseal",
    "used_today",
]

KIND = "send-message"

_HALVES = re.compile("[\ud800-\udfff]")

_log = structlog.get_logger(component="messages")


class Outbox:
    """Where messages are put. One per process."""

    def __init__(self, seals: Seals, *, per_day: int, channels: Mapping[Channel, str]) -> None:
        """`per_day` holds for programs that say nothing else; `channels` says what takes messages of which."""
        self._seals = seals
        self._per_day = per_day
        self.channels = channels

    def most_per_day(self, tenant: Tenant) -> int:
        per_day = tenant.messages.per_day
        return self._per_day if per_day is None else per_day

    async def enqueue(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, message: NewMessage, *, now: Millis
    ) -> MessageId:
        """Have a message sent after the commit of `tx`; three statements, whatever becomes of it.

        Call it last in `tx`: on PostgreSQL others of the program who enqueue wait for its end, so that the day's budget
        holds exactly. A message beyond the budget is kept as dropped, and this tells nobody. Texts and addresses that are
        longer than any channel takes are cut off.
        """
        message_id = MessageId(new_guid())
        day, most = day_of(now), self.most_per_day(tenant)
        used = await queries.use_budget(tx, scope, day, cost=_cost(message))
        is_dropped = _cost(message) > 0 and used > most
        content = self._sealed(message_id, message)
        stored = Stored(
            id=message_id,
            purpose=message.purpose.value,
            channel=message.channel,
            masked=masked(message.address, message.channel),
            status=Status.DROPPED if is_dropped else Status.WAITING,
            code=Code.MESSAGE_BUDGET_USED.value if is_dropped else None,
            attempts=0,
            unsure=0,
            created_at=now,
            expires_at=message.expires_at,
            updated_at=now,
        )
        await queries.insert_message(tx, scope, stored, None if is_dropped else content)
        # Also for one that is dropped: what an answer takes would tell it from others.
        await enqueue_job(tx, scope, KIND, {}, key=message_id, deadline=message.expires_at, now=now)
        if is_dropped and used == most + 1:
            tx.after_commit(
                partial(_log.warning, "messages.budget_used", tenant_id=scope.tenant_id, day=day, most=most)
            )
        return message_id

    def _sealed(self, message_id: MessageId, message: NewMessage) -> str:
        content = Content(
            _sound(message.address, LONGEST_ADDRESS),
            _sound(message.text, LONGEST_TEXT),
            _sound(message.subject, LONGEST_TEXT),
            message.deliverable,
            message.secret,
        )
        return self._seals.seal(msgspec.json.encode(content).decode(), place_of(message_id))

    def opened(self, message_id: MessageId, content: str) -> Content:
        """Raises `CannotOpen`."""
        return msgspec.json.decode(self._seals.open(content, place_of(message_id)), type=Content)


def _sound(text: str, most: int) -> str:
    """What can be written. Halves of characters, which JSON has a spelling for, cannot."""
    return _HALVES.sub("\ufffd", text[:most])


def _cost(message: NewMessage) -> int:
    """Decoys and calls of a program's own system cost nothing: a budget that strangers use up would be a way to keep
    people out."""
    return int(message.deliverable and message.channel is not Channel.WEBHOOK)


async def newest(
    view: Reading, scope: TenantScope, *, status: Status | None, before: tuple[Millis, str] | None, limit: int
) -> tuple[Sequence[Stored], tuple[Millis, str] | None]:
    """A page of the outbox, the youngest first, and what to give as `before` for the next one; None on the last."""
    found = await queries.list_newest(view, scope, status=status, before=before, limit=limit + 1)
    page = found[:limit]
    return page, (page[-1].created_at, page[-1].id) if len(found) > limit else None


async def get(view: Reading, scope: TenantScope, message_id: MessageId) -> Stored:
    """A message that is there."""
    found = await queries.find(view, scope, message_id)
    assert found is not None
    return found[0]


async def used_today(view: Reading, scope: TenantScope, *, now: Millis) -> int:
    """How many messages of the program count for today, those that were dropped as well."""
    return await queries.used_on(view, scope, day_of(now))
