"""`/artifacts`: the files that bring programs onto devices, and the address that is in them."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from datacollect.features.tenants import schemas, service
from datacollect.features.tenants.artifacts import File, Made, Picture, artifact_json, artifact_qr, public_base_url
from datacollect.features.tenants.errors import BaseUrlUnknown
from datacollect.http.conditional import holds
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC

MOST_MADE_BYTES = 16 * 1024 * 1024

artifacts = APIRouter(prefix="/artifacts", tags=["App Configuration"])

ArtifactId = Annotated[str, Path(alias="artifactId", description="The program's unguessable artifact id.")]

_Responses = dict[int | str, dict[str, Any]]
_ETAG_DOC: _Responses = {
    200: {"headers": {"ETag": {"description": "The file as it is.", "schema": {"type": "string"}}}},
    304: {"description": "The file is the one named by If-None-Match."},
}
_made = Made(MOST_MADE_BYTES)


def _file_doc(content: dict[str, Any]) -> _Responses:
    return {200: {**_ETAG_DOC[200], "content": content}, 304: _ETAG_DOC[304], **errors(404)}


@artifacts.get(
    "/{artifactId}.json",
    summary="Onboarding file",
    response_class=Response,
    responses=_file_doc({"application/json": {"schema": schemas.ONBOARDING_FILE}}),
    dependencies=[PUBLIC],
)
async def get_artifact_json(request: Request, hub: CurrentHub, artifact_id: ArtifactId) -> Response:
    """What a device loads to take part in the program: forms and where to sync. Never a secret, never people's data."""
    base_url = own_address(request, hub)
    async with hub.db.reading() as view:
        stamp = await service.artifact_stamp(view, artifact_id)
        file = _made.find((stamp, base_url))
        program = None if file else await service.get_artifact(view, artifact_id, seals=hub.seals)
    if program is not None:
        # What is read is at least as new as its stamp; a file of a later state must not be kept under this one.
        file = await asyncio.to_thread(artifact_json, program, base_url)
        if (program.revision, program.updated_at) == (stamp.revision, stamp.updated_at):
            _made.keep((stamp, base_url), file)
    assert file is not None
    return _file(request, file, "application/json", {"Content-Disposition": "attachment"})


@artifacts.get(
    "/{artifactId}.png",
    summary="QR code of the onboarding file",
    response_class=Response,
    responses=_file_doc({"image/png": {"schema": {"type": "string", "format": "binary"}}}),
    dependencies=[PUBLIC],
)
async def get_artifact_png(request: Request, hub: CurrentHub, artifact_id: ArtifactId) -> Response:
    """A QR code that holds the onboarding file's address; it stays valid until it is rotated."""
    return await _picture(request, hub, artifact_id, Picture.PNG)


@artifacts.get(
    "/{artifactId}.svg",
    summary="QR code of the onboarding file, for print",
    response_class=Response,
    responses=_file_doc({"image/svg+xml": {"schema": {"type": "string"}}}),
    dependencies=[PUBLIC],
)
async def get_artifact_svg(request: Request, hub: CurrentHub, artifact_id: ArtifactId) -> Response:
    """The same code as the PNG, sharp at any size."""
    return await _picture(request, hub, artifact_id, Picture.SVG)


async def _picture(request: Request, hub: Hub, artifact_id: str, picture: Picture) -> Response:
    async with hub.db.reading() as view:
        await service.artifact_stamp(view, artifact_id)
    base_url = _base_url(request, hub)
    file = _made.get((artifact_id, base_url, picture), lambda: artifact_qr(artifact_id, base_url, picture))
    return _file(request, file, picture.media_type)


def _base_url(request: Request, hub: Hub) -> str:
    server = request.scope.get("server") or (None, None)
    return public_base_url(
        hub.settings.public_base_url,
        hub.settings.railway_public_domain,
        scheme=request.scope["scheme"],
        host=request.headers.get("host", ""),
        port=server[1],
    )


def own_address(request: Request, hub: Hub) -> str | None:
    """As `_base_url`; None where it is not known, for programs may have a server of their own."""
    try:
        return _base_url(request, hub)
    except BaseUrlUnknown:
        return None


def base_url_warnings(request: Request, hub: Hub) -> list[str]:
    """A change that is stored never fails because of the files made from it."""
    try:
        _base_url(request, hub)
    except BaseUrlUnknown as unknown:
        return [f"Program saved, but public artifact generation failed: {unknown.message}"]
    return []


def _file(request: Request, file: File, media_type: str, headers: dict[str, str] | None = None) -> Response:
    # Devices and pages of other origins load these; they always ask whether the file has changed.
    headers = {
        "ETag": file.etag,
        "Cache-Control": "no-cache",
        "Cross-Origin-Resource-Policy": "cross-origin",
    } | (headers or {})
    if holds(request, file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=media_type, headers=headers)
