"""`/api/sync`: push and pull. Hot routes: they read raw bytes and write bytes, and build no model in between."""

import re
from collections.abc import Collection
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from datacollect.db.turns import CROWD, tenants_turn
from datacollect.eventstore.log import Rejection
from datacollect.features.entities.model import reserved_keys
from datacollect.features.sync import service
from datacollect.features.sync.answering import answer
from datacollect.features.sync.errors import EventMalformed, InvalidLimit, PushOutOfScope, PushRejected, TooManyAreas
from datacollect.features.sync.payload import Push, read_push_in_turns, readable_part, unreadable_events
from datacollect.features.sync.schemas import CallbackReply, PullReply, PushReply, PushRequest
from datacollect.features.sync.scoping import begin_filing, begin_places, file_for, is_filed_for
from datacollect.features.sync.service import Mismatches, Prepared, PushResult
from datacollect.http.body import ProgramBody, Sent, read_body, take_json
from datacollect.http.current import CurrentHub, get_hub
from datacollect.http.direct import DirectRoute, directly
from datacollect.http.hub import Hub
from datacollect.http.limits import asks_little
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InSync
from datacollect.kernel.errors import InvalidJson, InvalidPayload
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.sync_scope import SyncScope
from datacollect.kernel.tenancy import Tenant

router = APIRouter(prefix="/api/sync", tags=["Synchronization"], route_class=DirectRoute)

DEFAULT_PAGE_WITH_AREAS = 100
LARGEST_PAGE = 5000
MOST_AREAS = 1000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")

_CACHING = {"none": None, "private": "private, no-cache", "shared": "public, no-cache"}
"""What caches are told of full pages, by `CACHE_PAGES`. Never to give one out unasked: rights can be taken away."""

_PREPARING = {503: "A large program is being prepared for limited scopes; come again after `Retry-After`."}
_HASH_HEADER = {"X-Sync-Scope-Hash": {"description": "The same as `scope.hash`.", "schema": {"type": "string"}}}

_TAG_HEADER = {
    "ETag": {"description": "Of a full page, which never changes.", "schema": {"type": "string"}},
}

_DEVICE_HEADER: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Device-Id",
            "in": "header",
            "required": False,
            "description": "Names the installation. Required when the caller's sync scope is limited.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        }
    ]
}


class _PushDocument(ProgramBody):
    """The body as decoded JSON; `payload.py` checks its shape, faster than the model that documents it."""

    async def __call__(self, request: Request) -> Sent:
        try:
            document = await take_json(request)
        except InvalidJson as refused:
            # A device that is not told which event it is sends all of them again, for ever.
            body = await read_body(request)
            part = await readable_part(body)
            if part is not None:
                request._body = b""  # as `take_json`
                return Sent(part, part)
            issues = await unreadable_events(body)
            if issues:
                refused.extra["errors"] = issues
            raise
        return Sent(document, document)


_DUPLICATES = (
    "Unresolved potential duplicates exist. A supervisor can decide about them: GET /api/potential-duplicates."
)

_PULLING = InSync(Action.READ)
Puller = Annotated[Entered, Depends(_PULLING)]
_PUSHING = InSync(Action.CREATE, body=_PushDocument(PushRequest, refused=InvalidPayload))
Pusher = Annotated[Entered, Depends(_PUSHING)]


async def _pull_at_once(request: Request) -> Response:
    """`pull_events`, with what FastAPI would give it."""
    hub, asked = await get_hub(request), request.query_params
    puller = await _PULLING.enter(request, hub)
    areas = asked.getlist("areaIds")
    # By the last of several, the events of the others would be passed over for good.
    area_ids = areas[0] if len(areas) == 1 else None
    return await pull_events(request, hub, puller, asked.get("since", ""), asked.get("limit"), area_ids)


