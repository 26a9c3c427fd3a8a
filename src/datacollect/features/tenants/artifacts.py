"""The files that bring a program onto a device, made on request: nothing on disk can be stale or left behind."""

import hashlib
import io
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import segno

from datacollect.features.tenants.errors import BaseUrlUnknown
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import artifact

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    etag: str


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
    """The onboarding file, indented by two. `base_url` is needed unless the program has a `syncServerUrl`."""
    body = msgspec.json.format(msgspec.json.encode(artifact(program, base_url)), indent=2)
    return File(body, _etag(body))


def qr_code(artifact_id: str, base_url: str) -> segno.QRCode:
    return segno.make_qr(f"{base_url}/artifacts/{artifact_id}.json", error="m", boost_error=False)


def artifact_qr(artifact_id: str, base_url: str) -> File:
    """A PNG of the QR code that devices scan."""
    image = io.BytesIO()
    qr_code(artifact_id, base_url).save(image, kind="png", scale=8, border=1)
    return File(image.getvalue(), _etag(image.getvalue()))


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
