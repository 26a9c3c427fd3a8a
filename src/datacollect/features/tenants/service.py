"""Programs: storing an uploaded config, its seed data, small edits, archiving, and reading them for their editors."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.log import EventLog
from datacollect.features.security_log.service import SecurityAction, record
from datacollect.features.tenants import queries, seeding_job, versions_queries
from datacollect.features.tenants.accepting import Accepted, accept
from datacollect.features.tenants.differences import Comparison, changes_between, seed_changes
from datacollect.features.tenants.errors import (
    ArtifactNotFound,
    ConfigIdMismatch,
    InvalidConfig,
    ProgramBeingPurged,
    ProgramChanged,
    ProgramExists,
    ProgramNotArchived,
    ProgramNotFound,
    VersionNotFound,
)
from datacollect.features.tenants.findings import path_text
from datacollect.features.tenants.model import (
    ANYTHING,
    ArtifactStamp,
    Expected,
    Program,
    Revision,
    sees_seeds,
    status_of,
)
from datacollect.features.tenants.published import MASK, full, masked, unmasked
from datacollect.features.tenants.reuploads import completed, seeds_not_seeded
from datacollect.features.tenants.sealing import seal
from datacollect.features.tenants.searchable import REINDEX, searchable_fields
from datacollect.features.tenants.seeding import AT_ONCE, Seeding, SeedPlan, seeding_warnings
from datacollect.features.tenants.versions_model import Change, PastProgram, VersionAction, VersionPage
from datacollect.jobs import enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_artifact_id
from datacollect.kernel.sealing import Seals
from datacollect.kernel.source import Source

_RECORDED = {
    VersionAction.CREATED: SecurityAction.PROGRAM_CREATED,
    VersionAction.ARCHIVED: SecurityAction.PROGRAM_ARCHIVED,
    VersionAction.RESTORED: SecurityAction.PROGRAM_RESTORED,
}
"""What the security log calls it; the rest is a change."""

NOT_SEEDED = seeds_not_seeded().text
_NO_KEYS = Seals(())

_MASKS_NOTHING = f'"{MASK}" stands for a stored secret, but none is stored for this address; send its value'
_LOCKED = (
    f'"{MASK}" stands for a stored secret that no key of this hub opens: set SECRETS_KEY_PREVIOUS to what sealed it, or '
    "send the secret's value"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A program after a change, and what its editor should know."""

    artifact_id: str
    revision: Revision
    warnings: list[str]
    seeding: Seeding | None = None
    """If it goes on in the background."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A program as its reader may see it."""

    document: dict[str, Any]
    revision: Revision
    is_whole: bool
    """Whether it changes with its revision only: not while seeds are still to come, or a secret cannot be opened."""


async def upload(
    tx: Tx,
    scope: TenantScope,
    accepted: Accepted,
    plan: SeedPlan,
    *,
    log: EventLog,
    seals: Seals,
    base_url: str | None = None,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
    at_once: int = AT_ONCE,
) -> Stored:
    """Create the program, or replace the one of that id, and seed what is not there yet, or begin to.

    A program that exists keeps its `artifactId` (a printed QR code stays valid) and runs again if it was archived.
    Raises `ProgramExists` and `ProgramChanged` when it is not as `expected`, `InvalidConfig` for a masked secret that
    stands for nothing, `ProgramBeingPurged`. `base_url` is the hub's address in onboarding files: it does not become the
    program's own.
    """
    program = await queries.claim_program(tx, seals, scope.tenant_id, artifact_id=new_artifact_id(), now=now)
    # Asked after the claim, which waits for a purge that just begins.
    if program.revision == 0 and await queries.is_being_purged(tx, scope):
        raise ProgramBeingPurged()
    _require(expected, program.at)
    revealed = await _revealed(tx, scope, accepted, program, base_url)
    change = Change(VersionAction.REPLACED if program.revision else VersionAction.CREATED)
    await _store(tx, scope, revealed, program, change, seals=seals, archived_at=None, now=now)
    await _reindex(tx, scope, program.config, revealed.config, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now, restored=program.archived_at is not None)
    seeding = await _seed(tx, log, revealed, plan, now=now, at_once=at_once)
    stored = Stored(program.artifact_id, program.at.next, list(revealed.warnings))
    if seeding is None:
        return stored
    if seeding.is_under_way:
        return replace(stored, seeding=seeding)
    return replace(stored, warnings=[*stored.warnings, *seeding_warnings(seeding.tally)])


