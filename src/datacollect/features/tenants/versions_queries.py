"""All SQL of what programs were."""

import functools
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Executable, Row, Table, and_, bindparam, insert, not_, or_, select, update

from datacollect.db import Dialect, Reading, Tx, insert_for, insert_into
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.sealing import Sealed, open_sealed
from datacollect.features.tenants.tables import program_contents, program_versions, programs
from datacollect.features.tenants.versions_model import Change, PastProgram, Version, VersionAction
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import Seals

_v = program_versions.c
_TOLD = (_v.revision, _v.action, _v.detail, _v.recorded_ms, _v.actor_id, _v.actor, _v.archived_ms)


def digest_of(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


async def keep_version(tx: Tx, scope: TenantScope, change: Change) -> None:
    """Note what the program is now as what the change has made of it.

    Content that the history has is not written again: of a small edit it gets a line.
    """
    actor = scope.actor
    noted = {"action": change.action.value, "detail": change.detail, "actor_id": actor.user_id, "actor": actor.label}
    await tx.execute(_keeping_content(tx.dialect), {"named": scope.tenant_id})
    await tx.execute(_KEEP_LINE, noted | {"named": scope.tenant_id})


@functools.cache
def _keeping_content(dialect: Dialect) -> Executable:
    p = programs.c
    content = select(p.id, p.config_digest, p.config).where(p.id == bindparam("named"))
    kept = insert_for(dialect, program_contents).from_select(["tenant_id", "digest", "body"], content)
    return kept.on_conflict_do_nothing()


def _keeping_line() -> Executable:
    p = programs.c
    copied = ("artifact_id", "archived_ms", "config_digest", "config_secrets", "external_sync", "seed_digest")
    noted = ("action", "detail", "actor_id", "actor")
    line = select(
        p.id,
        p.revision,
        p.updated_ms,
        *(p[name] for name in copied),
        *(bindparam(name, type_=_v[name].type) for name in noted),
    ).where(p.id == bindparam("named"))
    columns = ["tenant_id", "revision", "recorded_ms", *copied, *noted]
    return insert(program_versions).from_select(columns, line)


_KEEP_LINE = _keeping_line()


async def keep_seeds(tx: Tx, scope: TenantScope, seeds: Sequence[Mapping[str, Any]], known: str | None) -> str | None:
    """Store seeds, unless they are there, and give their digest; `known` is that of seeds that are."""
    if not seeds:
        return None
    return await keep_seed_text(tx, scope, msgspec.json.encode(seeds).decode(), known)


async def keep_seed_text(tx: Tx, scope: TenantScope, body: str, known: str | None = None) -> str:
    digest = digest_of(body)
    if digest != known:
        upsert = insert_into(tx, program_contents)
        await tx.execute(upsert.values(tenant_id=scope.tenant_id, digest=digest, body=body).on_conflict_do_nothing())
    return digest


async def read_seeds(view: Reading, scope: TenantScope, digest: str | None) -> list[dict[str, Any]]:
    """The seeds as they were uploaded, group by group."""
    if digest is None:
        return []
    seeds: list[dict[str, Any]] = msgspec.json.decode(await _body(view, scope, digest))
    return seeds


async def newest_versions(view: Reading, scope: TenantScope, *, before: int | None, limit: int) -> list[Version]:
    # Only of a program that is there: what is left of one that is being purged is not shown.
    found = select(*_TOLD).join(programs, programs.c.id == _v.tenant_id).where(_v.tenant_id == scope.tenant_id)
    if before is not None:
        found = found.where(_v.revision < before)
    return [_version(row) for row in await view.execute(found.order_by(_v.revision.desc()).limit(limit))]


async def find_version(view: Reading, seals: Seals, scope: TenantScope, revision: int) -> PastProgram | None:
    """The program as that revision was, without its seeds."""
    row = await _row(view, scope, revision)
    if row is None:
        return None
    config = msgspec.json.decode(await _body(view, scope, row.config_digest))
    opened = open_sealed(seals, scope.tenant_id, config, row.config_secrets, row.external_sync)
    program = Program(
        id=scope.tenant_id,
        artifact_id=row.artifact_id,
        config=opened.config,
        external_sync=opened.external_sync,
        entity_data=(),
        archived_at=row.archived_ms,
        revision=row.revision,
        created_at=row.created_ms,
        updated_at=row.recorded_ms,
        seed_digest=row.seed_digest,
        locked=opened.locked,
    )
    return PastProgram(_version(row), program)


async def find_sealed(view: Reading, scope: TenantScope, revision: int) -> tuple[Sealed, str | None] | None:
    """The content of that revision as it is stored, with the digest of its seeds."""
    row = await _row(view, scope, revision)
    if row is None:
        return None
    config = msgspec.json.decode(await _body(view, scope, row.config_digest))
    return Sealed(config, row.config_secrets, row.external_sync), row.seed_digest


async def _row(view: Reading, scope: TenantScope, revision: int) -> Row[Any] | None:
    found = (
        select(program_versions, programs.c.created_ms)
        .join(programs, programs.c.id == _v.tenant_id)
        .where(_v.tenant_id == scope.tenant_id, _v.revision == revision)
    )
    return (await view.execute(found)).one_or_none()


async def _body(view: Reading, scope: TenantScope, digest: str) -> str:
    c = program_contents.c
    found = select(c.body).where(c.tenant_id == scope.tenant_id, c.digest == digest)
    body: str = (await view.execute(found)).scalar_one()
    return body


def _version(row: Row[Any]) -> Version:
    return Version(
        revision=row.revision,
        change=Change(VersionAction(row.action), row.detail),
        recorded_at=Millis(row.recorded_ms),
        actor_id=row.actor_id,
        actor=row.actor,
        is_archived=row.archived_ms is not None,
    )


# -- programs of hubs that kept no versions and sealed nothing


@dataclass(frozen=True, slots=True)
class Unadopted:
    config: dict[str, Any]
    external_sync: dict[str, Any] | None
    entity_data: str | None


async def unadopted(view: Reading) -> list[TenantId]:
    p = programs.c
    return [
        TenantId(row.id) for row in await view.execute(select(p.id).where(p.config_digest.is_(None)).order_by(p.id))
    ]


async def lock_unadopted(tx: Tx, scope: TenantScope) -> Unadopted | None:
    """None if somebody else has adopted it meanwhile."""
    p = programs.c
    columns = select(p.config, p.external_sync, p.entity_data)
    found = columns.where(p.id == scope.tenant_id, p.config_digest.is_(None)).with_for_update()
    row = (await tx.execute(found)).one_or_none()
    if row is None:
        return None
    sync = None if row.external_sync is None else msgspec.json.decode(row.external_sync)
    return Unadopted(msgspec.json.decode(row.config), sync, row.entity_data)


async def store_adopted(tx: Tx, scope: TenantScope, sealed: Sealed, seed_digest: str | None) -> None:
    if tx.dialect == "sqlite":
        # What has stood in the clear is overwritten with zeros, not only marked as free.
        await tx.run("PRAGMA secure_delete=ON")
    config = msgspec.json.encode(sealed.config).decode()
    await tx.execute(
        update(programs)
        .where(programs.c.id == scope.tenant_id)
        .values(
            config=config,
            config_digest=digest_of(config),
            config_secrets=sealed.config_secrets,
            external_sync=sealed.external_sync,
            seed_digest=seed_digest,
            entity_data=None,
        )
    )


# -- sealing anew, for programs and their versions alike


@dataclass(frozen=True, slots=True)
class SealedRow:
    """Sealed texts, and where they stand: in a program, or in a version of one."""

    tenant_id: TenantId
    revision: int | None
    config_secrets: str
    external_sync: str | None


async def programs_sealed_otherwise(
    view: Reading, prefixes: Collection[str], *, after: str, limit: int
) -> list[SealedRow]:
    """The next programs, by id, with a sealed text that begins with none of the prefixes."""
    p = programs.c
    found = select(p.id, p.config_secrets, p.external_sync).where(_is_otherwise(programs, prefixes), p.id > after)
    rows = await view.execute(found.order_by(p.id).limit(limit))
    return [SealedRow(TenantId(row.id), None, row.config_secrets, row.external_sync) for row in rows]


async def versions_sealed_otherwise(
    view: Reading, prefixes: Collection[str], *, after: tuple[str, int], limit: int
) -> list[SealedRow]:
    """The same of versions, by program and revision."""
    found = (
        select(_v.tenant_id, _v.revision, _v.config_secrets, _v.external_sync)
        .where(_is_otherwise(program_versions, prefixes))
        .where(or_(_v.tenant_id > after[0], and_(_v.tenant_id == after[0], _v.revision > after[1])))
    )
    rows = await view.execute(found.order_by(_v.tenant_id, _v.revision).limit(limit))
    return [SealedRow(TenantId(r.tenant_id), r.revision, r.config_secrets, r.external_sync) for r in rows]


async def replace_sealed(tx: Tx, old: SealedRow, config_secrets: str, external_sync: str | None) -> None:
    """Does nothing if the row has been written meanwhile: whoever did has sealed it."""
    table: Table = programs
    ours = programs.c.id == old.tenant_id
    if old.revision is not None:
        table = program_versions
        ours = and_(_v.tenant_id == old.tenant_id, _v.revision == old.revision)
    c = table.c
    await tx.execute(
        update(table)
        .where(ours, c.config_secrets == old.config_secrets, c.external_sync.is_not_distinct_from(old.external_sync))
        .values(config_secrets=config_secrets, external_sync=external_sync)
    )


def _is_otherwise(table: Table, prefixes: Collection[str]) -> ColumnElement[bool]:
    def otherwise(column: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(column != "", *(not_(column.startswith(prefix)) for prefix in prefixes))

    # Of null neither says anything, which counts as no.
    return or_(otherwise(table.c.config_secrets), otherwise(table.c.external_sync))
