"""How a request steps into its program: which one it is about, whether it runs, and what the caller may do there."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request

from datacollect.http.hub import Hub
from datacollect.http.tenant import tenant_of
from datacollect.kernel.errors import NotFound, TenantNotFound, TenantUnknown
from datacollect.kernel.identity import Action, Actor, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant


async def enter_running(
    request: Request, hub: Hub, actor: Actor, action: Action, *, body: Mapping[str, Any] | None = None
) -> tuple[TenantScope, Tenant]:
    """As sync and its neighbours do: the program comes first, then the caller. Raises `TenantUnknown` (400)."""
    tenant_id = tenant_of(request, body)
    tenant = await hub.tenants.find(tenant_id)
    if tenant is None:
        raise TenantUnknown()
    return actor.in_tenant(tenant_id, action), tenant


async def enter_as_member(
    request: Request,
    hub: Hub,
    actor: Actor,
    action: Action,
    *,
    body: Mapping[str, Any] | None = None,
    missing: Callable[[TenantId], NotFound] = TenantNotFound,
) -> tuple[TenantScope, Tenant]:
    """Whether the caller may look comes before whether there is anything: strangers learn nothing of what exists.

    Raises `missing` (404) for a program that is not there or does not run.
    """
    tenant_id = tenant_of(request, body)
    scope = actor.in_tenant(tenant_id, action)
    tenant = await hub.tenants.find(tenant_id)
    if tenant is None:
        raise missing(tenant_id)
    return scope, tenant
