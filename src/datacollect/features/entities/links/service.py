"""What other slices do with links."""

from collections.abc import Collection, Mapping, Sequence

from datacollect.db import Reading
from datacollect.features.entities.entity import Entity, Kind
from datacollect.features.entities.links.queries import (
    StoredLink,
    changed_page,
    groups_with,
    hand_over,
    keep_links,
    links_of,
    links_to,
    set_current,
)
from datacollect.features.entities.relatives import ListedMember, members_of_groups
from datacollect.features.entities.rows import load
from datacollect.features.entities.touched import Touched
from datacollect.kernel.identity import TenantScope

__all__ = [
    "Entity",
    "Kind",
    "ListedMember",
    "StoredLink",
    "changed_page",
    "groups_with",
    "hand_over",
    "keep_links",
    "links_of",
    "links_to",
    "members_by_group",
    "set_current",
    "states_of",
]


async def states_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, Entity]:
    """The entities, deleted ones too, by guid; one statement, none for none."""
    if not guids:
        return {}
    return (await load(view, scope, Touched(guids=set(guids)))).entities


async def members_by_group(
    view: Reading, scope: TenantScope, groups: Collection[str]
) -> Mapping[str, Sequence[ListedMember]]:
    """Each member that exists, by group; one statement, none for none."""
    return await members_of_groups(view, scope, groups) if groups else {}
