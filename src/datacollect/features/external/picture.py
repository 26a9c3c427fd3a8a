"""What the hub holds of some entities, as far as another system is concerned."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from datacollect.adapters.port import Link, Member, Outgoing, RecordType
from datacollect.db import Reading
from datacollect.features.entities.links import service as links
from datacollect.features.entities.links.service import Entity, Kind, ListedMember, StoredLink
from datacollect.features.external.model import content_of, gone_key, key_of, sending_key
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope


@dataclass(frozen=True, slots=True)
class Picture:
    """Entities with their members and twins, read at one moment."""

    entities: Mapping[str, Entity]
    members: Mapping[str, Sequence[ListedMember]]
    """By group; groups without any are left out."""
    links: Mapping[str, StoredLink]
    """Also of the members."""

    def key(self, guid: str) -> str | None:
        """Names what of the entity would be sent; None for one that was never there."""
        entity = self.entities.get(guid)
        if entity is None:
            return None
        if not entity.is_live:
            link = self.links.get(guid)
            return gone_key(link.external_id if link else None)
        kind = entity.kind.value if entity.kind else None
        return key_of(kind, content_of(entity.data), self._told_members(entity))

    def _told_members(self, entity: Entity) -> list[tuple[str, bool]] | None:
        if entity.kind is not Kind.GROUP:
            return None
        return [(member.guid, member.guid in self.links) for member in self.members.get(entity.guid, ())]

    def member_ids(self, guid: str) -> list[str]:
        """The other system's keys of the people in a group that it knows. Not of the groups in it: most systems know no
        such members, and would be taken to have put them out."""
        people = (one for one in self.members.get(guid, ()) if one.kind != Kind.GROUP)
        found = (self.links.get(member.guid) for member in people)
        return sorted(link.external_id for link in found if link is not None)

    def outgoing(
        self,
        guid: str,
        key: str,
        *,
        is_uncertain: bool,
        told_at: Millis | None,
        state: Mapping[str, object],
        strange_members: frozenset[str],
    ) -> Outgoing:
        """The entity as adapters get it."""
        entity = self.entities[guid]
        members = None
        if entity.kind is Kind.GROUP and entity.is_live:
            members = [
                Member(guid=member.guid, type=RecordType(member.kind), link=self.link(member.guid))
                for member in self.members.get(guid, ())
            ]
        return Outgoing(
            guid=guid,
            # Of a tombstone without a kind nobody has ever seen more than its end.
            type=RecordType(entity.kind.value) if entity.kind else RecordType.INDIVIDUAL,
            data=content_of(entity.data),
            version=entity.version,
            key=sending_key(guid, entity.version, key),
            link=self.link(guid),
            is_uncertain=is_uncertain,
            told_at=told_at,
            is_deleted=not entity.is_live,
            members=members,
            strange_members=strange_members,
            state=dict(state),
        )

    def link(self, guid: str) -> Link | None:
        held = self.links.get(guid)
        return None if held is None else Link(external_id=held.external_id, version=held.version, state=held.state)


async def take_picture(view: Reading, scope: TenantScope, system: str, guids: Collection[str]) -> Picture:
    """At most three statements, however many entities."""
    entities = await links.states_of(view, scope, guids)
    groups = [guid for guid, entity in entities.items() if entity.kind is Kind.GROUP and entity.is_live]
    members = await links.members_by_group(view, scope, groups)
    concerned = {*guids, *(member.guid for listed in members.values() for member in listed)}
    return Picture(entities, members, await links.links_of(view, scope, system, concerned))
