"""The hub's own client follows the settings."""

import gc
from pathlib import Path

import pytest

from datacollect.app import create_app, create_hub
from datacollect.kernel.errors import StartupError
from datacollect.outgoing import InternalUrl
from datacollect.settings import Settings
from tests.outgoing.conftest import ELSEWHERE, INSIDE, OUTSIDE, Upstreams


async def reached(tmp_path: Path, url: str, **values: object) -> bool:
    """Whether a hub with these settings calls the URL. Ends with the hub, which leaves no connection open."""
    app = create_app(Settings(_env_file=None, DATA_DIR=tmp_path, **values))  # type: ignore[arg-type]
    async with app.router.lifespan_context(app):
        try:
            await app.state.hub.outgoing.request("GET", url)
        except InternalUrl:
            return False
    gc.collect()  # pytest makes the warning of a socket that nobody closed an error
    return True


async def test_a_hub_calls_nothing_inside_unless_an_operator_opens_it(tmp_path: Path, upstream: Upstreams) -> None:
    served = await upstream(host=INSIDE)
    assert not await reached(tmp_path, served.url())
    assert not await reached(tmp_path, served.url(), ALLOWED_PRIVATE_HOSTS=f"{OUTSIDE}, 127.1.0.0/16")
    assert not await reached(tmp_path, served.url(host="localhost"), ALLOWED_PRIVATE_HOSTS=INSIDE)
    assert served.connections == 0
    assert await reached(tmp_path, served.url(), ALLOWED_PRIVATE_HOSTS=f"{ELSEWHERE}, 127.0.0.0/16")
    assert await reached(tmp_path, served.url(host="localhost"), ALLOWED_PRIVATE_HOSTS="localhost")
    assert await reached(tmp_path, served.url(host="localhost"), ALLOW_PRIVATE_ADAPTER_HOSTS="true")


def test_a_mistyped_list_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"ALLOWED_PRIVATE_HOSTS: .* is neither a host name"):
        create_hub(Settings(_env_file=None, DATA_DIR=tmp_path, ALLOWED_PRIVATE_HOSTS="10.1.2.3/16"))  # type: ignore[call-arg]
