import gc
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
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
