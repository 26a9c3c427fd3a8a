"""`/api/sync/push/audit-logs` and `/api/sync/pull/audit-logs`."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from datacollect.features.audit import service
from datacollect.features.audit.errors import AuditProgramNotFound, InvalidAuditLogs, InvalidAuditQuery
from datacollect.features.audit.model import BEGINNING, AuditEntry, Place, parse_place
from datacollect.features.audit.schemas import AuditLogIn, AuditLogPush, AuditLogPushReply, AuditLogView
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.ids import TenantId, is_device_id

router = APIRouter(prefix="/api/sync", tags=["Synchronization"])

LARGEST_PAGE = 5000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")

_NO_PROGRAM = errors(400, texts={404: "There is no running program of that id."})
_PAGING = {
    "X-Next-Cursor": {
        "description": "Sent when the page is full: the `cursor` of the next one.",
        "schema": {"type": "string"},
    },
    "Link": {"description": 'The same as an address, with `rel="next"`.', "schema": {"type": "string"}},
}


def _no_program(_: TenantId) -> AuditProgramNotFound:
    return AuditProgramNotFound()


_PUSHED = ProgramBody(AuditLogPush, refused=InvalidAuditLogs)
Writer = Annotated[Entered, Depends(InProgram(Action.CREATE, body=_PUSHED, missing=_no_program))]
Auditor = Annotated[Entered, Depends(InProgram(Action.APPROVE, whole=True, missing=_no_program))]


@router.post(
    "/push/audit-logs",
    summary="Push audit logs",
    response_model=AuditLogPushReply,
    response_model_exclude_none=True,
    responses=_NO_PROGRAM,
)
async def push_audit_logs(
    request: Request,
    hub: CurrentHub,
    writer: Writer,
) -> dict[str, Any]:
    """Store what a device has noted of its own. All of a call is stored or none; a known guid counts as stored.

    The entries' user is the caller, whatever they say. An entry whose guid stands for another one comes back in
    `warnings`, and is not stored.
    """
    scope, now = writer.scope, hub.clock.now()
    device_id = request.headers.get("x-device-id", "")
    entries = [
        _entry(item, scope, device_id if is_device_id(device_id) else None, now) for item in writer.body.audit_logs
    ]
    try:
        async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
            warned = await service.push(tx, hub.log, scope, entries, now=now)
    except TenantUnknown as closed:
        # Archived between the look-up and the lock.
        raise AuditProgramNotFound() from closed
    return {"status": "success", "warnings": warned or None}


@router.get(
    "/pull/audit-logs",
    summary="Pull audit logs",
    response_model=list[AuditLogView],
    responses={200: {"headers": _PAGING}, **_NO_PROGRAM},
)
async def pull_audit_logs(
    request: Request,
    hub: CurrentHub,
    auditor: Auditor,
    since: Annotated[
        str, Query(description="Only what was recorded, or claims to be, later than this timestamp.")
    ] = "",
    limit: Annotated[
        str,
        Query(
            description="Entries per page, 1-5000. Without it, and without `cursor`, 1000 and what else was recorded in "
            "the millisecond of the last one."
        ),
    ] = "",
    cursor: Annotated[str, Query(description="Where the last page ended, from `X-Next-Cursor`.")] = "",
    entity_guid: Annotated[str, Query(alias="entityGuid", description="Only those of this entity.")] = "",
) -> Response:
    """The program's audit trail in the order in which the hub stored it, oldest first. Needs a supervisor.

    It tells every event, what each did to other entities, what was deleted, values that lost against later ones, and
    what devices have pushed. A reader that follows `X-Next-Cursor`, and keeps the last one it got, misses nothing that
    is stored while it reads.
    """
    scope = auditor.scope
    start, after = _start(since), _after(cursor)
    most = _limit(limit) if limit else None
    if cursor and most is None:
        most = service.DEFAULT_PAGE
    async with hub.db.reading(scope) as view:
        page = await service.pull(
            view, hub.log, scope, since=start, after=after, entity_guid=entity_guid or None, limit=most
        )
    if page.entries:
        await hub.reads.note(scope, auditor.tenant, "read-audit-trail", entity_guid or "*", count=len(page.entries))
    headers = {}
    if page.next_cursor is not None:
        following = {**request.query_params, "cursor": str(page.next_cursor)}
        headers["X-Next-Cursor"] = str(page.next_cursor)
        headers["Link"] = f'<{request.url.path}?{urlencode(following)}>; rel="next"'
    body = msgspec.json.encode([service.shown(told) for told in page.entries])
    return Response(body, media_type="application/json", headers=headers)


def _entry(sent: AuditLogIn, scope: TenantScope, device_id: str | None, now: Millis) -> AuditEntry:
    caller = scope.actor.event_user_id
    return AuditEntry(
        place=BEGINNING,
        guid=sent.guid,
        recorded_at=now,
        occurred_at=parse_timestamp(sent.timestamp),
        user_id=caller,
        action=sent.action,
        event_guid=sent.event_guid,
        entity_guid=sent.entity_guid,
        changes=sent.changes,
        signature=sent.signature,
        claimed_user_id=sent.user_id,
        actor=caller,
        device_id=device_id,
    )


def _limit(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise InvalidAuditQuery()
    return int(text)


def _start(since: str) -> Millis | None:
    try:
        return parse_timestamp(since) if since else None
    except ValueError:
        raise InvalidAuditQuery() from None


def _after(cursor: str) -> Place:
    try:
        return parse_place(cursor) if cursor else BEGINNING
    except ValueError:
        raise InvalidAuditQuery() from None
