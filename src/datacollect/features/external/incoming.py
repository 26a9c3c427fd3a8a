"""A record on its way in: what the other system has changed, and the events that it becomes. Pure.

Only fields that have changed there since we last knew what it holds are written, so that a record which changed in one field
takes no other one back to what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Incoming, RecordType
from datacollect.eventstore.event import Event
from datacollect.features.entities.links.service import Entity, StoredLink
from datacollect.features.external.codes import Trouble
from datacollect.features.external.model import (
    GONE,
    MEMBERS,
    MISSING,
    PUSHED,
    Record,
    changed_fields,
    fitted,
    hash_of,
    hashes_of,
    members_in,
    members_text,
    without_done,
)
from datacollect.features.external.picture import Picture
from datacollect.kernel.clock import LAST, Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid


@dataclass(frozen=True, slots=True)
class Source:
    """Whose records these are."""

    system: str
    user: str
    """The `userId` of the events."""
    reserved: frozenset[str]
    """Keys of data that only events of their own write."""
    run_id: int


@dataclass(slots=True)
class Item:
    """A record on its way in."""

    incoming: Incoming
    type: RecordType
    data: dict[str, Any]
    guid: str
    link: StoredLink | None
    record: Record | None
    failure: Failure | None = None
    """Why nothing of it can be stored."""
    missing: Sequence[str] = ()
    """Members of a group that are not known here."""
    changed: dict[str, Any] = field(default_factory=dict)
    only_there: frozenset[str] = frozenset()
    """Of the changed fields those that nobody has touched here since both sides agreed."""
    joining: list[str] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)
    is_echo: bool = False
    is_late: bool = False
    """It only tells of members of a group that were not known here when the group was taken in."""
    events: list[Event] = field(default_factory=list)
    refused: Failure | None = None
    """Why an event of it was not stored."""

    @property
    def trouble(self) -> Failure | None:
        return self.failure or self.refused


def own_guid(scope: TenantScope, source: Source, one: Incoming) -> str:
    """Of an entity that was not here before; always the same for the same record."""
    return derived_guid(f"{scope.tenant_id}:{source.system}", "external-entity", one.external_id)


def judge(item: Item, picture: Picture) -> None:
    """Note why a record cannot be taken in, if it cannot."""
    held, incoming = picture.links.get(item.guid), item.incoming
    entity = picture.entities.get(item.guid)
    if held is not None and held.external_id != incoming.external_id:
        item.failure = unusable(Trouble.LINK_CONFLICT, "The entity it names has another record as its twin.")
    elif entity is not None and entity.kind is not None and entity.kind.value != item.type:
        item.failure = unusable(Trouble.TYPE_CONFLICT, f"It is a {item.type} there and a {entity.kind} here.")


# -- comparing


def compare(item: Item, picture: Picture, twins: Mapping[str, str], *, is_letter: bool) -> None:
    """Find out what the other system has changed."""
    record, incoming, link = item.record, item.incoming, item.link
    entity = picture.entities.get(item.guid)
    seen = record.seen if record is not None else None
    if incoming.is_deleted:
        return
    is_live = entity is not None and entity.is_live
    if seen is not None and GONE in seen and not (is_live or is_letter):
        seen = None  # it is there again: all that it has is to be here again
    if is_live and entity is not None:
        item.data = fitted(item.data, entity.data, also_called=incoming.also_called, derived=incoming.derived)
    is_ours = seen is not None and PUSHED in seen and not is_letter
    if is_ours and link is not None and incoming.version is not None and incoming.version == link.version:
        # Nobody has touched it since we sent it: what differs is how the other system tells it.
        item.is_echo = True
    else:
        _compare_fields(item, entity, seen)
        if entity is not None and incoming.event_guid is None and not is_letter:
            # An event, or a letter, may be from before both sides agreed.
            item.only_there = _changed_only_there(item, entity, seen)
    if incoming.members is not None:
        # Also of an echo: there are systems whose versions do not tell of members.
        _compare_members(item, picture, twins, seen)


def _compare_fields(item: Item, entity: Entity | None, seen: Mapping[str, str] | None) -> None:
    is_dead = entity is not None and not entity.is_live
    told = item.data
    if is_dead and seen is not None:
        # As if it were alive: what it did not hold and only follows from others does not bring it back.
        told = fitted(told, seen, also_called=item.incoming.also_called, derived=item.incoming.derived)
    item.changed = changed_fields(told, seen)
    if entity is not None and entity.is_live:
        held = entity.data
        item.changed = {
            name: value
            for name, value in item.changed.items()
            if name not in held or hash_of(held[name]) != hash_of(value)
        }
    elif item.changed:
        item.changed = dict(item.data)


def _changed_only_there(item: Item, entity: Entity, seen: Mapping[str, str] | None) -> frozenset[str]:
    """Here still stands what both sides agreed on."""
    known, held = seen or {}, entity.data
    return frozenset(name for name in item.changed if name in held and known.get(name) == hash_of(held[name]))


def _compare_members(item: Item, picture: Picture, twins: Mapping[str, str], seen: Mapping[str, str] | None) -> None:
    told = set(item.incoming.members or ())
    known = {key: twins[key] for key in told if key in twins}
    item.missing = sorted(told - known.keys())
    now = {member.guid for member in picture.members.get(item.guid, ())}
    before = members_in(seen)
    wanted = {guid for key, guid in known.items() if before is None or key not in before}
    item.joining = sorted(wanted - now)
    if before is not None and not item.is_late:
        gone = before - told
        item.leaving = sorted(
            member.guid
            for member in picture.members.get(item.guid, ())
            if (link := picture.links.get(member.guid)) is not None and link.external_id in gone
        )


# -- events


def make_events(scope: TenantScope, source: Source, item: Item, picture: Picture, *, now: Millis) -> None:
    entity, incoming = picture.entities.get(item.guid), item.incoming
    is_live = entity is not None and entity.is_live
    maker = _EventMaker(scope, source, item, now=now)
    if incoming.is_deleted:
        if is_live:
            # Else the members would go with their group, of which the other system has said nothing.
            for member in picture.members.get(item.guid, ()):
                maker.add("remove-member", {"memberId": member.guid})
            maker.add("delete-entity", {"reason": "deleted in the other system"})
        return
    if not is_live and not item.is_echo and not item.is_late and (item.changed or (entity is None and not item.data)):
        maker.add(f"create-{item.type}", item.data or {"entityName": item.type.value})
    elif item.changed:
        for at, fields in _by_time(item, entity, maker.at, now=now):
            maker.add(f"update-{item.type}", fields, at=at)
    is_here = is_live or bool(item.events)
    if is_here and item.joining:
        maker.add("add-member", {"members": [_member(guid, picture) for guid in item.joining]})
    for guid in item.leaving if is_here else ():
        maker.add("remove-member", {"memberId": guid})


def _by_time(
    item: Item, entity: Entity | None, told: Millis, *, now: Millis
) -> Iterator[tuple[Millis, dict[str, Any]]]:
    """The changed fields, with when they count as changed.

    What was changed there only is later than what is here, whatever the clock there says. Of a field that was edited here
    too the clocks decide.
    """
    changed, only_there = item.changed, item.only_there
    newest = max((entity.stamp_of_field(name).time for name in only_there), default=told) if entity else told
    if newest > told:
        # Where the hub's clock has been set back, what is here may be from after its now: of equal times the event counts
        # that is stored last.
        at = Millis(newest + 1 if newest < now else newest)
        yield at, {name: value for name, value in changed.items() if name in only_there}
        changed = {name: value for name, value in changed.items() if name not in only_there}
    if changed:
        yield told, changed


def turn_of(event_type: str) -> int:
    """Among the events of a page: members before who joins them, and deletions last."""
    return 2 if event_type == "delete-entity" else 1 if event_type.endswith("-member") else 0


def _member(guid: str, picture: Picture) -> dict[str, Any]:
    """As devices read it; the hub knows the member already."""
    entity = picture.entities.get(guid)
    if entity is None or entity.kind is None:
        return {"guid": guid}
    return {"guid": guid, "type": entity.kind.value} | ({"name": entity.name} if entity.name else {})


class _EventMaker:
    """Events of one record: who they are from and what they are called is not the other system's business."""

    def __init__(self, scope: TenantScope, source: Source, item: Item, *, now: Millis) -> None:
        self._root = f"{scope.tenant_id}:{source.system}:{item.incoming.external_id}"
        self._user = source.user
        self._item = item
        told = item.incoming.occurred_at
        self.at = now if told is None or not 0 <= told <= LAST else told
        """When the record has changed there, as far as is known."""

    def add(self, event_type: str, data: dict[str, Any], *, at: Millis | None = None) -> None:
        item = self._item
        if item.incoming.event_guid is not None and not item.events:
            guid = derived_guid(self._root, "external-event", item.incoming.event_guid[:500])
        else:
            # The same when the same page is taken in again after a database was put back, and never that of another event:
            # whoever has got the record by a merge, or the program by an import, counts anew.
            count = (item.record.pulls if item.record else 0) + len(item.events)
            told = hash_of([item.guid, event_type, data, item.incoming.occurred_at])
            guid = derived_guid(self._root, "external-pull", f"{count}:{told}")
        item.events.append(Event(guid, item.guid, event_type, data, self.at if at is None else at, self._user))


