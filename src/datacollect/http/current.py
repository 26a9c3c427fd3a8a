"""The hub that a request is made to. Apart from `hub.py`, for commands have the same hub and no requests."""

from typing import Annotated

from fastapi import Depends, Request

from datacollect.http.hub import Hub


async def get_hub(request: Request) -> Hub:
    # A coroutine although nothing is awaited: FastAPI runs a plain function in a thread, which costs more than it does.
    hub: Hub = request.app.state.hub
    return hub


CurrentHub = Annotated[Hub, Depends(get_hub)]
