"""SQL of contents."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, insert, select, tuple_, union, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.features.attachments.contents.model import Content, Loose
from datacollect.features.attachments.contents.tables import attachment_contents as contents
from datacollect.features.attachments.contents.tables import attachment_loose as loose
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId


async def find(view: Reading, scope: TenantScope, digest: str) -> Content | None:
    wanted = select(contents.c.digest, contents.c.generation, contents.c.size_bytes).where(
        contents.c.tenant_id == scope.tenant_id, contents.c.digest == digest
    )
    row = (await view.execute(wanted)).first()
    return None if row is None else Content(row.digest, row.generation, row.size_bytes)


async def list_all(view: Reading, scope: TenantScope, *, after: str, most: int) -> Sequence[tuple[Content, int]]:
    """Contents and how often they are referred to, in order of their hashes."""
    wanted = (
        select(contents.c.digest, contents.c.generation, contents.c.size_bytes, contents.c.refs)
        .where(contents.c.tenant_id == scope.tenant_id, contents.c.digest > after)
        .order_by(contents.c.digest)
        .limit(most)
    )
    return [(Content(row.digest, row.generation, row.size_bytes), row.refs) for row in await view.execute(wanted)]


async def some_of_all(view: Reading, *, most: int) -> Sequence[tuple[TenantId, Content]]:
    """A few contents that attachments have; asked for all tenants."""
    wanted = (
        select(contents.c.tenant_id, contents.c.digest, contents.c.generation, contents.c.size_bytes)
        .where(contents.c.refs > 0)
        .limit(most)
    )
    rows = await view.execute(wanted)
    return [(TenantId(row.tenant_id), Content(row.digest, row.generation, row.size_bytes)) for row in rows]


async def touch(tx: Tx, scope: TenantScope, digest: str, *, now: Millis) -> Content | None:
    """The content, which is not collected for a while from now on; None if there is none."""
    touched = (
        update(contents)
        .where(contents.c.tenant_id == scope.tenant_id, contents.c.digest == digest)
        .values(touched_ms=now)
        .returning(contents.c.digest, contents.c.generation, contents.c.size_bytes)
    )
    row = (await tx.execute(touched)).first()
    return None if row is None else Content(row.digest, row.generation, row.size_bytes)


async def add_loose(tx: Tx, scope: TenantScope, digest: str, generation: str, *, since: Millis, is_dying: bool) -> None:
    await tx.execute(
        insert(loose).values(
            tenant_id=scope.tenant_id, digest=digest, generation=generation, since_ms=since, dying=is_dying
        )
    )


async def condemn(tx: Tx, scope: TenantScope, digest: str, generation: str, *, since: Millis) -> None:
    """Have bytes deleted, whether anything is known of them or not."""
    row = insert_into(tx, loose).values(
        tenant_id=scope.tenant_id, digest=digest, generation=generation, since_ms=since, dying=True
    )
    await tx.execute(row.on_conflict_do_nothing())


async def take_loose(tx: Tx, scope: TenantScope, digest: str, generation: str) -> bool:
    """Let a writing be one no more. Whether it still was one: else its bytes are dying, or gone."""
    taken = delete(loose).where(
        loose.c.tenant_id == scope.tenant_id,
        loose.c.digest == digest,
        loose.c.generation == generation,
        loose.c.dying.is_(False),
    )
    return (await tx.execute(taken)).rowcount == 1


async def refer(tx: Tx, scope: TenantScope, digest: str, generation: str, *, now: Millis) -> bool:
    """Count one more; False if that generation is no longer what stands for the content."""
    counted = (
        update(contents)
        .where(
            contents.c.tenant_id == scope.tenant_id, contents.c.digest == digest, contents.c.generation == generation
        )
        .values(refs=contents.c.refs + 1, touched_ms=now)
    )
    return (await tx.execute(counted)).rowcount == 1


async def refer_new(tx: Tx, scope: TenantScope, content: Content, *, now: Millis) -> str:
    """Count one more of a content that may not be known yet. Gives the generation that stands for it from now on."""
    values = {
        "tenant_id": scope.tenant_id,
        "digest": content.digest,
        "generation": content.generation,
        "size_bytes": content.size_bytes,
        "refs": 1,
        "touched_ms": now,
    }
    counted = (
        insert_into(tx, contents)
        .values(**values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "digest"], set_={"refs": contents.c.refs + 1, "touched_ms": now}
        )
        .returning(contents.c.generation)
    )
    return str((await tx.execute(counted)).scalar_one())


async def replace(tx: Tx, scope: TenantScope, digest: str, generation: str, by: str) -> bool:
    """Let another generation stand for the content; False if that was not the one."""
    replaced = (
        update(contents)
        .where(
            contents.c.tenant_id == scope.tenant_id, contents.c.digest == digest, contents.c.generation == generation
        )
        .values(generation=by)
    )
    return (await tx.execute(replaced)).rowcount == 1


async def release(tx: Tx, scope: TenantScope, digest: str, *, now: Millis) -> bool:
    """Count one less. Whether there was one."""
    counted = (
        update(contents)
        .where(contents.c.tenant_id == scope.tenant_id, contents.c.digest == digest, contents.c.refs > 0)
        .values(refs=contents.c.refs - 1, touched_ms=now)
    )
    return (await tx.execute(counted)).rowcount == 1


async def take_idle(tx: Tx, scope: TenantScope, *, before: Millis, most: int) -> Sequence[tuple[Loose, Millis]]:
    """Take contents away that nothing has referred to since then, and when they were last touched."""
    idle = (contents.c.tenant_id == scope.tenant_id, contents.c.refs == 0, contents.c.touched_ms < before)
    some = select(contents.c.digest).where(*idle).order_by(contents.c.touched_ms).limit(most)
    digests = list((await tx.execute(some)).scalars())
    if not digests:
        return []
    # Said again: who has come in between, and has referred to one of them, is waited for and then seen.
    taken = (
        delete(contents)
        .where(*idle, contents.c.digest.in_(digests))
        .returning(contents.c.digest, contents.c.generation, contents.c.touched_ms)
    )
    return [(Loose(row.digest, row.generation), Millis(row.touched_ms)) for row in await tx.execute(taken)]


async def doom(tx: Tx, scope: TenantScope, *, before: Millis) -> int:
    """Decide that writings which began before then, and led to nothing, are to be deleted. How many those are."""
    doomed = (
        update(loose)
        .where(loose.c.tenant_id == scope.tenant_id, loose.c.dying.is_(False), loose.c.since_ms < before)
        .values(dying=True)
    )
    return (await tx.execute(doomed)).rowcount


async def list_dying(view: Reading, scope: TenantScope, *, before: Millis, most: int) -> Sequence[Loose]:
    wanted = (
        select(loose.c.digest, loose.c.generation)
        .where(loose.c.tenant_id == scope.tenant_id, loose.c.dying.is_(True), loose.c.since_ms < before)
        .order_by(loose.c.since_ms)
        .limit(most)
    )
    return [Loose(row.digest, row.generation) for row in await view.execute(wanted)]


async def forget(tx: Tx, scope: TenantScope, gone: Sequence[Loose]) -> None:
    """Their bytes are deleted."""
    if gone:
        await tx.execute(delete(loose).where(*_dying(scope, gone)))


async def postpone(tx: Tx, scope: TenantScope, held: Sequence[Loose], *, now: Millis) -> None:
    """Their bytes could not be deleted: they come again when those are old enough that are decided now, behind the rest."""
    if held:
        await tx.execute(update(loose).where(*_dying(scope, held)).values(since_ms=now))


async def list_loose(view: Reading, scope: TenantScope) -> Sequence[Loose]:
    wanted = select(loose.c.digest, loose.c.generation).where(loose.c.tenant_id == scope.tenant_id)
    return [Loose(row.digest, row.generation) for row in await view.execute(wanted)]


async def tenants_to_collect(view: Reading, *, before: Millis) -> Sequence[TenantId]:
    """Programs in which there is something to delete; asked for all tenants."""
    idle = select(contents.c.tenant_id).where(contents.c.refs == 0, contents.c.touched_ms < before)
    old = select(loose.c.tenant_id).where(loose.c.since_ms < before)
    return [TenantId(name) for name in (await view.execute(union(idle, old))).scalars()]


def _dying(scope: TenantScope, some: Sequence[Loose]) -> Sequence[ColumnElement[bool]]:
    pairs = [(one.digest, one.generation) for one in some]
    return (
        loose.c.tenant_id == scope.tenant_id,
        loose.c.dying.is_(True),
        tuple_(loose.c.digest, loose.c.generation).in_(pairs),
    )
