"""The registry as an ASGI application, for uvicorn."""

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from datacollect.testing.mock_registry.engine import MockRegistry
from datacollect.testing.remote import Request

_METHODS = ["GET", "POST", "PATCH", "DELETE"]


def registry_app(registry: MockRegistry) -> Starlette:
    async def answer(http: HttpRequest) -> Response:
        request = Request(
            method=http.method,
            path=http.scope["raw_path"].decode("latin-1"),
            query=dict(http.query_params),
            headers=dict(http.headers),
            body=await http.body(),
        )
        answered = registry.handle(request)
        headers = dict(answered.headers)
        if answered.document is None:
            return Response(status_code=answered.status, headers=headers)
        if isinstance(answered.document, bytes):
            return Response(answered.document, answered.status, headers)
        return JSONResponse(answered.document, answered.status, headers)

    return Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])
