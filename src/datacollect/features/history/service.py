"""Telling what happened to an entity. Source: the contract's entities area, 3.7; the history is ours."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from datacollect.db import Reading
from datacollect.db.turns import in_turns
from datacollect.eventstore.event import Event, Origin, event_from_body
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.lookup import guids_at
from datacollect.eventstore.projection import Context
from datacollect.features.audit import service as audit
from datacollect.features.audit.model import Touching
from datacollect.features.entities.errors import EntityNotFound
from datacollect.features.entities.history import Replay, Step, Touch, names_often
from datacollect.features.entities.service import begins_after, told_within_reach
from datacollect.features.history.replays import Kept
from datacollect.http.hub import Replays
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

MOST_EVENTS, MOST_EVENTS_BYTES = audit.MOST_BODIES, audit.MOST_BODIES_BYTES
"""In one list; pages of the history tell all."""

MOST_TOLD_BYTES = 16 * 1024 * 1024
"""Of the events of one page; one more may be begun."""

BATCH = 500
"""Events that are held at once."""

AT_ONCE = 20
"""Events: some milliseconds of work."""

WORTH_KEEPING = 100
"""Events that somebody would go through once more who asks for the same page again."""


async def events_of_entity(view: Reading, scope: TenantScope, guid: str) -> Sequence[str]:
    """The bodies of the events that touched an entity, by event time, then position: the latest `MOST_EVENTS` of them, and
    `MOST_EVENTS_BYTES`.

    A limited reader gets those about entities within their reach, with no more of members beyond it than who and where
    they are, and none of a life that ended before.
    """
    if not scope.reach.is_bounded:
        return await audit.bodies_touching(view, scope, guid)
    reached = await begins_after(view, scope, guid)
    if reached is None:
        return ()
    found: list[tuple[Millis, str]] = []
    while batch := await audit.events_touching(view, scope, guid, after=reached, limit=BATCH):
        reached = batch[-1].position
        events = {touching.position: event_from_body(touching.body) for touching in batch}
        told = await told_within_reach(view, scope, events)
        found += [
            (event.occurred_at, touching.body if event is events[touching.position] else event.body())
            for touching in batch
            if (event := told.get(touching.position)) is not None
        ]
        found = _latest(found)
    return [body for _, body in found]


def _latest(found: list[tuple[Millis, str]]) -> list[tuple[Millis, str]]:
    """Those that a list has room for, by event time, then in the order in which they came."""
    found.sort(key=itemgetter(0))
    begin, room = len(found), MOST_EVENTS_BYTES
    while begin and room > 0 and len(found) - begin < MOST_EVENTS:
        begin -= 1
        room -= len(found[begin][1].encode())
    return found[begin:]


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and what it did to the entity."""

    event: Event
    position: int
    recorded_at: Millis
    actor: str
    device_id: str | None
    origin: Origin
    step: Step


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Events in log order. `next_after` is None on the last page."""

    told: Sequence[Told]
    kept_guids: Mapping[int, str]
    """The events that lost values lost against, by position."""
    next_after: int | None


async def history_of_entity(
    view: Reading, log: EventLog, replays: Replays, scope: TenantScope, guid: str, *, after: int, limit: int
) -> HistoryPage:
    """What the next `limit` events behind the position `after` did to the entity; fewer where they are large. Raises
    `EntityNotFound`.

    The entity is replayed from its first event on, or from where one of the last pages ended, a batch at a time; a
    statement for each batch, and two more.
    """
    begins = await begins_after(view, scope, guid)
    if begins is None:
        raise EntityNotFound(guid)
    after = max(after, begins)
    kept = replays.find(scope.tenant_id, guid, through=after)
    wanted = limit + 2 if kept is not None else BATCH if after else limit + 1
    touches = _touches(view, log, scope, guid, after=kept.position - 1 if kept else 0, wanted=wanted)
    if kept is not None:
        first = await anext(touches, None)
        if first is None or (first[0].position, first[0].chain_hash) != (kept.position, kept.chain_hash):
            # The log is another one: purged and made anew, or of a database that took over.
            kept, touches = None, _touches(view, log, scope, guid, after=0, wanted=BATCH)
    replay, told, more = kept.replay.fork() if kept else Replay(guid), list[Told](), False
    last: Touching | None = None
    passed, told_bytes = 0, 0
    async for touching, touch in touches:
        if len(told) == limit or told_bytes >= MOST_TOLD_BYTES:
            more = True
            break
        if not told and last is not None and passed >= WORTH_KEEPING and touching.position > after:
            replays.keep(scope.tenant_id, guid, Kept(last.position, last.chain_hash, replay.fork()))
        step, last = replay.apply(touch), touching
        if touching.position > after:
            told.append(_told(touching, touch.event, step))
            told_bytes += len(touching.body)
        else:
            passed += 1
    if more and last is not None:
        replays.keep(scope.tenant_id, guid, Kept(last.position, last.chain_hash, replay))
    if last is None and kept is None:
        raise EntityNotFound(guid)
    kept = {lost.kept_stamp.position for one in told for lost in one.step.lost}
    guids = await guids_at(view, scope, kept) if kept else {}
    return HistoryPage(told, guids, told[-1].position if more else None)


async def _touches(
    view: Reading, log: EventLog, scope: TenantScope, guid: str, *, after: int, wanted: int
) -> AsyncIterator[tuple[Touching, Touch]]:
    """The events behind a position that touched the entity, in log order, with others' turns in between; `wanted` are
    expected to do."""
    limit, reached = min(wanted, BATCH), after
    while batch := await audit.events_touching(view, scope, guid, after=reached, limit=limit):
        events: list[Event] = []
        async for some in in_turns(batch, at_once=AT_ONCE):
            events += [log.upcasters.upcast(event_from_body(touching.body)) for touching in some]
        unclear = [touching.position for touching, event in zip(batch, events, strict=True) if names_often(event, guid)]
        touched = await audit.touched_by(view, scope, unclear) if unclear else {}
        async for pairs in in_turns(list(zip(batch, events, strict=True)), at_once=AT_ONCE):
            for touching, event in pairs:
                context = Context(touching.position, touching.recorded_at, touching.origin)
                along = touching.is_end and event.entity_guid != guid
                buried_by = touching.buried_by if along else None
                yield (
                    touching,
                    Touch(event, context, along and buried_by is None, buried_by, touched.get(touching.position, {})),
                )
        if len(batch) < limit and not audit.are_cut(batch):
            return
        limit, reached = BATCH, batch[-1].position


def _told(touching: Touching, event: Event, step: Step) -> Told:
    return Told(
        event,
        touching.position,
        touching.recorded_at,
        touching.actor,
        touching.device_id,
        touching.origin,
        step,
    )
