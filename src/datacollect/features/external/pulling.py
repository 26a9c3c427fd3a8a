"""From there to here: records of the other system become events, by the same way that pushed events take.

What another system tells is data of people, and nothing else: which events it may make, which fields those may write, whose
entities they are about and who they are from is decided here. Only fields that have changed there since we last knew what
it holds are written, so that a record which changed in one field takes no other one back to what it was.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Incoming, Page, RecordType
from datacollect.db import Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.log import Appended, EventLog, Rejection
from datacollect.features.entities.links import service as links
from datacollect.features.entities.links.service import Entity, StoredLink
from datacollect.features.external import record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.model import (
    LONGEST_MESSAGE,
    MEMBERS,
    MISSING,
    MOST_FIELDS,
    PUSHED,
    Counts,
    Record,
    RunError,
    Standing,
    allowed_fields,
    changed_fields,
    error_of,
    fitted,
    hash_of,
    hashes_of,
    is_event_allowed,
    members_in,
    members_text,
    readable,
    stage_of,
    without_done,
)
from datacollect.features.external.picture import Picture, take_picture
from datacollect.features.external.pushing import is_external_id, tell_groups
from datacollect.features.external.record_queries import Letter
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid, is_uuid_text
from datacollect.kernel.tenancy import Tenant

_HIGH = 253402300799999
"""The last moment of the year 9999: later times are none that anybody reads."""

_incoming = msgspec.json.Decoder(Incoming)


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
class _Item:
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


@dataclass(frozen=True, slots=True)
class Taken:
    """What has become of some records."""

    counts: Counts
    appended: Sequence[Appended] = ()


async def take_in(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    source: Source,
    incoming: Sequence[Incoming],
    *,
    is_letter: bool,
    late: Collection[str] = (),
    tells_missing: bool,
    now: Millis,
) -> Taken:
    """Store what these records say. The caller has locked the log, so that nothing changes meanwhile.

    A letter is a record that could not be applied before; `late` are the external ids of those whose members alone could
    not. Members that are missing may still come in a later page.
    """
    counts, appended = Counts(), list[Appended]()
    for some in _each_once(scope, source, incoming):
        taken = await _take_in(
            tx,
            log,
            scope,
            tenant,
            source,
            some,
            counts,
            is_letter=is_letter,
            late=late,
            tells_missing=tells_missing,
            now=now,
        )
        if taken is not None:
            appended.append(taken)
    return Taken(counts, appended)


def _each_once(scope: TenantScope, source: Source, incoming: Sequence[Incoming]) -> Iterator[Sequence[Incoming]]:
    """The records in their order, in parts that hold none twice, by either key: the second is about what the first has
    done."""
    some: list[Incoming] = []
    known: set[tuple[str, str]] = set()
    for one in incoming:
        names = {("there", one.external_id), ("here", _own_guid(scope, source, one))}
        if one.guid is not None:
            names.add(("here", one.guid))
        if not known.isdisjoint(names):
            yield some
            some, known = [], set()
        some.append(one)
        known |= names
    if some:
        yield some


async def _take_in(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    source: Source,
    incoming: Sequence[Incoming],
    counts: Counts,
    *,
    is_letter: bool,
    late: Collection[str],
    tells_missing: bool,
    now: Millis,
) -> Appended | None:
    sound, letters = _sorted_out(scope, source, incoming, now=now)
    for letter in letters:
        counts.fail(RunError(letter.code, letter.message, letter.guid, retryable=False))
    items, picture, twins = await _look_up(tx, scope, source, sound)
    for item in items:
        item.is_late = item.incoming.external_id in late
        _judge(item, picture)
    twins = twins | {item.incoming.external_id: item.guid for item in items if item.failure is None}
    for item in items:
        if item.failure is None:
            _compare(item, picture, twins, is_letter=is_letter)
            _make_events(scope, source, item, picture, now=now)
    # Members before who joins them, whatever the order in which they were told.
    events = sorted((event for item in items for event in item.events), key=lambda event: _turn_of(event.type))
    appended = None
    if events:
        owner = {event.guid: item for item in items for event in item.events}
        appended = await log.append(
            tx, scope, tenant, events, origin=Origin.EXTERNAL, on_rejection=lambda one: _refuse(owner, one)
        )
    stored = {event.guid for event in appended.stored} if appended is not None else set()
    await _keep(tx, scope, source, items, picture, stored, now=now)
    await _keep_letters(tx, scope, source, items, letters, now=now)
    for item in items:
        _count(counts, item, stored, tells_missing=tells_missing)
    return appended


# -- reading


def _sorted_out(
    scope: TenantScope, source: Source, incoming: Sequence[Incoming], *, now: Millis
) -> tuple[list[Incoming], list[Letter]]:
    """Those that can be read, and letters about the others."""
    sound: list[Incoming] = []
    letters: list[Letter] = []
    for one in incoming:
        failure = _unreadable(one)
        if failure is None:
            sound.append(replace(one, data=readable(dict(one.data)), state=readable(dict(one.state))))
        else:
            key = one.external_id if is_external_id(one.external_id) else derived_guid("", "unkeyed", repr(one)[:200])
            letters.append(_letter(source, key, None, None, failure, is_due=False, now=now))
    return sound, letters


def _unreadable(one: Incoming) -> Failure | None:
    if not is_external_id(one.external_id):
        return _failure(Trouble.INVALID_EXTERNAL_ID, "The record has a key that is empty or too long.")
    if len(one.data) > MOST_FIELDS:
        return _failure(Trouble.RECORD_UNREADABLE, f"The record has more than {MOST_FIELDS} fields.")
    try:
        readable(dict(one.data))
        readable(dict(one.state))
    except ValueError as error:
        return _failure(Trouble.RECORD_UNREADABLE, f"The record {error}.")
    if one.event_type is not None and not (one.type and is_event_allowed(one.event_type, one.type)):
        return _failure(
            "EVENT_TYPE_NOT_ALLOWED", "The record asks for a type of event that other systems may not make."
        )
    return None


async def _look_up(
    tx: Tx, scope: TenantScope, source: Source, incoming: Sequence[Incoming]
) -> tuple[list[_Item], Picture, dict[str, str]]:
    """The records with what is known of them, the entities they may be about, and the guids of twins by their keys."""
    keys = {one.external_id for one in incoming} | {key for one in incoming for key in one.members or ()}
    linked = await links.links_to(tx, scope, source.system, {key for key in keys if is_external_id(key)})
    named = {one.guid for one in incoming if one.guid is not None and is_external_id(one.guid)}
    own = {link.guid for link in linked.values()} | {_own_guid(scope, source, one) for one in incoming}
    picture = await take_picture(tx, scope, source.system, named | own)
    guids = [_guid_of(scope, source, one, linked.get(one.external_id), picture) for one in incoming]
    records = await record_queries.find_records(tx, scope, source.system, set(guids))
    items = [
        _Item(
            one,
            one.type or _kind_of(picture.entities.get(guid)),
            allowed_fields(one.data, source.reserved),
            guid,
            linked.get(one.external_id),
            records.get(guid),
        )
        for one, guid in zip(incoming, guids, strict=True)
    ]
    twins = {key: link.guid for key, link in linked.items()}
    return items, picture, twins


def _kind_of(entity: Entity | None) -> RecordType:
    return RecordType(entity.kind.value) if entity is not None and entity.kind is not None else RecordType.RECORD


def _guid_of(scope: TenantScope, source: Source, one: Incoming, link: StoredLink | None, picture: Picture) -> str:
    """Which entity a record is: its link says; else the guid that the other system keeps, if it is one of ours or could
    be; else one of its own."""
    if link is not None:
        return link.guid
    if one.guid is not None and (one.guid in picture.entities or is_uuid_text(one.guid)):
        return one.guid
    return _own_guid(scope, source, one)


def _own_guid(scope: TenantScope, source: Source, one: Incoming) -> str:
    return derived_guid(f"{scope.tenant_id}:{source.system}", "external-entity", one.external_id)


def _judge(item: _Item, picture: Picture) -> None:
    """Note why a record cannot be taken in, if it cannot."""
    held, incoming = picture.links.get(item.guid), item.incoming
    entity = picture.entities.get(item.guid)
    if held is not None and held.external_id != incoming.external_id:
        item.failure = _failure(Trouble.LINK_CONFLICT, "The entity it names has another record as its twin.")
    elif entity is not None and entity.kind is not None and entity.kind.value != item.type:
        item.failure = _failure(Trouble.TYPE_CONFLICT, f"It is a {item.type} there and a {entity.kind} here.")


# -- comparing


def _compare(item: _Item, picture: Picture, twins: Mapping[str, str], *, is_letter: bool) -> None:
    """Find out what the other system has changed."""
    record, incoming, link = item.record, item.incoming, item.link
    entity = picture.entities.get(item.guid)
    seen = record.seen if record is not None else None
    if incoming.is_deleted:
        return
    is_live = entity is not None and entity.is_live
    if is_live and entity is not None:
        item.data = fitted(item.data, entity.data, also_called=incoming.also_called, derived=incoming.derived)
    is_ours = seen is not None and PUSHED in seen and not is_letter
    if is_ours and link is not None and incoming.version is not None and incoming.version == link.version:
        # Nobody has touched it since we sent it: what differs is how the other system tells it.
        item.is_echo = True
        item.missing = sorted(set(incoming.members or ()) - twins.keys())
        return
    item.changed = changed_fields(item.data, seen)
    if is_live and entity is not None:
        held = entity.data
        item.changed = {
            name: value
            for name, value in item.changed.items()
            if name not in held or hash_of(held[name]) != hash_of(value)
        }
    elif item.changed:
        item.changed = dict(item.data)
    if incoming.members is not None:
        _compare_members(item, picture, twins, seen)


def _compare_members(item: _Item, picture: Picture, twins: Mapping[str, str], seen: Mapping[str, str] | None) -> None:
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


def _make_events(scope: TenantScope, source: Source, item: _Item, picture: Picture, *, now: Millis) -> None:
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
        maker.add(f"update-{item.type}", item.changed)
    is_here = is_live or bool(item.events)
    if is_here and item.joining:
        maker.add("add-member", {"members": [_member(guid, picture) for guid in item.joining]})
    for guid in item.leaving if is_here else ():
        maker.add("remove-member", {"memberId": guid})


def _turn_of(event_type: str) -> int:
    return 2 if event_type == "delete-entity" else 1 if event_type.endswith("-member") else 0


def _member(guid: str, picture: Picture) -> dict[str, Any]:
    """As devices read it; the hub knows the member already."""
    entity = picture.entities.get(guid)
    if entity is None or entity.kind is None:
        return {"guid": guid}
    return {"guid": guid, "type": entity.kind.value} | ({"name": entity.name} if entity.name else {})


class _EventMaker:
    """Events of one record: who they are from and what they are called is not the other system's business."""

    def __init__(self, scope: TenantScope, source: Source, item: _Item, *, now: Millis) -> None:
        self._root = f"{scope.tenant_id}:{source.system}:{item.incoming.external_id}"
        self._user = source.user
        self._item = item
        told = item.incoming.occurred_at
        self._at = now if told is None or not 0 <= told <= _HIGH else told

    def add(self, event_type: str, data: dict[str, Any]) -> None:
        item = self._item
        if item.incoming.event_guid is not None and not item.events:
            guid = derived_guid(self._root, "external-event", item.incoming.event_guid[:500])
        else:
            # The same when the same page is taken in again after a database was put back.
            count = (item.record.pulls if item.record else 0) + len(item.events)
            guid = derived_guid(self._root, "external-pull", str(count))
        item.events.append(Event(guid, item.guid, event_type, data, self._at, self._user))


