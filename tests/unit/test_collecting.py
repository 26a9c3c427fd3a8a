import gc
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from datacollect.cli.collecting import settled


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_a_server_process_has_built_when_it_starts_is_not_collected_through_again() -> None:
    app = Starlette()
    with TestClient(settled(app)):
        kept = {id(each) for each in gc.get_objects()}
        assert gc.get_freeze_count() > 10_000 and gc.get_threshold()[0] == 10_000
        assert id(app.router.routes) not in kept
