"""Programs: storing an uploaded config, its seed data, small edits, archiving, listing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.figures import figures_of
from datacollect.eventstore.log import Appended, EventLog, Rejection
from datacollect.features.tenants import queries
from datacollect.features.tenants.accepting import Accepted, accept, path_text
from datacollect.features.tenants.directory import CachedTenantDirectory
from datacollect.features.tenants.errors import (
    ArtifactNotFound,
    ConfigIdMismatch,
    InvalidConfig,
    ProgramChanged,
    ProgramNotFound,
)
from datacollect.features.tenants.model import Listed, ListQuery, Program, matching, ordered, page_of
from datacollect.features.tenants.published import MASK, full, masked, masked_sync, portable, unmasked
from datacollect.features.tenants.searchable import REINDEX, searchable_fields
from datacollect.features.tenants.seeding import seed_events
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.identity import Actor, Role, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_artifact_id
from datacollect.kernel.tenancy import Tenant

__all__ = [
    "REINDEX",
    "CachedTenantDirectory",
    "archive",
    "get_artifact",
    "get_public",
    "replace_program",
    "restore",
    "states",
    "upload",
]

_MOST_SEED_WARNINGS = 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A program after a change, and what its editor should know."""

    artifact_id: str
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Line:
    """A program in the list, as the reader may see it."""

    program: Listed
    external_sync: Mapping[str, Any]
    entities_count: int


@dataclass(frozen=True, slots=True)
class ListPage:
    lines: list[Line]
    total: int
    page: int
    total_pages: int


async def upload(tx: Tx, log: EventLog, accepted: Accepted, *, now: Millis) -> Stored:
    """Create the program, or replace the one of that id, and seed what is not there yet.

    A program that exists keeps its `artifactId` (a printed QR code stays valid) and runs again if it was archived.
    Raises `InvalidConfig` for a masked secret that stands for nothing.
    """
    tenant_id = TenantId(accepted.document["id"])
    program = await queries.claim_program(tx, tenant_id, artifact_id=new_artifact_id(), now=now)
    revealed = _revealed(accepted, program)
    await queries.store_content(tx, tenant_id, _content(revealed), archived_at=None, now=now)
    await _reindex(tx, program, revealed, now=now)
    warnings = await _seed(tx, log, revealed, now=now)
    return Stored(program.artifact_id, [*accepted.warnings, *warnings])


async def replace_program(
    tx: Tx, tenant_id: TenantId, accepted: Accepted, *, expected_revision: int | None, now: Millis
) -> Stored:
    """Replace the whole config: what is left out is gone. Archived programs stay archived; nothing is seeded.

    Raises `ConfigIdMismatch`, `ProgramNotFound`, `ProgramChanged` when it is not at `expected_revision` any more.
    """
    if accepted.document["id"] != tenant_id:
        raise ConfigIdMismatch()
    program = await _locked(tx, tenant_id, expected_revision)
    revealed = _revealed(accepted, program)
    await queries.store_content(tx, tenant_id, _content(revealed), archived_at=program.archived_at, now=now)
    await _reindex(tx, program, revealed, now=now)
    warnings = list(accepted.warnings)
    if revealed.entity_data and revealed.entity_data != list(program.entity_data):
        warnings.append("entityData is stored but not seeded: POST the config to seed what is not there yet")
    return Stored(program.artifact_id, warnings)


async def replace_section(
    tx: Tx, tenant_id: TenantId, key: str, section: Any, *, expected_revision: int | None, now: Millis
) -> None:
    """Set one section of the config, in wire form, or clear it with None."""
    program = await _locked(tx, tenant_id, expected_revision)
    config = {name: value for name, value in program.config.items() if name != key}
    if section is not None:
        config[key] = section
    content = queries.Content(config, program.external_sync, program.entity_data)
    await queries.store_content(tx, tenant_id, content, archived_at=program.archived_at, now=now)


