"""What is under way in the other system, and has come to an end: a change request that was applied, say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datacollect.adapters.port import Followed, FollowUp, RecordType
from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event, Origin, without_server_managed
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.features.entities.links import service as links
from datacollect.features.entities.links.service import StoredLink
from datacollect.features.external import record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.incoming import Source
from datacollect.features.external.model import (
    FOLLOW_UP_EVENTS,
    Counts,
    Record,
    RunError,
    Standing,
    content_of,
    error_of,
    readable,
    with_asked,
    with_done,
)
from datacollect.features.external.picture import Picture, take_picture
from datacollect.features.external.pushing import LINK_TAKEN, is_external_id, stored, tell_groups
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid
from datacollect.kernel.tenancy import Tenant

MOST_AT_ONCE = 20
"""They are asked for one by one, and all within one call."""
_KINDS = {kind.value: kind for kind in RecordType}


async def next_followed(
    view: Reading, scope: TenantScope, system: str, *, after: str
) -> tuple[Sequence[Followed], str | None]:
    """The next records of which something is under way; and the last of them, None if there are no more."""
    records = await record_queries.open_records(view, scope, system, after=after, limit=MOST_AT_ONCE)
    picture = await take_picture(view, scope, system, [record.guid for record in records])
    found = list(_followed(records, picture))
    return found, records[-1].guid if len(records) == MOST_AT_ONCE else None


def _followed(records: Sequence[Record], picture: Picture) -> Iterator[Followed]:
    for record in records:
        entity = picture.entities.get(record.guid)
        if entity is not None and entity.kind is not None:
            yield Followed(
                guid=record.guid,
                type=_KINDS[entity.kind.value],
                state=record.state,
                link=picture.link(record.guid),
                data=content_of(entity.data),
            )


async def take_up(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    source: Source,
    found: Sequence[FollowUp],
    asked: Mapping[str, Mapping[str, Any]],
    *,
    now: Millis,
) -> Counts:
    """Store what has become of them. The caller has locked the log; `asked` is the data with which the other system was
    asked, by guid: the entities may have changed meanwhile."""
    counts = Counts()
    guids = {one.guid for one in found}
    records = await record_queries.find_records(tx, scope, source.system, guids)
    known = [one for one in found if one.guid in records]
    before = await take_picture(tx, scope, source.system, guids)
    events = [event for one in known for event in _events(scope, source, one, counts, now=now)]
    refused: set[str] = set()

    def refuse(rejection: Rejection) -> None:
        refused.add(rejection.event.entity_guid)
        counts.fail(RunError(rejection.reason.code, rejection.reason.message, rejection.event.entity_guid, False))

    if events:
        appended = await log.append(tx, scope, tenant, events, origin=Origin.EXTERNAL, on_rejection=refuse)
        counts.pulled += len({event.entity_guid for event in appended.stored})
    twins = [link for one in known if (link := _twin(one)) is not None]
    taken = await links.links_to(tx, scope, source.system, {link.external_id for link in twins})
    owners = {external_id: link.guid for external_id, link in taken.items()}
    free = [link for link in twins if owners.setdefault(link.external_id, link.guid) == link.guid]
    for link in twins:
        if link not in free:
            counts.fail(error_of(LINK_TAKEN, guid=link.guid))
    await links.keep_links(tx, scope, source.system, free)
    after = await take_picture(tx, scope, source.system, guids)
    kept = [
        _standing(records[one.guid], one, asked[one.guid], before, after, now=now)
        for one in known
        if one.guid not in refused
    ]
    await record_queries.keep_records(tx, scope, source.system, kept)
    await tell_groups(tx, scope, source.system, [link.guid for link in free if link.guid not in before.links])
    for one in known:
        for failure in one.failures:
            counts.fail(error_of(failure, guid=one.guid))
    return counts


def _events(scope: TenantScope, source: Source, one: FollowUp, counts: Counts, *, now: Millis) -> Iterator[Event]:
    for told in one.events:
        guid = derived_guid(f"{scope.tenant_id}:{source.system}:{one.guid}", "external-follow-up", told.key[:500])
        try:
            data: Mapping[str, object] = readable(dict(told.data))
        except ValueError as error:
            counts.fail(RunError(Trouble.RECORD_UNREADABLE.value, f"What was told of it {error}.", one.guid, False))
            continue
        if told.type not in FOLLOW_UP_EVENTS:
            message = "It asks for a type of event that other systems may not make."
            counts.fail(RunError(Trouble.EVENT_TYPE_NOT_ALLOWED.value, message, one.guid, False))
            continue
        yield Event(guid, one.guid, told.type, without_server_managed(dict(data)), now, source.user)


def _twin(one: FollowUp) -> StoredLink | None:
    return stored(one.guid, one.link) if one.link is not None and is_external_id(one.link.external_id) else None


def _standing(
    record: Record, one: FollowUp, asked: Mapping[str, Any], before: Picture, after: Picture, *, now: Millis
) -> Record:
    kept = replace(record, state=one.state, is_open=one.is_open, updated_at=now)
    if one.is_done:
        kept = replace(kept, seen=with_done(kept.seen))
    if one.is_requested:
        kept = replace(kept, seen=with_asked(kept.seen, asked))
    if record.standing is Standing.AGREED and record.agreed_key == before.key(record.guid):
        # What the hub has just stored comes from there.
        return kept.agreed(after.key(record.guid))
    return kept
