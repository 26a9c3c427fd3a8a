"""The files that commands write: the former one until the new one is whole, and what is no plain file as it is."""

import asyncio
import os
import resource
import signal
import stat
import threading
from pathlib import Path

import pytest

from datacollect.cli.failures import OutputFailed
from datacollect.cli.writing import ending_tidily, written


@pytest.mark.parametrize("is_secret", [True, False])
def test_a_disk_that_is_full_leaves_the_file_before(tmp_path: Path, is_secret: bool) -> None:
    """`program export --out` and `program qr --out` emptied it first."""
    file = tmp_path / "camp.json"
    file.write_text("yesterday's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OutputFailed, match="File too large"), written(str(file), is_secret=is_secret) as to:
            to.write(b"x" * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("camp.json", "yesterday's")]


def test_a_command_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """A hidden `.part` stayed after SIGTERM, with people's data in it."""

    async def export() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        with written(str(tmp_path / "camp.json"), is_secret=True) as to:
            to.write(b"a part")
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as ended, ending_tidily():
        asyncio.run(export())
    assert (ended.value.code, list(tmp_path.iterdir())) == (143, [])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_file_keeps_the_rights_it_has_unless_it_is_secret(tmp_path: Path) -> None:
    file = tmp_path / "camp.json"
    for is_secret, former, rights in ((False, 0o640, 0o640), (False, 0o600, 0o600), (True, 0o644, 0o600)):
        file.touch()
        file.chmod(former)
        with written(str(file), is_secret=is_secret) as to:
            to.write(b"new")
        assert (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) == (rights, b"new")


def test_a_pipe_or_a_link_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """`export --out /dev/null` put a file in the place of the device, where it might."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    link.symlink_to(file)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    for name in (pipe, link):
        with written(str(name), is_secret=True) as to:
            to.write(b"new")
    reader.join(10)
    assert (read, pipe.is_fifo(), link.is_symlink(), file.read_bytes()) == ([b"new"], True, True, b"new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "link", "pipe"]
