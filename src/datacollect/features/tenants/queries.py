"""All SQL of programs but that of their versions."""

import contextlib
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Executable, Row, and_, bindparam, case, delete, insert, select, update

from datacollect.db import Dialect, Reading, Tx, insert_for
from datacollect.eventstore.tables import log_heads
from datacollect.features.tenants import versions_queries
from datacollect.features.tenants.model import ArtifactStamp, Listed, Program, Progress, Revision, form_validation
from datacollect.features.tenants.sealing import Sealed, open_oidc_key, open_sealed, open_sync
from datacollect.features.tenants.searchable import searchable_fields
from datacollect.features.tenants.seeding_tables import seedings
from datacollect.features.tenants.tables import programs, purges
from datacollect.features.tenants.versions_model import Change
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import StartupError
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId, new_artifact_id
from datacollect.kernel.sealing import CannotOpen, Seals
from datacollect.kernel.tenancy import AttachmentRules, MessageRules, OidcRules, SelfServiceRules, Tenant


@dataclass(frozen=True, slots=True)
class Content:
    """An accepted document, as it is stored."""

    sealed: Sealed
    seed_digest: str | None
    """Of seeds that are stored; see `versions_queries.keep_seeds`."""


@dataclass(frozen=True, slots=True)
class Locked:
    """What a small edit needs to know of a program that nobody else can change meanwhile."""

    artifact_id: str
    at: Revision
    archived_at: Millis | None
    seed_digest: str | None


class _Attachments(msgspec.Struct, rename="camel"):
    """What a program's config says of attachments; what it does not say is as in `AttachmentRules`."""

    max_bytes: int | None = None
    types: frozenset[str] | None = None
    max_per_entity: int | None = None

    def rules(self) -> AttachmentRules:
        usual = AttachmentRules()
        return AttachmentRules(
            self.max_bytes or usual.most_bytes, self.types or usual.types, self.max_per_entity or usual.most_per_entity
        )


class _Messages(msgspec.Struct, rename="camel"):
    """What `selfService` says of messages."""

    enabled: bool = False
    auth_methods: frozenset[str] = frozenset()
    messages_per_day: int | None = None
    languages: tuple[str, ...] | None = None
    message_texts: dict[str, dict[str, str] | None] | None = None

    def message_rules(self) -> MessageRules:
        texts = {
            purpose: {language.lower(): text for language, text in words.items()}
            for purpose, words in (self.message_texts or {}).items()
            if words is not None
        }
        return MessageRules(self.messages_per_day, self.languages or MessageRules().languages, texts)

    @property
    def sends_codes(self) -> bool:
        return self.enabled and "otp" in self.auth_methods


class _EntityMapping(msgspec.Struct, rename="camel"):
    primary_claim: str
    entity_field: str
    fallback_claim: str | None = None
    fallback_field: str | None = None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        first = (self.primary_claim, self.entity_field)
        if not self.fallback_claim and not self.fallback_field:
            return (first,)
        # Of the two, the one that is left out is that of the primary.
        return (first, (self.fallback_claim or self.primary_claim, self.fallback_field or self.entity_field))


class _Oidc(msgspec.Struct, rename="camel"):
    authority: str
    client_id: str
    entity_mapping: _EntityMapping
    require_nonce: bool | None = None
    redirect_uri: str | None = None
    userinfo: bool | None = None


class _SelfService(_Messages, rename="camel"):
    """What a program's config says of citizens."""

    enabled: bool = False
    auth_methods: frozenset[str] = frozenset()
    oidc_config: _Oidc | None = None

    def rules(self) -> SelfServiceRules | None:
        if not self.enabled:
            return None
        oidc = self.oidc_config
        return SelfServiceRules(
            methods=self.auth_methods,
            oidc=None
            if oidc is None
            else OidcRules(
                oidc.authority,
                oidc.client_id,
                oidc.entity_mapping.pairs,
                require_nonce=bool(oidc.require_nonce),
                redirect_uri=oidc.redirect_uri or "",
                userinfo=bool(oidc.userinfo),
            ),
        )


class _RunningConfig(msgspec.Struct, rename="camel"):
    """What the hub needs of a config on every request; the rest (forms above all) is skipped, not decoded."""

    sync_scope: dict[str, Any] | None = None
    custom_event_types: frozenset[str] = frozenset()
    form_validation: str | bool | None = None
    audit_reads: bool | None = None
    attachments: _Attachments | None = None
    self_service: _SelfService | None = None


class _Form(msgspec.Struct):
    name: str
    formio: Any


