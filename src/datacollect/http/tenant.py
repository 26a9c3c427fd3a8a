"""Which tenant a request is about, resolved once, before anything is authorised."""

from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from fastapi import Query, Request

from datacollect.kernel.errors import TenantMismatch
from datacollect.kernel.ids import DEFAULT_TENANT, TenantId

ConfigId = Annotated[str, Query(alias="configId", description="The program.")]
"""Documents the query parameter; `tenant_of` is what reads it, together with the body."""


def tenant_of(request: Request, body: Mapping[str, Any] | None = None) -> TenantId:
    """The `configId` of query and body; `default` when neither has one.

    Raises `TenantMismatch` when it is repeated in the query, differs between query and body, or is not a string.
    """
    tenant_id = _one_tenant(request, body)
    structlog.contextvars.bind_contextvars(tenant_id=tenant_id[:100])
    return tenant_id


def _one_tenant(request: Request, body: Mapping[str, Any] | None) -> TenantId:
    named = request.query_params.getlist("configId")
    if body is not None and body.get("configId") is not None:
        named.append(body["configId"])
    if not named:
        return DEFAULT_TENANT
    if len(request.query_params.getlist("configId")) > 1 or any(name != named[0] for name in named):
        raise TenantMismatch()
    if not isinstance(named[0], str):
        raise TenantMismatch("configId must be a string.")
    return TenantId(named[0])
