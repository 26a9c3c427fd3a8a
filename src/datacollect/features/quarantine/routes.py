"""`/api/sync/quarantine`: what the hub could not apply, and deciding about it. For supervisors."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from datacollect.eventstore.event import Event
from datacollect.features.entities.model import reserved_keys
from datacollect.features.quarantine import schemas, service
from datacollect.features.quarantine.errors import (
    InvalidDecision,
    InvalidQuarantineQuery,
    QuarantinedClosed,
    QuarantinedNotFound,
    ReplayRejected,
)
from datacollect.features.quarantine.model import Kind, Outcome, Quarantined, Status, Verdict
from datacollect.features.sync.payload import AS_SENT, read_push
from datacollect.http.body import ProgramBody
from datacollect.http.current import CurrentHub
from datacollect.http.log_turn import log_turn, still
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InSync
from datacollect.http.wire import EMPTY_IS_ABSENT
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.errors import InvalidPayload
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.permission import Callers
from datacollect.kernel.tenancy import Tenant

router = APIRouter(prefix="/api/sync/quarantine", tags=["Synchronization"])

MOST_LISTED = 1000
DEFAULT_LISTED = 100

_STATUSES: dict[str, tuple[Status | None, Kind | None]] = {
    "open": (Status.OPEN, None),
    "blocking": (Status.OPEN, Kind.BLOCKING),
    "replayed": (Status.REPLAYED, None),
    "discarded": (Status.DISCARDED, None),
    "accepted": (Status.ACCEPTED, None),
    "all": (None, None),
}
_WHOLE_NUMBER = re.compile(r"[0-9]{1,4}")
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9a-f-]{36})")
_READ = "read-quarantine"

_NOT_FOUND = {404: "There is no such event in this program's quarantine."}
_TOO_LARGE = {413: "The body is too large, or the events are too large together: name fewer of them."}
_DECIDED = _NOT_FOUND | {409: "It has been replayed, discarded or accepted already."}

QuarantinedId = Annotated[str, Path(alias="id", description="The quarantined event's `id`, not its guid.")]

Judge = Annotated[Entered, Depends(InSync(Action.APPROVE, callers=Callers.STAFF, whole=True))]


def _deciding(model: type[BaseModel], *, required: bool = True) -> Any:
    """As `Judge`, for a route with a body."""
    body = ProgramBody(model, refused=InvalidDecision, required=required)
    return Depends(InSync(Action.APPROVE, callers=Callers.STAFF, whole=True, body=body))


@router.get("", summary="List quarantined events", response_model=schemas.QuarantineList, responses=errors(400))
async def list_quarantined(
    hub: CurrentHub,
    judge: Judge,
    status: Annotated[
        str,
        Query(
            description="`open`, `blocking` (open, and stopping a device), `replayed`, `discarded`, `accepted`, `all`."
        ),
    ] = "open",
    device_id: Annotated[
        str | None, Query(alias="deviceId", description="Only those this device sent."), EMPTY_IS_ABSENT
    ] = None,
    code: Annotated[str | None, Query(description="Only those refused for this reason."), EMPTY_IS_ABSENT] = None,
    entity_guid: Annotated[
        str | None, Query(alias="entityGuid", description="Only those about this entity."), EMPTY_IS_ABSENT
    ] = None,
    limit: Annotated[str, Query(description="At most this many, 1-1000.")] = str(DEFAULT_LISTED),
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> dict[str, Any]:
    """What the program could not apply, the latest first. Needs a supervisor whose scope is the whole program.

    An open event that a device has sent again since, and that could be applied then, is closed as `accepted` when a list
    comes across it; so is one that was discarded and sent again all the same, with the reason it was discarded for.
    """
    scope = judge.scope
    before = None if cursor is None else _CURSOR.fullmatch(cursor)
    if (
        (status or "open") not in _STATUSES
        or not _WHOLE_NUMBER.fullmatch(limit)
        or not 1 <= int(limit) <= MOST_LISTED
        or (cursor is not None and before is None)
    ):
        raise InvalidQuarantineQuery()
    wanted, kind = _STATUSES[status or "open"]
    filters = {"device_id": device_id, "code": code, "entity_guid": entity_guid}
    async with hub.db.reading(scope) as view:
        page = await service.list_newest(
            view,
            scope,
            status=wanted,
            kind=kind,
            filters={name: value for name, value in filters.items() if value is not None},
            before=None if before is None else (int(before[1]), before[2]),
            limit=int(limit),
        )
    if page.accepted:
        async with hub.db.transaction(scope) as tx:
            await service.close_accepted(tx, scope, page.accepted)
    if page.rows:
        await hub.reads.note(scope, judge.tenant, _READ, entity_guid or "*", count=len(page.rows))
    return {
        "quarantined": [_view(scope, row) for row in page.rows],
        "nextCursor": None if page.next_key is None else f"{page.next_key[0]}.{page.next_key[1]}",
    }


@router.get(
    "/{id}",
    summary="One quarantined event",
    response_model=schemas.QuarantineReply,
    responses=errors(400, texts=_NOT_FOUND),
)
async def get_quarantined(id: QuarantinedId, hub: CurrentHub, judge: Judge) -> dict[str, Any]:
    """The event as it came, why it was refused, and what was decided."""
    async with hub.db.reading(judge.scope) as view:
        row = await service.get(view, judge.scope, id)
    await hub.reads.note(judge.scope, judge.tenant, _READ, row.entity_guid, quarantinedId=id)
    return {"quarantined": _view(judge.scope, row)}


@router.post(
    "/replay",
    summary="Replay several events",
    response_model=schemas.BulkVerdicts,
    responses=errors(400, texts=_TOO_LARGE),
)
async def replay_several_quarantined(
    request: Request,
    hub: CurrentHub,
    judge: Annotated[Entered, _deciding(schemas.BulkReplay)],
) -> dict[str, Any]:
    """Apply up to 500 events as they came, oldest first, in one transaction; each gets a verdict."""
    scope, tenant, wanted = judge.scope, judge.tenant, judge.body
    ids = list(dict.fromkeys(wanted.ids))
    async with log_turn(hub, scope, still(request)) as tx:
        verdicts = await service.replay(tx, hub.log, scope, tenant, ids, {}, now=hub.clock.now())
    return _bulk(verdicts, Outcome.REPLAYED)


@router.post(
    "/discard",
    summary="Discard several events",
    response_model=schemas.BulkVerdicts,
    responses=errors(400, texts=_TOO_LARGE),
)
async def discard_several_quarantined(
    request: Request,
    hub: CurrentHub,
    judge: Annotated[Entered, _deciding(schemas.BulkDiscard)],
) -> dict[str, Any]:
    """Decide that up to 500 events are not to be applied; each gets a verdict."""
    scope, wanted = judge.scope, judge.body
    ids = list(dict.fromkeys(wanted.ids))
    async with log_turn(hub, scope, still(request)) as tx:
        verdicts = await service.discard(tx, hub.log, scope, ids, reason=wanted.reason, now=hub.clock.now())
    return _bulk(verdicts, Outcome.DISCARDED)


@router.post(
    "/{id}/replay",
    summary="Replay a quarantined event",
    response_model=schemas.DecisionReply,
    responses=errors(
        400,
        texts=_DECIDED | {422: "It still cannot be applied; `code`, `path` and `message` say why. It stays open."},
    ),
)
async def replay_quarantined(
    request: Request,
    id: QuarantinedId,
    hub: CurrentHub,
    judge: Annotated[Entered, _deciding(schemas.Replay, required=False)],
) -> dict[str, Any]:
    """Apply the event, as it came or edited; every device gets it with its next pull.

    In the log the event is the operator's. A device that the event blocked gets past it, for its guid is then known.
    """
    scope, tenant, wanted = judge.scope, judge.tenant, judge.body
    edited = {} if wanted.event is None else {id: _read_event(wanted.event, tenant)}
    async with log_turn(hub, scope, still(request)) as tx:
        [verdict] = await service.replay(tx, hub.log, scope, tenant, [id], edited, now=hub.clock.now())
        _require_done(verdict)
        row = await service.get(tx, scope, id)
    return {"status": "success", "quarantined": _view(scope, row)}


@router.post(
    "/{id}/discard",
    summary="Discard a quarantined event",
    response_model=schemas.DecisionReply,
    responses=errors(400, texts=_DECIDED),
)
async def discard_quarantined(
    request: Request,
    id: QuarantinedId,
    hub: CurrentHub,
    judge: Annotated[Entered, _deciding(schemas.Discard)],
) -> dict[str, Any]:
    """Decide that the event is not to be applied. It stays here, with the reason.

    A device that it blocks gets past it with its next push: the event counts as applied there, with a warning.
    """
    scope, wanted = judge.scope, judge.body
    async with log_turn(hub, scope, still(request)) as tx:
        [verdict] = await service.discard(tx, hub.log, scope, [id], reason=wanted.reason, now=hub.clock.now())
        _require_done(verdict)
        row = await service.get(tx, scope, id)
    return {"status": "success", "quarantined": _view(scope, row)}


def _read_event(event: dict[str, Any], tenant: Tenant) -> Event:
    """An edited event, held to what a push is held to."""
    try:
        pushed = read_push({"events": [event]}, reserved=reserved_keys(tenant.custom_event_types))
    except InvalidPayload as invalid:
        issues = [issue | {"path": ["event", *issue["path"][2:]]} for issue in invalid.issues]
        raise InvalidDecision(issues, errors=issues) from None
    return pushed.events[0]


def _require_done(verdict: Verdict) -> None:
    """Raised inside the transaction, so that nothing of a refused decision stays."""
    if verdict.outcome is Outcome.NOT_FOUND:
        raise QuarantinedNotFound()
    if verdict.outcome is Outcome.CLOSED:
        raise QuarantinedClosed()
    if verdict.outcome is Outcome.REFUSED:
        raise ReplayRejected(failed=[verdict.to_wire()])


def _bulk(verdicts: Sequence[Verdict], outcome: Outcome) -> dict[str, Any]:
    done = sum(verdict.outcome is outcome for verdict in verdicts)
    return {
        "status": "success" if done == len(verdicts) else "partial",
        "done": done,
        "results": [verdict.to_wire() for verdict in verdicts],
    }


def _view(scope: TenantScope, row: Quarantined) -> dict[str, Any]:
    event = _as_sent(row)
    return {
        "id": row.id,
        "tenantId": scope.tenant_id,
        "kind": row.kind.value,
        "status": row.status.value,
        "eventGuid": row.event_guid,
        "entityGuid": row.entity_guid,
        "type": event["type"] if isinstance(event.get("type"), str) else "",
        "code": row.code,
        "message": row.message,
        "path": row.path,
        "actor": row.actor,
        "deviceId": row.device_id,
        "receivedAt": format_timestamp(row.received_at),
        "lastSeenAt": format_timestamp(row.last_seen_at),
        "attempts": row.attempts,
        "event": event,
        "replayedEvent": None if row.replayed_body is None else msgspec.json.decode(row.replayed_body),
        "closedAt": _text(row.closed_at),
        "closedBy": row.closed_by,
        "reason": row.reason,
    }


def _as_sent(row: Quarantined) -> dict[str, Any]:
    """The event, also when it has not the shape of one; what is no object is shown in one."""
    event: dict[str, Any] = msgspec.json.decode(row.body)
    if event["type"] == "" and event["data"].keys() == {AS_SENT}:
        sent = event["data"][AS_SENT]
        return sent if isinstance(sent, dict) else event["data"]
    return event


def _text(instant: Millis | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
