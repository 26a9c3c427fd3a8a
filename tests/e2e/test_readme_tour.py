"""The README's tour works as printed, and so does the page that goes on from it: the commands run against a real
server, and print what is said."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import free_port, listens, wait_until

ROOT = Path(__file__).parents[2]
HUB = Path(sys.executable).with_name("datacollect")
STEP = re.compile(r"```sh\n(?P<commands>(?:(?!```).)*)```\n```(?:json|text)\n(?P<output>.*?)```", re.DOTALL)
VARIES = [
    (re.compile(r'"artifactId":"[0-9a-f]{32}"'), '"artifactId":"…"'),
    (re.compile(r'"lastUpdated":"[^"]+"'), '"lastUpdated":"…"'),
    (re.compile(r'"receivedAt": "[^"]+"'), '"receivedAt": "…"'),
]


def masked(text: str) -> str:
    for pattern, replacement in VARIES:
        text = pattern.sub(replacement, text)
    return text.strip()


def steps_of(page: Path) -> list[dict[str, str]]:
    """The commands of a page and what each step prints."""
    return [match.groupdict() for match in STEP.finditer(page.read_text())]


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is made of curl commands")
def test_the_tour_prints_what_the_readme_says(folder: Path, port: int) -> None:
    tour = steps_of(ROOT / "README.md")
    assert len(tour) == 6
    history = steps_of(ROOT / "docs" / "how-to" / "answer-did-my-data-arrive.md")
    assert len(history) == 6
    steps = tour + history
    mark = "--- step ---"
    script = f"\necho '{mark}'\n".join(step["commands"] for step in steps).replace(
        "localhost:3000", f"127.0.0.1:{port}"
    )
    done = subprocess.run(["sh", "-e"], input=script, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for step, printed in zip(steps, done.stdout.split(mark), strict=True):
        assert masked(printed) == masked(step["output"])