@router.get(
    "/pull",
    summary="Pull events",
    response_model=PullReply,
    responses={
        200: {"headers": _HASH_HEADER | _TAG_HEADER},
        304: {"description": "The caller has this page already (`If-None-Match`).", "headers": _TAG_HEADER},
        **errors(400, texts=_PREPARING),
    },
    openapi_extra=_DEVICE_HEADER,
)
@directly(_pull_at_once)
async def pull_events(
    request: Request,
    hub: CurrentHub,
    puller: Puller,
    since: Annotated[str, Query(description="Empty, a timestamp, or a cursor as delivered.")] = "",
    limit: Annotated[
        str | None,
        Query(description="Events per page, 1-5000; default 10, or 100 with areaIds. A hub may be set to more."),
    ] = None,
    area_ids: Annotated[
        str | None,
        Query(alias="areaIds", description="Comma-separated hint; never widens. Sent more than once, it is ignored."),
    ] = None,
) -> Response:
    """The program's events in the order the hub committed them, oldest first, from where `since` left off.

    Follow `nextCursor` until it is null. A cursor made of any delivered event's `timestamp|guid` is understood for
    ever; a plain timestamp resumes at the first event with exactly that time, or else the first later one in log
    order. Events may come twice across syncs and are never skipped: ignore guids you know.
    """
    scope, tenant = puller.scope, puller.tenant
    at_work = hub.working.at_work
    if at_work >= CROWD or (at_work > 1 and not asks_little(request.scope)):
        await tenants_turn(scope.tenant_id)
    device = hub.devices.call(scope, request.headers)
    sync_scope = service.sync_scope_of(scope, tenant, now=hub.clock.now())
    service.accept_device(sync_scope, request.headers.get("x-device-id"))
    areas = _areas(area_ids)
    default = hub.settings.pull_page_events
    if areas or sync_scope.reach.is_by_area:
        default = max(default, DEFAULT_PAGE_WITH_AREAS)
    page_size = _page_size(limit, default)
    if sync_scope.is_limited:
        await _file(hub, scope, tenant, sync_scope)
    elif areas:
        await begin_places(hub.db, hub.log, scope)
    page = await service.pull(
        partial(hub.db.glancing, scope),
        hub.log,
        hub.pages,
        scope,
        tenant.version,
        sync_scope,
        since,
        areas=areas,
        limit=page_size,
        now=hub.clock.now(),
    )
    count = len(page)
    device.pulled(count, scope_hash=sync_scope.hash)
    if count:
        await hub.reads.note(scope, tenant, "read-events", "events", count=count, since=since)
    told: dict[str, Any] = {"nextCursor": None if page.next_cursor is None else str(page.next_cursor)}
    # Who sees a part of the program is not told what there is in the rest of it.
    if not sync_scope.is_limited and await hub.duplicates.has_open(scope):
        told["warnings"] = [_DUPLICATES]
    told["scope"] = sync_scope.to_wire()
    headers = {"X-Sync-Scope-Hash": sync_scope.hash}
    # What a limited reader gets can change with the reach of others; it is nobody else's anyway.
    caching = None if sync_scope.is_limited or areas else _CACHING[hub.settings.cache_pages]
    return await answer(request, page, told, headers, caching=caching)


@router.get(
    "/pull/callback",
    summary="Reserved for asynchronous external pull",
    response_model=CallbackReply,
    responses=errors(400),
)
async def pull_callback(puller: Puller) -> dict[str, str]:
    """Answers that it is not implemented, as the reference does; it has no effect."""
    return {"status": "not implemented"}


async def _push_at_once(request: Request) -> Response:
    """`push_events`, likewise."""
    hub = await get_hub(request)
    return await push_events(request, hub, await _PUSHING.enter(request, hub))


@router.post(
    "/push",
    summary="Push events",
    response_model=PushReply,
    responses={
        207: {"model": PushReply, "description": "Some events were refused; `failed` says which and why."},
        **errors(
            400,
            texts={422: "An event cannot be applied (`failed` names it), or all are out of scope; nothing was stored."},
        ),
    },
    openapi_extra=_DEVICE_HEADER,
)
@directly(_push_at_once)
async def push_events(
    request: Request,
    hub: CurrentHub,
    pusher: Pusher,
) -> Response:
    """Store events and apply them to the entities they are about. Answered means: on disk.

    All of a push is applied or none of it; an event whose guid is known counts as applied. With `"atomic": false`
    each event gets a verdict of its own: good ones are applied, bad ones come back in `failed` and are kept in
    quarantine. Programs with `formValidation` have events checked against their forms.
    """
    scope, tenant = pusher.scope, pusher.tenant
    device = hub.devices.call(scope, request.headers)
    pushed = await read_push_in_turns(pusher.body, reserved=reserved_keys(tenant.custom_event_types))
    sync_scope = service.sync_scope_of(scope, tenant, now=hub.clock.now())
    device_id = service.accept_device(sync_scope, request.headers.get("x-device-id"))
    writable = service.writable_reach(scope, tenant, sync_scope, now=hub.clock.now())
    if writable.is_bounded:
        await begin_filing(hub.db, hub.log, hub.clock, scope, tenant, sync_scope)
        scope = scope.limited_to(writable)
    past: Collection[int] = ()
    if pushed.malformed and pushed.atomic:
        past = await _past_malformed(hub, scope, pushed, device_id)
    result = await _pushed(hub, scope, tenant, pushed, device_id, past)
    if result.failed and not result.applied and pushed.atomic:
        raise PushOutOfScope(failed=result.failed)
    device.pushed(result.applied, scope_hash=sync_scope.hash, newest=result.newest)
    reply: dict[str, Any] = {
        "status": "partial" if result.failed else "success",
        "applied": result.applied,
        "failed": result.failed,
        "errors": [],
    }
    if result.warnings:
        reply["warnings"] = result.warnings
    return Response(msgspec.json.encode(reply), 207 if result.failed else 200, media_type="application/json")