async def archive(tx: Tx, log: EventLog, tenant_id: TenantId, *, now: Millis) -> None:
    """Stop the program; its data stays. Archiving again changes nothing but the moment."""
    if not await queries.store_archived(tx, tenant_id, now, now=now):
        raise ProgramNotFound()
    await log.close(tx, system_scope(tenant_id))


async def restore(tx: Tx, log: EventLog, tenant_id: TenantId, *, now: Millis) -> None:
    """Let an archived program run again."""
    if not await queries.store_archived(tx, tenant_id, None, now=now):
        raise ProgramNotFound()
    await log.reopen(tx, system_scope(tenant_id))


async def read_program(view: Reading, scope: TenantScope) -> tuple[dict[str, Any], int]:
    """The whole config as the reader may see it, archived ones too, and its revision. Raises `ProgramNotFound`."""
    program = await queries.find_program(view, scope.tenant_id)
    if program is None:
        raise ProgramNotFound()
    return _shown(program, scope.actor), program.revision


async def get_public(view: Reading, tenant_id: TenantId) -> Program:
    """A running program for its login screen. Archived ones are not to be told from unknown ones."""
    program = await queries.find_program(view, tenant_id)
    if program is None or program.archived_at is not None:
        raise ProgramNotFound()
    return program


async def get_artifact(view: Reading, artifact_id: str) -> Program:
    program = await queries.find_program_by_artifact(view, artifact_id)
    if program is None:
        raise ArtifactNotFound()
    return program


async def form_definitions(view: Reading, tenant_id: TenantId) -> dict[str, Any]:
    """The Form.io definition of each of the program's forms, by the form's name."""
    return await queries.form_definitions(view, tenant_id)


@dataclass(frozen=True, slots=True)
class Portable:
    """A program's config as it may leave the hub: without secrets, people, or ties to other systems."""

    document: Mapping[str, Any]
    revision: int


async def portable_program(view: Reading, tenant_id: TenantId) -> Portable:
    """Archived ones too. Raises `ProgramNotFound`."""
    found = await queries.find_config(view, tenant_id)
    if found is None:
        raise ProgramNotFound()
    config, revision = found
    return Portable(portable(tenant_id, config), revision)


async def take_up(
    tx: Tx, log: EventLog, tenant_id: TenantId, document: Mapping[str, Any], *, now: Millis
) -> Program | None:
    """Create the program from what `portable_program` gave, under this id, without seeds; None if it is there already.

    Raises `InvalidConfig` and `InvalidConfigId` for what cannot be one.
    """
    if await queries.find_config(tx, tenant_id) is not None:
        return None
    accepted = accept({**document, "id": tenant_id})
    program = await queries.claim_program(tx, tenant_id, artifact_id=new_artifact_id(), now=now)
    await queries.store_content(tx, tenant_id, _content(accepted), archived_at=None, now=now)
    await log.create(tx, system_scope(tenant_id))
    return program


async def lock_searchable(tx: Tx, tenant_id: TenantId) -> tuple[str, ...] | None:
    """The program's searchable fields, which nobody changes until the transaction ends; None if there is none."""
    forms = await queries.lock_forms(tx, tenant_id)
    return None if forms is None else searchable_fields(forms)


async def states(view: Reading, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, Literal["running", "archived"]]:
    """Of those of the programs that exist."""
    if not tenant_ids:
        return {}
    archived = await queries.archived_flags(view, tenant_ids)
    return {tenant_id: "archived" if is_archived else "running" for tenant_id, is_archived in archived.items()}


async def auth_configs(view: Reading, tenant_id: TenantId) -> list[dict[str, Any]]:
    """The program's identity providers: each a `type` and its `fields`."""
    return await queries.auth_configs(view, tenant_id)


async def list_page(view: Reading, actor: Actor, query: ListQuery) -> ListPage:
    """One page of the programs the reader may see, in three statements at most."""
    only = None if actor.is_admin else actor.tenant_ids
    visible = await queries.list_programs(view, only, include_archived=query.include_archived)
    found = matching(visible, query.search)
    counts = await _counts(view, found) if query.by_count else {}
    number, pages = page_of(len(found), query)
    begin = (number - 1) * query.page_size
    shown = ordered(found, query, counts)[begin : begin + query.page_size]
    if shown and not query.by_count:
        counts = await _counts(view, shown)
    bridges = await queries.external_syncs(view, [program.id for program in shown]) if shown else {}
    lines = [Line(program, _shown_sync(bridges.get(program.id), actor), counts.get(program.id, 0)) for program in shown]
    return ListPage(lines, len(found), number, pages)


