"""Tours in the documents work as printed: their commands run against a real server, and print what is said.

The server of the README's tour is started as an operator starts it, by the installed command. Those of the others, and the
commands of a tour's own steps, are forked, as in other tests: what they print is the same, without two seconds of imports
for each of some twenty.
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

from tests.e2e.conftest import serving
from tests.e2e.shells import forking
from tests.processes import free_port
from tests.warm import Forked, Warm

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


@contextlib.contextmanager
def prepared(folder: Path, warm: Warm | None) -> Iterator[int]:
    """The port of a hub that serves from a fresh folder, as `make run` does: by the installed command, or forked."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    if warm:
        assert warm.run(folder, environment, ("dev-env",), "").returncode == 0
    else:
        subprocess.run([HUB, "dev-env"], cwd=folder, env=environment, check=True, capture_output=True)

    def start(port: int, log: Path, environment: dict[str, str]) -> "subprocess.Popen[str] | Forked":
        arguments = ("serve", "--port", str(port))
        if warm:
            return warm.start(folder, environment, arguments, log)
        with log.open("w") as printed:
            return subprocess.Popen(
                [HUB, *arguments], cwd=folder, env=environment, stdout=printed, stderr=printed, text=True
            )

    with serving(folder, environment, start) as hub:
        yield hub.port
        assert hub.stop() == 0


def steps_of(document: str) -> list[dict[str, str]]:
    return [match.groupdict() for match in STEP.finditer((ROOT / document).read_text())]


def run(steps: list[str], folder: Path, port: int, commands: Path) -> list[str]:
    """What each of the steps prints, when one shell runs them all."""
    mark = "--- step ---"
    environment = os.environ | {"PATH": f"{commands}:{HUB.parent}:{os.environ['PATH']}"}
    script = f"\necho '{mark}'\n".join(steps).replace("localhost:3000", f"127.0.0.1:{port}")
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
def test_a_tour_prints_what_the_documents_say(tmp_path: Path, warm: Warm, documents: list[str], count: int) -> None:
    steps = [step for document in documents for step in steps_of(document)]
    assert len(steps) == count
    with prepared(tmp_path, None if "README.md" in documents else warm) as port, forking(warm) as commands:
        printed = run([step["commands"] for step in steps], tmp_path, port, commands)
    for step, text in zip(steps, printed, strict=True):
        assert masked(text) == masked(step["output"])