def _refuse(owner: Mapping[str, _Item], rejection: Rejection) -> None:
    """The other events are stored. What is kept of why names no values."""
    item = owner[rejection.event.guid]
    reason = rejection.reason
    item.refused = _failure(reason.code, reason.message)


# -- keeping


async def _keep(
    tx: Tx,
    scope: TenantScope,
    source: Source,
    items: Sequence[_Item],
    before: Picture,
    stored: Collection[str],
    *,
    now: Millis,
) -> None:
    """Keep the links, what the other system is known to hold, and whether both sides agree now."""
    sound = [
        item
        for item in items
        if item.failure is None and (item.guid in before.entities or any(one.guid in stored for one in item.events))
    ]
    changed = [
        StoredLink(item.guid, item.incoming.external_id, item.incoming.version, item.incoming.state)
        for item in sound
        if not (item.incoming.is_deleted and item.link is None) and not item.is_late
    ]
    changed = [link for link in changed if before.links.get(link.guid) != link]
    await links.keep_links(tx, scope, source.system, changed)
    after = before
    if stored or changed:
        after = await take_picture(tx, scope, source.system, [item.guid for item in sound])
    standing = ((item.record, _standing(item, source, before, after, now=now)) for item in sound)
    kept = [record for was, record in standing if record is not None and not _is_as_it_was(record, was)]
    await record_queries.keep_records(tx, scope, source.system, kept)
    adopted = [link.guid for link in changed if link.guid not in before.links and link.guid in before.entities]
    await tell_groups(tx, scope, source.system, adopted)


