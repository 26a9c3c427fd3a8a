"""A client of a hub in this process."""

import asyncio
import re
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from httpx2 import URL, USE_CLIENT_DEFAULT, ASGITransport, AsyncClient, ByteStream, Request, Response

ADDRESS = "http://hub.test"
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_-]+)+(?:\?[A-Za-z0-9_=&.%-]*)?")
_WORD = re.compile(r"[A-Za-z0-9_.-]*")
_Message = MutableMapping[str, Any]


class HubClient(AsyncClient):
    """What tests send is sent a hundred thousand times: this leaves out what makes the library's own way long and no hub
    asks for, which is sign-in flows, redirects, cookies and streams that hold one piece.

    Who wants a stream, or follows redirects, gets the library's own way.
    """

    def __init__(self, app: FastAPI, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None) -> None:
        # A crash is an answer here too, as it is for a real client.
        self.hub = ASGITransport(app=app, raise_app_exceptions=False, client=(address, 123))
        super().__init__(transport=self.hub, base_url=ADDRESS, headers=headers)

    def build_request(self, method: str, url: URL | str, **more: Any) -> Request:
        params = more.get("params")
        if isinstance(url, str):
            if params and isinstance(params, dict) and "?" not in url and _are_plain(params):
                url = f"{url}?{'&'.join(f'{name}={value}' for name, value in params.items())}"
                more["params"] = None
            if _PLAIN.fullmatch(url):
                url = _absolute(url)
        return super().build_request(method, url, **more)

    async def send(self, request: Request, **more: Any) -> Response:
        if any(value not in (None, False, USE_CLIENT_DEFAULT) for value in more.values()):
            return await super().send(request, **more)
        if isinstance(request.stream, ByteStream):
            answer = await _answered(self.hub, request)
            answer.read()
        else:
            answer = await self.hub.handle_async_request(request)
            await answer.aread()
        answer.request = request
        return answer


async def _answered(hub: ASGITransport, request: Request) -> Response:
    """As the transport does it, of a request that is all there."""
    url, received, ended = request.url, False, asyncio.Event()
    path, _, query = url.raw_path.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": path,
        "query_string": query,
        "server": (url.host, url.port),
        "client": hub.client,
        "root_path": "",
    }
    start: _Message = {"status": 500, "headers": []}
    parts = []

    async def receive() -> _Message:
        nonlocal received
        if received:
            await ended.wait()
            return {"type": "http.disconnect"}
        received = True
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: _Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            assert not ended.is_set()
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                ended.set()

    try:
        await hub.app(scope, receive, send)
    except Exception:
        ended.set()
    assert ended.is_set()
    content = b"" if request.method == "HEAD" else b"".join(parts)
    return Response(start["status"], headers=start.get("headers", []), stream=ByteStream(content))


def _are_plain(params: dict[str, Any]) -> bool:
    """Whether they stand in an address as they are."""
    return all(
        _WORD.fullmatch(name) and (type(value) is int or (isinstance(value, str) and _WORD.fullmatch(value)))
        for name, value in params.items()
    )


@lru_cache(10_000)
def _absolute(address: str) -> URL:
    return URL(f"{ADDRESS}{address}")
