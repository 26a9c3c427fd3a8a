"""SQL of attachments."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, func, insert, select, union, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.attachments.contents.tables import attachment_loose
from datacollect.features.attachments.model import Attachment, Mark
from datacollect.features.attachments.tables import attachment_heads, attachments
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_a = attachments.c
_ALL = (
    _a.guid, _a.entity_guid, _a.digest, _a.filename, _a.original_name, _a.mime_type, _a.size_bytes, _a.position,
    _a.created_ms, _a.created_by, _a.deleted_ms, _a.awaits_entity,
)  # fmt: skip


class Totals(NamedTuple):
    """What a program has, and the position of the last change."""

    position: int
    files: int
    size_bytes: int


async def advance(tx: Tx, scope: TenantScope, *, files: int, size_bytes: int) -> Totals:
    """Count a change, and take the next position: nobody else gets one until `tx` ends."""
    heads = attachment_heads.c
    first = insert_into(tx, attachment_heads).values(
        tenant_id=scope.tenant_id, position=1, files=files, size_bytes=size_bytes
    )
    counted = first.on_conflict_do_update(
        index_elements=["tenant_id"],
        set_={
            "position": heads.position + 1,
            "files": heads.files + files,
            "size_bytes": heads.size_bytes + size_bytes,
        },
    ).returning(heads.position, heads.files, heads.size_bytes)
    row: Any = (await tx.execute(counted)).one()
    return Totals(*row)


async def insert_attachment(tx: Tx, scope: TenantScope, new: Attachment) -> None:
    await tx.execute(
        insert(attachments).values(
            tenant_id=scope.tenant_id,
            guid=new.guid,
            entity_guid=new.entity_guid,
            digest=new.digest,
            filename=new.filename,
            original_name=new.original_name,
            mime_type=new.mime_type,
            size_bytes=new.size_bytes,
            position=new.position,
            created_ms=new.created_at,
            created_by=new.created_by,
            deleted_ms=new.deleted_at,
            awaits_entity=new.awaits_entity,
        )
    )


async def bury(tx: Tx, scope: TenantScope, guid: str, *, position: int, now: Millis) -> None:
    """What is left of a deleted attachment tells readers that it is gone, and nothing of what it was."""
    await tx.execute(
        update(attachments)
        .where(_a.tenant_id == scope.tenant_id, _a.guid == guid)
        .values(
            digest=None, filename="", original_name="", mime_type="", size_bytes=0, position=position, deleted_ms=now
        )
    )


async def hand_over(tx: Tx, scope: TenantScope, guid: str, entity_guid: str, *, position: int) -> None:
    """Attach it to another entity."""
    moved = update(attachments).where(_a.tenant_id == scope.tenant_id, _a.guid == guid)
    await tx.execute(moved.values(entity_guid=entity_guid, position=position, forsaken_ms=None))


async def find(view: Reading, scope: TenantScope, guid: str) -> Attachment | None:
    """Also one that was deleted."""
    found = await _fetch(view, select(*_ALL).where(_a.tenant_id == scope.tenant_id, _a.guid == guid))
    return found[0] if found else None


async def count_of_entity(view: Reading, scope: TenantScope, entity_guid: str) -> int:
    counted = select(func.count()).where(
        _a.tenant_id == scope.tenant_id, _a.entity_guid == entity_guid, _a.deleted_ms.is_(None)
    )
    return int((await view.execute(counted)).scalar_one())


async def list_of_entity(view: Reading, scope: TenantScope, entity_guid: str) -> Sequence[Attachment]:
    """By time, then guid."""
    found = select(*_ALL).where(_a.tenant_id == scope.tenant_id, _a.entity_guid == entity_guid, _a.deleted_ms.is_(None))
    return await _fetch(view, found.order_by(_a.created_ms, _a.guid))


async def list_after(view: Reading, scope: TenantScope, position: int, *, limit: int) -> Sequence[Attachment]:
    """The next changes, deletions too."""
    found = select(*_ALL).where(_a.tenant_id == scope.tenant_id, _a.position > position)
    return await _fetch(view, found.order_by(_a.position).limit(limit))


async def list_by_guid(view: Reading, scope: TenantScope, *, after: str, limit: int) -> Sequence[Attachment]:
    """The next of those that are there."""
    found = select(*_ALL).where(_a.tenant_id == scope.tenant_id, _a.deleted_ms.is_(None), _a.guid > after)
    return await _fetch(view, found.order_by(_a.guid).limit(limit))


async def list_buried(view: Reading, scope: TenantScope, *, after: str, limit: int) -> Sequence[Attachment]:
    """The next of those that were deleted."""
    found = select(*_ALL).where(_a.tenant_id == scope.tenant_id, _a.deleted_ms.is_not(None), _a.guid > after)
    return await _fetch(view, found.order_by(_a.guid).limit(limit))


async def list_pending(view: Reading, scope: TenantScope, position: int, *, limit: int) -> Sequence[Attachment]:
    """The next of those whose entity was not there when last looked for."""
    found = select(*_ALL).where(
        _a.tenant_id == scope.tenant_id, _a.awaits_entity, _a.deleted_ms.is_(None), _a.position > position
    )
    return await _fetch(view, found.order_by(_a.position).limit(limit))


async def knows(view: Reading, scope: TenantScope, mark: Mark) -> bool:
    """Whether the attachment of that guid has ever stood at that position: a later change takes it further."""
    found = select(_a.position).where(_a.tenant_id == scope.tenant_id, _a.guid == mark.guid)
    position = (await view.execute(found)).scalar_one_or_none()
    return position is not None and position >= mark.position


async def totals(view: Reading, scope: TenantScope) -> Totals:
    """As they are now."""
    heads = attachment_heads.c
    found = select(heads.position, heads.files, heads.size_bytes).where(heads.tenant_id == scope.tenant_id)
    row: Any = (await view.execute(found)).one_or_none()
    return Totals(0, 0, 0) if row is None else Totals(*row)


async def tenants(view: Reading) -> Sequence[TenantId]:
    """Programs that have attachments or bytes of some, or have had them; asked for all tenants."""
    known = union(select(attachment_heads.c.tenant_id), select(attachment_loose.c.tenant_id))
    return sorted(TenantId(name) for name in (await view.execute(known)).scalars())


# -- tidying


class Kept(NamedTuple):
    """As far as tidying looks at an attachment."""

    guid: str
    entity_guid: str
    awaits_entity: bool
    forsaken_at: Millis | None


async def list_kept(view: Reading, scope: TenantScope, *, after: str, limit: int) -> Sequence[Kept]:
    found = select(_a.guid, _a.entity_guid, _a.awaits_entity, _a.forsaken_ms).where(
        _a.tenant_id == scope.tenant_id, _a.deleted_ms.is_(None), _a.guid > after
    )
    rows: Sequence[Any] = (await view.execute(found.order_by(_a.guid).limit(limit))).all()
    return [Kept(*row) for row in rows]


async def note_entity(tx: Tx, scope: TenantScope, guids: Sequence[str], *, forsaken_at: Millis | None) -> None:
    """The entities of these attachments are known; those of them that are deleted since `forsaken_at`."""
    await tx.execute(
        update(attachments)
        .where(_a.tenant_id == scope.tenant_id, _a.guid.in_(guids))
        .values(awaits_entity=False, forsaken_ms=forsaken_at)
    )


async def _fetch(view: Reading, statement: Select[Any]) -> Sequence[Attachment]:
    rows: Sequence[Any] = (await view.execute(statement)).all()
    return [Attachment(*row) for row in rows]