# -- what came of it


def seen_now(item: Item) -> Mapping[str, str]:
    """What the other system is known to hold."""
    known = item.record.seen if item.record is not None and item.record.seen is not None else {}
    if item.incoming.is_deleted:
        return {name: value for name, value in known.items() if name != PUSHED} | {GONE: ""}
    told = hashes_of(item.data)
    seen = dict(known)
    if not item.is_late:
        seen = {name: value for name, value in without_done(known, told).items() if name not in (PUSHED, GONE)} | told
    if item.incoming.members is not None:
        # Those who are missing here have not joined until they come, and are not taken out there either.
        before = members_in(known) if item.is_late else None
        seen[MEMBERS] = members_text(set(item.incoming.members) - set(item.missing) | (before or set()))
        seen.pop(MISSING, None)
        if item.missing:
            seen[MISSING] = members_text(item.missing)
    return seen


def has_won(item: Item, after: Picture) -> bool:
    """Whether the entity has all that the other system has changed."""
    entity: Entity | None = after.entities.get(item.guid)
    if entity is None:
        return False
    if item.incoming.is_deleted:
        return not entity.is_live
    if item.changed and not entity.is_live:
        return False
    data = entity.data
    if any(name not in data or hash_of(data[name]) != hash_of(value) for name, value in item.changed.items()):
        return False
    members = {member.guid for member in after.members.get(item.guid, ())}
    return members.issuperset(item.joining) and members.isdisjoint(item.leaving)


def unusable(code: str, message: str) -> Failure:
    """Of a record that is not asked for again before it changes."""
    return Failure(code=str(code), message=message, retryable=False)
