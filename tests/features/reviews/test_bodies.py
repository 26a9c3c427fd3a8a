"""Bodies of requests about reviews, on the dependency itself."""

import pytest
from fastapi import Request
from pydantic import BaseModel
from starlette.types import Message

from datacollect.features.reviews.asking import review_body
from datacollect.http.body import BodyInterrupted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("required", [True, False])
async def test_a_body_that_breaks_off_is_told_so(required: bool) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    with pytest.raises(BodyInterrupted):
        await review_body(BaseModel, required=required).dependency(Request({"type": "http", "headers": []}, receive))
