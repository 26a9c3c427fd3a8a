"""States in memory, and what one event makes of them."""

from collections.abc import Iterator, KeysView, Mapping

from datacollect.features.entities.entity import Entity, LostWrite, Membership


class States:
    """Entities and memberships in memory: those of a batch, or all of them in a rebuild."""

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}
        self.letters: dict[str, int] = {}
        """How long the data of entities was as text when they were loaded."""
        self.ended: set[str] = set()
        """Those whose end the sender was told of, or has made: what a limited one says about them is in good faith."""
        self.merges: set[int] = set()
        """Positions of the events by which the hub has merged an entity into another one."""
        self._members: dict[str, dict[str, Membership]] = {}
        self._groups: dict[str, dict[str, Membership]] = {}

    def copy(self) -> "States":
        """The same values, which nobody changes in place, to be replaced one by one."""
        other = States()
        other.entities, other.letters = dict(self.entities), dict(self.letters)
        other.ended, other.merges = set(self.ended), set(self.merges)
        other._members = {group: dict(members) for group, members in self._members.items()}
        other._groups = {member: dict(groups) for member, groups in self._groups.items()}
        return other

    def put(self, entity: Entity) -> None:
        self.entities[entity.guid] = entity

    def put_membership(self, membership: Membership) -> None:
        self._members.setdefault(membership.group_guid, {})[membership.member_guid] = membership
        self._groups.setdefault(membership.member_guid, {})[membership.group_guid] = membership

    def members_of(self, group: str) -> Mapping[str, Membership]:
        """By member's guid, ended memberships included."""
        return self._members.get(group, {})

    def groups_of(self, member: str) -> Mapping[str, Membership]:
        """By group's guid, ended memberships included."""
        return self._groups.get(member, {})

    def groups(self) -> KeysView[str]:
        """Guids of those that have memberships here."""
        return self._members.keys()

    def accept(self, changes: "Changes") -> None:
        self.entities.update(changes.entities)
        self.ended.update(changes.deleted)
        self.merges.update(changes.merges)
        for membership in changes.memberships():
            self.put_membership(membership)

    def memberships(self) -> Iterator[Membership]:
        for members in self._members.values():
            yield from members.values()


class Changes(States):
    """What one event does: the new states, and the values that did not make it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[LostWrite] = []
        self.deleted: list[str] = []
        """Guids of the entities that a delete was applied to, members before their groups."""
        self.joined: list[str] = []
        """Guids of those who were put into a group they were not in."""

    def is_own_write_only(self, guid: str) -> bool:
        """Whether nothing but the entity itself was written, and nothing was lost."""
        only_own = not self.entities or (len(self.entities) == 1 and guid in self.entities)
        return only_own and not (self.lost or self.deleted or self._members)
