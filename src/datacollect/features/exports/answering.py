"""The answer that is an export: sent as it is made, and only as fast as its reader reads.

What goes wrong before the first byte is an error like any other. Later the connection is closed without the end that
HTTP asks for, so that no client takes the file for a whole one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from datacollect.features.exports.errors import RightWithdrawn
from datacollect.features.exports.model import Order
from datacollect.features.exports.service import Export
from datacollect.http.guard import TookTooLong
from datacollect.http.hub import Exports
from datacollect.http.sending import STALL_SECONDS, send_piece, send_while_read
from datacollect.kernel.errors import Forbidden, NotFound, Unauthenticated
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

MOST_SECONDS = 2 * 3600.0
"""As long as an export may keep the database from tidying up behind it."""

RECHECK_SECONDS = 5.0
"""How long after its taker's right was withdrawn an export may go on, when the next piece is there."""

_log = structlog.get_logger(component="exports")


class ExportAnswer(Response):
    """Makes the export, and lets go of all it takes when it is sent or its reader has gone."""

    def __init__(
        self,
        exports: Exports,
        scope: TenantScope,
        tenant: Tenant,
        order: Order,
        *,
        headers: Mapping[str, str],
        require_still: Callable[[], Awaitable[None]],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        super().__init__(headers=headers, media_type=order.media_type)
        del self.headers["content-length"]
        self._exports = exports
        self._scope = scope
        self._tenant = tenant
        self._order = order
        self._require_still = require_still
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        if not await send_while_read(self._work(send), receive):
            _log.info("export.abandoned")

    async def _work(self, send: Send) -> None:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                async with self._exports.export(self._scope, self._tenant, self._order) as export:
                    await self._send(export, send)
                _log.info("export.sent", **export.tally.told())
        except TimeoutError as error:
            raise TookTooLong() from error
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, export: Export, send: Send) -> None:
        piece: bytes | None = await anext(export.pieces, b"")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        clock = asyncio.get_running_loop().time
        asked = clock()
        while piece is not None:
            await send_piece(send, piece, stall_seconds=self._stall_seconds)
            piece = await anext(export.pieces, None)
            if clock() - asked >= RECHECK_SECONDS:
                await self._ask_again()
                asked = clock()

    async def _ask_again(self) -> None:
        try:
            await self._require_still()
        except (Unauthenticated, Forbidden, NotFound) as refused:
            _log.warning("export.right_withdrawn", code=refused.code)
            raise RightWithdrawn() from refused
