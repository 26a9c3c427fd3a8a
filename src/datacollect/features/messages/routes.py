"""`GET /api/messages`: what has become of a program's messages."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from datacollect.features.messages import service
from datacollect.features.messages.errors import InvalidMessagesQuery
from datacollect.features.messages.model import Status
from datacollect.features.messages.schemas import MessagePage
from datacollect.features.messages.views import message_document
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.cursor import read_place, write_place
from datacollect.kernel.identity import Action
from datacollect.messaging import Channel

router = APIRouter(prefix="/api/messages", tags=["Self-Service"])

MOST_LISTED = 500
DEFAULT_LISTED = 100
_LIMIT = re.compile(r"[0-9]{1,3}")
_MOST_MILLIS = 2**53

Operator = Annotated[Entered, Depends(InProgram(Action.SYNCHRONISE, whole=True))]


@router.get(
    "",
    summary="Messages to people",
    response_model=MessagePage,
    responses=errors(400, texts={404: "There is no running program of that id."}),
)
async def list_messages(
    hub: CurrentHub,
    operator: Operator,
    wanted: Annotated[
        str | None,
        Query(alias="status", description=f"Only those that are {', '.join(f'`{one}`' for one in Status)}."),
        EMPTY_IS_ABSENT,
    ] = None,
    limit: Annotated[str, Query(description=f"At most this many, 1-{MOST_LISTED}.")] = str(DEFAULT_LISTED),
    cursor: Annotated[str | None, Query(description="`nextCursor` of the page before.")] = None,
) -> dict[str, Any]:
    """Codes and notices of the last 30 days, the youngest first: how they were sent, and why they were not.

    Addresses are masked, texts are not told, and are not kept once a message is sent or given up. Needs a program
    administrator.
    """
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= MOST_LISTED:
        raise InvalidMessagesQuery()
    if wanted is not None and wanted not in set(Status):
        raise InvalidMessagesQuery()
    scope, now = operator.scope, hub.clock.now()
    async with hub.db.reading(scope) as view:
        page, following = await service.newest(
            view,
            scope,
            status=None if wanted is None else Status(wanted),
            before=None if cursor is None else _place(cursor),
            limit=int(limit),
        )
        used = await service.used_today(view, scope, now=now)
    return {
        "messages": [message_document(message) for message in page],
        "today": {"day": format_timestamp(now)[:10], "used": used, "most": hub.messages.most_per_day(operator.tenant)},
        "channels": {channel.value: hub.messages.channels.get(channel) for channel in Channel},
        "nextCursor": None if following is None else write_place(following),
    }


def _place(cursor: str) -> tuple[Millis, str]:
    try:
        created, message_id = read_place(cursor)
    except ValueError:
        raise InvalidMessagesQuery() from None
    is_time = isinstance(created, int) and not isinstance(created, bool) and 0 <= created < _MOST_MILLIS
    if not is_time or not isinstance(message_id, str) or "\0" in message_id or not message_id.isascii():
        raise InvalidMessagesQuery()
    return Millis(created), message_id
