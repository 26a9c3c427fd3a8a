"""What is left of a request when it has been answered."""

import gc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.http.limits import Ticket
from datacollect.testing.wire import asgi_wire
from tests.factories import make_event, make_program

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("events", "status"),
    [([make_event(), make_event()], 200), ([make_event("paint-well")], 422), ([{"guid": 7}], 400)],
    ids=["stored", "refused", "not understood"],
)
async def test_nothing_of_a_push_is_left_though_its_connection_goes_on_and_nobody_collects_garbage(
    app: FastAPI, admin: AsyncClient, admin_token: str, events: list[dict[str, Any]], status: int
) -> None:
    """A server keeps the scope of the last request of each connection until the next one comes."""
    program = await make_program(admin)
    scopes: list[Any] = []

    async def served(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await app(scope, receive, send)

    tickets = _count(Ticket)
    body = msgspec.json.encode({"configId": program, "events": events})
    answer = await asgi_wire(served)(
        "POST", "/api/sync/push", headers={"authorization": f"Bearer {admin_token}"}, body=body
    )
    assert answer.status == status
    assert len(scopes) == 1
    assert [each for each in gc.get_objects() if type(each) is dict and each.get("configId") == program] == []
    assert _count(Ticket) == tickets


def _count(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())
