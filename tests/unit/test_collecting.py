import gc
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from datacollect.cli.collecting import settled


@pytest.fixture
def collector() -> Iterator[None]:
    """As Python sets it; what the run has left out of collections stays out."""
    before = gc.get_threshold()
    gc.set_threshold(700, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_a_server_process_has_built_when_it_starts_is_not_collected_through_again() -> None:
    app, left_out = Starlette(), gc.get_freeze_count()
    with TestClient(settled(app)):
        kept = {id(each) for each in gc.get_objects()}
        assert gc.get_freeze_count() > left_out and gc.get_threshold()[0] == 10_000
        assert id(app.router.routes) not in kept


@pytest.fixture
def generations() -> Iterator[list[int]]:
    """Of which there have been collections."""
    seen: list[int] = []

    def note(phase: str, told: dict[str, int]) -> None:
        if phase == "stop":
            seen.append(told["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


@pytest.mark.usefixtures("collector")
def test_what_is_left_over_is_looked_through_when_nobody_is_at_work(generations: list[int]) -> None:
    """With requests at work it would be all that they are at work on."""
    at_work, at_rest = list[int](), list[int]()

    async def young(request: Request) -> Response:
        gc.collect(1)
        generations.clear()
        for _ in range(int(request.query_params["rounds"])):
            gc.collect(0)
        at_work.append(generations.count(1))
        generations.clear()
        return PlainTextResponse("")

    with TestClient(settled(Starlette(routes=[Route("/", young)]))) as client:
        for rounds in (4, 5, 20):
            client.get("/", params={"rounds": rounds})
            at_rest.append(generations.count(1))
    assert at_work == [0, 0, 0]
    assert at_rest == [0, 1, 1]
