"""Commands in processes of their own that need not import the hub anew: they are forked from one that has.

Starting a command takes a second and a half, nearly all of it imports; tests that run dozens would take minutes.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Warm:
    """The process that has imported the hub and is asked to run commands."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(
        self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...], stdin: str
    ) -> "subprocess.CompletedProcess[str]":
        files = {name: folder / f".{name}" for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin)
        order = {name: str(file) for name, file in files.items()}
        order |= {"cwd": str(folder), "env": environment, "arguments": arguments}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        printed = files["stdout"].read_text(), files["stderr"].read_text()
        for file in files.values():
            file.unlink()
        return subprocess.CompletedProcess(arguments, code, *printed)


@contextlib.contextmanager
def warmed() -> Iterator[Warm]:
    arguments = [sys.executable, "-m", "tests.e2e.warm"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Warm(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _serve() -> None:
    from datacollect.cli import main

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
            os._exit(_run(main))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become(order: dict[str, object]) -> None:
    """Be the process that the order is about: its folder, environment, files and arguments."""
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[arg-type]
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", writing), ("stderr", writing))):
        os.dup2(os.open(str(order[name]), flags, 0o600), number)
    # What this process has read ahead of its orders is not the command's.
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.argv = ["datacollect", *order["arguments"]]  # type: ignore[misc]


def _run(main: object) -> int:
    try:
        main()  # type: ignore[operator]
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
