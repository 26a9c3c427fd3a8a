"""The hub's own client follows the settings."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from datacollect.app import create_app
from datacollect.assembly import create_hub
from datacollect.kernel.errors import StartupError
from datacollect.outgoing import InternalUrl
from datacollect.settings import Settings
from tests.outgoing.conftest import ELSEWHERE, INSIDE, OUTSIDE, Upstream, Upstreams, ok


async def reached(tmp_path: Path, url: str, **values: object) -> bool:
    """Whether a hub with these settings calls the URL."""
    app = create_app(Settings(_env_file=None, DATA_DIR=tmp_path, **values))  # type: ignore[arg-type]
    async with app.router.lifespan_context(app):
        try:
            await app.state.hub.outgoing.request("GET", url)
        except InternalUrl:
            return False
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


async def test_a_hub_that_stops_leaves_no_connection_open(tmp_path: Path, upstream: Upstreams) -> None:
    ended = asyncio.Event()

    async def watch(_: Upstream, writer: asyncio.StreamWriter, request: bytes) -> None:
        await ok()(served, writer, request)
        asyncio.get_running_loop().create_task(left(writer))

    async def left(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    served = await upstream(watch, host=INSIDE)
    app = create_app(Settings(_env_file=None, DATA_DIR=tmp_path, ALLOWED_PRIVATE_HOSTS=INSIDE))  # type: ignore[call-arg]
    async with app.router.lifespan_context(app):
        await app.state.hub.outgoing.request("GET", served.url())
        assert not ended.is_set()
    async with asyncio.timeout(10):
        await ended.wait()


def test_a_mistyped_list_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"ALLOWED_PRIVATE_HOSTS: .* is neither a host name"):
        create_hub(Settings(_env_file=None, DATA_DIR=tmp_path, ALLOWED_PRIVATE_HOSTS="10.1.2.3/16"))  # type: ignore[call-arg]
