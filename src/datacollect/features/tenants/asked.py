"""What the rest of the hub asks of programs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from datacollect.db import Reading, Tx
from datacollect.features.tenants import queries
from datacollect.features.tenants.errors import ProgramNotFound
from datacollect.features.tenants.matchable import Matching as Matching
from datacollect.features.tenants.matchable import read_matching
from datacollect.features.tenants.model import FormKind, classify
from datacollect.features.tenants.published import portable
from datacollect.kernel.client_assertions import ClientKey, read_client_key
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import CannotOpen, Seals
from datacollect.kernel.tenancy import Tenant


async def hold(tx: Tx, scope: TenantScope) -> bool:
    """Whether there is such a program; if so, it is not taken away before `tx` ends.

    For what is written of a program apart from its log, whose lock does the same: else it could be left behind.
    """
    return await queries.hold_program(tx, scope)


async def hold_all(tx: Tx, tenant_ids: Collection[TenantId]) -> Collection[TenantId]:
    """As `hold`, of several: those of them that there are."""
    return await queries.hold_programs(tx, tenant_ids) if tenant_ids else ()


async def form_definitions(view: Reading, tenant_id: TenantId) -> dict[str, Any]:
    """The Form.io definition of each of the program's forms, by the form's name."""
    return await queries.form_definitions(view, tenant_id)


@dataclass(frozen=True, slots=True)
class ForCitizens:
    """What of a program's config citizens meet, in wire form."""

    section: Mapping[str, Any]
    """`selfService`; empty where there is none."""
    forms: Sequence[Mapping[str, Any]]
    kinds: Mapping[str, FormKind]
    """By the form's name."""


async def config_for_citizens(view: Reading, tenant_id: TenantId) -> ForCitizens:
    section, forms = await queries.find_for_citizens(view, tenant_id)
    return ForCitizens(section, forms, classify(forms))


async def find_running(view: Reading, tenant_id: TenantId) -> Tenant | None:
    """What appending to a program needs of it, as it is in this transaction; None if it is not running."""
    return await queries.find_running(view, tenant_id)


async def matching_of(view: Reading, tenant_id: TenantId, *, known: Matching | None = None) -> Matching | None:
    """How duplicates are looked for in a program; None if there is none. `known` is given again while it is so: the forms
    of a program are long to read."""
    if known is not None and await queries.find_version(view, tenant_id) == known.version:
        return known
    found = await queries.find_matching(view, tenant_id)
    if found is None:
        return None
    version, forms, section = found
    return read_matching(forms, section, version=version)


async def running_version(view: Reading, tenant_id: TenantId) -> str | None:
    """Of the config of a running program, as `Matching` tells it; None if it does not run."""
    return await queries.find_version(view, tenant_id, only_running=True)


async def lock_searchable(tx: Tx, tenant_id: TenantId) -> tuple[str, ...] | None:
    """The program's searchable fields, which nobody changes until the transaction ends; None if there is none."""
    return await queries.lock_searchable(tx, tenant_id)


async def states(view: Reading, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, Literal["running", "archived"]]:
    """Of those of the programs that exist."""
    if not tenant_ids:
        return {}
    archived = await queries.archived_flags(view, tenant_ids)
    return {tenant_id: "archived" if is_archived else "running" for tenant_id, is_archived in archived.items()}


async def every_program(view: Reading) -> Sequence[TenantId]:
    """The ids of all there are, archived ones too."""
    return await queries.list_ids(view)


async def running_without_log(view: Reading) -> Sequence[TenantId]:
    """The ids of running programs whose log has no head, as none should be: nothing can be pushed to them. Asked for all
    tenants."""
    return await queries.list_without_log(view)


async def being_purged(view: Reading) -> Sequence[TenantId]:
    """The ids of programs that are gone, while what was stored of them is still being deleted."""
    return await queries.list_being_purged(view)


@dataclass(frozen=True, slots=True)
class ReviewNotifications:
    """Where news about reviews go, and what they are signed with."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the hub needs of a program to exchange with the system that it names."""

    external_sync: Mapping[str, Any] | None
    """The section with its secrets: not for answers, and not for logs."""
    form_types: Mapping[str, str]
    """What entities of each form are."""


async def bridge_of(view: Reading, tenant_id: TenantId, *, seals: Seals) -> Bridge | None:
    """Of a running program; None if there is none. Raises `CannotOpen` if no key of the hub opens the section."""
    program = await queries.find_program(view, seals, tenant_id)
    if program is None or program.archived_at is not None:
        return None
    if "externalSync" in program.locked:
        raise CannotOpen()
    kinds = classify(program.config.get("entityForms", []))
    return Bridge(program.external_sync, {name: kind.entity_type for name, kind in kinds.items()})


async def count_sending_codes(view: Reading) -> int:
    """How many running programs let citizens sign in by codes."""
    return await queries.count_sending_codes(view)


async def review_notifications(view: Reading, tenant_id: TenantId, *, seals: Seals) -> ReviewNotifications | None:
    """Whom a running program wants to have told of reviews. Raises `CannotOpen` if no key of the hub opens the secret."""
    program = await queries.find_program(view, seals, tenant_id)
    section = None if program is None or program.archived_at is not None else program.config.get("reviewNotifications")
    if not section:
        return None
    if section["secret"] is None:
        raise CannotOpen()
    return ReviewNotifications(section["url"], section["secret"])


async def oidc_key(view: Reading, tenant_id: TenantId, *, seals: Seals) -> ClientKey | None:
    """By which a running program redeems what its citizens' provider gives them; None if it has none.

    Raises `CannotOpen` if no key of the hub opens it.
    """
    text = await queries.oidc_key(view, seals, tenant_id)
    return None if text is None else read_client_key(text, is_checked=True)


async def auth_configs(view: Reading, tenant_id: TenantId) -> list[dict[str, Any]]:
    """The program's identity providers: each a `type` and its `fields`."""
    return await queries.auth_configs(view, tenant_id)


@dataclass(frozen=True, slots=True)
class Portable:
    """A program's config as it may leave the hub: without secrets, people, or ties to other systems."""

    document: Mapping[str, Any]
    revision: int
    archived_at: Millis | None
    artifact_id: str


async def portable_program(view: Reading, tenant_id: TenantId) -> Portable:
    """Archived ones too. Raises `ProgramNotFound`."""
    found = await queries.find_config(view, tenant_id)
    if found is None:
        raise ProgramNotFound()
    return Portable(portable(tenant_id, found.config), found.revision, found.archived_at, found.artifact_id)
