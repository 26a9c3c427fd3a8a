"""From here to there: which records a batch holds, and what its answers change.

A record's intent is on disk before the adapter is told of it (`announce`); what it answers is stored together with how far
the push has come (`settle`). So a record that was handed over and not answered is known as such by whoever goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Any

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Delivery, Failed, Link, Outcome, Outgoing, Pushed, Skipped
from datacollect.db import Reading, Tx
from datacollect.features.entities.links import service as links
from datacollect.features.entities.links.service import StoredLink
from datacollect.features.external import record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.model import (
    LONGEST_ID_BYTES,
    MEMBERS,
    MISSING,
    PUSHED,
    Counts,
    Record,
    Stage,
    Standing,
    error_of,
    hashes_of,
    is_to_be_sent,
    members_text,
    missing_in,
    stage_of,
    with_asked,
)
from datacollect.features.external.picture import Picture, take_picture
from datacollect.features.external.queries import Marks
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

LONGEST_CALL_SECONDS = 300.0
"""Of an adapter: after so long it is cut off."""

_LOOKED_AT = 200
"""Entities that are looked at for one batch: most of them need not be sent after a large pull."""
_PICTURED = 50
"""Entities that are read at a time, at least: where all of them are to be sent, the others would be read in vain."""


class Sweep(StrEnum):
    """The parts of a push, in their order."""

    DUE = "due"
    """What earlier runs have not brought there."""
    WALK = "walk"
    """What changed since the last run."""
    AGAIN = "again"
    """Groups whose members have got a twin meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a push is: kept in the job's checkpoint."""

    through: int
    """Later changes are the next run's."""
    sweep: Sweep = Sweep.DUE
    stage: int = 0
    guid: str = ""

    def following(self) -> "Place | None":
        """The beginning of the next part; None behind the last one."""
        match self.sweep:
            case Sweep.DUE:
                return Place(self.through, Sweep.WALK)
            case Sweep.WALK if self.stage < Stage.DELETED:
                return Place(self.through, Sweep.WALK, self.stage + 1)
            case Sweep.WALK:
                return Place(self.through, Sweep.AGAIN)
            case Sweep.AGAIN:
                return None


@dataclass(frozen=True, slots=True)
class Offer:
    """A record that is to be sent."""

    record: Record
    """As it is to be kept before it is sent."""
    outgoing: Outgoing
    key: str
    members: Sequence[str] | None
    """The other system's keys of a group's members."""


@dataclass(frozen=True, slots=True)
class Batch:
    offers: Sequence[Offer]
    settled: Sequence[Record]
    """Those that need not be sent after all, as they are to be kept."""
    place: Place | None
    """Where the push goes on; None if this was the last of it."""
    mark: tuple[Stage, tuple[int, str]] | None
    """How far a walk has come."""


# -- before


async def next_batch(
    view: Reading,
    scope: TenantScope,
    system: str,
    marks: Marks,
    place: Place,
    *,
    run_id: int,
    at_once: int,
    now: Millis,
) -> Batch:
    """What the adapter is to be handed next; it may hold nothing, and yet get further."""
    if place.sweep is Sweep.WALK:
        return await _walked(view, scope, system, marks, place, run_id=run_id, at_once=at_once, now=now)
    return await _swept(view, scope, system, place, run_id=run_id, at_once=at_once, now=now)


async def _walked(
    view: Reading,
    scope: TenantScope,
    system: str,
    marks: Marks,
    place: Place,
    *,
    run_id: int,
    at_once: int,
    now: Millis,
) -> Batch:
    stage = Stage(place.stage)
    found = await links.changed_page(
        view, scope, kind=stage.kind, after=marks.of(stage), through=place.through, limit=_LOOKED_AT
    )
    left = iter([guid for guid, _ in found])
    offers: list[Offer] = []
    looked_at = 0
    while len(offers) < at_once and (guids := list(islice(left, max(at_once, _PICTURED)))):
        known = await record_queries.find_records(view, scope, system, guids)
        picture = await take_picture(view, scope, system, guids)
        for guid in guids:
            looked_at += 1
            offer = _offer(picture, guid, stage, known.get(guid), run_id=run_id, anew_since=marks.anew_since, now=now)
            if offer is not None:
                offers.append(offer)
                if len(offers) == at_once:
                    break
    if looked_at == len(found) < _LOOKED_AT:
        # The next run begins behind all that this one has looked at, whatever is there.
        return Batch(offers, (), place.following(), (stage, (place.through + 1, "")))
    guid, position = found[looked_at - 1]
    return Batch(offers, (), place, (stage, (position, guid)))


