"""A client of a hub in this process."""

import re
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from httpx2 import URL, USE_CLIENT_DEFAULT, ASGITransport, AsyncClient, Request, Response

ADDRESS = "http://hub.test"
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_-]+)+(?:\?[A-Za-z0-9_=&-]*)?")


class HubClient(AsyncClient):
    """What tests send is sent a hundred thousand times: this leaves out what makes the library's own way long and no hub
    asks for, which is sign-in flows, redirects and cookies.

    Who wants a stream, or follows redirects, gets the library's own way.
    """

    def __init__(self, app: FastAPI, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None) -> None:
        # A crash is an answer here too, as it is for a real client.
        self.hub = ASGITransport(app=app, raise_app_exceptions=False, client=(address, 123))
        super().__init__(transport=self.hub, base_url=ADDRESS, headers=headers)

    def build_request(self, method: str, url: URL | str, **more: Any) -> Request:
        if isinstance(url, str) and _PLAIN.fullmatch(url):
            url = _absolute(url)
        return super().build_request(method, url, **more)

    async def send(self, request: Request, **more: Any) -> Response:
        if any(value not in (None, False, USE_CLIENT_DEFAULT) for value in more.values()):
            return await super().send(request, **more)
        answer = await self.hub.handle_async_request(request)
        answer.request = request
        await answer.aread()
        return answer


@lru_cache(10_000)
def _absolute(path: str) -> URL:
    return URL(f"{ADDRESS}{path}")