class _Forms(msgspec.Struct, rename="camel"):
    entity_forms: list[_Form] = []


class _ForCitizens(msgspec.Struct, rename="camel"):
    entity_forms: list[dict[str, Any]] = []
    self_service: dict[str, Any] | None = None


class _Matching(_Forms, rename="camel"):
    duplicates: Any = None


class _AuthConfigs(msgspec.Struct, rename="camel"):
    auth_configs: list[dict[str, Any]] = []


_running_config = msgspec.json.Decoder(_RunningConfig)
_forms = msgspec.json.Decoder(_Forms)
_for_citizens = msgspec.json.Decoder(_ForCitizens)
_matching = msgspec.json.Decoder(_Matching)
_auth_configs = msgspec.json.Decoder(_AuthConfigs)


_p = programs.c
_ALL = (
    _p.id, _p.artifact_id, _p.config, _p.config_secrets, _p.external_sync, _p.seed_digest, _p.archived_ms,
    _p.revision, _p.created_ms, _p.updated_ms,
)  # fmt: skip
"""All of a program but its seeds."""

# Made once: building a statement costs as much as running it.
_NAMED = _p.id == bindparam("named")
_FIND = select(*_ALL).where(_NAMED)
_FIND_BY_ARTIFACT = select(*_ALL).where(_p.artifact_id == bindparam("artifact"), _p.archived_ms.is_(None))
_FIND_STAMP = select(_p.revision, _p.updated_ms).where(
    _p.artifact_id == bindparam("artifact"), _p.archived_ms.is_(None)
)
_LOCK_PROGRAM = _FIND.with_for_update()
_LOCK = (
    select(_p.artifact_id, _p.revision, _p.created_ms, _p.archived_ms, _p.config_digest, _p.seed_digest)
    .where(_NAMED)
    .with_for_update()
)
_HOLD = select(_p.id).where(_NAMED).with_for_update(read=True, key_share=True)
_REVISION = select(_p.revision).where(_NAMED)
_CONFIG = select(_p.config).where(_NAMED)
_LOCK_CONFIG = _CONFIG.with_for_update(read=True)
_SAVED_CONFIG = select(_p.config, _p.revision, _p.archived_ms, _p.artifact_id).where(_NAMED)
_OF_ARTIFACT = select(_p.id).where(_p.artifact_id == bindparam("artifact"))
_MATCHING = select(_p.artifact_id, _p.revision, _p.config).where(_NAMED)
_VERSION = select(_p.artifact_id, _p.revision).where(_NAMED)
_VERSION_OF_RUNNING = _VERSION.where(_p.archived_ms.is_(None))
_RUNNING = select(_p.name, _p.config, _p.artifact_id, _p.revision).where(_NAMED, _p.archived_ms.is_(None))
# Who waited for their turn has an older time than those they waited for.
_CHANGE = (
    update(programs)
    .where(_NAMED)
    .values(
        revision=_p.revision + 1,
        updated_ms=case((_p.updated_ms > bindparam("now"), _p.updated_ms), else_=bindparam("now")),
    )
)
_IS_BEING_PURGED = select(purges.c.tenant_id).where(purges.c.tenant_id == bindparam("named"))
_HOLD_PURGE = _IS_BEING_PURGED.with_for_update()


async def count_sending_codes(view: Reading) -> int:
    """How many running programs let citizens sign in by codes."""
    found = select(programs.c.config).where(programs.c.archived_ms.is_(None), programs.c.config.contains('"otp"'))
    sections = [_running_config.decode(row.config).self_service for row in await view.execute(found)]
    return sum(1 for section in sections if section is not None and section.sends_codes)


async def list_without_log(view: Reading) -> Sequence[TenantId]:
    """Running programs whose log has no head. Asked in one statement: a program and its head are made in one transaction."""
    headless = ~select(log_heads.c.tenant_id).where(log_heads.c.tenant_id == programs.c.id).exists()
    found = select(programs.c.id).where(programs.c.archived_ms.is_(None), headless).order_by(programs.c.id)
    return [TenantId(name) for name in (await view.execute(found)).scalars()]


async def list_ids(view: Reading) -> Sequence[TenantId]:
    return [TenantId(name) for name in (await view.execute(select(programs.c.id).order_by(programs.c.id))).scalars()]


async def find_program(view: Reading, seals: Seals, tenant_id: TenantId) -> Program | None:
    return _program(seals, (await view.execute(_FIND, {"named": tenant_id})).one_or_none())


async def find_program_by_artifact(view: Reading, seals: Seals, artifact_id: str) -> Program | None:
    """The running program with that file; None if there is none or it is archived."""
    row = (await view.execute(_FIND_BY_ARTIFACT, {"artifact": artifact_id})).one_or_none()
    return _program(seals, row)