def _offer(
    picture: Picture,
    guid: str,
    stage: Stage,
    record: Record | None,
    *,
    run_id: int,
    anew_since: int,
    now: Millis,
) -> Offer | None:
    """None if the record need not be sent on account of a change here."""
    key = picture.key(guid)
    if key is None or not is_to_be_sent(record, key, run_id=run_id, anew_since=anew_since):
        return None
    if stage is Stage.DELETED and record is None and guid not in picture.links:
        return None  # nobody there has ever heard of it
    return _made(picture, guid, stage, record, key, run_id=run_id, now=now)


def _made(
    picture: Picture, guid: str, stage: Stage, record: Record | None, key: str, *, run_id: int, now: Millis
) -> Offer:
    before = record or Record(guid, stage, Standing.SENDING, run_id)
    outgoing = picture.outgoing(
        guid,
        key,
        is_uncertain=record is not None and before.is_uncertain,
        told_at=None if record is None or not before.is_uncertain else _told_at(record, now=now),
        state=before.state,
        strange_members=missing_in(before.seen),
    )
    members = None if outgoing.members is None else picture.member_ids(guid)
    kept = replace(before.sending(key, run_id=run_id, now=now), stage=stage)
    return Offer(kept, outgoing, key, members)


def _told_at(record: Record, *, now: Millis) -> Millis:
    """When the adapter has told the other system of it at the latest: of what it never answered for, only when it was
    handed it is known, and it may have waited, or told of others first."""
    if not record.is_unanswered:
        return record.updated_at
    return min(now, Millis(record.updated_at + round(LONGEST_CALL_SECONDS * 1000)))


async def _swept(
    view: Reading,
    scope: TenantScope,
    system: str,
    place: Place,
    *,
    run_id: int,
    at_once: int,
    now: Millis,
) -> Batch:
    found = await record_queries.due_records(
        view,
        scope,
        system,
        after=(place.stage, place.guid),
        only_agreed=place.sweep is Sweep.AGAIN,
        limit=at_once,
    )
    picture = await take_picture(view, scope, system, [record.guid for record in found])
    offers: list[Offer] = []
    settled: list[Record] = []
    for record in found:
        key = picture.key(record.guid)
        if key is None or (record.standing is Standing.AGREED and record.agreed_key == key):
            settled.append(record.agreed(record.agreed_key))
        elif record.run_id != run_id or record.code is None:
            stage = _stage_now(picture, record)
            offers.append(_made(picture, record.guid, stage, record, key, run_id=run_id, now=now))
    if len(found) < at_once:
        return Batch(offers, settled, place.following(), None)
    last = found[-1]
    return Batch(offers, settled, replace(place, stage=int(last.stage), guid=last.guid), None)


def _stage_now(picture: Picture, record: Record) -> Stage:
    """Its place in the order: what was deleted is still offered where it was when it failed."""
    entity = picture.entities[record.guid]
    return stage_of(entity.kind.value) if entity.is_live and entity.kind else record.stage


async def announce(tx: Tx, scope: TenantScope, system: str, batch: Batch) -> None:
    """Note what the adapter is about to be told of."""
    await record_queries.keep_records(tx, scope, system, [offer.record for offer in batch.offers])


# -- after


@dataclass(slots=True)
class _Answers:
    records: list[Record] = field(default_factory=list)
    links: list[StoredLink] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


async def settle(
    tx: Tx, scope: TenantScope, system: str, batch: Batch, outcomes: Sequence[Outcome], *, now: Millis
) -> Counts:
    """Keep what has become of a batch."""
    answers = _Answers()
    taken = await links.links_to(tx, scope, system, _keys_in(outcomes))
    owners = {external_id: link.guid for external_id, link in taken.items()}
    for offer, outcome in zip(batch.offers, outcomes, strict=True):
        _note(answers, offer, _checked(offer, outcome, owners), now=now)
    await record_queries.keep_records(tx, scope, system, [*answers.records, *batch.settled])
    await links.keep_links(tx, scope, system, answers.links)
    await tell_groups(tx, scope, system, _newly_linked(batch.offers, answers.links))
    return answers.counts


