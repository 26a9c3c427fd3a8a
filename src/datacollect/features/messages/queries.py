"""SQL of the outbox."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, insert, not_, select, tuple_, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.messages.model import MessageId, Status, Stored
from datacollect.features.messages.tables import message_days, messages
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.messaging import Channel

_columns = messages.c


async def use_budget(tx: Tx, scope: TenantScope, day: str, *, cost: int) -> int:
    """Count messages of a day; gives how many it are then. Who counts for the same day waits for the commit."""
    made = insert_into(tx, message_days)
    counted = made.values(tenant_id=scope.tenant_id, day=day, used=cost).on_conflict_do_update(
        index_elements=[message_days.c.tenant_id, message_days.c.day],
        set_={"used": message_days.c.used + cost},
    )
    return int((await tx.execute(counted.returning(message_days.c.used))).scalar_one())


async def insert_message(tx: Tx, scope: TenantScope, message: Stored, content: str | None) -> None:
    row = insert(messages).values(
        tenant_id=scope.tenant_id,
        id=message.id,
        purpose=message.purpose,
        channel=message.channel.value,
        masked=message.masked,
        content=content,
        status=message.status.value,
        code=message.code,
        attempts=message.attempts,
        unsure=message.unsure,
        created_ms=message.created_at,
        expires_ms=message.expires_at,
        updated_ms=message.updated_at,
    )
    await tx.execute(row)


async def find(view: Reading, scope: TenantScope, message_id: MessageId) -> tuple[Stored, str | None] | None:
    """The message and its sealed content."""
    row = (await view.execute(select(messages).where(*_named(scope, message_id)))).one_or_none()
    return None if row is None else (_stored(row), row.content)


async def store_outcome(tx: Tx, scope: TenantScope, message: Stored, *, keep_content: bool) -> None:
    values: dict[str, Any] = {
        "status": message.status.value,
        "code": message.code,
        "attempts": message.attempts,
        "unsure": message.unsure,
        "updated_ms": message.updated_at,
    }
    if not keep_content:
        values["content"] = None
    await tx.execute(update(messages).where(*_named(scope, message.id)).values(values))


async def list_newest(
    view: Reading, scope: TenantScope, *, status: Status | None, before: tuple[Millis, str] | None, limit: int
) -> Sequence[Stored]:
    found = select(messages).where(_columns.tenant_id == scope.tenant_id)
    if status is not None:
        found = found.where(_columns.status == status.value)
    if before is not None:
        found = found.where(tuple_(_columns.created_ms, _columns.id) < tuple_(*before))
    page = found.order_by(_columns.created_ms.desc(), _columns.id.desc()).limit(limit)
    return [_stored(row) for row in await view.execute(page)]


async def used_on(view: Reading, scope: TenantScope, day: str) -> int:
    found = select(message_days.c.used).where(message_days.c.tenant_id == scope.tenant_id, message_days.c.day == day)
    return (await view.execute(found)).scalar_one_or_none() or 0


async def forget(tx: Tx, scope: TenantScope, *, before: Millis, day: str, most: int) -> None:
    """Delete some of the messages that are older, and the counts of older days; without waiting for anybody: two jobs
    that wait for each other would end in a deadlock, and what was sent would be sent again."""
    old = select(_columns.id).where(_columns.tenant_id == scope.tenant_id, _columns.created_ms < before)
    oldest = old.order_by(_columns.created_ms, _columns.id).limit(most).with_for_update(skip_locked=True)
    await tx.execute(delete(messages).where(_columns.tenant_id == scope.tenant_id, _columns.id.in_(oldest)))
    days = message_days.c
    ended = select(days.day).where(days.tenant_id == scope.tenant_id, days.day < day)
    ended = ended.with_for_update(skip_locked=True)
    await tx.execute(delete(message_days).where(days.tenant_id == scope.tenant_id, days.day.in_(ended)))


class SealedMessage(NamedTuple):
    """A message that is still to be sent, or has not been given up."""

    tenant_id: TenantId
    id: MessageId
    content: str


async def sealed_otherwise(view: Reading, prefix: str, *, after: tuple[str, str], limit: int) -> list[SealedMessage]:
    """The next messages of all programs, by program and id, whose content does not begin with the prefix."""
    found = select(_columns.tenant_id, _columns.id, _columns.content).where(
        _columns.content.is_not(None), not_(_columns.content.startswith(prefix))
    )
    found = found.where(tuple_(_columns.tenant_id, _columns.id) > tuple_(*after))
    rows = await view.execute(found.order_by(_columns.tenant_id, _columns.id).limit(limit))
    return [SealedMessage(TenantId(row.tenant_id), MessageId(row.id), row.content) for row in rows]


async def replace_content(tx: Tx, old: SealedMessage, content: str) -> None:
    """Does nothing if the message has been sent meanwhile."""
    ours = (_columns.tenant_id == old.tenant_id, _columns.id == old.id, _columns.content == old.content)
    await tx.execute(update(messages).where(*ours).values(content=content))


def _named(scope: TenantScope, message_id: MessageId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _columns.tenant_id == scope.tenant_id, _columns.id == message_id


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        id=MessageId(row.id),
        purpose=row.purpose,
        channel=Channel(row.channel),
        masked=row.masked,
        status=Status(row.status),
        code=row.code,
        attempts=row.attempts,
        unsure=row.unsure,
        created_at=Millis(row.created_ms),
        expires_at=Millis(row.expires_ms),
        updated_at=Millis(row.updated_ms),
    )