def _standing(item: _Item, source: Source, before: Picture, after: Picture, *, now: Millis) -> Record | None:
    """How the record stands now."""
    key = after.key(item.guid)
    if key is None:
        return None  # nothing of it is here
    record = item.record or Record(item.guid, stage_of(item.type), Standing.AGREED, source.run_id)
    was_there = item.guid in before.entities
    was_agreed = not was_there or (record.standing is Standing.AGREED and record.agreed_key == before.key(item.guid))
    record = replace(record, pulls=record.pulls + len(item.events), updated_at=now)
    if item.refused is not None:
        return record  # it is taken in once more from its letter
    if not item.incoming.is_deleted:
        record = replace(record, seen=_seen(item))
    if not _has_won(item, after):
        # The other system has something else than we do, and is to get ours.
        return replace(record, is_due=True, agreed_key=None) if was_agreed else replace(record, is_due=True)
    if was_agreed or (item.incoming.is_deleted and not after.entities[item.guid].is_live):
        return record.agreed(key)
    # Something of ours is still to be sent.
    return replace(record, is_due=True) if record.standing is Standing.AGREED else record


def _is_as_it_was(record: Record, was: Record | None) -> bool:
    """Systems tell again what they have told before: nothing of that is written anew."""
    return was is not None and replace(record, updated_at=was.updated_at) == was


