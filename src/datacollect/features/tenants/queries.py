"""All SQL of programs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db import Reading, Tx
from datacollect.features.tenants.model import Listed, Program, form_validation
from datacollect.features.tenants.searchable import searchable_fields
from datacollect.features.tenants.tables import programs
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of an accepted document, as they are stored."""

    config: Mapping[str, Any]
    external_sync: Mapping[str, Any] | None
    entity_data: Sequence[Mapping[str, Any]]


class _RunningConfig(msgspec.Struct, rename="camel"):
    """What the hub needs of a config on every request; the rest (forms above all) is skipped, not decoded."""

    sync_scope: dict[str, Any] | None = None
    custom_event_types: frozenset[str] = frozenset()
    form_validation: str | bool | None = None
    audit_reads: bool | None = None


class _Form(msgspec.Struct):
    name: str
    formio: Any


class _Forms(msgspec.Struct, rename="camel"):
    entity_forms: list[_Form] = []


class _AuthConfigs(msgspec.Struct, rename="camel"):
    auth_configs: list[dict[str, Any]] = []


_running_config = msgspec.json.Decoder(_RunningConfig)
_forms = msgspec.json.Decoder(_Forms)
_auth_configs = msgspec.json.Decoder(_AuthConfigs)


async def find_program(view: Reading, tenant_id: TenantId) -> Program | None:
    return _program((await view.execute(select(programs).where(programs.c.id == tenant_id))).one_or_none())


async def find_program_by_artifact(view: Reading, artifact_id: str) -> Program | None:
    """The running program with that file; None if there is none or it is archived."""
    found = select(programs).where(programs.c.artifact_id == artifact_id, programs.c.archived_ms.is_(None))
    return _program((await view.execute(found)).one_or_none())


async def lock_program(tx: Tx, tenant_id: TenantId) -> Program | None:
    """The program, unchangeable for others until the transaction ends."""
    found = select(programs).where(programs.c.id == tenant_id).with_for_update()
    return _program((await tx.execute(found)).one_or_none())


async def claim_program(tx: Tx, tenant_id: TenantId, *, artifact_id: str, now: Millis) -> Program:
    """The program of that id, locked; an empty one of revision 0 is made if there is none.

    Insert first, look then: of two uploads of one new id, the second waits here for the first and finds its program.
    """
    insert = (postgresql if tx.dialect == "postgresql" else sqlite).insert(programs)
    empty = {"name": "", "config": "{}", "revision": 0, "created_ms": now, "updated_ms": now}
    await tx.execute(insert.values(id=tenant_id, artifact_id=artifact_id, **empty).on_conflict_do_nothing())
    claimed = await lock_program(tx, tenant_id)
    assert claimed is not None
    return claimed


async def store_content(
    tx: Tx, tenant_id: TenantId, content: Content, *, archived_at: Millis | None, now: Millis
) -> None:
    """Replace the program's content; its revision goes up."""
    await tx.execute(
        update(programs)
        .where(programs.c.id == tenant_id)
        .values(
            name=content.config["name"],
            description=content.config.get("description"),
            version=content.config.get("version"),
            config=_text(content.config),
            external_sync=None if content.external_sync is None else _text(content.external_sync),
            entity_data=_text(content.entity_data) if content.entity_data else None,
            archived_ms=archived_at,
            revision=programs.c.revision + 1,
            updated_ms=now,
        )
    )


async def store_archived(tx: Tx, tenant_id: TenantId, archived_at: Millis | None, *, now: Millis) -> bool:
    """Archive, or with None restore; false if there is no such program."""
    changed = await tx.execute(
        update(programs)
        .where(programs.c.id == tenant_id)
        .values(archived_ms=archived_at, revision=programs.c.revision + 1, updated_ms=now)
    )
    return changed.rowcount > 0


