"""Sending attachments as clients do, and looking at what is kept of them."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import func, select

from datacollect.db import EVERY_TENANT
from datacollect.db.metadata import metadata
from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from datacollect.objects import tenant_folder
from tests.factories import make_event, push
from tests.files import picture

UPLOAD = "/api/attachments/upload"


async def make_entity(admin: AsyncClient, program: str, **data: Any) -> str:
    event = make_event(data={"name": "Ana", "entityName": "individual"} | data)
    assert (await push(admin, program, event)).status_code == 200
    return str(event["entityGuid"])


async def upload(
    client: AsyncClient,
    program: str,
    entity: str,
    content: bytes | None = None,
    *,
    name: str = "photo.jpg",
    type: str = "image/jpeg",
    query: dict[str, str] | None = None,
    **parts: str,
) -> Response:
    """As the admin UI sends it, with `configId` in the form only."""
    file = (name, picture() if content is None else content, type)
    form = {"entityGuid": entity, "configId": program} | parts
    return await client.post(UPLOAD, data=form, files={"file": file}, params=query or {})


async def attach(client: AsyncClient, program: str, entity: str, content: bytes | None = None, **more: Any) -> Any:
    """The metadata of a new attachment."""
    answer = await upload(client, program, entity, content, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()["attachment"]


async def ask(client: AsyncClient, program: str, path: str, method: str = "GET", **more: Any) -> Response:
    params = {"configId": program} | more.pop("params", {})
    return await client.request(method, f"/api/attachments{path}", params=params, **more)


async def guids_of(client: AsyncClient, program: str, entity: str) -> list[str]:
    answer = await ask(client, program, f"/entity/{entity}")
    assert answer.status_code == 200, answer.text
    return [one["guid"] for one in answer.json()["attachments"]]


def form_of(*parts: tuple[str, bytes], boundary: str = "frontier", end: bool = True) -> tuple[bytes, dict[str, str]]:
    """A multipart body of parts with these heads, as text after `Content-Disposition: form-data; `, and its headers."""
    lines = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), content)
        for head, content in parts
    ]
    body = b"".join(lines) + (b"--%b--\r\n" % boundary.encode() if end else b"")
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


@dataclass(frozen=True)
class Kept:
    """All there is of a program's attachments, and of anybody's on their way."""

    rows: int
    contents: int
    loose: int
    objects: int
    spooled: int


NOTHING = Kept(0, 0, 0, 0, 0)


async def kept(hub: Hub, program: str) -> Kept:
    tables = ("attachments", "attachment_contents", "attachment_loose")
    async with hub.db.reading(EVERY_TENANT) as view:
        counts = []
        for name in tables:
            table = metadata.tables[name]
            found = select(func.count()).select_from(table).where(table.c.tenant_id == program)
            counts.append(int((await view.execute(found)).scalar_one()))
    objects = [one async for one in hub.objects.list(tenant_folder(TenantId(program)))]
    spool = hub.settings.data_dir / "spool"
    return Kept(*counts, len(objects), len(list(spool.glob("*"))))


async def send(
    app: FastAPI, token: str, pieces: Sequence[bytes], headers: dict[str, str], *, cut: bool = False
) -> tuple[int, bytes, int]:
    """An upload that arrives piece by piece; with `cut` the connection ends behind the last of them.

    Gives the status (0 without an answer), the answer, and how many pieces were asked for.
    """
    asked = 0
    status, body = 0, b""

    async def arriving() -> AsyncIterator[dict[str, Any]]:
        nonlocal asked
        for number, piece in enumerate(pieces, 1):
            asked = number
            yield {"type": "http.request", "body": piece, "more_body": cut or number < len(pieces)}
        while True:
            yield {"type": "http.disconnect"}

    source = arriving()

    async def receive() -> dict[str, Any]:
        return await anext(source)

    async def take(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    named = {"authorization": f"Bearer {token}", "host": "hub.test"} | {
        name.lower(): value for name, value in headers.items()
    }
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": UPLOAD,
        "raw_path": UPLOAD.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("hub.test", 80),
    }
    await app(scope, receive, take)  # type: ignore[arg-type]
    return status, body, asked


def new_guid() -> str:
    return str(uuid.uuid4())
