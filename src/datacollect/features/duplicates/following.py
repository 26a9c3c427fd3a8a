"""What events decide about pairs, and what ends with the entities they delete. In the transaction of the events, and the
same when they are applied again."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Origin
from datacollect.eventstore.lookup import actors_at
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.model import FoundPair, Pair, Status
from datacollect.features.entities.entity import items_in, text_in
from datacollect.features.entities.projection import Applied
from datacollect.features.entities.service import positions_of
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import has_guids_length

_MOST_NAMED = 100
"""Pairs that one event decides about; further ones are left open."""


class UnheardDecisions:
    """Implements `Decisions` of the exports."""

    async def list_unheard(self, view: Reading, scope: TenantScope, events: Collection[str]) -> Collection[str]:
        return await queries.list_unheard(view, scope, events)

    async def note_unheard(self, tx: Tx, scope: TenantScope, events: Collection[str]) -> None:
        await queries.note_unheard(tx, scope, events)


async def follow_decisions(tx: Tx, scope: TenantScope, applied: Sequence[Applied]) -> None:
    """Implements `Follower`. Who exists now is not gone, and no pair of theirs over: they came back, and were looked at
    since if this is told once more."""
    deciding = [item for item in applied if item.event.type == "resolve-duplicate" and any(_named_by(item))]
    heard = await _heard(tx, scope, deciding) if deciding else ()
    actors = await actors_at(tx, scope, [item.context.position for item in heard]) if heard else {}
    found = [(item.event.entity_guid, found) for item in heard for found in _decided_by(item, actors)]
    gone = {guid: item.context.recorded_at for item in applied for guid in item.changes.deleted}
    ended = gone.keys() | {guid for guid, pair in found if pair.status is Status.DELETED}
    there = await positions_of(tx, scope, ended)
    decided = {pair.pair: pair for guid, pair in found if pair.status is not Status.DELETED or guid not in there}
    gone = {guid: at for guid, at in gone.items() if guid not in there}
    if decided:
        await queries.decide(tx, scope, list(decided.values()))
    if gone:
        await queries.forget(tx, scope, gone, now=max(gone.values()))


async def _heard(tx: Tx, scope: TenantScope, deciding: Sequence[Applied]) -> Sequence[Applied]:
    """Those that count. Whoever may not decide may still push what their device has decided for itself: that is kept and
    told to others as any event, and the pair waits for somebody who may."""
    unheard: Collection[str] = [item.event.guid for item in deciding if not item.is_heard]
    if unheard:
        await queries.note_unheard(tx, scope, unheard)
    else:  # maybe they are applied again
        unheard = await queries.list_unheard(tx, scope, [item.event.guid for item in deciding])
    return [item for item in deciding if item.event.guid not in unheard]


def _decided_by(item: Applied, actors: Mapping[int, str]) -> Iterator[FoundPair]:
    event, is_own = item.event, item.context.origin is Origin.DERIVED
    # Who takes somebody's place decides what the hub then moves by itself: no device says so.
    survivor = text_in(event.data, "mergedInto") if is_own else None
    for one, other in _named_by(item):
        yield FoundPair(
            Pair.of(one, other),
            newer=one,
            status=_status(event.data.get("shouldDelete"), survivor),
            bits=0.0,
            evidence=(),
            detected_at=item.context.recorded_at,
            decided_at=item.context.recorded_at,
            # What a device says of whose decision it is, is not known to be true.
            decided_by=event.user_id if is_own else actors[item.context.position],
            survivor=survivor if survivor in (one, other) else None,
        )


def _named_by(item: Applied) -> Iterator[tuple[str, str]]:
    event = item.event
    for named in items_in(event.data, "duplicates")[:_MOST_NAMED]:
        one, other = text_in(named, "entityGuid"), text_in(named, "duplicateGuid")
        # The event's own entity is the one that its sender's reach has been asked about.
        if one is None or other is None or one == other or event.entity_guid not in (one, other):
            continue
        if _is_storable(one, other):
            yield one, other


def _status(deletes: Any, survivor: str | None) -> Status:
    if not deletes:
        return Status.NOT_A_DUPLICATE
    return Status.MERGED if survivor is not None else Status.DELETED


def _is_storable(*guids: str) -> bool:
    return all(has_guids_length(guid) and "\0" not in guid for guid in guids)
