"""Routes whose function is called without FastAPI gathering its arguments."""

import pytest
from fastapi import APIRouter, FastAPI, Request, Response

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
