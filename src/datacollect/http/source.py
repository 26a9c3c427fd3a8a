"""Where the request at hand comes from."""

from typing import Annotated

from fastapi import Depends, Request

from datacollect.kernel.source import Source, origin_of, shown_user_agent


def source_of(request: Request) -> Source:
    return Source(
        origin=origin_of(request.client.host) if request.client else "unknown",
        request_id=request.scope.get("state", {}).get("request_id"),
        user_agent=shown_user_agent(request.headers.get("user-agent")),
    )


async def _current(request: Request) -> Source:
    # A coroutine although nothing is awaited, as `get_hub`.
    return source_of(request)


CurrentSource = Annotated[Source, Depends(_current)]
