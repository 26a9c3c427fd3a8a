"""Whichever way a request comes to its route, it is the same one."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from datacollect.app import create_app
from datacollect.http.crossroads import Crossroads
from tests.conftest import make_settings

pytestmark = pytest.mark.anyio

ODD = ("", "/", "//", "/api", "/api/", "/api/apps\n", "/api/App", "/api//apps", "/artifacts/", "/nowhere/x")


async def test_the_hubs_requests_come_to_the_routes_that_its_router_finds(tmp_path: Path) -> None:
    router = APIRouter(redirect_slashes=False)
    router.routes += map(telling, create_app(make_settings(tmp_path, None)).router.routes)
    crossroads = Crossroads(router)
    paths = {route.path for route in router.routes if isinstance(route, Route)}
    asked = [path.replace("{", "").replace("}", "") for path in sorted(paths)]
    found = set()
    for path in (*asked, *(f"{path}/" for path in asked), *(f"{path}/more" for path in asked), *ODD):
        for method in ("GET", "PUT"):
            answer = await answer_of(crossroads, method, path)
            assert answer == await answer_of(router, method, path), (method, path)
            found.add(answer[0])
    assert found == {200, 404, 405}


@pytest.mark.parametrize("first", ["/a/{other}", "/{any}/b", "/a/b{end}"])
async def test_a_route_for_paths_that_others_are_for_too_keeps_its_turn(first: str) -> None:
    routes = [telling(Route(path, _nothing)) for path in (first, "/a/b", "/a/bc", "/{any}/c")]
    for order in (routes, routes[::-1]):
        router = APIRouter(routes=order, redirect_slashes=False)
        crossroads = Crossroads(router)
        for path in ("/a/b", "/a/bc", "/a/c", "/d/c", "/a/b/c"):
            assert await answer_of(crossroads, "GET", path) == await answer_of(router, "GET", path)


def telling(route: BaseRoute) -> Route:
    """One for the same requests, which tells of itself."""
    assert isinstance(route, Route)

    async def tell(request: Request) -> Response:
        return PlainTextResponse(f"{route.path} {route.methods} {request.path_params}")

    return Route(route.path, tell, methods=route.methods)


async def _nothing(_: Request) -> Response:
    return Response()


async def answer_of(app: ASGIApp, method: str, path: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]
