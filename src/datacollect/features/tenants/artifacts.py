"""The files that bring a program onto a device, made on request: nothing on disk can be stale or left behind.

Making them is pure, so those made last are remembered. Whether the program runs is asked of the database each time.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from datacollect.features.tenants.errors import BaseUrlUnknown
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import artifact

if TYPE_CHECKING:
    import segno

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    etag: str


class Picture(Enum):
    """How a QR code is drawn: its media type, and what the library is asked for."""

    PNG = ("image/png", {"kind": "png", "scale": 8})
    SVG = ("image/svg+xml", {"kind": "svg", "scale": 8, "light": "#fff", "omitsize": True, "nl": False})

    @property
    def media_type(self) -> str:
        return self.value[0]

    @property
    def options(self) -> dict[str, Any]:
        return self.value[1]


class Made:
    """Files that have been made, up to so many bytes: what was asked for longest ago goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._files: OrderedDict[Hashable, File] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> File | None:
        with self._lock:
            found = self._files.get(key)
            if found is not None:
                self._files.move_to_end(key)
            return found

    def keep(self, key: Hashable, file: File) -> File:
        # One program's forms must not push out the codes of all others.
        if len(file.body) <= self._most_bytes // 4:
            with self._lock:
                if key not in self._files:
                    self._files[key] = file
                    self._bytes += len(file.body)
                while self._bytes > self._most_bytes:
                    _, dropped = self._files.popitem(last=False)
                    self._bytes -= len(dropped.body)
        return file

    def get(self, key: Hashable, make: Callable[[], File]) -> File:
        return self.find(key) or self.keep(key, make())

    @property
    def size_bytes(self) -> int:
        return self._bytes


def public_base_url(
    configured: str | None, railway_domain: str | None, *, scheme: str, host: str, port: int | None
) -> str:
    """The address at which devices reach the hub, without a trailing slash.

    `host` is the request's Host header. Whoever sends a request chooses it, so it is believed only when it names this
    machine; even then the port is the one we listen on. Raises `BaseUrlUnknown`. Source: programs, 9.
    """
    if configured:
        return configured.rstrip("/")
    if railway_domain:
        return f"https://{railway_domain.rstrip('/')}"
    name = _host_name(host)
    if name not in _LOCAL_NAMES:
        raise BaseUrlUnknown()
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}")


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def artifact_json(program: Program, base_url: str | None) -> File:
    """The onboarding file, indented by two. Raises `BaseUrlUnknown` without both `base_url` and a `syncServerUrl`."""
    document = artifact(program, base_url)
    if not document["syncServerUrl"]:
        raise BaseUrlUnknown()
    return _file(msgspec.json.format(msgspec.json.encode(document), indent=2))


def qr_code(artifact_id: str, base_url: str) -> "segno.QRCode":
    # With the first code: most hubs draw one now and then, and the library is 0.9 MiB.
    import segno  # noqa: PLC0415

    return segno.make_qr(f"{base_url}/artifacts/{artifact_id}.json", error="m", boost_error=False)


def artifact_qr(artifact_id: str, base_url: str, picture: Picture) -> File:
    """The QR code that devices scan: the address of the onboarding file."""
    image = io.BytesIO()
    qr_code(artifact_id, base_url).save(image, border=1, **picture.options)
    return _file(image.getvalue())


def _file(body: bytes) -> File:
    return File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
