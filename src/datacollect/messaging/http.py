"""Couriers that send by HTTP, through the guarded client: gateways for text messages, and programs' own systems."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from datacollect.kernel.clock import Clock, format_timestamp
from datacollect.kernel.errors import StartupError
from datacollect.messaging.addresses import dialled
from datacollect.messaging.port import Message, NotSent, Receipt
from datacollect.messaging.signing import signature_headers
from datacollect.outgoing import (
    Answer,
    GuardedClient,
    NameUnresolved,
    UpstreamRedirected,
    UpstreamUnavailable,
    UrlRefused,
)

_MOST_ANSWER_BYTES = 100_000
_MOST_DEPTH = 20
_ABSOLUTE = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_GAP = re.compile(r"\{(to|text|id|expires)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Format = Literal["json", "form"]


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How a gateway wants to be asked."""

    url: str = field(repr=False)
    body: Any = field(repr=False)
    """A JSON document whose texts have gaps: `{to}`, `{text}`, `{id}`, `{expires}`."""
    format: Format = "json"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str | None = field(default=None, repr=False)


def read_gateway(
    url: str,
    *,
    body: str,
    format: Format,
    headers: str | None,
    token: str | None,
    user: str | None,
    password: str | None,
    secret: str | None,
) -> GatewayOptions:
    """Raises `StartupError` for what cannot work, without quoting it: most of it may be secret."""
    if not _ABSOLUTE.match(url):
        raise StartupError("SMS_GATEWAY_URL must be an absolute http or https URL")
    template = _document("SMS_GATEWAY_BODY", body)
    if format == "form" and not (isinstance(template, dict) and all(isinstance(v, str) for v in template.values())):
        raise StartupError("SMS_GATEWAY_BODY must be a JSON object of texts for SMS_GATEWAY_FORMAT=form")
    gaps = {gap for text in _texts(template, _MOST_DEPTH) for gap in _GAP.findall(text)}
    if not {"to", "text"} <= gaps:
        raise StartupError("SMS_GATEWAY_BODY must have {to} and {text} somewhere in its texts")
    if token and user:
        raise StartupError("SMS_GATEWAY_TOKEN and SMS_GATEWAY_USER are two ways to sign in: set one of them")
    if (user is None) != (password is None):
        raise StartupError("SMS_GATEWAY_USER and SMS_GATEWAY_PASSWORD go together")
    sent = _headers(headers)
    if token:
        sent["authorization"] = f"Bearer {token}"
    elif user is not None:
        sent["authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return GatewayOptions(url, template, format, sent, secret)


class GatewayCourier:
    """Sends text messages through a gateway. Implements `Courier`."""

    def __init__(self, options: GatewayOptions, client: GuardedClient, clock: Clock) -> None:
        self._options = options
        self._client = client
        self._clock = clock

    async def send(self, message: Message, *, seconds: float) -> Receipt:
        number = dialled(message.address)
        if number is None:
            raise NotSent("ADDRESS_INVALID", retryable=False)
        gaps = {
            "to": number,
            "text": message.text,
            "id": message.id,
            "expires": format_timestamp(message.expires_at),
        }
        filled = _filled(self._options.body, gaps)
        is_form = self._options.format == "form"
        body = urlencode(filled).encode() if is_form else msgspec.json.encode(filled)
        headers = {
            "content-type": "application/x-www-form-urlencoded" if is_form else "application/json",
            "idempotency-key": message.id,
            **self._options.headers,
            **signature_headers(message.id, body, secret=self._options.secret, now=self._clock.now()),
        }
        answer = await _posted(self._client, self._options.url, headers, body, seconds=seconds)
        return _receipt(answer)


class WebhookCourier:
    """Tells programs' own systems. Implements `Courier`; the message's text is the JSON that is sent."""

    def __init__(self, client: GuardedClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def send(self, message: Message, *, seconds: float) -> Receipt:
        body = message.text.encode()
        signature = signature_headers(message.id, body, secret=message.secret, now=self._clock.now())
        headers = {"content-type": "application/json", **signature}
        return _receipt(await _posted(self._client, message.address, headers, body, seconds=seconds))


async def _posted(
    client: GuardedClient, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float
) -> Answer:
    try:
        return await client.request(
            "POST", url, headers=headers, content=body, max_bytes=_MOST_ANSWER_BYTES, timeout_seconds=seconds
        )
    except NameUnresolved as unresolved:
        raise NotSent("GATEWAY_UNREACHABLE", retryable=unresolved.temporary) from None
    except UrlRefused:
        raise NotSent("GATEWAY_ADDRESS_REFUSED", retryable=False) from None
    except UpstreamRedirected:
        raise NotSent("GATEWAY_REDIRECTS", retryable=False) from None
    except UpstreamUnavailable as broken:
        code = "GATEWAY_TOO_SLOW" if broken.status == 504 else "GATEWAY_UNREACHABLE"
        if broken.nothing_sent:
            raise NotSent(code, retryable=True) from None
        raise NotSent(code if broken.status == 504 else "GATEWAY_BROKE_OFF", retryable=True, unsure=True) from None


def _receipt(answer: Answer) -> Receipt:
    """A receipt for every status that says yes. What else the answer says is not looked at: gateways differ."""
    status = answer.status
    if 200 <= status < 300:
        return Receipt()
    pause = _retry_after(answer.headers.get("retry-after"))
    if status in (408, 425, 429, 503):
        raise NotSent("GATEWAY_BUSY", retryable=True, retry_after_seconds=pause)
    if status >= 500:
        # It may have failed behind the point where the message went out.
        raise NotSent("GATEWAY_FAILED", retryable=True, unsure=True, retry_after_seconds=pause)
    raise NotSent("GATEWAY_LOGIN_REFUSED" if status in (401, 403) else "GATEWAY_REFUSED", retryable=False)


def _retry_after(header: str | None) -> float | None:
    return float(header) if header is not None and re.fullmatch("[0-9]{1,6}", header) else None


def _filled(value: Any, gaps: Mapping[str, str]) -> Any:
    """Each text once: what is put in is not looked through for gaps again, and cannot leave its place."""
    if isinstance(value, str):
        return _GAP.sub(lambda gap: gaps[gap[1]], value)
    if isinstance(value, list):
        return [_filled(item, gaps) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, gaps) for key, item in value.items()}
    return value


def _texts(value: Any, depth: int) -> list[str]:
    if depth < 0:
        raise StartupError("SMS_GATEWAY_BODY is nested too deeply")
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item, depth - 1)]


def _headers(text: str | None) -> dict[str, str]:
    given = _document("SMS_GATEWAY_HEADERS", text) if text else {}
    if not isinstance(given, dict) or not all(
        isinstance(value, str) and value.isascii() and value.isprintable() and _HEADER_NAME.fullmatch(name)
        for name, value in given.items()
    ):
        raise StartupError("SMS_GATEWAY_HEADERS must be a JSON object of headers and their texts")
    return {name.lower(): value for name, value in given.items()}


def _document(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise StartupError(f"{name} must be JSON") from None
