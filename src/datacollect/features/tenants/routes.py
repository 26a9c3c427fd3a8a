"""`/api/apps`: programs."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ValidationError

from datacollect.db import EVERY_TENANT
from datacollect.features.tenants import schemas, service
from datacollect.features.tenants.accepting import Accepted, accept, dumped, issues_with_paths
from datacollect.features.tenants.artifacts_routes import base_url_warnings, own_address
from datacollect.features.tenants.config_schemas import ProgramConfig
from datacollect.features.tenants.errors import (
    InvalidConfigId,
    NoConfigUploaded,
    ProgramAccessDenied,
)
from datacollect.features.tenants.linting import lint_section
from datacollect.features.tenants.listing import Line, list_page
from datacollect.features.tenants.model import LARGEST_CONFIG_BYTES, ListQuery, Progress, status_of
from datacollect.features.tenants.published import login_screen
from datacollect.features.tenants.revising import (
    CHANGED,
    REVISED,
    TAKEN,
    done,
    etag_for,
    expected_of,
    json_answer,
    saved,
)
from datacollect.features.tenants.seeding import SeedPlan, plan_of, seed_records
from datacollect.http.aside import aside, breathe
from datacollect.http.body import JsonBody, read_body
from datacollect.http.conditional import holds
from datacollect.http.current import CurrentHub
from datacollect.http.decoding import strict_json
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC, ByPath, CurrentAdmin, CurrentUser, ProgramId
from datacollect.http.source import CurrentSource, source_of
from datacollect.http.upload import JsonUpload, is_form
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.errors import AdminRequired, InvalidPayload
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.ids import TenantId, is_config_id
from datacollect.kernel.permission import Callers

apps = APIRouter(prefix="/api/apps", tags=["App Configuration"])

Manager = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG, whole=True, denied=AdminRequired))]
"""Who may change this program: an ADMIN, or a `system-admin` of the whole program. Its config says who is let in and as what,
so that somebody limited to an area could lift that limit by it."""

Owner = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG, callers=Callers.ADMIN))]
"""Who may stop it and start it again."""

Member = Annotated[TenantScope, Depends(ByPath(Action.READ, denied=ProgramAccessDenied))]


def _program_id(program_id: ProgramId) -> TenantId:
    if not is_config_id(program_id):
        raise InvalidConfigId()
    return TenantId(program_id)


class _ConfigUpload(JsonUpload):
    async def __call__(self, request: Request) -> Any:
        document = await super().__call__(request)
        # A body that was never meant to be a config: clients that forget the file send their other fields as JSON.
        if isinstance(document, dict) and not is_form(request) and not {"id", "name"} & set(document):
            raise NoConfigUploaded()
        return document


class _Section(JsonBody):
    """One section of a config; errors carry the text the contract gives for it."""

    def __init__(self, model: type[BaseModel], key: str) -> None:
        super().__init__(model)
        self._key = key

    async def __call__(self, request: Request) -> BaseModel:
        try:
            return self.model.model_validate(strict_json(await read_body(request)))
        except ValidationError as invalid:
            raise InvalidPayload(issues_with_paths(invalid), f"Invalid {self._key} payload") from None


PATCHED = {**REVISED, **errors(404, texts={412: CHANGED})}

_config_upload = _ConfigUpload(
    ProgramConfig, field="config", missing=NoConfigUploaded, largest_bytes=LARGEST_CONFIG_BYTES
)
UploadedConfig = Annotated[Any, Depends(_config_upload)]


@apps.get("", summary="List programs", response_model=schemas.ProgramList, responses=errors(401, 403))
async def list_apps(
    hub: CurrentHub,
    actor: CurrentUser,
    page: Annotated[str | None, Query(description="From 1; past the end means the last page.")] = None,
    page_size: Annotated[str | None, Query(alias="pageSize", description="1-100, default 12.")] = None,
    sort_by: Annotated[str, Query(alias="sortBy", description="`name`, `id` or `entitiesCount`.")] = "name",
    sort_order: Annotated[str, Query(alias="sortOrder", description="`asc` or `desc`.")] = "asc",
    search: Annotated[str, Query(description="Part of the name, id or version.")] = "",
    include_archived: Annotated[str, Query(alias="includeArchived", description="`true` to include them.")] = "",
) -> schemas.ProgramList:
    """Programs you may see. Secrets of external systems are masked unless you are an administrator."""
    query = ListQuery(
        page=max(1, _whole_number(page, 1)),
        page_size=min(100, max(1, _whole_number(page_size, 12))),
        sort_by=sort_by,
        descending=sort_order.lower() == "desc",
        search=search.strip().lower(),
        include_archived=include_archived == "true",
    )
    async with hub.db.reading(EVERY_TENANT) as view:
        found = await list_page(view, actor, query, seals=hub.seals)
    meta = schemas.ListMeta(
        total=found.total,
        page=found.page,
        page_size=query.page_size,
        total_pages=found.total_pages,
        sort_by=query.sort_by,
        sort_order="desc" if query.descending else "asc",
        search=query.search,
    )
    return schemas.ProgramList(data=[_line(line) for line in found.lines], meta=meta)


@apps.post(
    "",
    summary="Create or replace a program",
    response_model=schemas.Saved,
    responses={**REVISED, **errors(400, 413, 415, texts={409: TAKEN, 412: CHANGED})},
)
async def create_app(
    request: Request, hub: CurrentHub, actor: CurrentAdmin, source: CurrentSource, uploaded: UploadedConfig
) -> Response:
    """Upload a config as multipart part `config` (application/json), or as the JSON body itself.

    On an id that exists it replaces the program, keeps its `artifactId` and seeds only what is not there yet. With
    `If-None-Match: *` it creates only, and answers 409 for an id that exists.

    With more than a thousand events to seed it answers at once and goes on in the background: `seeding` in the
    answer and in `GET /api/apps/{id}` says how far it is. Another upload meanwhile takes the place of what is left.
    """
    accepted, plan = await _prepared(hub, uploaded)
    scope = actor.in_tenant(TenantId(accepted.document["id"]), Action.MANAGE_CONFIG)
    expected, now = expected_of(request, creating=True), hub.clock.now()
    async with hub.db.transaction(scope) as tx:
        stored = await service.upload(
            tx,
            scope,
            accepted,
            plan,
            log=hub.log,
            seals=hub.seals,
            base_url=own_address(request, hub),
            expected=expected,
            source=source,
            now=now,
            at_once=hub.seed_amounts.at_once,
        )
    hub.tenants.forget([scope.tenant_id])
    return saved(stored, base_url_warnings(request, hub))


@apps.put(
    "/{id}",
    summary="Replace a program",
    response_model=schemas.Saved,
    responses={**REVISED, **errors(400, 404, 413, 415, texts={412: CHANGED})},
)
async def replace_app(
    request: Request,
    hub: CurrentHub,
    manager: Manager,
    source: CurrentSource,
    program_id: ProgramId,
    uploaded: UploadedConfig,
) -> Response:
    """Replace the whole config; what is left out is gone. Seed data is stored but not seeded.

    A secret sent as `********` keeps its stored value. With `If-Match: "<revision>"` a program that somebody else has
    changed meanwhile answers 412.
    """
    _program_id(program_id)
    accepted, _ = await _prepared(hub, uploaded)
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(manager) as tx:
        stored = await service.replace_program(
            tx,
            manager,
            accepted,
            seals=hub.seals,
            base_url=own_address(request, hub),
            expected=expected,
            source=source,
            now=now,
        )
    hub.tenants.forget([manager.tenant_id])
    return saved(stored, base_url_warnings(request, hub))


@apps.get(
    "/{id}",
    summary="Read a program",
    response_model=schemas.ProgramOut,
    responses={
        **REVISED,
        304: {"description": "The program is at the revision named by If-None-Match."},
        **errors(403, 404),
    },
)
async def get_app(request: Request, hub: CurrentHub, member: Member, program_id: ProgramId) -> Response:
    """The whole config, of archived programs too.

    Who is not an ADMIN sees secrets as `********`, and who may not change the program sees no seed data.
    """
    headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    async with hub.db.reading(member) as view:
        if "if-none-match" in request.headers:
            revision = await service.read_revision(view, member, seals=hub.seals)
            if revision is not None and holds(request, etag_for(member, revision)):
                return Response(status_code=304, headers=headers | {"ETag": etag_for(member, revision)})
        shown = await service.read_program(view, member, seals=hub.seals)
    if not shown.is_whole:
        # At the same revision there will be more to see: seeds are still to come, or the key that opens a secret.
        headers["Cache-Control"] = "no-store"
    return json_answer(shown.document, headers | {"ETag": etag_for(member, shown.revision)})


@apps.get(
    "/{id}/public",
    summary="What a login screen needs",
    response_model=schemas.ProgramLogin,
    responses=errors(404, 429),
    dependencies=[PUBLIC],
)
async def get_app_login(hub: CurrentHub, program_id: ProgramId) -> Response:
    """Open to everybody, 60 times in 15 minutes: name, languages and ways to sign in of a running program."""
    async with hub.db.reading() as view:
        program = await service.get_public(view, TenantId(program_id), seals=hub.seals)
    return json_answer(login_screen(program))


@apps.delete(
    "/{id}",
    summary="Archive a program",
    response_model=schemas.ProgramReply,
    responses={**REVISED, **errors(400, 404, texts={412: CHANGED})},
)
async def archive_app(
    request: Request, hub: CurrentHub, owner: Owner, source: CurrentSource, program_id: ProgramId
) -> Response:
    """Stop the program: sync answers as for an unknown one, its files are gone. Its data stays; see restore."""
    _program_id(program_id)
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(owner) as tx:
        revision = await service.archive(tx, owner, log=hub.log, expected=expected, source=source, now=now)
    hub.tenants.forget([owner.tenant_id])
    return done({}, revision)


@apps.post(
    "/{id}/restore",
    summary="Restore a program",
    response_model=schemas.ProgramReply,
    responses={**REVISED, **errors(400, 404, texts={412: CHANGED})},
)
async def restore_app(
    request: Request, hub: CurrentHub, owner: Owner, source: CurrentSource, program_id: ProgramId
) -> Response:
    """Let an archived program run again, with its data and under the same QR code."""
    _program_id(program_id)
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(owner) as tx:
        revision = await service.restore(tx, owner, log=hub.log, expected=expected, source=source, now=now)
    hub.tenants.forget([owner.tenant_id])
    return done({}, revision)


@apps.patch(
    "/{id}/syncScope",
    summary="Limit a program's sync",
    response_model=schemas.SyncScopePatched,
    responses=PATCHED,
)
async def patch_sync_scope(
    request: Request,
    hub: CurrentHub,
    manager: Manager,
    program_id: ProgramId,
    body: Annotated[schemas.SyncScopePatch, Depends(_Section(schemas.SyncScopePatch, "syncScope"))],
) -> Response:
    """How much of the program a device may hold; null lifts the limit."""
    section = None if body.sync_scope is None else dumped(body.sync_scope)
    return await _patch(request, hub, manager, program_id, "syncScope", section)


@apps.patch(
    "/{id}/programs",
    summary="Offer programs for enrolment",
    response_model=schemas.ProgramsPatched,
    responses=PATCHED,
)
async def patch_programs(
    request: Request,
    hub: CurrentHub,
    manager: Manager,
    program_id: ProgramId,
    body: Annotated[schemas.ProgramsPatch, Depends(_Section(schemas.ProgramsPatch, "programs"))],
) -> Response:
    """Set the programs of the external system offered for enrolment; null clears them."""
    section = None if body.programs is None else [dumped(program) for program in body.programs]
    return await _patch(request, hub, manager, program_id, "programs", section, shown=section or [])


@apps.patch(
    "/{id}/claim169",
    summary="Set the trusted issuers of Claim 169",
    response_model=schemas.Claim169Patched,
    responses=PATCHED,
)
async def patch_claim169(
    request: Request,
    hub: CurrentHub,
    manager: Manager,
    program_id: ProgramId,
    body: Annotated[schemas.Claim169Patch, Depends(_Section(schemas.Claim169Patch, "claim169"))],
) -> Response:
    """Set or, with null, clear the section."""
    section = None if body.claim169 is None else dumped(body.claim169)
    return await _patch(request, hub, manager, program_id, "claim169", section)


@apps.patch(
    "/{id}/inji",
    summary="Set the Inji credential config",
    response_model=schemas.InjiPatched,
    responses=PATCHED,
)
async def patch_inji(
    request: Request,
    hub: CurrentHub,
    manager: Manager,
    program_id: ProgramId,
    body: Annotated[schemas.InjiPatch, Depends(_Section(schemas.InjiPatch, "inji"))],
) -> Response:
    """Set or, with null, clear the section."""
    section = None if body.inji is None else dumped(body.inji)
    return await _patch(request, hub, manager, program_id, "inji", section)


@apps.post(
    "/{id}/artifact/rotate",
    summary="Give a program another QR code",
    response_model=schemas.Saved,
    responses=PATCHED,
)
async def rotate_artifact(request: Request, hub: CurrentHub, manager: Manager, program_id: ProgramId) -> Response:
    """A new artifact id: files and codes of the old one answer 404 at once. Devices that have the program go on."""
    _program_id(program_id)
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(manager) as tx:
        artifact_id, revision = await service.rotate_artifact(
            tx, manager, expected=expected, source=source_of(request), now=now
        )
    hub.tenants.forget([manager.tenant_id])
    return done({"artifactId": artifact_id}, revision, base_url_warnings(request, hub))


async def _prepared(hub: Hub, uploaded: Any) -> tuple[Accepted, SeedPlan]:
    """All that can be done with an upload without the database; with many seeds it takes seconds."""
    https_only, sends_codes = hub.settings.providers_need_https, hub.settings.sends_codes

    def prepare() -> tuple[Accepted, SeedPlan]:
        accepted = accept(uploaded, https_only=https_only, sends_codes=sends_codes)
        records = seed_records(accepted.document.get("entityForms", ()), accepted.entity_data)
        return accepted, plan_of(records, most_records=hub.seed_amounts.batch_records, pause=breathe)

    return await aside(prepare)


async def _patch(
    request: Request, hub: Hub, manager: TenantScope, program_id: str, key: str, section: Any, *, shown: Any = None
) -> Response:
    """Store one section; the answer repeats it, or `shown` in its place."""
    _program_id(program_id)
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(manager) as tx:
        revision = await service.replace_section(
            tx, manager, key, section, expected=expected, source=source_of(request), now=now
        )
    hub.tenants.forget([manager.tenant_id])
    warnings = [*(finding.text for finding in lint_section(key, section)), *base_url_warnings(request, hub)]
    return done({key: section if shown is None else shown}, revision, warnings)


def _line(line: Line) -> schemas.ProgramLine:
    program = line.program
    return schemas.ProgramLine(
        id=program.id,
        artifact_id=program.artifact_id,
        name=program.name,
        version=program.version or "",
        description=program.description or "",
        external_sync=dict(line.external_sync),
        entities_count=line.entities_count,
        archived_at=None if program.archived_at is None else format_timestamp(program.archived_at),
        status=status_of(program.archived_at),
        seeding=_progress(program.seeding),
    )


def _progress(seeding: Progress | None) -> schemas.SeedingProgress | None:
    return None if seeding is None else schemas.SeedingProgress(total=seeding.total, done=seeding.done)


_DIGITS = re.compile(r"\s*([+-]?[0-9]{1,18})")


def _whole_number(text: str | None, default: int) -> int:
    """The number the text begins with, as the reference reads it."""
    found = _DIGITS.match(text or "")
    return int(found[1]) if found else default
