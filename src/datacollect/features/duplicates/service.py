"""Listing pairs, deciding about them, and asking before something is stored. Source: the contract's duplicates area."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.log import BatchRejected, EventLog
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.comparing import compare_one, subject_of
from datacollect.features.duplicates.detecting import KIND
from datacollect.features.duplicates.errors import PairNotFound
from datacollect.features.duplicates.merging import resolution
from datacollect.features.duplicates.model import FoundPair, Pair, Status
from datacollect.features.duplicates.moving import hand_over, merge_events
from datacollect.features.entities.entity import Entity, Kind
from datacollect.features.entities.service import (
    Summary,
    entities_by_guid,
    positions_of,
    summaries_of,
    within_reach,
)
from datacollect.features.tenants.asked import matching_of
from datacollect.jobs import JobId, enqueue
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import Tenant
from datacollect.matching.scoring import Score

guids_in_pairs = queries.guids_in_pairs

POSSIBLE_BELOW = 5.0
"""A check tells of what is so many bits below the program's threshold, too: somebody is there who can ask."""
MOST_MATCHES = 10


class Resolution(StrEnum):
    KEEP_BOTH = "keep-both"
    DELETE_NEW = "delete-new"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Decision:
    """`merged` is deleted, or merged into `kept`, or both stay."""

    merged: str
    kept: str
    resolution: Resolution
    fields: Mapping[str, Any] | None = None
    """Of a merge: what the one that stays is to hold. None takes what it lacks from the other one."""


@dataclass(frozen=True, slots=True)
class PairPage:
    pairs: Sequence[FoundPair]
    entities: Mapping[str, Summary]
    """Those of them that exist."""
    total: int
    has_more: bool


async def list_pairs(
    view: Reading, scope: TenantScope, *, status: Status | None, after: tuple[Millis, Pair] | None, limit: int
) -> PairPage:
    """The pairs found last, the latest first, in three statements."""
    found = await queries.list_pairs(view, scope, status=status, after=after, limit=limit + 1)
    page = found[:limit]
    guids = {guid for each in page for guid in (each.pair.first, each.pair.second)}
    entities = await summaries_of(view, scope, guids)
    total = await queries.count_pairs(view, scope, status=status)
    return PairPage(page, entities, total, len(found) > limit)


async def decide(tx: Tx, log: EventLog, scope: TenantScope, tenant: Tenant, decision: Decision) -> FoundPair:
    """Append the events that bring every device to the decision, in one transaction. Telling the same again is harmless.

    Raises `PairNotFound`, `CannotMerge`.
    """
    pair = Pair.of(decision.merged, decision.kept)
    # The log first, as every push does: what the two hold must not change between reading it and the events.
    at = log.time_now(await log.lock(tx, scope))
    found = await queries.find_pair(tx, scope, pair)
    if found is None:
        raise PairNotFound()
    if found.status is not Status.OPEN:
        if not await _is_decided_so(tx, scope, found, decision):
            raise PairNotFound()
        return found
    events = await _events(tx, scope, tenant, decision, user_id=scope.actor.event_user_id, now=at)
    try:
        await log.append(tx, scope, tenant, events, origin=Origin.DERIVED)
    except BatchRejected as batch:
        raise batch.rejection.reason from batch
    if decision.resolution is Resolution.MERGE:
        await hand_over(tx, scope, decision.merged, decision.kept)
    decided = await queries.find_pair(tx, scope, pair)
    assert decided is not None
    return decided


async def _is_decided_so(view: Reading, scope: TenantScope, found: FoundPair, decision: Decision) -> bool:
    match decision.resolution:
        case Resolution.KEEP_BOTH:
            return found.status is Status.NOT_A_DUPLICATE
        case Resolution.DELETE_NEW:
            # The pair does not say which of the two was deleted.
            is_there = bool(await positions_of(view, scope, [decision.merged]))
            return found.status is Status.DELETED and found.decided_by is not None and not is_there
        case Resolution.MERGE:
            return found.status is Status.MERGED and found.survivor == decision.kept


async def _events(
    tx: Tx, scope: TenantScope, tenant: Tenant, decision: Decision, *, user_id: str, now: Millis
) -> Sequence[Event]:
    pair = Pair.of(decision.merged, decision.kept)
    if decision.resolution is Resolution.MERGE:
        return await merge_events(
            tx, scope, tenant, decision.merged, decision.kept, decision.fields, user_id=user_id, now=now
        )
    deletes = decision.resolution is Resolution.DELETE_NEW
    data = resolution(pair, decision.merged, should_delete=deletes)
    return [Event(new_guid(), decision.merged, "resolve-duplicate", data, now, user_id)]


# -- before something is stored


@dataclass(frozen=True, slots=True)
class Match:
    entity: Entity
    score: Score


@dataclass(frozen=True, slots=True)
class Checked:
    """What is like something that is about to be stored."""

    matches: Sequence[Match]
    """Those the caller may see, the likeliest first."""
    elsewhere: bool
    """Whether there is one that the caller may not see. No more than that is told of it."""
    threshold: float


async def check(
    view: Reading,
    scope: TenantScope,
    *,
    guid: str | None,
    kind: Kind,
    form: str | None,
    data: Mapping[str, Any],
    area: str | None,
    now: Millis,
) -> Checked:
    """Compare what somebody is writing with what is there, in a constant number of statements."""
    matching = await matching_of(view, scope.tenant_id)
    if matching is None or not matching.is_wanted:
        return Checked((), False, 0.0)
    subject = subject_of(guid or "", kind, form, data, matching.roles, at=now, area=area)
    scores = await compare_one(view, scope, subject, matching.roles)
    least = matching.threshold - POSSIBLE_BELOW
    likely = sorted(
        ((score, other.guid) for other, score in scores if score.bits >= least), key=lambda each: -each[0].bits
    )
    visible = set(await within_reach(view, scope, [found for _, found in likely])) if likely else set()
    told = [(score, found) for score, found in likely if found in visible][:MOST_MATCHES]
    shown = (
        {each.guid: each for each in await entities_by_guid(view, scope, {found for _, found in told})} if told else {}
    )
    return Checked(
        [Match(shown[found], score) for score, found in told if found in shown],
        any(found not in visible for _, found in likely),
        matching.threshold,
    )


# -- looking through a whole program


async def sweep(tx: Tx, log: EventLog, scope: TenantScope, *, now: Millis) -> JobId:
    """Let a whole program be looked at anew; what has been decided stays decided."""
    await log.hold(tx, scope)
    await queries.put_back_mark(tx, scope, now=now)
    return await enqueue(tx, scope, KIND, {}, now=now)


count_pairs = queries.count_pairs
