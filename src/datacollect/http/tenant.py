"""Which tenant a request is about, resolved once, before anything is authorised."""

from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from fastapi import Query, Request

from datacollect.http.body import read_body, telling_content_type
from datacollect.http.decoding import programs_named
from datacollect.http.receiving import LARGEST_STRANGE_BODY_BYTES
from datacollect.kernel.errors import TenantMismatch
from datacollect.kernel.ids import DEFAULT_TENANT, TenantId

ConfigId = Annotated[
    str | None, Query(alias="configId", description="The program; `default` if the body names none either.")
]
"""Documents the query parameter; `tenant_of` is what reads it, together with the body. It shows no default: generated
clients send those, and one in the query beside another program in the body is refused."""


def tenant_of(request: Request, body: Mapping[str, Any] | None = None) -> TenantId:
    """The `configId` of query and body; `default` when neither has one.

    Raises `TenantMismatch` when it is repeated in the query, differs between query and body, or is not a string; and
    when a `tenantId`, which other routes use for the same, names another program.
    """
    tenant_id = _one_tenant(request, body)
    structlog.contextvars.bind_contextvars(tenant_id=tenant_id[:100])
    return tenant_id


NamedConfigId = Annotated[str | None, Query(alias="configId", description="The program.")]
"""The same for routes that know no default. Also `None` for one that is missing: who asks is told before what is."""

TenantIdParameter = Annotated[str | None, Query(alias="tenantId", description="The program, unless a body names it.")]


def tenant_named(request: Request, body: Mapping[str, Any] | None = None) -> TenantId | None:
    """The `tenantId` of query and body, for routes that know no default; None when neither has one.

    Raises `TenantMismatch` as `tenant_of` does, also when a `configId` names another program.
    """
    named = [*_named("tenantId", request, body), *_named("configId", request, body)]
    if len(request.query_params.getlist("tenantId")) > 1 or any(name != named[0] for name in named):
        raise TenantMismatch("The request names more than one tenantId. Send one, or the same everywhere.")
    if not _named("tenantId", request, body) or named[0] == "":
        return None
    if not isinstance(named[0], str):
        raise TenantMismatch("tenantId must be a string.")
    structlog.contextvars.bind_contextvars(tenant_id=named[0][:100])
    return TenantId(named[0])


UNKNOWN_CALLER_BYTES = LARGEST_STRANGE_BODY_BYTES
"""The most that is read for somebody who cannot be known before it is read."""


async def claimed_tenant(request: Request) -> TenantId:
    """The program that a caller says they belong to, for those whom only that program's provider knows.

    The query tells, and the body is left alone; without it there, the body has to. Raises as `tenant_of` and
    `programs_named`, and `PayloadTooLarge`.
    """
    if request.query_params.get("configId") or request.method in ("GET", "HEAD"):
        return tenant_of(request)
    body = await read_body(request, most=UNKNOWN_CALLER_BYTES)
    with telling_content_type(request):
        named = programs_named(body) if body.strip() else None
    return tenant_of(request, named)


def _one_tenant(request: Request, body: Mapping[str, Any] | None) -> TenantId:
    named = _named("configId", request, body)
    if len(request.query_params.getlist("configId")) > 1 or any(name != named[0] for name in named):
        raise TenantMismatch()
    if named and not isinstance(named[0], str):
        raise TenantMismatch("configId must be a string.")
    tenant_id = TenantId(named[0]) if named else DEFAULT_TENANT
    if any(name != tenant_id for name in _named("tenantId", request, body)):
        raise TenantMismatch("tenantId names another program than configId.")
    return tenant_id


def require_same_tenant(request: Request, tenant_id: TenantId) -> None:
    """For requests that name their program by something of it. Raises `TenantMismatch` when the query names another one."""
    if any(name != tenant_id for member in ("tenantId", "configId") for name in _named(member, request, None)):
        raise TenantMismatch("The request names another program than the one that owns what its path names.")


def _named(member: str, request: Request, body: Mapping[str, Any] | None) -> list[Any]:
    """The values of that name in the query and in the body; an empty one in the query is none, as a web form sends it."""
    in_body = None if body is None else body.get(member)
    return [*filter(None, request.query_params.getlist(member)), *([] if in_body is None else [in_body])]
