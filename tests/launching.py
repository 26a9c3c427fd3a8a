"""What the benchmarks run of a hub, forked instead of started anew."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.serve import Launch, Process
from tests.warm import Forked, Warm

_LOOK_SECONDS = 0.01


class _Launched:
    def __init__(self, forked: Forked) -> None:
        self._forked = forked

    @property
    def pid(self) -> int:
        return self._forked.pid

    @property
    def returncode(self) -> int | None:
        return self._forked.poll()

    def terminate(self) -> None:
        self._forked.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._forked.kill()

    async def wait(self) -> int:
        while (code := self._forked.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        return code


def forking(warm: Warm) -> Launch:
    def forked(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Process:
        name, *arguments = command
        assert Path(name).name == "datacollect"
        log.unlink(missing_ok=True)
        return _Launched(warm.start(folder, dict(environment), tuple(arguments), log))

    async def launch(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Process:
        return forked(command, folder, environment, log)

    return launch
