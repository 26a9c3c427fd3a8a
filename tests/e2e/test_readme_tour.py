"""Tours in the documents work as printed: their commands run against a real server, and print what is said.

The server is started as an operator starts it, by the installed command. That of a tour's own steps is forked, as in other
tests: what it prints is the same, without a second of imports for each of some twenty.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shells import forking
from tests.processes import free_port, listens, wait_until
from tests.warm import Warm

ROOT = Path(__file__).parents[2]
HUB = Path(sys.executable).with_name("datacollect")
STEP = re.compile(r"```sh\n(?P<commands>(?:(?!```).)*)```\n```(?:json|text)\n(?P<output>.*?)```", re.DOTALL)
VARIES = [
    (re.compile(r'"artifactId":"[0-9a-f]{32}"'), '"artifactId":"…"'),
    (re.compile(r'"lastUpdated":"[^"]+"'), '"lastUpdated":"…"'),
    (re.compile(r'"receivedAt": "[^"]+"'), '"receivedAt": "…"'),
    (re.compile(r"(?m)(?<=^\d         )\S+Z"), "…"),
    (re.compile(r'"requestId":"[^"]+"'), '"requestId":"…"'),
    (re.compile(r'(?<="guid":)"[^"]{36}"(?=[^}]*}[^}]*"userId":"system")'), '"…"'),
    (re.compile(r'"timestamp":"[^"]+"(?=,"userId":"system")'), '"timestamp":"…"'),
]


def masked(text: str) -> str:
    for pattern, replacement in VARIES:
        text = pattern.sub(replacement, text)
    return text.strip()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Iterator[Path]:
    """A fresh folder in which a hub serves, started as `make run` starts it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run([HUB, "dev-env"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    log = (tmp_path / "hub.log").open("wb")
    hub = subprocess.Popen([HUB, "serve", "--port", str(port)], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port) or hub.poll() is not None)
        assert hub.poll() is None, (tmp_path / "hub.log").read_text()
        yield tmp_path
    finally:
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(timeout=20) == 0
        log.close()


def steps_of(document: str) -> list[dict[str, str]]:
    return [match.groupdict() for match in STEP.finditer((ROOT / document).read_text())]


def run(commands: list[str], folder: Path, port: int, datacollect: Path) -> list[str]:
    """What each of the steps prints, when one shell runs them all."""
    mark = "--- step ---"
    environment = os.environ | {"PATH": f"{datacollect}:{HUB.parent}:{os.environ['PATH']}"}
    script = f"\necho '{mark}'\n".join(commands).replace("localhost:3000", f"127.0.0.1:{port}")
    registry = free_port()
    script = script.replace("localhost:4000", f"127.0.0.1:{registry}").replace("--port 4000", f"--port {registry}")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    shell = subprocess.Popen(["sh", "-e"], cwd=folder, env=environment, text=True, start_new_session=True, **pipes)
    try:
        printed, said = shell.communicate(script, timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # what a tour has left running when it broke off
    assert shell.returncode == 0, said
    return printed.split(mark)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tours are made of curl commands")
@pytest.mark.parametrize(
    ("documents", "count"),
    [
        # The others go on from the first.
        (
            [
                "README.md",
                "docs/how-to/answer-did-my-data-arrive.md",
                "examples/README.md",
                "docs/how-to/try-an-exchange.md",
            ],
            25,
        ),
        (["docs/how-to/configure-your-first-program.md"], 6),
        (["docs/explanation/sync-protocol.md"], 9),
    ],
)
def test_a_tour_prints_what_the_documents_say(
    folder: Path, port: int, warm: Warm, documents: list[str], count: int
) -> None:
    steps = [step for document in documents for step in steps_of(document)]
    assert len(steps) == count
    with forking(warm) as datacollect:
        printed = run([step["commands"] for step in steps], folder, port, datacollect)
    for step, text in zip(steps, printed, strict=True):
        assert masked(text) == masked(step["output"])
