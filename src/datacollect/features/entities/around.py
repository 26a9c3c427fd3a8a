"""Whom an entity lives with: the names of a group's members, and of those who share a group with somebody."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from datacollect.db import Reading
from datacollect.features.entities.entity import Kind, default_name
from datacollect.kernel.identity import TenantScope

MOST_MEMBERS = 30
"""Of a group; the first by guid. A group of thousands is no household."""

_GROUPS_OF = {
    "postgresql": """
SELECT m.group_guid, m.member_guid FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT group_guid, member_guid FROM members WHERE tenant_id = $1 AND member_guid = asked.guid AND present OFFSET 0) m
CROSS JOIN LATERAL (SELECT 1 FROM entities WHERE tenant_id = $1 AND guid = m.group_guid AND NOT deleted OFFSET 0) e""",
    "sqlite": """
SELECT m.group_guid, m.member_guid FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.member_guid = asked.value AND m.present
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = m.group_guid AND NOT e.deleted""",
}
_NAMES_IN = {
    "postgresql": """
SELECT m.group_guid, m.member_guid, e.name, e.entity_name, e.data FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT group_guid, member_guid FROM members WHERE tenant_id = $1 AND group_guid = asked.guid AND present
  ORDER BY member_guid LIMIT $3) m
CROSS JOIN LATERAL (
  SELECT name, entity_name, CASE WHEN name = $4 THEN data END AS data FROM entities WHERE tenant_id = $1 AND guid = m.member_guid AND NOT deleted AND name IS NOT NULL OFFSET 0) e""",
    "sqlite": """
SELECT m.group_guid, m.member_guid, e.name, e.entity_name, CASE WHEN e.name = ?4 THEN e.data END
FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.group_guid = asked.value AND m.present AND m.member_guid IN (
  SELECT n.member_guid FROM members n WHERE n.tenant_id = ?1 AND n.group_guid = asked.value AND n.present
  ORDER BY n.member_guid LIMIT ?3)
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid = m.member_guid AND NOT e.deleted AND e.name IS NOT NULL""",
}


_MEMBERS_OF = {
    "postgresql": """
SELECT m.group_guid, m.member_guid FROM unnest($2::text[]) AS asked (guid)
CROSS JOIN LATERAL (
  SELECT group_guid, member_guid FROM members WHERE tenant_id = $1 AND group_guid = asked.guid AND present OFFSET 0) m""",
    "sqlite": """
SELECT m.group_guid, m.member_guid FROM json_each(?2) AS asked
CROSS JOIN members m ON m.tenant_id = ?1 AND m.group_guid = asked.value AND m.present""",
}


async def members_named(view: Reading, scope: TenantScope, groups: Collection[str]) -> Mapping[str, Sequence[str]]:
    """By group, the guids of its members, those that do not exist included; one statement, none for none."""
    found: dict[str, list[str]] = {}
    if groups:
        for group, member in await view.fetch(_MEMBERS_OF[view.dialect], scope.tenant_id, view.listed(sorted(groups))):
            found.setdefault(group, []).append(member)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """What somebody is called; one for all who are with them. `data` is only given where a form asks for names in other fields than `name`."""

    name: str
    form: str | None
    data: Mapping[str, Any] | None


@dataclass(slots=True)
class Around:
    """Of a person: those they share a group with, and the groups. Of a group: its members."""

    people: list[Called] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)


async def live_groups_with(view: Reading, scope: TenantScope, members: Collection[str]) -> Sequence[tuple[str, str]]:
    """The groups that exist with these members, and which of them is in each."""
    rows = await view.fetch(_GROUPS_OF[view.dialect], scope.tenant_id, view.listed(sorted(members)))
    return [(group, member) for group, member in rows]


async def people_around(
    view: Reading, scope: TenantScope, *, people: Collection[str], groups: Collection[str]
) -> Mapping[str, Around]:
    """Whom people and groups are with, by guid; nobody for those that are left out. Two statements."""
    shared: dict[str, set[str]] = {}
    found: dict[str, Around] = {}
    if people:
        for group, member in await live_groups_with(view, scope, people):
            shared.setdefault(group, set()).add(member)
            found.setdefault(member, Around()).groups.add(group)
    asked = shared.keys() | set(groups)
    if not asked:
        return found
    for group, member, *called in await view.fetch(
        _NAMES_IN[view.dialect], scope.tenant_id, view.listed(sorted(asked)), MOST_MEMBERS, _UNNAMED
    ):
        one = _called(*called)
        if group in groups:
            found.setdefault(group, Around()).people.append(one)
        for person in shared.get(group, ()):
            if person != member:
                found[person].people.append(one)
    return found


_UNNAMED = default_name(Kind.INDIVIDUAL, {})


def _called(name: str, form: str | None, data: Any) -> Called:
    return Called(name, form, msgspec.json.decode(data) if isinstance(data, str | bytes) else data)