async def _past_malformed(hub: Hub, scope: TenantScope, pushed: Push, device_id: str | None) -> Collection[int]:
    """The events without the shape of one that an operator has discarded, when the log has the others already; else the first
    that is left is noted as what blocks the device, and the push is refused. Raises `InvalidPush`."""
    async with hub.db.reading(scope) as view:
        held = await service.held_malformed(view, scope, pushed)
    left = {at: issues for at, issues in pushed.malformed.items() if at not in held}
    while left:
        index = next(iter(left))
        rejection = Rejection(index, pushed.events[index], EventMalformed(left[index][0]))
        given_up = await hub.quarantine.blocked(
            scope, rejection, pushed=pushed.events, device_id=device_id, now=hub.clock.now()
        )
        if index not in given_up:
            raise pushed.refused()
        left = {at: issues for at, issues in left.items() if at not in given_up}
    return frozenset(pushed.malformed) - frozenset(held)


async def _pushed(
    hub: Hub, scope: TenantScope, tenant: Tenant, pushed: Push, device_id: str | None, discarded: Collection[int]
) -> PushResult:
    """Store a push, without the events that an operator has discarded when one of them is what stands in its way."""
    mismatches = await service.find_mismatches(hub.checks, hub.log, tenant, pushed)
    prepared = await service.prepare(hub.log, pushed, now=hub.clock.now(), discarded=discarded)
    is_plain = not (scope.reach.is_bounded or mismatches or pushed.malformed)
    if not is_plain or not hub.together.is_small(prepared.weight):
        return await _pushed_alone(hub, scope, tenant, prepared, mismatches, device_id)
    async with hub.together.turn(tenant, prepared.share(scope, device_id), weight=prepared.weight) as kept:
        if kept is not None:
            return service.kept_together(prepared, kept)
        return await _pushed_alone(hub, scope, tenant, prepared, mismatches, device_id)


async def _pushed_alone(
    hub: Hub,
    scope: TenantScope,
    tenant: Tenant,
    prepared: Prepared,
    mismatches: Mismatches,
    device_id: str | None,
) -> PushResult:
    pushed, now, discarded = prepared.pushed, hub.clock.now(), frozenset(prepared.left_out)
    while True:
        try:
            async with hub.db.in_turn(scope, events=prepared.weight) as tx:
                keep = partial(hub.quarantine.keep, tx, scope, device_id=device_id, now=now)
                return await service.push(
                    tx, hub.log, scope, tenant, prepared, mismatches=mismatches, device_id=device_id, keep=keep
                )
        except PushRejected as refusal:
            given_up = await hub.quarantine.blocked(
                scope, refusal.rejection, pushed=pushed.events, device_id=device_id, now=now
            )
            if discarded.issuperset(given_up):
                raise
            discarded |= frozenset(given_up)
            prepared = await service.prepare(hub.log, pushed, now=now, discarded=discarded)


async def _file(hub: Hub, scope: TenantScope, tenant: Tenant, sync_scope: SyncScope) -> None:
    """Have the log filed by place, as readers of a part of it need it."""
    async with hub.db.glancing(scope) as view:
        if await is_filed_for(view, hub.log, scope, sync_scope):
            return
    await file_for(hub.db, hub.log, hub.clock, scope, tenant, sync_scope)


def _areas(hint: str | None) -> list[str]:
    areas = list(dict.fromkeys(filter(None, map(str.strip, (hint or "").split(",")))))
    if len(areas) > MOST_AREAS:
        raise TooManyAreas()
    return areas


def _page_size(limit: str | None, default: int) -> int:
    if not limit:
        return default
    # Digits only: int() would take signs, spaces and underscores too.
    if not _WHOLE_NUMBER.fullmatch(limit) or not 1 <= int(limit) <= LARGEST_PAGE:
        raise InvalidLimit()
    return int(limit)
