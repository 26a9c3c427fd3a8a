"""Documents that are sent as files, on the dependency itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Request
from pydantic import BaseModel
from starlette.types import Message

from datacollect.http.body import BodyInterrupted
from datacollect.http.upload import JsonUpload
from datacollect.kernel.errors import InvalidRequest

pytestmark = pytest.mark.anyio

FORM = b'--b\r\nContent-Disposition: form-data; name="config"; filename="c.json"\r\nContent-Type: application/json\r\n\r\n{}'
END = b"\r\n--b--\r\n"


async def read(content_type: str, messages: Iterator[Message]) -> Any:
    async def receive() -> Message:
        return next(messages)

    headers = [(b"content-type", content_type.encode())]
    upload = JsonUpload(BaseModel, field="config", missing=InvalidRequest, largest_bytes=100)
    return await upload(Request({"type": "http", "headers": headers}, receive))


@pytest.mark.parametrize("charset", ["undefined", "punycode", "utf-16", "utf-8", "none at all", ""])
async def test_the_form_chooses_no_way_to_decode_it(charset: str) -> None:
    """Python has some that fail in ways of their own, and some that take minutes for a mebibyte."""
    whole: Message = {"type": "http.request", "body": FORM + END, "more_body": False}
    for boundary in ("b", '"b"'):
        assert await read(f"multipart/form-data; charset={charset}; boundary={boundary}", iter([whole])) == {}


async def test_a_form_that_breaks_off_is_told_so() -> None:
    begun: Message = {"type": "http.request", "body": FORM, "more_body": True}
    with pytest.raises(BodyInterrupted):
        await read("multipart/form-data; boundary=b", iter([begun, {"type": "http.disconnect"}]))
