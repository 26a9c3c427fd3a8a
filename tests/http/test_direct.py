"""Routes whose function is called without FastAPI gathering its arguments."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from datacollect.http.crossroads import Crossroads
from datacollect.http.direct import DirectRoute, directly
from tests.conftest import asgi_client

pytestmark = pytest.mark.anyio


async def test_a_direct_route_is_described_by_its_signature_and_called_by_its_own_handler() -> None:
    router = APIRouter(route_class=DirectRoute)

    async def asked(request: Request) -> Response:
        return await greet(request.query_params.get("name", "you"))

    @router.get("/direct")
    @directly(asked)
    async def greet(name: str = "nobody") -> Response:
        return Response(f"hello {name}")

    @router.get("/plain")
    async def count(number: int) -> Response:
        return Response(str(number + 1))

    app = FastAPI()
    app.include_router(router)
    async with asgi_client(app) as client:
        assert (await client.get("/direct")).text == "hello you"
        assert (await client.get("/direct?name=Ana")).text == "hello Ana"
        assert (await client.get("/plain?number=1")).text == "2"
        assert (await client.get("/plain?number=x")).status_code == 422
    [described] = app.openapi()["paths"]["/direct"]["get"]["parameters"]
    assert described["name"] == "name"


async def test_crossroads_take_a_direct_route_to_its_handler_as_the_router_would() -> None:
    router = APIRouter(route_class=DirectRoute)
    routes = list[Any]()

    async def asked(request: Request) -> Response:
        routes.append(request.scope["route"])
        if "wrong" in request.query_params:
            raise ValueError("no")
        return Response("direct")

    @router.get("/a/{any}")
    async def earlier(any: str) -> Response:
        return Response(f"earlier {any}")

    for path in ("/a/b", "/c/d"):

        @router.get(path)
        @directly(asked)
        async def found() -> Response:
            return Response("by FastAPI")

    async def told(_: Request, error: Exception) -> Response:
        return Response(f"refused: {error}", 400)

    app = FastAPI(exception_handlers={ValueError: told})
    app.router.routes.extend(router.routes)
    app.router.middleware_stack = Crossroads(app.router)
    async with asgi_client(app) as client:
        assert (await client.get("/c/d")).text == "direct"
        assert (await client.get("/a/b")).text == "earlier b", "whichever comes first"
        assert (await client.post("/c/d")).status_code == 405
        assert (await client.get("/c/d/")).status_code in (307, 404)
        refused = await client.get("/c/d?wrong=1")
    assert (refused.status_code, refused.text) == (400, "refused: no")
    assert [route.path for route in routes] == ["/c/d", "/c/d"], "the log names it"
