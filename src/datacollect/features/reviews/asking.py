"""What is alike in the requests of all routes about reviews: whose review, which body, which page; and the answer that
tells of one review."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import structlog
from fastapi import Depends, Path, Request
from pydantic import BaseModel

from datacollect.features.reviews import looking, service
from datacollect.features.reviews.errors import InvalidReviewBody, InvalidReviewsQuery, ReviewNotFound
from datacollect.features.reviews.model import Review
from datacollect.features.reviews.queries import Key
from datacollect.features.reviews.views import review_document
from datacollect.http.body import JsonBody, read_body, read_json
from datacollect.http.decoding import validated
from datacollect.http.hub import Hub
from datacollect.http.policy import ByObject
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import InvalidPayload, InvalidRequest, TenantMismatch, TenantNotFound
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant

MOST_LISTED = 500

NOT_FOUND = {404: "There is no such review, it is beyond your areas, or its program does not run."}

_WHOLE_NUMBER = re.compile(r"[0-9]{1,3}")
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9a-f-]{36})")
_NO_REFUSALS: Mapping[str, type[InvalidRequest]] = MappingProxyType({})


def of_review(action: Action) -> Any:
    """A parameter's dependency that gives the scope of whoever may do this in the program of the path's review."""
    return Depends(ByObject(action, parameter="id", owner=_owner, missing=ReviewNotFound, assigned=True))


async def _owner(hub: Hub, id: str) -> TenantId | None:
    async with hub.db.reading() as view:
        return await service.find_owner(view, id)


ReviewId = Annotated[str, Path(alias="id", description="The review's `id`.")]
Reader = Annotated[TenantScope, of_review(Action.READ)]


def review_body(
    model: type[BaseModel], *, required: bool = True, refusals: Mapping[str, type[InvalidRequest]] = _NO_REFUSALS
) -> Any:
    """As `json_body`; what the model does not take is refused as `InvalidReviewBody`, and where the contract has words of
    its own for a member, as `refusals` say."""
    return Depends(_ReviewBody(model, required=required, refusals=refusals))


class _ReviewBody(JsonBody):
    def __init__(self, model: type[BaseModel], *, required: bool, refusals: Mapping[str, type[InvalidRequest]]) -> None:
        super().__init__(model)
        self.required = required
        self._refusals = refusals

    async def __call__(self, request: Request) -> Any:
        document = await read_json(request) if self.required or await read_body(request) else {}
        try:
            return validated(self.model, document)
        except InvalidPayload as invalid:
            for member, refusal in self._refusals.items():
                if any(issue["path"][:1] == [member] for issue in invalid.issues):
                    raise refusal(details=invalid.issues) from None
            raise InvalidReviewBody(invalid.issues, details=invalid.issues) from None


async def running_program(hub: Hub, scope: TenantScope, named: str | None = None) -> Tenant:
    """Raises `TenantNotFound` unless it runs, and `TenantMismatch` where the body has `named` another one."""
    if named is not None and named != scope.tenant_id:
        raise TenantMismatch("tenantId names another program than the one whose review this is.")
    tenant = await hub.tenants.find(scope.tenant_id)
    if tenant is None:
        raise TenantNotFound(scope.tenant_id)
    structlog.contextvars.bind_contextvars(tenant_id=scope.tenant_id[:100])
    return tenant


def limit_of(text: str | None) -> int:
    if text is None:
        return 100
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_LISTED:
        raise InvalidReviewsQuery()
    return int(text)


def place_of(cursor: str | None) -> Key | None:
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidReviewsQuery()
    return Millis(int(found[1])), found[2]


async def told(hub: Hub, scope: TenantScope, review: Review) -> dict[str, Any]:
    """In wire form, with what it takes to decide."""
    async with hub.db.reading(scope) as view:
        page = await looking.around(view, scope, review)
    return review_document(scope, review, page, now=hub.clock.now())
