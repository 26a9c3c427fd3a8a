"""The pages for people (landing page, interactive API page) and the API description they and programs read."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import FileResponse, RedirectResponse

from datacollect.http.aside import aside
from datacollect.http.conditional import holds
from datacollect.http.frame import CONTENT_SECURITY_POLICY
from datacollect.http.openapi import TITLE, VERSION, describe
from datacollect.http.openapi_of_3_0 import in_words_of_3_0
from datacollect.http.policy import PUBLIC

_STATIC = Path(__file__).with_name("static")
_API_DOCS = _STATIC / "api-docs"
_ASSETS = frozenset(("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"))

# Without `upgrade-insecure-requests`: on a hub reached by plain http these pages would lose their own assets.
_PAGE_HEADERS = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=86400"}

_DOCUMENT = {
    "type": "object",
    "examples": [{"openapi": "3.1.0", "info": {"title": TITLE, "version": VERSION}, "paths": {}}],
}


class ApiDescription:
    """The OpenAPI document in its notations, each made once, when somebody asks: it takes half a second and more."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def as_json(self) -> bytes:
        return msgspec.json.encode(describe(self._app))

    @cached_property
    def as_json_of_3_0(self) -> bytes:
        """In the version of OpenAPI that the reference has."""
        return msgspec.json.encode(in_words_of_3_0(msgspec.json.decode(self.as_json)))

    @cached_property
    def as_yaml(self) -> bytes:
        import yaml  # noqa: PLC0415 - most never ask for it, and the library is 1 MiB

        # Of libyaml where it is there: it is quicker.
        dumper: type[yaml.CSafeDumper] | type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        document = msgspec.json.decode(self.as_json)
        return str(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)).encode()


async def get_openapi_json(request: Request) -> Response:
    description = _description(request)
    return _cacheable(request, await aside(lambda: description.as_json), "application/json")


async def get_openapi_json_of_3_0(request: Request) -> Response:
    description = _description(request)
    return _cacheable(request, await aside(lambda: description.as_json_of_3_0), "application/json")


async def get_openapi_yaml(request: Request) -> Response:
    description = _description(request)
    return _cacheable(request, await aside(lambda: description.as_yaml), "application/yaml")


def _description(request: Request) -> ApiDescription:
    # Not in a closure: FastAPI remembers functions of routes for ever, and with them would the whole hub stay.
    description: ApiDescription = request.app.state.description
    return description


def _asset(name: str) -> Callable[[], Awaitable[Response]]:
    async def get_asset() -> Response:
        return FileResponse(_API_DOCS / name, headers=_ASSET_HEADERS)

    return get_asset


def _cacheable(request: Request, content: bytes, media_type: str) -> Response:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if holds(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


router = APIRouter(tags=["Meta"], dependencies=[PUBLIC])
"""Of an application whose `state.description` is its `ApiDescription`."""

_pages = APIRouter(include_in_schema=False, default_response_class=Response, dependencies=[PUBLIC])

for _path, _endpoint, _media_type, _name in (
    ("/openapi.json", get_openapi_json, "application/json", "getOpenapiJson"),
    ("/api-docs/openapi.json", get_openapi_json_of_3_0, "application/json", "getOpenapiJsonBesideThePage"),
    ("/openapi.yaml", get_openapi_yaml, "application/yaml", "getOpenapiYaml"),
):
    router.add_api_route(
        _path,
        _endpoint,
        methods=["GET"],
        summary=f"This description ({_path.rpartition('.')[2].upper()})",
        description="The OpenAPI document of this hub. `ETag` and `If-None-Match` are understood.",
        operation_id=_name,
        response_class=Response,
        responses={
            200: {"description": "The document.", "content": {_media_type: {"schema": _DOCUMENT}}},
            304: {"description": "The caller has this version already."},
        },
    )


@_pages.get("/")
async def get_landing_page() -> Response:
    return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)


@_pages.get("/api-docs")
async def get_api_page() -> Response:
    return FileResponse(_API_DOCS / "index.html", headers=_PAGE_HEADERS)


@_pages.get("/api-docs/")
async def redirect_to_api_page() -> Response:
    return RedirectResponse("../api-docs")


for _asset_name in sorted(_ASSETS):
    _pages.add_api_route(f"/api-docs/{_asset_name}", _asset(_asset_name), methods=["GET"])

router.routes.extend(_pages.routes)
