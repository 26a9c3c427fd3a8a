"""`/api/apps/{id}/versions`: what was done to a program, what it was, and back."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from datacollect.features.tenants import schemas, service, versions_schemas
from datacollect.features.tenants.revising import CHANGED, REVISED, expected_of, json_answer, saved
from datacollect.features.tenants.versions_views import diff_document, version_line
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import ByPath
from datacollect.http.source import CurrentSource
from datacollect.kernel.errors import AdminRequired
from datacollect.kernel.identity import Action, TenantScope

versions = APIRouter(prefix="/api/apps/{id}/versions", tags=["App Configuration"])

MOST_LISTED = 100
DEFAULT_LISTED = 20
_LAST_REVISION = 2_147_483_647

Manager = Annotated[TenantScope, Depends(ByPath(Action.MANAGE_CONFIG, whole=True, denied=AdminRequired))]
Revision = Annotated[int, Path(ge=1, le=_LAST_REVISION, description="Of the version.")]

_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


@versions.get(
    "", summary="The versions of a program", response_model=versions_schemas.VersionList, responses=errors(404)
)
async def list_app_versions(
    hub: CurrentHub,
    manager: Manager,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="At most this many.")] = DEFAULT_LISTED,
    cursor: Annotated[int | None, Query(ge=1, le=_LAST_REVISION, description="From the page before.")] = None,
) -> Response:
    """Who has done what to the program, and when: the newest first. Every revision has its line."""
    async with hub.db.reading(manager) as view:
        page = await service.list_versions(view, manager, before=cursor, limit=limit)
    following = None if page.following is None else str(page.following)
    return json_answer(
        {"versions": [version_line(version) for version in page.versions], "nextCursor": following}, _PRIVATE
    )


@versions.get(
    "/{revision}", summary="An old version of a program", response_model=schemas.ProgramOut, responses=errors(404)
)
async def get_app_version(hub: CurrentHub, manager: Manager, revision: Revision) -> Response:
    """The whole config as it was, in the form in which a program is read. Who is not an ADMIN sees secrets as `********`."""
    async with hub.db.reading(manager) as view:
        document = await service.read_version(view, manager, revision, seals=hub.seals)
    return json_answer(document, _PRIVATE)


@versions.get(
    "/{revision}/diff",
    summary="What a version changed",
    response_model=versions_schemas.VersionDiff,
    responses=errors(404),
)
async def get_app_version_diff(
    hub: CurrentHub,
    manager: Manager,
    revision: Revision,
    against: Annotated[
        int | None, Query(ge=1, le=_LAST_REVISION, description="The version to compare with. Default: the one before.")
    ] = None,
) -> Response:
    """What makes this version different from another one.

    Forms, their components, providers and the like are told by their names, not by their places. That a secret changed
    is told, its value to nobody. Of seed data there are counts only.
    """
    async with hub.db.reading(manager) as view:
        found = await service.compare_versions(view, manager, revision, against, seals=hub.seals)
    return json_answer(diff_document(found), _PRIVATE)


@versions.post(
    "/{revision}/restore",
    summary="Go back to an old version",
    response_model=schemas.Saved,
    responses={**REVISED, **errors(404, texts={412: CHANGED})},
)
async def restore_app_version(
    request: Request, hub: CurrentHub, manager: Manager, source: CurrentSource, revision: Revision
) -> Response:
    """Make the content of that version the program's again, secrets included, as a new revision.

    The `artifactId` and whether the program is archived stay as they are, and nothing is seeded. It honours `If-Match`.
    """
    expected, now = expected_of(request), hub.clock.now()
    async with hub.db.transaction(manager) as tx:
        stored = await service.revert(tx, manager, revision, expected=expected, source=source, now=now)
    hub.tenants.forget([manager.tenant_id])
    return saved(stored, ())
