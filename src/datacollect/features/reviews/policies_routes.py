"""`/api/reviews/config`: which types of events wait for whom."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from datacollect.features.entities.model import EVENT_TYPES
from datacollect.features.reviews import policies, schemas, service
from datacollect.features.reviews.asking import review_body, running_program
from datacollect.features.reviews.errors import MissingPolicy, UnknownReviewedType
from datacollect.features.reviews.model import Policy, PolicyRow
from datacollect.features.reviews.views import policy_document
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import ByPath
from datacollect.kernel.identity import Action, Role, TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES, Tenant

router = APIRouter(prefix="/api/reviews/config", tags=["Reviews"])

PolicyReader = Annotated[TenantScope, Depends(ByPath(Action.READ, assigned=True))]
PolicyWriter = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG, whole=True, assigned=True))]


@router.get(
    "/{id}",
    summary="Review policies of a program",
    response_model=schemas.PolicyList,
    response_model_exclude_none=True,
    responses=errors(texts={404: "There is no such program, or it is archived."}),
)
async def list_review_policies(hub: CurrentHub, scope: PolicyReader) -> dict[str, Any]:
    """What has been set, by type of event. For all other types what is submitted is applied at once."""
    await running_program(hub, scope)
    async with hub.db.reading(scope) as view:
        rows = await service.list_policies(view, scope)
    return {"configs": [policy_document(row) for row in rows]}


@router.put(
    "/{id}/{eventType}",
    summary="Set the review policy for a type of event",
    response_model=schemas.PolicyReply,
    response_model_exclude_none=True,
    responses=errors(
        400,
        texts={
            404: "There is no such program, or it is archived.",
            409: "`external-delegate`: the program's other system cannot decide.",
        },
    ),
)
async def set_review_policy(
    hub: CurrentHub,
    scope: PolicyWriter,
    event_type: Annotated[str, Path(alias="eventType", description="Such as `update-individual`.")],
    body: Annotated[schemas.SetPolicy, review_body(schemas.SetPolicy)],
) -> dict[str, Any]:
    """In place of what was set. It holds for what is submitted from now on; who may decide is asked when it is decided."""
    tenant = await running_program(hub, scope)
    _require_known_type(tenant, event_type)
    if body.policy is None:
        raise MissingPolicy()
    role = None if body.required_role is None else Role(body.required_role)
    row = PolicyRow(new_guid(), event_type, Policy(body.policy), role, body.external_adapter_type, body.due_days)
    row = await policies.checked(hub.others, scope, tenant, row)
    async with hub.db.transaction(scope) as tx:
        row = await policies.store(tx, scope, row, now=hub.clock.now())
    stored = policy_document(row) | {"id": row.id, "tenantId": scope.tenant_id}
    return {"status": "success", "config": stored}


def _require_known_type(tenant: Tenant, event_type: str) -> None:
    if event_type not in (EVENT_TYPES - CUSTOM_EVENT_TYPES) | tenant.custom_event_types:
        raise UnknownReviewedType()
