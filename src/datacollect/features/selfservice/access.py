"""Who has looked at a citizen's record, as the program's audit trail has noted it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.db import Reading
from datacollect.features.audit.model import AuditEntry, Place
from datacollect.features.audit.reading import MANY, READS, WIDE_READS
from datacollect.features.audit.service import list_reads
from datacollect.features.users.model import User
from datacollect.features.users.service import find_users
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import CITIZEN_PREFIX, LABELS_WITHOUT_ACCOUNT, TenantScope
from datacollect.kernel.ids import UserId
from datacollect.kernel.tenancy import Tenant

KEPT = (
    "The programme notes who reads records. Devices of its staff may hold a copy of this record, and what has happened to a"
    " household may tell of it: reads there are not seen."
)
NOT_KEPT = "The programme does not note who reads records: nobody can tell who has looked at this one."

_LARGEST_ID = 9
"""Digits."""


@dataclass(frozen=True, slots=True)
class AccessPage:
    """The latest first. `next_place` is None on the last page."""

    found: Sequence[AuditEntry]
    people: Mapping[UserId, User]
    next_place: Place | None


async def list_accesses(
    view: Reading, scope: TenantScope, guid: str, *, wide: bool, before: Place, limit: int
) -> AccessPage:
    """Reads of this one record, with `wide` also those of many records at once. Two statements, four if wide."""
    found = list(await list_reads(view, scope, guid, READS, before=before, limit=limit + 1))
    for many in MANY if wide else ():
        found += await list_reads(view, scope, many, WIDE_READS, before=before, limit=limit + 1)
    found = sorted(found, key=lambda entry: entry.place, reverse=True)
    page = found[:limit]
    people = await find_users(view, _accounts(page)) if page else {}
    return AccessPage(page, people, page[-1].place if len(found) > limit else None)


def access_view(entry: AuditEntry, page: AccessPage, tenant: Tenant, *, names_staff: bool) -> dict[str, Any]:
    return {
        "at": format_timestamp(entry.recorded_at),
        "action": entry.action,
        "by": by_view(entry.actor or entry.user_id, page.people, tenant, names_staff=names_staff),
        "wide": entry.entity_guid in MANY,
    }


def by_view(actor: str, people: Mapping[UserId, User], tenant: Tenant, *, names_staff: bool) -> dict[str, Any]:
    """Whoever an entry names, as citizens are told: staff by their role in the program, unless it says otherwise.

    The role is the one they have now; None of somebody who is no member any more.
    """
    if actor.startswith(CITIZEN_PREFIX):
        return {"kind": "self"}
    if actor in LABELS_WITHOUT_ACCOUNT:
        return {"kind": "system"}
    user = people.get(UserId(int(actor))) if _is_id(actor) else None
    told: dict[str, Any] = {"kind": "staff", "role": _role(user, tenant), "program": tenant.name}
    if names_staff and user is not None:
        told["name"] = user.email
    return told


def _role(user: User | None, tenant: Tenant) -> str | None:
    if user is None:
        return None
    actor = user.to_actor()
    role = actor.role_in(tenant.id)
    return "administrator" if actor.is_admin else None if role is None else role.value


def accounts_in(actors: Collection[str]) -> set[UserId]:
    return {UserId(int(actor)) for actor in actors if _is_id(actor)}


def _accounts(entries: Sequence[AuditEntry]) -> set[UserId]:
    return accounts_in({entry.actor or entry.user_id for entry in entries})


def _is_id(actor: str) -> bool:
    return actor.isascii() and actor.isdigit() and len(actor) <= _LARGEST_ID
