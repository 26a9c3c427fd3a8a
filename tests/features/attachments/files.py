"""Files for tests to attach."""

import hashlib
import os
from typing import Any

from httpx2 import AsyncClient

from tests.factories import new_id


def a_photo(size_bytes: int = 2000) -> bytes:
    """Begins as a JPEG does, and is like no other."""
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + os.urandom(size_bytes)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def attach(
    client: AsyncClient, program: str, content: bytes, *, entity: str | None = None, guid: str | None = None
) -> dict[str, Any]:
    answer = await client.post(
        "/api/attachments/upload",
        data={"entityGuid": entity or new_id(), "configId": program} | ({"guid": guid} if guid else {}),
        files={"file": ("photo.jpg", content, "image/jpeg")},
    )
    assert answer.status_code == 201, answer.text
    attachment: dict[str, Any] = answer.json()["attachment"]
    return attachment


async def delete(client: AsyncClient, program: str, guid: str) -> None:
    answer = await client.delete(f"/api/attachments/{guid}", params={"configId": program})
    assert answer.status_code == 200, answer.text


async def download(client: AsyncClient, program: str, guid: str) -> bytes:
    answer = await client.get(f"/api/attachments/{guid}", params={"configId": program})
    assert answer.status_code == 200, answer.text
    return answer.content
