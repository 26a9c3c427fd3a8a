"""A client of a hub in this process."""

from typing import Any

from fastapi import FastAPI
from httpx2 import USE_CLIENT_DEFAULT, ASGITransport, AsyncClient, Request, Response


class HubClient(AsyncClient):
    """Without what tests send through it thousands of times and no hub needs: flows of sign-ins, redirects, cookies.

    Whoever sends more than a request and reads more than a whole answer gets the library's own way.
    """

    def __init__(self, app: FastAPI, *, address: str = "127.0.0.1", **more: Any) -> None:
        # A crash is an answer here too, as it is for a real client.
        self.hub = ASGITransport(app=app, raise_app_exceptions=False, client=(address, 123))
        super().__init__(transport=self.hub, base_url="http://hub.test", **more)

    async def send(self, request: Request, **more: Any) -> Response:
        if any(value not in (None, False, USE_CLIENT_DEFAULT) for value in more.values()):
            return await super().send(request, **more)
        answer = await self.hub.handle_async_request(request)
        answer.request = request
        await answer.aread()
        return answer