async def find_artifact_stamp(view: Reading, artifact_id: str) -> ArtifactStamp | None:
    """Of the running program with that artifact."""
    row = (await view.execute(_FIND_STAMP, {"artifact": artifact_id})).one_or_none()
    return None if row is None else ArtifactStamp(artifact_id, row.revision, row.updated_ms)


async def lock_program(tx: Tx, seals: Seals, tenant_id: TenantId) -> Program | None:
    """The program, unchangeable for others until the transaction ends."""
    return _program(seals, (await tx.execute(_LOCK_PROGRAM, {"named": tenant_id})).one_or_none())


async def lock(tx: Tx, tenant_id: TenantId) -> Locked | None:
    """As `lock_program`, without its content."""
    row = (await tx.execute(_LOCK, {"named": tenant_id})).one_or_none()
    if row is None:
        return None
    if row.config_digest is None:
        raise StartupError(
            "The programs of this database are those of an older hub. Start this one once to adopt them."
        )
    return Locked(row.artifact_id, Revision(row.revision, row.created_ms), row.archived_ms, row.seed_digest)


async def find_revision(view: Reading, tenant_id: TenantId) -> int | None:
    return (await view.execute(_REVISION, {"named": tenant_id})).scalar_one_or_none()


async def config_of(tx: Tx, tenant_id: TenantId) -> dict[str, Any]:
    """The config as it is stored: null stands in the places of its secrets."""
    config: dict[str, Any] = _value((await tx.execute(_CONFIG, {"named": tenant_id})).scalar_one())
    return config


async def claim_program(tx: Tx, seals: Seals, tenant_id: TenantId, *, artifact_id: str, now: Millis) -> Program:
    """The program of that id, locked; an empty one of revision 0 is made if there is none.

    Insert first, look then: of two uploads of one new id, the second waits here for the first and finds its program.
    What is found by the insert and not any more by the look was purged between them.
    """
    empty = {"name": "", "config": "{}", "config_secrets": "", "revision": 0, "created_ms": now, "updated_ms": now}
    while True:
        await tx.execute(_claiming(tx.dialect), empty | {"id": tenant_id, "artifact_id": artifact_id})
        claimed = await lock_program(tx, seals, tenant_id)
        if claimed is not None:
            return claimed
        artifact_id = new_artifact_id()  # that one may be another program's by now


@functools.cache
def _claiming(dialect: Dialect) -> Executable:
    return insert_for(dialect, programs).on_conflict_do_nothing()


async def store_content(
    tx: Tx, scope: TenantScope, content: Content, change: Change, *, archived_at: Millis | None, now: Millis
) -> None:
    """Replace the program's content; its revision goes up."""
    sealed = content.sealed
    values = {
        "config_secrets": sealed.config_secrets,
        "external_sync": sealed.external_sync,
        "seed_digest": content.seed_digest,
        "archived_ms": archived_at,
    }
    await _store(tx, scope, change, _config_columns(sealed.config) | values, now=now)


async def store_config(tx: Tx, scope: TenantScope, config: Mapping[str, Any], change: Change, *, now: Millis) -> None:
    """Replace the config, as `config_of` gives it; its secrets stay in their places."""
    await _store(tx, scope, change, _config_columns(config), now=now)


async def store_archived(
    tx: Tx, scope: TenantScope, archived_at: Millis | None, change: Change, *, now: Millis
) -> None:
    """Archive, or with None restore."""
    await _store(tx, scope, change, {"archived_ms": archived_at}, now=now)


async def store_artifact_id(tx: Tx, scope: TenantScope, artifact_id: str, change: Change, *, now: Millis) -> None:
    await _store(tx, scope, change, {"artifact_id": artifact_id}, now=now)


async def _store(tx: Tx, scope: TenantScope, change: Change, values: dict[str, Any], *, now: Millis) -> None:
    """The one way in which a program changes: it gets a new revision, and its history has that."""
    await tx.execute(_CHANGE, values | {"named": scope.tenant_id, "now": now})
    await versions_queries.keep_version(tx, scope, change)


def _config_columns(config: Mapping[str, Any]) -> dict[str, Any]:
    text = _text(config)
    return {
        "name": config["name"],
        "description": config.get("description"),
        "version": config.get("version"),
        "config": text,
        "config_digest": versions_queries.digest_of(text),
    }


