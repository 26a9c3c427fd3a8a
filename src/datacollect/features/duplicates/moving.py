"""What a merge has to move, read in the transaction that moves it."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.db import Tx
from datacollect.eventstore.event import Event
from datacollect.features.attachments import service as attachments
from datacollect.features.duplicates.errors import CannotMerge, PairNotFound
from datacollect.features.duplicates.merging import Surroundings, merge, wanted_fields
from datacollect.features.entities.entity import Kind
from datacollect.features.entities.links import service as links
from datacollect.features.entities.model import reserved_keys
from datacollect.features.entities.service import surroundings
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

_MOST_MOVED = 5000


async def merge_events(
    tx: Tx,
    scope: TenantScope,
    tenant: Tenant,
    merged_guid: str,
    survivor_guid: str,
    fields: Mapping[str, Any] | None,
    *,
    user_id: str,
    now: Millis,
) -> Sequence[Event]:
    """Raises `CannotMerge`."""
    states, children = await surroundings(
        tx, scope, [merged_guid, survivor_guid], children_of_=merged_guid, most_children=_MOST_MOVED + 1
    )
    survivor, merged = states.entities.get(survivor_guid), states.entities.get(merged_guid)
    if survivor is None or merged is None or not (survivor.is_live and merged.is_live):
        raise PairNotFound()
    if len(children) + len(states.members_of(merged_guid)) > _MOST_MOVED:
        raise CannotMerge(f"More than {_MOST_MOVED:,} records and members hang on the one that would go.")

    def groups_of(guid: str) -> list[str]:
        found = [group for group, held in states.groups_of(guid).items() if held.present]
        return sorted(g for g in found if (entity := states.entities.get(g)) is not None and entity.is_live)

    def members_of(guid: str) -> list[str]:
        present = [held for held in states.members_of(guid).values() if held.present]
        ordered = sorted(present, key=lambda held: (held.ordinal, held.member_guid))
        return [held.member_guid for held in ordered]

    def kind_of(guid: str) -> Kind:
        entity = states.entities.get(guid)
        return (entity.kind if entity is not None else None) or Kind.INDIVIDUAL

    def is_live(guid: str) -> bool:
        entity = states.entities.get(guid)
        return entity is not None and entity.is_live

    around = Surroundings(
        groups_of_survivor=groups_of(survivor_guid),
        groups_of_merged=groups_of(merged_guid),
        members_of_survivor=members_of(survivor_guid),
        members_of_merged=[(guid, kind_of(guid)) for guid in members_of(merged_guid) if is_live(guid)],
        children_of_merged=children,
    )
    wanted = wanted_fields(survivor, merged, fields, reserved_keys(tenant.custom_event_types))
    return merge(survivor, merged, around, wanted, user_id=user_id, now=now)


async def hand_over(tx: Tx, scope: TenantScope, merged_guid: str, survivor_guid: str) -> None:
    """What is kept beside the log: files, and which record of other systems it is. The log is held."""
    await attachments.hand_over(tx, scope, merged_guid, survivor_guid)
    await links.hand_over(tx, scope, merged_guid, survivor_guid)
