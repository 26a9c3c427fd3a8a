"""A real server that speaks S3, for tests: SeaweedFS from a wheel, on loopback, with its files in a folder."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datacollect.objects.s3 import S3Options

_KEY, _SECRET = "hub-in-tests", "only-on-loopback-only-on-loopback"
_PATIENCE_SECONDS = 60
_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class S3Server:
    url: str
    process: "subprocess.Popen[bytes]"

    def options(self, **changes: object) -> S3Options:
        """A place of one's own in its bucket. The bucket is made by what is put into it first."""
        values: dict[str, object] = {
            "bucket": "hub",
            "prefix": f"attachments/of {uuid.uuid4().hex[:12]}",
            "endpoint": self.url,
            "access_key_id": _KEY,
            "secret_access_key": _SECRET,
            "allow_http": True,
        }
        return S3Options(**(values | changes))  # type: ignore[arg-type]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Runs as long as the block, and no longer than this process."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    identity = {"name": "hub", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]}
    config.write_text(json.dumps({"identities": [identity]}))
    ports = _free_ports(9)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, config, ports),
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
        )
    url = f"http://127.0.0.1:{ports[0]}"
    try:
        _wait_for(url, process)
        yield S3Server(url, process)
    finally:
        # There is nothing it would have to save.
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        _remove_sockets(ports)


def _command(folder: Path, config: Path, ports: list[int]) -> list[str]:
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.config": config,
        "s3.port": ports[0],
        "s3.port.grpc": ports[1],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder / "s3.sock",
        "master.port": ports[2],
        "master.port.grpc": ports[3],
        "master.volumeSizeLimitMB": 64,
        "master.volumePreallocate": "false",
        "volume.port": ports[4],
        "volume.port.grpc": ports[5],
        "volume.max": 32,
        "volume.minFreeSpacePercent": 0,
        "filer.port": ports[6],
        "filer.port.grpc": ports[7],
        "filer.localSocket": folder / "filer.sock",
    }
    weed = Path(sys.executable).with_name("weed")
    return [str(weed), "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]


def _remove_sockets(ports: list[int]) -> None:
    """It makes them in /tmp, whatever TMPDIR says."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
            left.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            opener.open(f"{url}/status", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the S3 server does not start")


def _end_with_parent() -> None:
    """Where the system can: a test run that is killed leaves no server behind."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