async def hold_program(tx: Tx, scope: TenantScope) -> bool:
    """Whether the program is there; if so, nobody deletes its row before `tx` ends."""
    return (await tx.execute(_HOLD, {"named": scope.tenant_id})).first() is not None


async def hold_programs(tx: Tx, tenant_ids: Collection[TenantId]) -> Collection[TenantId]:
    """As `hold_program`: those that are there. In the order of their ids, so that nobody waits in a circle."""
    held = select(_p.id).where(_p.id.in_(tenant_ids)).order_by(_p.id).with_for_update(read=True, key_share=True)
    return [TenantId(row.id) for row in await tx.execute(held)]


async def delete_program(tx: Tx, scope: TenantScope) -> None:
    await tx.execute(delete(programs).where(_p.id == scope.tenant_id))


async def insert_purge(tx: Tx, scope: TenantScope, *, now: Millis) -> None:
    await tx.execute(insert(purges).values(tenant_id=scope.tenant_id, begun_ms=now, begun_by=scope.actor.user_id))


async def is_being_purged(view: Reading, scope: TenantScope) -> bool:
    return (await view.execute(_IS_BEING_PURGED, {"named": scope.tenant_id})).first() is not None


async def hold_purge(tx: Tx, scope: TenantScope) -> bool:
    """Whether the program is being purged; if so, nobody else ends that before `tx` ends."""
    return (await tx.execute(_HOLD_PURGE, {"named": scope.tenant_id})).first() is not None


async def list_being_purged(view: Reading) -> Sequence[TenantId]:
    return [TenantId(name) for name in (await view.execute(select(purges.c.tenant_id))).scalars()]


async def delete_purge(tx: Tx, scope: TenantScope) -> None:
    await tx.execute(delete(purges).where(purges.c.tenant_id == scope.tenant_id))


async def find_running(view: Reading, tenant_id: TenantId, *, known: Tenant | None = None) -> Tenant | None:
    """The running program of that id. What forms tell is taken from `known` while that is of the same version."""
    row = (await view.execute(_RUNNING, {"named": tenant_id})).one_or_none()
    if row is None:
        return None
    config = _running_config.decode(row.config)
    version = _version(row)
    self_service = None if config.self_service is None else config.self_service.rules()
    return Tenant(
        tenant_id,
        row.name,
        config.sync_scope,
        config.custom_event_types,
        form_validation(config.form_validation),
        bool(config.audit_reads),
        attachments=(config.attachments or _Attachments()).rules(),
        messages=(config.self_service or _Messages()).message_rules(),
        version=version,
        self_service=self_service,
        searchable=known.searchable
        if known is not None and known.version == version
        else searchable_fields(_definitions(row.config), factors_of(self_service)),
    )


async def lock_searchable(tx: Tx, tenant_id: TenantId) -> tuple[str, ...] | None:
    """The searchable fields, which nobody changes until the transaction ends; None without a program."""
    config = (await tx.execute(_LOCK_CONFIG, {"named": tenant_id})).scalar_one_or_none()
    if config is None:
        return None
    section = _running_config.decode(config).self_service
    return searchable_fields(_definitions(config), factors_of(None if section is None else section.rules()))


def factors_in(section: Any) -> tuple[str, ...]:
    """What people are looked up by, of an accepted config's `selfService`."""
    return factors_of(None if section is None else msgspec.convert(section, _SelfService).rules())


def factors_of(rules: SelfServiceRules | None) -> tuple[str, ...]:
    return () if rules is None else rules.indexed_factors


class SavedConfig(NamedTuple):
    """Without what is stored beside it."""

    config: dict[str, Any]
    revision: int
    archived_at: Millis | None
    artifact_id: str


async def find_config(view: Reading, tenant_id: TenantId) -> SavedConfig | None:
    """Of a program, archived or not."""
    row = (await view.execute(_SAVED_CONFIG, {"named": tenant_id})).one_or_none()
    return None if row is None else SavedConfig(_value(row.config), row.revision, row.archived_ms, row.artifact_id)


async def is_artifact_taken(view: Reading, artifact_id: str) -> bool:
    """By any program, archived or not."""
    return (await view.execute(_OF_ARTIFACT, {"artifact": artifact_id})).first() is not None


async def form_definitions(view: Reading, tenant_id: TenantId) -> dict[str, Any]:
    """The Form.io definition of each form, by name."""
    config = (await view.execute(_CONFIG, {"named": tenant_id})).scalar_one_or_none()
    return {} if config is None else _definitions(config)


async def find_for_citizens(view: Reading, tenant_id: TenantId) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The config's `selfService` and `entityForms`; empty without a program."""
    config = (await view.execute(_CONFIG, {"named": tenant_id})).scalar_one_or_none()
    if config is None:
        return {}, []
    found = _for_citizens.decode(config)
    return found.self_service or {}, found.entity_forms


