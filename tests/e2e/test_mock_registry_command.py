"""`datacollect mock-registry` as people start it."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from datacollect.cli.stand_in import serve_stand_in
from datacollect.kernel.errors import StartupError
from datacollect.testing.stand_ins import StandIn
from tests.processes import free_port

HUB = Path(sys.executable).with_name("datacollect")


def test_it_says_where_it_is_and_ends_when_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    command = [HUB, "mock-registry", "--port", str(port), "--db", str(tmp_path / "r.db"), "--demo", "5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        try:
            said = [running.stderr.readline() for _ in range(3)]
            assert said[0].startswith(f"Mock registry on http://127.0.0.1:{port} ")
            assert said[1].startswith("Client mock-client with the secret ")
            assert said[2] == "5 persons are new.\n"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
                assert b"5 persons, 2 groups" in page.read()
            taken = subprocess.run(
                [HUB, "mock-registry", "--port", str(port)], capture_output=True, text=True, timeout=60
            )
            assert taken.returncode == 1
            assert taken.stderr == f"datacollect: Cannot listen on 127.0.0.1:{port}. Choose a free --port.\n"
            with pytest.raises(StartupError, match=rf"Cannot listen on 127.0.0.1:{port} "):
                serve_stand_in(StandIn.OPENFN, port)
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 0