def _seen(item: _Item) -> Mapping[str, str]:
    """What the other system is known to hold."""
    known = item.record.seen if item.record is not None and item.record.seen is not None else {}
    told = hashes_of(item.data)
    seen = dict(known)
    if not item.is_late:
        seen = {name: value for name, value in without_done(known, told).items() if name != PUSHED} | told
    if item.incoming.members is not None:
        # Those who are missing here have not joined until they come, and are not taken out there either.
        before = members_in(known) if item.is_late else None
        seen[MEMBERS] = members_text(set(item.incoming.members) - set(item.missing) | (before or set()))
        seen.pop(MISSING, None)
        if item.missing:
            seen[MISSING] = members_text(item.missing)
    return seen


def _has_won(item: _Item, after: Picture) -> bool:
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


async def _keep_letters(
    tx: Tx, scope: TenantScope, source: Source, items: Iterable[_Item], letters: list[Letter], *, now: Millis
) -> None:
    done: list[str] = []
    for item in items:
        failure = item.trouble or _missing(item)
        if failure is None:
            done.append(item.incoming.external_id)
        else:
            letters.append(
                _letter(
                    source,
                    item.incoming.external_id,
                    item.guid,
                    item.incoming if item.trouble else _of_members(item),
                    failure,
                    is_due=failure.retryable,
                    now=now,
                )
            )
    await record_queries.drop_letters(tx, scope, source.system, done)
    await record_queries.keep_letters(tx, scope, source.system, letters)


def _missing(item: _Item) -> Failure | None:
    if not item.missing:
        return None
    message = f"{len(item.missing)} of the group's members are not known here yet."
    return Failure(code=Trouble.MEMBER_UNKNOWN.value, message=message, retryable=True, guid=item.guid)


def _of_members(item: _Item) -> Incoming:
    """What of it has not been taken in: the rest may have changed on either side when those members come."""
    return replace(item.incoming, data={}, state={}, version=None, members=item.missing)


def _letter(
    source: Source,
    key: str,
    guid: str | None,
    incoming: Incoming | None,
    failure: Failure,
    *,
    is_due: bool,
    now: Millis,
) -> Letter:
    text = "" if incoming is None else msgspec.json.encode(incoming).decode()
    return Letter(key, guid, text, failure.code, failure.message[:LONGEST_MESSAGE], is_due, 1, source.run_id, now)


def incoming_of(letter: Letter) -> Incoming:
    """The record that a letter is about."""
    incoming = _incoming.decode(letter.record)
    # Letters of older versions hold all of the record.
    return replace(incoming, data={}, state={}, version=None) if is_of_members(letter) else incoming


def is_of_members(letter: Letter) -> bool:
    """Whether only members of it could not be taken in."""
    return letter.code == Trouble.MEMBER_UNKNOWN.value


def _count(counts: Counts, item: _Item, stored: set[str], *, tells_missing: bool) -> None:
    if any(event.guid in stored for event in item.events):
        counts.pulled += 1
    elif item.trouble is None and not item.is_echo and item.events:
        counts.skipped += 1  # the log has had its events before
    if item.trouble is not None:
        counts.fail(error_of(item.trouble, guid=item.guid))
    elif item.missing and tells_missing:
        missing = _missing(item)
        assert missing is not None
        counts.errors.append(error_of(missing, guid=item.guid))


async def keep_unreadable(tx: Tx, scope: TenantScope, system: str, page: Page, *, run_id: int, now: Millis) -> None:
    """Name the records that the adapter itself could not read: it does not give them again."""
    letters = [
        Letter(
            _key_of(failure) or derived_guid(system, "unreadable", f"{number}#{page.mark}"),
            failure.guid,
            "",
            failure.code,
            failure.message[:LONGEST_MESSAGE],
            is_due=False,
            tries=1,
            run_id=run_id,
            updated_at=now,
        )
        for number, failure in enumerate(page.failures)
    ]
    await record_queries.keep_letters(tx, scope, system, list({one.external_id: one for one in letters}.values()))


def _key_of(failure: Failure) -> str | None:
    return next((key for key in (failure.external_id, failure.guid) if is_external_id(key)), None)


def _failure(code: str, message: str) -> Failure:
    return Failure(code=str(code), message=message, retryable=False)
