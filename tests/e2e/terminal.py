"""Somebody who types at a terminal."""

import os
import select
import time
from collections.abc import Sequence
from pathlib import Path

from tests.processes import PATIENCE_SECONDS
from tests.warm import Warm


def typed(
    warm: Warm,
    folder: Path,
    environment: dict[str, str],
    arguments: tuple[str, ...],
    answers: Sequence[tuple[str, str]],
) -> tuple[int, str]:
    """Run a command and answer what it asks: when the first of a pair is read, the second is typed.

    Gives its exit code and all that the terminal showed.
    """
    master, slave = os.openpty()
    try:
        files = dict.fromkeys(("stdin", "stdout", "stderr"), Path(os.ttyname(slave)))
        process = warm.start_with(folder, environment, arguments, files)
        os.close(slave)
        shown = ""
        for question, answer in answers:
            shown = _read_until(master, shown, question)
            os.write(master, f"{answer}\n".encode())
        shown = _read_until(master, shown, None)
        return process.wait(PATIENCE_SECONDS), shown.replace("\r\n", "\n")
    finally:
        os.close(master)


def _read_until(master: int, shown: str, question: str | None) -> str:
    """What has been shown, up to the question, or to the end; each question is waited for anew."""
    seen = len(shown)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while question is None or question not in shown[seen:]:
        assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], f"waited too long: {shown}"
        try:
            read = os.read(master, 4096)
        except OSError:  # Linux: everybody else has closed it
            read = b""
        if not read:
            assert question is None, f"it ended without asking {question}: {shown}"
            return shown
        shown += read.decode()
    return shown
