"""`GET /api/security-log`, for administrators."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query

from datacollect.features.security_log import service
from datacollect.features.security_log.errors import InvalidSecurityLogQuery
from datacollect.features.security_log.model import Entry, Filters, Mark, SecurityAction
from datacollect.features.security_log.schemas import SecurityLogPage
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import CurrentAdmin
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp

router = APIRouter(prefix="/api/security-log", tags=["User Management"])

MOST_LISTED = 500
DEFAULT_LISTED = 100

_USER_ID = re.compile(r"[0-9]{1,9}")
_CURSOR = re.compile(r"(-?[0-9]{1,15})-([0-9]{1,18})")
_LIMIT = re.compile(r"[0-9]{1,3}")
_ACTIONS = ", ".join(f"`{action.value}`" for action in SecurityAction)

Text = str | None


@router.get("", summary="The security log", response_model=SecurityLogPage, responses=errors(400))
async def list_security_log(
    hub: CurrentHub,
    _: CurrentAdmin,
    action: Annotated[Text, Query(description=f"Only this: {_ACTIONS}.")] = None,
    user_id: Annotated[Text, Query(alias="userId", description="Only what is about this account.")] = None,
    actor_id: Annotated[Text, Query(alias="actorId", description="Only what this account did.")] = None,
    tenant_id: Annotated[Text, Query(alias="tenantId", description="Only what is about this program.")] = None,
    since: Annotated[Text, Query(description="From this instant on.")] = None,
    until: Annotated[Text, Query(description="Before this instant.")] = None,
    limit: Annotated[str, Query(description="At most this many, 1-500.")] = str(DEFAULT_LISTED),
    cursor: Annotated[Text, Query(description="From the page before.")] = None,
) -> dict[str, Any]:
    """Sign-ins, refreshes, sessions ended, changes of accounts and passwords, and what was done to programs, the newest first.

    Neither passwords nor tokens nor e-mails are in it. It is kept for `SECURITY_LOG_DAYS`.
    """
    try:
        filters = Filters(
            action=None if action is None else SecurityAction(action),
            actor_user_id=_number(actor_id, _USER_ID),
            subject_user_id=_number(user_id, _USER_ID),
            tenant_id=tenant_id,
            since=_instant(since),
            until=_instant(until),
        )
        before, most = _mark(cursor), _number(limit, _LIMIT)
    except ValueError:
        raise InvalidSecurityLogQuery() from None
    if most is None or not 1 <= most <= MOST_LISTED:
        raise InvalidSecurityLogQuery()
    async with hub.db.reading() as view:
        entries, following = await service.newest(view, filters, before=before, limit=most)
    return {
        "entries": [_view(entry) for entry in entries],
        "nextCursor": None if following is None else f"{following.recorded_at}-{following.id}",
    }


def _number(text: str | None, form: re.Pattern[str]) -> int | None:
    if text is None:
        return None
    if not form.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _mark(text: str | None) -> Mark | None:
    if text is None:
        return None
    read = _CURSOR.fullmatch(text)
    if read is None:
        raise ValueError(text)
    return Mark(Millis(int(read[1])), int(read[2]))


def _instant(text: str | None) -> Millis | None:
    return None if text is None else parse_timestamp(text)


def _view(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "recordedAt": format_timestamp(entry.recorded_at),
        "action": entry.action,
        "actorUserId": entry.actor_user_id,
        "userId": entry.subject_user_id,
        "hint": entry.subject_hint,
        "tenantId": entry.tenant_id,
        "origin": entry.origin,
        "requestId": entry.request_id,
        "details": entry.details,
    }