def _shown(program: Program, actor: Actor) -> dict[str, Any]:
    if actor.is_admin:
        return full(program)
    if actor.role_in(program.id) is Role.SYSTEM_ADMIN:
        return masked(program)
    # Seeds are people: members get them by sync, as far as their scope reaches.
    return masked(program) | {"entityData": []}


def _shown_sync(external_sync: Mapping[str, Any] | None, actor: Actor) -> Mapping[str, Any]:
    return (external_sync if actor.is_admin else masked_sync(external_sync)) or {}


async def _counts(view: Reading, programs: Sequence[Listed]) -> dict[TenantId, int]:
    figures = await figures_of(view, [program.id for program in programs])
    return {tenant_id: sum(counts.values()) for tenant_id, counts in figures.items()}


async def _locked(tx: Tx, tenant_id: TenantId, expected_revision: int | None) -> Program:
    program = await queries.lock_program(tx, tenant_id)
    if program is None:
        raise ProgramNotFound()
    if expected_revision is not None and program.revision != expected_revision:
        raise ProgramChanged()
    return program


def _revealed(accepted: Accepted, stored: Program) -> Accepted:
    document, lost = unmasked(accepted.document, stored)
    if lost:
        message = f'"{MASK}" stands for a stored secret, but none is stored for this address; send its value'
        raise InvalidConfig(
            [
                Issue(code=IssueCode.MASKED_SECRET, path=list(path), message=f"{path_text(path)}: {message}")
                for path in lost
            ]
        )
    return replace(accepted, document=document)


def _content(accepted: Accepted) -> queries.Content:
    return queries.Content(accepted.config, accepted.external_sync, accepted.entity_data)


async def _reindex(tx: Tx, before: Program, accepted: Accepted, *, now: Millis) -> None:
    """Have the search index brought to other fields, if the forms mark others than before."""
    if _searchable_in(before.config) != _searchable_in(accepted.config):
        await enqueue(tx, system_scope(before.id), REINDEX, {}, now=now)


def _searchable_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    return searchable_fields({form["name"]: form["formio"] for form in config.get("entityForms") or ()})


async def _seed(tx: Tx, log: EventLog, accepted: Accepted, *, now: Millis) -> list[str]:
    """Give the program its log and append the seed events it does not hold; the answer is warnings.

    A seed that cannot be applied does not stop the program from being saved: the program is the source of truth.
    """
    config = accepted.config
    tenant_id = TenantId(config["id"])
    scope = system_scope(tenant_id)
    await log.create(tx, scope)
    await log.reopen(tx, scope)
    events = seed_events(tenant_id, config.get("entityForms", ()), accepted.entity_data, now=now)
    if not events:
        return []
    tenant = Tenant(
        tenant_id,
        config["name"],
        config.get("syncScope"),
        frozenset(config.get("customEventTypes", ())),
        searchable=_searchable_in(config),
    )
    appended = await log.append(tx, scope, tenant, events, origin=Origin.SEED, on_rejection=_go_on)
    return list(_seed_warnings(appended))


def _go_on(_rejection: Rejection) -> None:
    """The other seeds are appended."""


def _seed_warnings(appended: Appended) -> Iterator[str]:
    rejections = appended.rejections
    for rejection in rejections[:_MOST_SEED_WARNINGS]:
        event = rejection.event
        yield (
            "Program saved, but starting its runtime instance failed: "
            f'{event.type} of seed "{event.entity_guid}": {rejection.reason.message}'
        )
    if len(rejections) > _MOST_SEED_WARNINGS:
        yield f"{len(rejections) - _MOST_SEED_WARNINGS} more seeds could not be applied"