async def tell_groups(tx: Tx, scope: TenantScope, system: str, guids: Sequence[str]) -> None:
    """Those of these entities that are in groups have a twin now: the groups can be told of them."""
    if guids:
        groups = await links.groups_with(tx, scope, guids)
        await record_queries.make_due(tx, scope, system, groups)


def _keys_in(outcomes: Iterable[Outcome]) -> set[str]:
    found = (outcome.link for outcome in outcomes if not isinstance(outcome, Skipped))
    return {link.external_id for link in found if link is not None}


LINK_TAKEN = Failure(
    code=Trouble.LINK_TAKEN.value,
    message="The other system gives it the key of a record that belongs to another entity here.",
    retryable=False,
)
_BAD_KEY = Failure(
    code=Trouble.INVALID_EXTERNAL_ID.value,
    message="The other system gives it a key that is empty or too long.",
    retryable=False,
)


def _checked(offer: Offer, outcome: Outcome, owners: dict[str, str]) -> Outcome:
    """The outcome, unless it names a twin that is somebody else's: two entities must never share one."""
    if isinstance(outcome, Skipped) or outcome.link is None:
        return outcome
    key = outcome.link.external_id
    if not is_external_id(key):
        return Failed(failure=_BAD_KEY)
    if owners.setdefault(key, offer.outgoing.guid) != offer.outgoing.guid:
        return Failed(failure=LINK_TAKEN)
    return outcome


def is_external_id(key: Any) -> bool:
    """Whether it can be kept: both databases index it."""
    if not isinstance(key, str) or not key or "\0" in key:
        return False
    try:
        return len(key.encode()) <= LONGEST_ID_BYTES
    except UnicodeEncodeError:
        return False


def _note(answers: _Answers, offer: Offer, outcome: Outcome, *, now: Millis) -> None:
    counts, guid = answers.counts, offer.outgoing.guid
    record = replace(offer.record, updated_at=now)
    match outcome:
        case Pushed():
            counts.pushed += 1
            counts.errors += [error_of(warning, guid=guid) for warning in outcome.warnings]
            answers.records.append(_arrived(record, offer, outcome))
        case Skipped():
            counts.skipped += 1
            answers.records.append(replace(record, standing=Standing.SKIPPED, is_due=False, tries=0))
        case Failed():
            counts.fail(error_of(outcome.failure, guid=guid))
            failed = record.failing(outcome.failure, is_uncertain=outcome.is_uncertain)
            answers.records.append(failed if outcome.state is None else replace(failed, state=outcome.state))
    if not isinstance(outcome, Skipped) and outcome.link is not None:
        answers.links.append(stored(guid, outcome.link))


def _arrived(record: Record, offer: Offer, outcome: Pushed) -> Record:
    agreed = replace(record.agreed(offer.key), is_open=outcome.is_open)
    if outcome.state is not None:
        agreed = replace(agreed, state=outcome.state)
    if offer.outgoing.is_deleted or outcome.delivery is Delivery.WAITING:
        return agreed
    if outcome.delivery is Delivery.REQUESTED:
        return replace(agreed, seen=with_asked(record.seen, offer.outgoing.data))
    if record.seen is not None and record.agreed_key == offer.key:
        return agreed  # told again because more is exchanged now: what of it was there is known as that system words it
    seen: Mapping[str, str] = hashes_of(offer.outgoing.data) | {PUSHED: ""}
    if offer.members is None:
        return replace(agreed, seen=seen)
    if not outcome.has_members:
        return replace(agreed, seen={**_members_seen(record), **seen})
    seen = {**seen, MEMBERS: members_text(offer.members)}
    if strange := offer.outgoing.strange_members:
        seen = {**seen, MISSING: members_text(strange)}
    return replace(agreed, seen=seen)


def _members_seen(record: Record) -> Mapping[str, str]:
    return {name: known for name, known in (record.seen or {}).items() if name in (MEMBERS, MISSING)}


def stored(guid: str, link: Link) -> StoredLink:
    return StoredLink(guid, link.external_id, kept_version(link.version), link.state)


def kept_version(version: str | None) -> str | None:
    """None in place of one that a database cannot keep: the record is compared by its fields then."""
    return None if version is not None and "\0" in version else version


def _newly_linked(offers: Iterable[Offer], found: Iterable[StoredLink]) -> list[str]:
    before = {offer.outgoing.guid for offer in offers if offer.outgoing.link is not None}
    return [link.guid for link in found if link.guid not in before]
