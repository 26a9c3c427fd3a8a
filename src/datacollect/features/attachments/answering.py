"""The answer that is a file: sent as it is read, and only as fast as its reader takes it.

What goes wrong before the first byte is an error like any other, so that bytes that are missing never look like a file.
Later the connection is closed before the length that was promised.
"""

from collections.abc import Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from datacollect.features.attachments.contents.model import Content
from datacollect.features.attachments.model import Part
from datacollect.http.sending import STALL_SECONDS, send_piece, send_while_read
from datacollect.kernel.ids import TenantId
from datacollect.objects import ObjectStore, Opened

_log = structlog.get_logger(component="attachments")


class FileAnswer(Response):
    """Opens the file, sends the part of it, and closes it whatever becomes of its reader."""

    def __init__(
        self,
        objects: ObjectStore,
        tenant_id: TenantId,
        content: Content,
        part: Part | None,
        *,
        headers: Mapping[str, str],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        sent = part or Part(0, content.size_bytes - 1)
        told = {**headers, "Content-Length": str(sent.size_bytes)}
        if part is not None:
            told["Content-Range"] = f"bytes {part.first}-{part.last}/{content.size_bytes}"
        super().__init__(status_code=200 if part is None else 206)
        self.raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
        self._objects = objects
        self._key = content.key(tenant_id)
        self._size_bytes = content.size_bytes
        self._part = sent
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        end = self._part.last + 1
        async with await self._objects.open(self._key, self._size_bytes, start=self._part.first, end=end) as opened:
            if not await send_while_read(self._send(opened, send), receive):
                _log.info("attachment.download_abandoned")

    async def _send(self, opened: Opened, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in opened:
            await send_piece(send, piece, stall_seconds=self._stall_seconds)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
