"""Approving many, each by itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from datacollect.features.reviews import deciding, looking, policies, service
from datacollect.features.reviews.errors import NoReviewerAllowed, ReviewNotFound
from datacollect.features.reviews.model import Decision
from datacollect.http.hub import Hub
from datacollect.http.log_turn import log_turn
from datacollect.kernel.errors import DataCollectError, Unauthenticated
from datacollect.kernel.identity import Action, Actor, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

Again = Callable[[TenantId], Awaitable[TenantScope]]
"""The caller in a program, as they are by now. Raises when they may not approve there any more."""


async def approve_many(hub: Hub, actor: Actor, ids: Sequence[str], *, force: bool, again: Again) -> dict[str, Any]:
    """One failure does not stop the others. Raises `NoReviewerAllowed` if all of them are of programs where the caller may
    not approve.

    `again` is asked when it is each one's turn, and once more if that takes long: whose right is withdrawn approves no more.
    """
    async with hub.db.reading() as view:
        owners = await service.find_owners(view, [id for id in ids if "\0" not in id]) if ids else {}
    programs = {tenant_id for tenant_id in owners.values() if actor.may(tenant_id, Action.APPROVE)}
    if owners and not programs:
        raise NoReviewerAllowed()
    approved, failures = 0, list[dict[str, Any]]()
    for id in ids:
        tenant = await hub.tenants.find(owners[id]) if owners.get(id) in programs else None
        if tenant is None:
            continue
        try:
            await _approve(hub, await again(tenant.id), tenant, id, Decision(force), again=again)
            approved += 1
        except ReviewNotFound:
            continue
        except DataCollectError as error:
            failures.append({"reviewId": id, "error": error.message, "code": error.code})
    return {"approved": approved, "failed": len(failures), "errors": failures}


async def _approve(hub: Hub, scope: TenantScope, tenant: Tenant, id: str, decision: Decision, *, again: Again) -> None:
    async def require_still() -> None:
        now = await again(tenant.id)
        if (now.role, now.reach) != (scope.role, scope.reach):
            raise Unauthenticated("Your account was changed while this waited. Nothing of it was done.")

    async with hub.db.reading(scope) as view:
        review = await looking.get(view, scope, id)
    mismatches = await policies.findings(hub.checks, hub.log, tenant, review)
    async with log_turn(hub, scope, require_still) as tx:
        await deciding.approve(tx, hub.log, scope, tenant, id, decision, mismatches=mismatches, now=hub.clock.now())
