"""`/api/openspp-fields` and `/api/openspp`: what fields and programs a registry has."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, SecretStr

from datacollect.adapters.calling import CallFailed
from datacollect.adapters.openspp_v2.client import Program, StudioField
from datacollect.features.discovery.errors import (
    InvalidConnection,
    InvalidDiscover,
    InvalidFetch,
    InvalidOdooConnection,
)
from datacollect.features.discovery.model import RemoteField, fields_of_sample
from datacollect.features.discovery.schemas import (
    Connection,
    Discover,
    FieldList,
    OdooConnection,
    ProgramFilter,
    RegistryPrograms,
    SppConnection,
    StudioFields,
)
from datacollect.features.discovery.service import OdooAsked, ProgramsAsked, SppClient, reason_of
from datacollect.features.discovery.uploading import SampleBody, SampleFile
from datacollect.http.body import JsonBody, read_body
from datacollect.http.current import CurrentHub
from datacollect.http.decoding import validated
from datacollect.http.errors import request_id
from datacollect.http.openapi import errors
from datacollect.http.policy import CurrentAdmin, CurrentUser
from datacollect.kernel.errors import InvalidPayload
from datacollect.outgoing import host_of

_log = structlog.get_logger(component="discovery")

router = APIRouter(tags=["OpenSPP Fields"])

_NEEDED = {"url", "database", "username", "password"}


class _Body(JsonBody):
    """Refused with the text that the contract has for it."""

    def __init__(self, model: type[BaseModel], refused: type[InvalidPayload]) -> None:
        super().__init__(model)
        self._refused = refused

    async def __call__(self, request: Request) -> Any:
        try:
            if not await read_body(request):
                return validated(self.model, {})  # everything is missing
            return await super().__call__(request)
        except InvalidPayload as invalid:
            raise self.refusal(invalid) from None

    def refusal(self, invalid: InvalidPayload) -> InvalidPayload:
        return self._refused(invalid.issues)


class _OdooBody(_Body):
    def __init__(self) -> None:
        super().__init__(OdooConnection, InvalidOdooConnection)

    def refusal(self, invalid: InvalidPayload) -> InvalidPayload:
        is_connection = any(not issue["path"] or issue["path"][0] in _NEEDED for issue in invalid.issues)
        return super().refusal(invalid) if is_connection else InvalidFetch(invalid.issues)


@router.post(
    "/api/openspp-fields/parse",
    summary="Tell fields from a sample record",
    response_model=FieldList,
    response_model_exclude_none=True,
    responses=errors(400),
)
async def parse_sample(_: CurrentUser, sample: Annotated[dict[str, Any], Depends(SampleBody())]) -> dict[str, Any]:
    """Of an array the first item counts. Keys that name the record itself (`id`, `externalId`, `__…`) are left out."""
    return {"fields": [_field(field) for field in fields_of_sample(sample)]}


@router.post(
    "/api/openspp-fields/parse-file",
    summary="Tell fields from a file with a sample record",
    response_model=FieldList,
    response_model_exclude_none=True,
    responses=errors(400, 413),
)
async def parse_sample_file(_: CurrentUser, sample: Annotated[dict[str, Any], Depends(SampleFile())]) -> dict[str, Any]:
    """Multipart part `payload`: a JSON file of at most 10 MB. It is read in memory and kept nowhere."""
    return {"fields": [_field(field) for field in fields_of_sample(sample)]}


@router.post(
    "/api/openspp-fields/fetch",
    summary="Ask an OpenSPP V1 (Odoo) for the fields of a model",
    response_model=FieldList,
    response_model_exclude_none=True,
    responses=errors(400, 429, 502),
)
async def fetch_model_fields(
    hub: CurrentHub, actor: CurrentAdmin, body: Annotated[OdooConnection, Depends(_OdooBody())]
) -> dict[str, Any]:
    """Signs in and asks, with the credentials given; they are not stored. The answer is kept for a minute for whoever
    asks the same with the same credentials."""
    asked = OdooAsked(
        url=body.url,
        database=body.database,
        username=body.username,
        password=body.password,
        model=body.model,
        fields=body.fields,
        attributes=body.attributes or (),
        relation_options=body.relation_options,
    )
    fields = await hub.registries.odoo_fields(actor.event_user_id, asked)
    return {"fields": [_field(field) for field in fields]}


@router.post(
    "/api/openspp-fields/v2/test-connection",
    summary="Try whether an OpenSPP V2 lets the hub in",
    response_model=Connection,
    response_model_exclude_none=True,
    responses=errors(400, 429),
)
async def try_registry_connection(
    request: Request,
    hub: CurrentHub,
    actor: CurrentAdmin,
    body: Annotated[SppConnection, Depends(_Body(SppConnection, InvalidConnection))],
) -> dict[str, Any]:
    """Asks for a new token each time. That the registry refuses is an answer too: 200 with `success: false`."""
    try:
        scopes = await hub.registries.sign_in(
            actor.event_user_id, _client(body.base_url, body.client_id, body.client_secret)
        )
    except CallFailed as failed:
        told = {"error": failed.message, "message": failed.message, "code": f"REGISTRY_{reason_of(failed)}"}
        return {"success": False, **told, "requestId": request_id(request.scope)}
    return {"success": True, "scopes": list(scopes)}


@router.post(
    "/api/openspp-fields/v2/fields",
    summary="Ask an OpenSPP V2 for its Studio fields",
    response_model=StudioFields,
    response_model_exclude_none=True,
    responses=errors(400, 429, 502),
)
async def list_studio_fields(
    hub: CurrentHub,
    actor: CurrentAdmin,
    body: Annotated[SppConnection, Depends(_Body(SppConnection, InvalidConnection))],
) -> dict[str, Any]:
    """The fields that were added to the registry, without those that every registry has. Kept for a minute."""
    answer = await hub.registries.studio_fields(
        actor.event_user_id, _client(body.base_url, body.client_id, body.client_secret)
    )
    return {"fields": [_studio_field(field) for field in answer.fields], "truncated": answer.is_truncated}


@router.post(
    "/api/openspp/programs/discover",
    summary="Ask an OpenSPP V2 for its programs",
    response_model=RegistryPrograms,
    response_model_exclude_none=True,
    responses=errors(400, 429, 502),
)
async def discover_programs(
    hub: CurrentHub, actor: CurrentAdmin, body: Annotated[Discover, Depends(_Body(Discover, InvalidDiscover))]
) -> dict[str, Any]:
    """At most 100 programs; `truncated` says that there are more, and `filter.name` finds them. Kept for a minute."""
    wanted = body.filter or ProgramFilter.model_validate({})
    asked = ProgramsAsked(status=wanted.status, target_type=wanted.target_type, name=wanted.name or None)
    # Neither the client's id nor what is looked for: people paste secrets into the field beside the one they mean.
    _log.info("discovery.programs", host=host_of(body.url))
    page = await hub.registries.programs(
        actor.event_user_id, _client(body.url, body.client_id, body.client_secret), asked
    )
    programs = [_program(program) for program in page.programs]
    return {"programs": programs, "total": len(programs), "truncated": page.is_truncated}


def _client(url: str, client_id: str, client_secret: SecretStr) -> SppClient:
    return SppClient(url=url, client_id=client_id, client_secret=client_secret)


def _field(field: RemoteField) -> dict[str, Any]:
    options = field.options
    return {
        "name": field.name,
        "type": field.type.value,
        "valueType": field.value_type.value,
        "label": field.label,
        "required": field.required,
        "options": None if options is None else [{"id": one.id, "label": one.label} for one in options],
    }


def _studio_field(field: StudioField) -> dict[str, Any]:
    return {
        "name": field.technical_name,
        "label": field.label,
        "type": field.field_type,
        "targetType": field.target_type if field.target_type in ("individual", "group") else "both",
        "required": field.is_required is True,
        "source": "studio",
        "selectionOptions": None if field.options is None else [dict(option) for option in field.options],
    }


def _program(program: Program) -> dict[str, Any]:
    return {
        "identifier": program.identifier or None,
        "id": program.id,
        "name": program.name,
        "code": program.code,
        "state": program.state,
        "targetType": program.target_type,
    }