async def find_matching(view: Reading, tenant_id: TenantId) -> tuple[str, dict[str, Any], Any] | None:
    """The config's version, the form definitions, and its `duplicates`; None without a program."""
    row = (await view.execute(_MATCHING, {"named": tenant_id})).one_or_none()
    if row is None:
        return None
    found = _matching.decode(row.config)
    return _version(row), {form.name: form.formio for form in found.entity_forms}, found.duplicates


async def find_version(view: Reading, tenant_id: TenantId, *, only_running: bool = False) -> str | None:
    """Of the program's config; None without a program."""
    wanted = _VERSION_OF_RUNNING if only_running else _VERSION
    row = (await view.execute(wanted, {"named": tenant_id})).one_or_none()
    return None if row is None else _version(row)


def _version(row: Any) -> str:
    """A program that is made anew counts from the start, but has another artifact."""
    return f"{row.artifact_id}.{row.revision}"


def _definitions(config: str) -> dict[str, Any]:
    return {form.name: form.formio for form in _forms.decode(config).entity_forms}


async def auth_configs(view: Reading, tenant_id: TenantId) -> list[dict[str, Any]]:
    """The program's identity providers, without secrets: the hub needs none of them."""
    config = (await view.execute(_CONFIG, {"named": tenant_id})).scalar_one_or_none()
    return [] if config is None else [_without_holes(each) for each in _auth_configs.decode(config).auth_configs]


async def oidc_key(view: Reading, seals: Seals, tenant_id: TenantId) -> str | None:
    """Raises `CannotOpen`."""
    secrets = select(programs.c.config_secrets).where(programs.c.id == tenant_id, programs.c.archived_ms.is_(None))
    return open_oidc_key(seals, tenant_id, (await view.execute(secrets)).scalar_one_or_none())


async def list_programs(
    view: Reading, only: Collection[TenantId] | None, *, include_archived: bool
) -> Sequence[Listed]:
    """All programs, or those of `only`, in no order."""
    p, s = programs.c, seedings.c
    is_under_way = and_(s.tenant_id == p.id, s.finished_ms.is_(None))
    done = s.added + s.existing + s.changed + s.rejected
    found = select(p.id, p.artifact_id, p.name, p.description, p.version, p.archived_ms, s.total, done.label("done"))
    found = found.select_from(programs.outerjoin(seedings, is_under_way))
    if only is not None:
        found = found.where(p.id.in_(only))
    if not include_archived:
        found = found.where(p.archived_ms.is_(None))
    return [
        Listed(
            TenantId(row.id),
            row.artifact_id,
            row.name,
            row.description,
            row.version,
            row.archived_ms,
            None if row.total is None else Progress(row.total, row.done),
        )
        for row in await view.execute(found)
    ]


async def archived_flags(view: Reading, tenant_ids: Collection[TenantId]) -> dict[TenantId, bool]:
    """Of those that exist: whether they are archived."""
    found = select(programs.c.id, programs.c.archived_ms).where(programs.c.id.in_(tenant_ids))
    return {TenantId(row.id): row.archived_ms is not None for row in await view.execute(found)}


async def external_syncs(
    view: Reading, seals: Seals, tenant_ids: Collection[TenantId]
) -> dict[TenantId, Mapping[str, Any] | None]:
    """Of those whose section can be opened; None for a program that has none."""
    found = select(_p.id, _p.external_sync).where(_p.id.in_(tenant_ids))
    opened = {}
    for row in await view.execute(found):
        with contextlib.suppress(CannotOpen):
            opened[TenantId(row.id)] = open_sync(seals, TenantId(row.id), row.external_sync)
    return opened


def _program(seals: Seals, row: Row[Any] | None) -> Program | None:
    if row is None:
        return None
    tenant_id = TenantId(row.id)
    opened = open_sealed(seals, tenant_id, _value(row.config), row.config_secrets, row.external_sync)
    return Program(
        id=tenant_id,
        artifact_id=row.artifact_id,
        config=opened.config,
        external_sync=opened.external_sync,
        entity_data=(),
        archived_at=row.archived_ms,
        revision=row.revision,
        created_at=row.created_ms,
        updated_at=row.updated_ms,
        seed_digest=row.seed_digest,
        locked=opened.locked,
    )


def _without_holes(provider: dict[str, Any]) -> dict[str, Any]:
    return provider | {"fields": {key: value for key, value in provider["fields"].items() if value is not None}}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