async def find_running(view: Reading, tenant_id: TenantId, *, known: Tenant | None = None) -> Tenant | None:
    """The running program of that id. What forms tell is taken from `known` while that is of the same version."""
    columns = select(programs.c.name, programs.c.config, programs.c.artifact_id, programs.c.revision)
    found = columns.where(programs.c.id == tenant_id, programs.c.archived_ms.is_(None))
    row = (await view.execute(found)).one_or_none()
    if row is None:
        return None
    config = _running_config.decode(row.config)
    # A program that is made anew counts from the start, but has another artifact.
    version = f"{row.artifact_id}.{row.revision}"
    return Tenant(
        tenant_id,
        row.name,
        config.sync_scope,
        config.custom_event_types,
        form_validation(config.form_validation),
        bool(config.audit_reads),
        version=version,
        searchable=known.searchable
        if known is not None and known.version == version
        else searchable_fields(_definitions(row.config)),
    )


async def lock_forms(tx: Tx, tenant_id: TenantId) -> dict[str, Any] | None:
    """The Form.io definition of each form, which nobody changes until the transaction ends; None without a program."""
    found = select(programs.c.config).where(programs.c.id == tenant_id).with_for_update(read=True)
    config = (await tx.execute(found)).scalar_one_or_none()
    return None if config is None else _definitions(config)


async def find_config(view: Reading, tenant_id: TenantId) -> tuple[dict[str, Any], int] | None:
    """The config of a program, archived or not, without what is stored beside it; and its revision."""
    columns = select(programs.c.config, programs.c.revision).where(programs.c.id == tenant_id)
    row = (await view.execute(columns)).one_or_none()
    return None if row is None else (_value(row.config), row.revision)


async def form_definitions(view: Reading, tenant_id: TenantId) -> dict[str, Any]:
    """The Form.io definition of each form, by name."""
    config = (await view.execute(select(programs.c.config).where(programs.c.id == tenant_id))).scalar_one_or_none()
    return {} if config is None else _definitions(config)


def _definitions(config: str) -> dict[str, Any]:
    return {form.name: form.formio for form in _forms.decode(config).entity_forms}


async def auth_configs(view: Reading, tenant_id: TenantId) -> list[dict[str, Any]]:
    """The program's identity providers, as they are stored."""
    config = (await view.execute(select(programs.c.config).where(programs.c.id == tenant_id))).scalar_one_or_none()
    return [] if config is None else _auth_configs.decode(config).auth_configs


async def list_programs(
    view: Reading, only: Collection[TenantId] | None, *, include_archived: bool
) -> Sequence[Listed]:
    """All programs, or those of `only`, in no order."""
    p = programs.c
    found = select(p.id, p.artifact_id, p.name, p.description, p.version, p.archived_ms)
    if only is not None:
        found = found.where(p.id.in_(only))
    if not include_archived:
        found = found.where(p.archived_ms.is_(None))
    return [
        Listed(TenantId(row.id), row.artifact_id, row.name, row.description, row.version, row.archived_ms)
        for row in await view.execute(found)
    ]


async def archived_flags(view: Reading, tenant_ids: Collection[TenantId]) -> dict[TenantId, bool]:
    """Of those that exist: whether they are archived."""
    found = select(programs.c.id, programs.c.archived_ms).where(programs.c.id.in_(tenant_ids))
    return {TenantId(row.id): row.archived_ms is not None for row in await view.execute(found)}


async def external_syncs(view: Reading, tenant_ids: Collection[TenantId]) -> dict[TenantId, Mapping[str, Any] | None]:
    found = select(programs.c.id, programs.c.external_sync).where(programs.c.id.in_(tenant_ids))
    return {TenantId(row.id): _value(row.external_sync) for row in await view.execute(found)}


def _program(row: Row[Any] | None) -> Program | None:
    if row is None:
        return None
    return Program(
        id=TenantId(row.id),
        artifact_id=row.artifact_id,
        config=_value(row.config),
        external_sync=_value(row.external_sync),
        entity_data=_value(row.entity_data) or (),
        archived_at=row.archived_ms,
        revision=row.revision,
        created_at=row.created_ms,
        updated_at=row.updated_ms,
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
