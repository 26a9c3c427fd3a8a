"""Reading request bodies: after the caller is known, and strictly.

Routes do not declare FastAPI body parameters, because FastAPI parses those before any dependency runs, so before the
caller is known. They take `body: Annotated[LoginRequest, json_body(LoginRequest)]` behind their auth parameter
instead: dependencies run in the order of the parameters. The OpenAPI document finds the model by the dependency.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from datacollect.db.turns import others_turn
from datacollect.http.decoding import count_members, decoded, require_unique_keys, strict_json, validated
from datacollect.http.receiving import DOCUMENT
from datacollect.kernel.errors import InvalidJson, InvalidPayload, InvalidRequest, PayloadTooLarge

_AT_ONCE_BYTES = 64 * 1024
"""A larger body is read in pieces, between which others have their turn: this one takes half a millisecond."""


class BodyInterrupted(InvalidRequest):
    """The connection ended before the whole body had arrived."""

    code = "BODY_INTERRUPTED"
    help = "Send the whole body again."


async def read_body(request: Request, *, most: int | None = None) -> bytes:
    """The whole body. Its size has been limited by the middleware; `most` limits it further.

    Raises `BodyInterrupted`, `PayloadTooLarge`.
    """
    try:
        if most is not None:
            await _read_at_most(request, most)
        return await request.body()
    except ClientDisconnect as gone:
        raise BodyInterrupted() from gone


async def read_json(request: Request) -> Any:
    """The body decoded by `strict_json`, once however many ask: who the caller is, which program, what is sent."""
    state = request.scope.setdefault("state", {})
    if DOCUMENT not in state:
        body = await read_body(request)
        with telling_content_type(request):
            if len(body) <= _AT_ONCE_BYTES:
                state[DOCUMENT] = strict_json(body)
            else:
                state[DOCUMENT] = await _strict_json_in_turns(body)
    return state[DOCUMENT]


async def _strict_json_in_turns(body: bytes) -> Any:
    await others_turn()
    value = decoded(body)
    await others_turn()
    members = count_members(value)
    await others_turn()
    require_unique_keys(body, members=members)
    await others_turn()
    return value


async def take_json(request: Request) -> Any:
    """As `read_json`, for a body that may be large and is wanted by nobody else: its text is let go."""
    document = await read_json(request)
    request._body = b""
    return document


@contextlib.contextmanager
def telling_content_type(request: Request) -> Iterator[None]:
    """Have the refusal of what is no JSON say so where the body was declared to be something else.

    JSON is taken whatever it is declared to be, for real clients leave that out; whoever has sent a form is told.
    """
    try:
        yield
    except InvalidJson as refused:
        declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = declared == "application/json" or declared.endswith("+json")
        if declared and not is_json and type(refused) is InvalidJson:
            refused.extra["help"] = f"Send JSON, as `application/json`: this body came as `{declared[:100]}`."
        raise


async def _read_at_most(request: Request, most: int) -> None:
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise PayloadTooLarge(most_bytes=most)
    # Where `Request.body` keeps it for whoever reads the body next.
    request._body = bytes(read)


class JsonBody:
    """The dependency behind `json_body`; the OpenAPI document looks for it."""

    required = True

    def __init__(self, model: type[BaseModel], *, message: str | None = None) -> None:
        """`message` is what a body that the model does not take is refused with, where the contract has its own."""
        self.model = model
        self._message = message

    async def __call__(self, request: Request) -> Any:
        body = await read_body(request)
        with telling_content_type(request):
            document = strict_json(body)
        return validated(self.model, document, message=self._message)


class Sent(NamedTuple):
    """A body that may name the program: as it was sent, and as what the route reads it."""

    document: Any
    value: Any


class ProgramBody(JsonBody):
    """A body that may name its program as `configId`; a route's policy reads it, see `http/policy.py`."""

    def __init__(self, model: type[BaseModel], *, refused: type[InvalidPayload], required: bool = True) -> None:
        """`refused` is raised with every issue the model finds."""
        super().__init__(model)
        self.required = required
        self._refused = refused

    async def __call__(self, request: Request) -> Sent:
        body = await read_body(request)
        document = await read_json(request) if body or self.required else {}
        try:
            return Sent(document, validated(self.model, document))
        except InvalidPayload as invalid:
            raise self._refused(invalid.issues, errors=invalid.issues) from None


def json_body(model: type[BaseModel], *, message: str | None = None) -> Any:
    """A parameter's dependency that gives the request's body as `model`.

    Raises `InvalidJson` or `InvalidPayload`. Content types are not looked at: real clients leave them out.
    """
    return Depends(JsonBody(model, message=message))
