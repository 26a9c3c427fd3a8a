"""SQL of checks: attachments beside their contents."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Subquery, and_, func, select, update

from datacollect.db import Reading, Tx
from datacollect.features.attachments.contents.tables import attachment_contents
from datacollect.features.attachments.tables import attachments
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.parts import parts

_a, _c = attachments.c, attachment_contents.c


async def count_contents(view: Reading, scope: TenantScope) -> int:
    counted = select(func.count()).select_from(attachment_contents).where(_c.tenant_id == scope.tenant_id)
    return int((await view.execute(counted)).scalar_one())


async def guids_having(view: Reading, scope: TenantScope, digest: str, *, most: int) -> Sequence[str]:
    found = select(_a.guid).where(_a.tenant_id == scope.tenant_id, _a.digest == digest, _a.deleted_ms.is_(None))
    return list((await view.execute(found.order_by(_a.guid).limit(most))).scalars())


async def without_content(view: Reading, scope: TenantScope) -> Sequence[tuple[str, str]]:
    """Hash and guid of attachments of whose content nothing is known."""
    same = and_(_c.tenant_id == _a.tenant_id, _c.digest == _a.digest)
    found = (
        select(_a.digest, _a.guid)
        .select_from(attachments.outerjoin(attachment_contents, same))
        .where(_a.tenant_id == scope.tenant_id, _a.deleted_ms.is_(None), _c.digest.is_(None))
        .order_by(_a.guid)
    )
    rows: Sequence[Any] = (await view.execute(found)).all()
    return [(row.digest or "", row.guid) for row in rows]


async def miscounted(view: Reading, scope: TenantScope) -> Sequence[tuple[str, int]]:
    """Contents that another number of attachments has than is noted, and how many have them."""
    having = _having(scope)
    number = func.coalesce(having.c.number, 0)
    wrong = (
        select(_c.digest, number.label("number"))
        .select_from(attachment_contents.outerjoin(having, having.c.digest == _c.digest))
        .where(_c.tenant_id == scope.tenant_id, _c.refs != number)
        .order_by(_c.digest)
    )
    return [(row.digest, row.number) for row in await view.execute(wrong)]


async def count_anew(tx: Tx, scope: TenantScope, digests: Sequence[str]) -> None:
    having = _having(scope)
    number = select(func.coalesce(func.max(having.c.number), 0)).where(having.c.digest == _c.digest).scalar_subquery()
    for some in parts(digests, 500):
        await tx.execute(
            update(attachment_contents).where(_c.tenant_id == scope.tenant_id, _c.digest.in_(some)).values(refs=number)
        )


def _having(scope: TenantScope) -> Subquery:
    """How many attachments have each content."""
    return (
        select(_a.digest, func.count().label("number"))
        .where(_a.tenant_id == scope.tenant_id, _a.deleted_ms.is_(None))
        .group_by(_a.digest)
        .subquery()
    )
