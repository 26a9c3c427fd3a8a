"""From there to here: records of the other system become events, by the same way that pushed events take.

What another system tells is data of people, and nothing else: which events it may make, which fields those may write, whose
entities they are about and who they are from is decided here and in `incoming.py`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Incoming, RecordType
from datacollect.db import Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.log import Appended, EventLog, Rejection
from datacollect.features.entities.links import service as links
from datacollect.features.entities.links.service import Entity, StoredLink
from datacollect.features.external import record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.incoming import (
    Item,
    Source,
    compare,
    has_won,
    judge,
    make_events,
    own_guid,
    seen_now,
    turn_of,
    unusable,
)
from datacollect.features.external.letters import letter_about, missing_members, only_members_of
from datacollect.features.external.model import (
    MOST_FIELDS,
    Counts,
    Record,
    RunError,
    Standing,
    allowed_fields,
    error_of,
    is_event_allowed,
    readable,
    stage_of,
)
from datacollect.features.external.picture import Picture, take_picture
from datacollect.features.external.pushing import is_external_id, kept_version, tell_groups
from datacollect.features.external.record_queries import Letter
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid, is_uuid_text
from datacollect.kernel.tenancy import Tenant


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
        names = {("there", one.external_id), ("here", own_guid(scope, source, one))}
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
        judge(item, picture)
    twins = twins | {item.incoming.external_id: item.guid for item in items if item.failure is None}
    for item in items:
        if item.failure is None:
            compare(item, picture, twins, is_letter=is_letter)
            make_events(scope, source, item, picture, now=now)
    events = sorted((event for item in items for event in item.events), key=lambda event: turn_of(event.type))
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
            data, state = readable(dict(one.data)), readable(dict(one.state))
            sound.append(replace(one, data=data, state=state, version=kept_version(one.version)))
        else:
            letters.append(letter_about(source, _key(one), None, None, failure, is_due=False, now=now))
    return sound, letters


def _key(one: Incoming) -> str:
    """What its letter is kept under."""
    if is_external_id(one.external_id):
        return one.external_id
    return derived_guid("", "unkeyed", repr(one.external_id or one))


def _unreadable(one: Incoming) -> Failure | None:
    if not is_external_id(one.external_id):
        return unusable(Trouble.INVALID_EXTERNAL_ID, "The record has a key that is empty or too long.")
    if len(one.data) > MOST_FIELDS:
        return unusable(Trouble.RECORD_UNREADABLE, f"The record has more than {MOST_FIELDS} fields.")
    try:
        readable(dict(one.data))
        readable(dict(one.state))
    except ValueError as error:
        return unusable(Trouble.RECORD_UNREADABLE, f"The record {error}.")
    if one.event_type is not None and not (one.type and is_event_allowed(one.event_type, one.type)):
        return unusable(
            Trouble.EVENT_TYPE_NOT_ALLOWED, "The record asks for a type of event that other systems may not make."
        )
    return None


async def _look_up(
    tx: Tx, scope: TenantScope, source: Source, incoming: Sequence[Incoming]
) -> tuple[list[Item], Picture, dict[str, str]]:
    """The records with what is known of them, the entities they may be about, and the guids of twins by their keys."""
    keys = {one.external_id for one in incoming} | {key for one in incoming for key in one.members or ()}
    linked = await links.links_to(tx, scope, source.system, {key for key in keys if is_external_id(key)})
    named = {one.guid for one in incoming if one.guid is not None and is_external_id(one.guid)}
    own = {link.guid for link in linked.values()} | {own_guid(scope, source, one) for one in incoming}
    picture = await take_picture(tx, scope, source.system, named | own)
    guids = [_guid_of(scope, source, one, linked.get(one.external_id), picture) for one in incoming]
    records = await record_queries.find_records(tx, scope, source.system, set(guids))
    items = [
        Item(
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
    return own_guid(scope, source, one)


def _refuse(owner: Mapping[str, Item], rejection: Rejection) -> None:
    """The other events are stored. What is kept of why names no values."""
    item = owner[rejection.event.guid]
    reason = rejection.reason
    item.refused = unusable(reason.code, reason.message)


# -- keeping


async def _keep(
    tx: Tx,
    scope: TenantScope,
    source: Source,
    items: Sequence[Item],
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


def _standing(item: Item, source: Source, before: Picture, after: Picture, *, now: Millis) -> Record | None:
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
    record = replace(record, seen=seen_now(item))
    if not has_won(item, after):
        # The other system has something else than we do, and is to get ours.
        return replace(record, is_due=True, agreed_key=None) if was_agreed else replace(record, is_due=True)
    if was_agreed or (item.incoming.is_deleted and not after.entities[item.guid].is_live):
        return record.agreed(key)
    # Something of ours is still to be sent.
    return replace(record, is_due=True) if record.standing is Standing.AGREED else record


def _is_as_it_was(record: Record, was: Record | None) -> bool:
    """Systems tell again what they have told before: nothing of that is written anew."""
    return was is not None and replace(record, updated_at=was.updated_at) == was


async def _keep_letters(
    tx: Tx, scope: TenantScope, source: Source, items: Iterable[Item], letters: list[Letter], *, now: Millis
) -> None:
    done: list[str] = []
    for item in items:
        failure = item.trouble or missing_members(item)
        if failure is None:
            done.append(item.incoming.external_id)
        else:
            letters.append(
                letter_about(
                    source,
                    item.incoming.external_id,
                    item.guid,
                    item.incoming if item.trouble else only_members_of(item),
                    failure,
                    is_due=failure.retryable,
                    now=now,
                )
            )
    await record_queries.drop_letters(tx, scope, source.system, done)
    await record_queries.keep_letters(tx, scope, source.system, letters)


def _count(counts: Counts, item: Item, stored: set[str], *, tells_missing: bool) -> None:
    if any(event.guid in stored for event in item.events):
        counts.pulled += 1
    elif item.trouble is None and not item.is_echo and item.events:
        counts.skipped += 1  # the log has had its events before
    if item.trouble is not None:
        counts.fail(error_of(item.trouble, guid=item.guid))
    elif item.missing and tells_missing:
        missing = missing_members(item)
        assert missing is not None
        counts.errors.append(error_of(missing, guid=item.guid))
