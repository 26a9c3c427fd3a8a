"""Commands and hubs in processes of their own that need not import anything anew: they are forked from one that has.

Starting a command takes a second, nearly all of it imports; tests that run dozens would take minutes.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from argon2 import PasswordHasher

ROOT = Path(__file__).parents[1]
_COMMAND = "datacollect.cli"
_IMPORTED_WHEN_ASKED_FOR = (
    "asyncpg",
    "datacollect.db.postgres",
    "datacollect.db.sqlite",
    "datacollect.db.upgrading",
    "datacollect.eventstore.postgres",
    "datacollect.eventstore.sqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
"""By a hub or a command that needs it: an engine, migrations, a server's loop."""


class Warm:
    """The process that has imported the hub and is asked to run commands."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._one_at_a_time = threading.Lock()

    def run(
        self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...], stdin: str
    ) -> "subprocess.CompletedProcess[str]":
        files = {name: folder / f".{name}" for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin)
        code = self._ask({"wait": self.start_with(folder, environment, arguments, files).pid})
        assert code is not None
        printed = files["stdout"].read_text(), files["stderr"].read_text()
        for file in files.values():
            file.unlink()
        return subprocess.CompletedProcess(arguments, code, *printed)

    def start(
        self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...], log: Path, *, of: str = _COMMAND
    ) -> "Forked":
        """One that goes on; what it prints is in `log`. `of` is a module whose `main` it is."""
        files = {"stdin": Path(os.devnull), "stdout": log, "stderr": log}
        return self.start_with(folder, environment, arguments, files, of=of)

    def start_with(
        self,
        folder: Path,
        environment: dict[str, str],
        arguments: tuple[str, ...],
        files: dict[str, Path],
        *,
        of: str = _COMMAND,
    ) -> "Forked":
        """One that goes on, with these as its `stdin`, `stdout` and `stderr`."""
        order = {name: str(file) for name, file in files.items()}
        pid = self._ask(order | {"of": of, "cwd": str(folder), "env": environment, "arguments": arguments})
        assert pid is not None
        return Forked(self, pid)

    def ended(self, pid: int) -> int | None:
        """The exit code, as `Popen` gives it; None while it runs."""
        return self._ask({"poll": pid})

    def _ask(self, order: dict[str, object]) -> int | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer: int | None = json.loads(self._process.stdout.readline())
        return answer


class Forked:
    """A process that a `Warm` one has started: what tests use of `Popen`."""

    def __init__(self, warm: Warm, pid: int) -> None:
        self.pid = pid
        self._warm = warm
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._warm.ended(self.pid)
        return self._code

    def wait(self, timeout: float = 30) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("datacollect", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def warmed() -> Iterator[Warm]:
    arguments = [sys.executable, "-m", "tests.warm"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Warm(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _serve() -> None:
    from datacollect.cli.commands import command_line
    from datacollect.features.users import passwords

    # What each process would have to import once more.
    command_line()
    for name in _IMPORTED_WHEN_ASKED_FOR:
        importlib.import_module(name)
    # As in the tests' own process (tests/conftest.py): some of these hubs hash dozens of passwords.
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords.NOBODYS_HASH = passwords._hasher.hash("the password of nobody")

    # Whoever is forked neither looks through what is here already, nor gets copies of it by looking.
    gc.collect()
    gc.freeze()
    running: set[int] = set()
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if "arguments" in order:
                answer: int | None = _fork(order)
                running.add(answer)  # type: ignore[arg-type]
            else:
                pid, status = os.waitpid(order.get("wait") or order["poll"], 0 if "wait" in order else os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
                running.discard(pid)
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()
    finally:
        # Also when the run is interrupted: what is in a session of its own does not hear of that.
        for pid in running:
            os.kill(pid, signal.SIGKILL)


def _fork(order: dict[str, object]) -> int:
    """Gives its pid when it has its files."""
    waiting, begun = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(waiting)
            _become(order)
            os.close(begun)
            code = _run(str(order["of"]))
        finally:
            os._exit(code)
    os.close(begun)
    os.read(waiting, 1)
    os.close(waiting)
    return child


def _become(order: dict[str, object]) -> None:
    """Be the process that the order is about: its session, folder, environment, files and arguments."""
    os.setsid()
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[arg-type]
    writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY
    for number, (name, flags) in enumerate(
        (("stdin", os.O_RDONLY | os.O_NOCTTY), ("stdout", writing), ("stderr", writing))
    ):
        os.dup2(os.open(str(order[name]), flags, 0o600), number)
    # What this process has read ahead of its orders is not the command's.
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.argv = ["datacollect", *order["arguments"]]  # type: ignore[misc]


def _run(module: str) -> int:
    try:
        importlib.import_module(module).main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve()
