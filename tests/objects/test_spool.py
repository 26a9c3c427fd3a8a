"""A body on its way: hashed and counted as it comes, gone when it is over, and after a crash at the next start."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from datacollect.objects import PIECE_BYTES, Spool, SpoolTooLarge, StorageFull
from tests.processes import wait_until

pytestmark = pytest.mark.anyio


def files(folder: Path) -> list[Path]:
    return list(folder.glob("*")) if folder.exists() else []


async def test_what_is_written_is_hashed_and_counted_and_gone_at_the_end(tmp_path: Path) -> None:
    content = os.urandom(3 * PIECE_BYTES + 7)
    async with Spool(tmp_path).receiving(most_bytes=len(content)) as incoming:
        for begin in range(0, len(content), 1000):
            await incoming.write(memoryview(content)[begin : begin + 1000])
        spooled = await incoming.finish()
        assert spooled.path.read_bytes() == content
        assert spooled.path.stat().st_mode & 0o077 == 0
        assert (spooled.digest, spooled.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert files(tmp_path) == []


async def test_more_than_may_be_is_refused_and_gone(tmp_path: Path) -> None:
    with pytest.raises(SpoolTooLarge):
        async with Spool(tmp_path).receiving(most_bytes=10) as incoming:
            await incoming.write(b"0123456789")
            await incoming.write(b"!")
    assert files(tmp_path) == []


async def test_a_cancelled_body_is_gone(tmp_path: Path) -> None:
    async def receive() -> None:
        async with Spool(tmp_path).receiving(most_bytes=10**9) as incoming:
            while True:
                await incoming.write(os.urandom(PIECE_BYTES))

    receiving = asyncio.create_task(receive())
    while not files(tmp_path):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert files(tmp_path) == []


async def test_a_body_that_is_cancelled_before_it_begins_is_gone(tmp_path: Path) -> None:
    async def receive() -> None:
        async with Spool(tmp_path).receiving(most_bytes=10):
            await asyncio.sleep(60)

    for _ in range(20):
        receiving = asyncio.create_task(receive())
        await asyncio.sleep(0)  # it is handed to a thread
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
    assert files(tmp_path) == []


async def test_the_last_room_on_the_disk_is_left_to_others(tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        async with Spool(tmp_path, reserve_bytes=10**18).receiving(most_bytes=10):
            pass
    assert files(tmp_path) == []


async def test_bodies_that_come_together_leave_the_last_room_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 1024 * 1024

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=72 * mib - sum(file.stat().st_size for file in files(folder)))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    spool = Spool(tmp_path, reserve_bytes=64 * mib)
    async with contextlib.AsyncExitStack() as bodies:
        incoming = [await bodies.enter_async_context(spool.receiving(most_bytes=40 * mib)) for _ in range(4)]
        with pytest.raises(StorageFull):
            for _ in range(10):
                for body in incoming:
                    await body.write(bytes(mib))
        assert usage(tmp_path).free >= 63 * mib
    assert files(tmp_path) == []


_RECEIVING = """
import asyncio, sys
from pathlib import Path
from datacollect.objects import Spool
async def main():
    async with Spool(Path(sys.argv[1])).receiving(most_bytes=100) as incoming:
        await incoming.write(b"half")
        await asyncio.sleep(60)
asyncio.run(main())
"""


def another_process(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _RECEIVING, str(folder)])


async def test_only_what_nobody_writes_any_more_is_cleaned_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    other = another_process(tmp_path)
    try:
        wait_until(lambda: len(files(tmp_path)) == 1)
        async with spool.receiving(most_bytes=10):
            assert await spool.clean() == 0
            assert len(files(tmp_path)) == 2
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert len(files(tmp_path)) == 1
    assert await spool.clean() == 1
    assert files(tmp_path) == []