async def replace_program(
    tx: Tx,
    scope: TenantScope,
    accepted: Accepted,
    *,
    seals: Seals,
    base_url: str | None = None,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
) -> Stored:
    """Replace the whole config: what is left out is gone. Archived programs stay archived; nothing is seeded.

    Raises `ConfigIdMismatch`, `ProgramNotFound`, `ProgramChanged` when it is not as `expected` any more.
    """
    if accepted.document["id"] != scope.tenant_id:
        raise ConfigIdMismatch()
    program = await queries.lock_program(tx, seals, scope.tenant_id)
    if program is None:
        raise ProgramNotFound()
    _require(expected, program.at)
    revealed = await _revealed(tx, scope, accepted, program, base_url)
    change = Change(VersionAction.REPLACED)
    seeds = await _store(tx, scope, revealed, program, change, seals=seals, archived_at=program.archived_at, now=now)
    await _reindex(tx, scope, program.config, revealed.config, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    warnings = list(revealed.warnings)
    if seeds not in (None, program.seed_digest):
        warnings.append(NOT_SEEDED)
    return Stored(program.artifact_id, program.at.next, warnings)


async def replace_section(
    tx: Tx,
    scope: TenantScope,
    key: str,
    section: Any,
    *,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
) -> Revision:
    """Set one section of the config, in wire form, or clear it with None. Gives the new revision."""
    program = await _locked(tx, scope, expected)
    config = await queries.config_of(tx, scope.tenant_id)
    config = {name: value for name, value in config.items() if name != key}
    if section is not None:
        config[key] = section
    change = Change(VersionAction.SECTION_CHANGED, key)
    await queries.store_config(tx, scope, config, change, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    return program.at.next


async def archive(
    tx: Tx,
    scope: TenantScope,
    *,
    log: EventLog,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
) -> Revision:
    """Stop the program; its data stays. Archiving again changes nothing but the moment. Gives the new revision."""
    program = await _locked(tx, scope, expected)
    change = Change(VersionAction.ARCHIVED)
    await queries.store_archived(tx, scope, now, change, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    await log.close(tx, system_scope(scope.tenant_id))
    return program.at.next


async def restore(
    tx: Tx,
    scope: TenantScope,
    *,
    log: EventLog,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
) -> Revision:
    """Let an archived program run again. Gives the new revision."""
    program = await _locked(tx, scope, expected)
    change = Change(VersionAction.RESTORED)
    await queries.store_archived(tx, scope, None, change, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    await log.reopen(tx, system_scope(scope.tenant_id))
    await seeding_job.resume(tx, scope, now=now)
    return program.at.next


async def begin_purge(tx: Tx, scope: TenantScope, *, now: Millis) -> bool:
    """Take an archived program away, and its id with it, until `end_purge`: nobody finds it, nobody makes it anew.

    Its data is the caller's business. False if that has been done before and is not ended. Raises `ProgramNotFound`,
    `ProgramNotArchived`.
    """
    program = await queries.lock(tx, scope.tenant_id)
    if program is None:
        if await queries.is_being_purged(tx, scope):
            return False
        raise ProgramNotFound()
    if program.archived_at is None:
        raise ProgramNotArchived()
    await queries.delete_program(tx, scope)
    await queries.insert_purge(tx, scope, now=now)
    return True


async def hold_purge(tx: Tx, scope: TenantScope) -> bool:
    """Whether the id is taken by a purge still; if so, it is until `tx` ends."""
    return await queries.hold_purge(tx, scope)


async def end_purge(tx: Tx, scope: TenantScope) -> None:
    """The id may be used again."""
    await queries.delete_purge(tx, scope)


async def revert(
    tx: Tx,
    scope: TenantScope,
    revision: int,
    *,
    expected: Expected = ANYTHING,
    source: Source | None = None,
    now: Millis,
) -> Stored:
    """Make the content of an older version the program's, as a new revision; nothing is seeded.

    The artifact's id and whether it is archived stay. Secrets come back as they are stored, so no key is needed. The
    content is not judged anew: it has been in use. Raises `ProgramNotFound`, `VersionNotFound`, `ProgramChanged`.
    """
    program = await _locked(tx, scope, expected)
    found = await versions_queries.find_sealed(tx, scope, revision)
    if found is None:
        raise VersionNotFound()
    sealed, seed_digest = found
    change = Change(VersionAction.REVERTED, str(revision))
    content = queries.Content(sealed, seed_digest)
    before = await queries.config_of(tx, scope.tenant_id)
    await queries.store_content(tx, scope, content, change, archived_at=program.archived_at, now=now)
    await _reindex(tx, scope, before, sealed.config, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    warnings = [] if seed_digest in (None, program.seed_digest) else [NOT_SEEDED]
    return Stored(program.artifact_id, program.at.next, warnings)


async def read_program(view: Reading, scope: TenantScope, *, seals: Seals) -> Shown:
    """The whole config as the reader may see it, archived ones too. Raises `ProgramNotFound`."""
    program = await queries.find_program(view, seals, scope.tenant_id)
    if program is None:
        raise ProgramNotFound()
    document = await _shown(view, scope, program) | {"status": status_of(program.archived_at)}
    seeding = await seeding_job.describe(view, scope, is_archived=program.archived_at is not None)
    if seeding is None:
        return Shown(document, program.at, is_whole=not program.locked)
    if not sees_seeds(scope):
        seeding = {key: value for key, value in seeding.items() if key != "rejections"}
    is_settled = seeding["finishedAt"] is not None
    return Shown(document | {"seeding": seeding}, program.at, is_whole=not program.locked and is_settled)


async def read_revision(view: Reading, scope: TenantScope, *, seals: Seals) -> Revision | None:
    """The program's revision, without its seeds being read. None where it does not tell what a reader gets: of programs
    that are not there, that are being seeded, or whose secrets no key opens. Those change with the hub's keys."""
    program = await queries.find_program(view, seals, scope.tenant_id)
    if program is None or program.locked:
        return None
    seeding = await seeding_job.describe(view, scope, is_archived=program.archived_at is not None)
    return program.at if seeding is None or seeding["finishedAt"] is not None else None


async def list_versions(view: Reading, scope: TenantScope, *, before: int | None, limit: int) -> VersionPage:
    """What was done to the program, the newest first. Raises `ProgramNotFound`."""
    found = await versions_queries.newest_versions(view, scope, before=before, limit=limit + 1)
    if not found and await queries.find_revision(view, scope.tenant_id) is None:
        raise ProgramNotFound()
    page = found[:limit]
    return VersionPage(page, page[-1].revision if len(found) > limit else None)


async def read_version(view: Reading, scope: TenantScope, revision: int, *, seals: Seals) -> dict[str, Any]:
    """The whole config as it was, as the reader may see it. Raises `VersionNotFound`."""
    program = (await _past(view, scope, revision, seals)).program
    return await _shown(view, scope, program) | {"status": status_of(program.archived_at)}


async def compare_versions(
    view: Reading, scope: TenantScope, revision: int, against: int | None, *, seals: Seals
) -> Comparison:
    """What makes a version different from another one, by default from the one before it; secrets are masked.

    The first version is compared with nothing at all. Raises `VersionNotFound`.
    """
    new = (await _past(view, scope, revision, seals)).program
    old = None
    if against is not None:
        old = (await _past(view, scope, against, seals)).program
    else:
        past = await versions_queries.find_version(view, seals, scope, revision - 1)
        old = None if past is None else past.program
    seeds = []
    if (old.seed_digest if old else None) != new.seed_digest:
        before = await versions_queries.read_seeds(view, scope, old.seed_digest if old else None)
        seeds = seed_changes(before, await versions_queries.read_seeds(view, scope, new.seed_digest))
    # Forms of some megabytes take a second: others are served meanwhile.
    changes = await asyncio.to_thread(changes_between, old, new)
    return Comparison(new.revision, None if old is None else old.revision, changes, seeds)


async def get_public(view: Reading, tenant_id: TenantId, *, seals: Seals) -> Program:
    """A running program for its login screen. Archived ones are not to be told from unknown ones."""
    program = await queries.find_program(view, seals, tenant_id)
    if program is None or program.archived_at is not None:
        raise ProgramNotFound()
    return program


async def rotate_artifact(
    tx: Tx, scope: TenantScope, *, expected: Expected = ANYTHING, source: Source | None = None, now: Millis
) -> tuple[str, Revision]:
    """Give the program's files another address; what is printed or shared of the old one ends.

    Gives the new artifact id and revision. Raises `ProgramNotFound`, `ProgramChanged`.
    """
    program = await _locked(tx, scope, expected)
    artifact_id = new_artifact_id()
    change = Change(VersionAction.ARTIFACT_ROTATED)
    await queries.store_artifact_id(tx, scope, artifact_id, change, now=now)
    await _record(tx, scope, change, program.at.next, source, now=now)
    return artifact_id, program.at.next


async def artifact_stamp(view: Reading, artifact_id: str) -> ArtifactStamp:
    """Which state of a running program an artifact's files are of. Raises `ArtifactNotFound`."""
    stamp = await queries.find_artifact_stamp(view, artifact_id)
    if stamp is None:
        raise ArtifactNotFound()
    return stamp


async def get_artifact(view: Reading, artifact_id: str, *, seals: Seals) -> Program:
    """The running program with that artifact. Raises `ArtifactNotFound`."""
    program = await queries.find_program_by_artifact(view, seals, artifact_id)
    if program is None:
        raise ArtifactNotFound()
    return program


async def take_up(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    document: Mapping[str, Any],
    *,
    archived_at: Millis | None = None,
    artifact_id: str | None = None,
    now: Millis,
) -> bool:
    """Create the program from what `portable_program` gave, without seeds; false if it is there already, and left as it is.

    One that was archived is, and its log takes nothing more than what the caller puts in. It has the artifact id that is
    given, so that printed QR codes stay valid, unless another program here has that.

    Raises `InvalidConfig` and `InvalidConfigId` for what cannot be one, `ProgramBeingPurged`.
    """
    if await queries.find_config(tx, scope.tenant_id) is not None:
        return False
    accepted = accept({**document, "id": scope.tenant_id})
    # What travels holds no secrets, so no key is needed.
    if artifact_id is None or await queries.is_artifact_taken(tx, artifact_id):
        artifact_id = new_artifact_id()
    program = await queries.claim_program(tx, _NO_KEYS, scope.tenant_id, artifact_id=artifact_id, now=now)
    if program.revision:
        return False  # somebody has made it since
    if await queries.is_being_purged(tx, scope):
        raise ProgramBeingPurged()
    change = Change(VersionAction.CREATED)
    await _store(tx, scope, accepted, program, change, seals=_NO_KEYS, archived_at=archived_at, now=now)
    await _record(tx, scope, change, program.at.next, None, now=now)
    await log.create(tx, system_scope(scope.tenant_id))
    if archived_at is not None:
        await log.close(tx, system_scope(scope.tenant_id))
    return True


async def _shown(view: Reading, scope: TenantScope, program: Program) -> dict[str, Any]:
    if not sees_seeds(scope):
        return masked(program)
    program = replace(program, entity_data=await versions_queries.read_seeds(view, scope, program.seed_digest))
    return full(program) if scope.actor.is_admin else masked(program)


async def _locked(tx: Tx, scope: TenantScope, expected: Expected) -> queries.Locked:
    program = await queries.lock(tx, scope.tenant_id)
    if program is None:
        raise ProgramNotFound()
    _require(expected, program.at)
    return program


def _require(expected: Expected, at: Revision) -> None:
    """Number 0 is that of a program that is not there yet."""
    if expected.exists is False and at.number:
        raise ProgramExists()
    if expected.revisions is not None and not expected.revisions & {(at.number, None), (at.number, at.made_at)}:
        raise ProgramChanged()
    if expected.exists and not at.number:
        raise ProgramChanged()


async def _past(view: Reading, scope: TenantScope, revision: int, seals: Seals) -> PastProgram:
    past = await versions_queries.find_version(view, seals, scope, revision)
    if past is None:
        raise VersionNotFound()
    return past


async def _revealed(
    view: Reading, scope: TenantScope, accepted: Accepted, stored: Program, base_url: str | None
) -> Accepted:
    """The document with stored secrets in place of masks, and with what an onboarding file cannot have."""
    document, lost = unmasked(accepted.document, stored)
    if accepted.is_onboarding_file:
        # What cannot be opened cannot be kept either.
        lost = [*lost, *((section,) for section in sorted(stored.locked))]
    if lost:
        message = _LOCKED if stored.locked else _MASKS_NOTHING
        raise InvalidConfig(
            [
                Issue(code=IssueCode.MASKED_SECRET, path=list(path), message=f"{path_text(path)}: {message}")
                for path in lost
            ]
        )
    complete = completed(document, stored, base_url, is_file=accepted.is_onboarding_file)
    document = complete.document
    if complete.keeps_seeds:
        document["entityData"] = await versions_queries.read_seeds(view, scope, stored.seed_digest)
    return replace(
        accepted, document=document, warnings=[*accepted.warnings, *(found.text for found in complete.findings)]
    )


async def _store(
    tx: Tx,
    scope: TenantScope,
    accepted: Accepted,
    stored: Program,
    change: Change,
    *,
    seals: Seals,
    archived_at: Millis | None,
    now: Millis,
) -> str | None:
    """Store the document in place of what is stored, and give the digest of its seeds."""
    seeds = await versions_queries.keep_seeds(tx, scope, accepted.entity_data, stored.seed_digest)
    content = queries.Content(seal(seals, scope.tenant_id, accepted.config, accepted.external_sync), seeds)
    await queries.store_content(tx, scope, content, change, archived_at=archived_at, now=now)
    return seeds


async def _reindex(
    tx: Tx, scope: TenantScope, before: Mapping[str, Any], after: Mapping[str, Any], *, now: Millis
) -> None:
    """Have the search index brought to other fields, if the forms mark others than before."""
    if _searchable_in(before) != _searchable_in(after):
        await enqueue(tx, system_scope(scope.tenant_id), REINDEX, {}, now=now)


def _searchable_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    forms = {form["name"]: form["formio"] for form in config.get("entityForms") or ()}
    return searchable_fields(forms, queries.factors_in(config.get("selfService")))


async def _record(
    tx: Tx,
    scope: TenantScope,
    change: Change,
    revision: Revision,
    source: Source | None,
    *,
    now: Millis,
    restored: bool = False,
) -> None:
    """Note in the security log what the program's history says too: that goes with the program."""
    details = {"revision": revision.number, "how": change.action.value}
    if change.detail is not None:
        details["what"] = change.detail
    if restored:
        details["restored"] = True
    await record(
        tx,
        _RECORDED.get(change.action, SecurityAction.PROGRAM_CHANGED),
        source=source,
        now=now,
        actor=scope.actor.user_id,
        tenant_id=scope.tenant_id,
        details=details,
    )


async def _seed(
    tx: Tx, log: EventLog, accepted: Accepted, plan: SeedPlan, *, now: Millis, at_once: int
) -> Seeding | None:
    """Give the program its log, and seed it; None if there is nothing to tell of that.

    A seed that cannot be applied does not stop the program from being saved: the program is the source of truth.
    """
    scope = system_scope(TenantId(accepted.document["id"]))
    await log.create(tx, scope)
    await log.reopen(tx, scope)
    if accepted.is_onboarding_file:
        # It has no seeds, and says nothing of them: what is under way goes on.
        await seeding_job.resume(tx, scope, now=now)
        return None
    tenant = await queries.find_running(tx, scope.tenant_id)
    assert tenant is not None
    return await seeding_job.begin(tx, log, scope, tenant, plan, now=now, at_once=at_once)
