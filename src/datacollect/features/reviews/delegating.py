"""Letting another system decide: what was submitted is proposed there, and its word is carried out here.

That a proposal is about to be made is on disk before it is made, and what is answered is stored with how far the job has
come. One that was not answered is made once more as uncertain: the adapter looks whether it has arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from datacollect.adapters.errors import AdapterError, Failure
from datacollect.adapters.port import (
    Decides,
    Delivery,
    Failed,
    Followed,
    Link,
    Outcome,
    Outgoing,
    Proposed,
    Pushed,
    RecordType,
    Ruling,
    Skipped,
    Verdict,
)
from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.event import EventRejected
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.links import service as links
from datacollect.features.entities.service import entity_or_end
from datacollect.features.external.connecting import CannotConnect, Connection, Connections
from datacollect.features.external.following import MOST_AT_ONCE
from datacollect.features.external.model import content_of
from datacollect.features.external.picture import Picture, take_picture
from datacollect.features.external.pushing import is_external_id, stored
from datacollect.features.reviews import queries
from datacollect.features.reviews.deciding import approved, event_to_append
from datacollect.features.reviews.errors import ReviewedEntityGone, ReviewNotPending, SubmissionReused
from datacollect.features.reviews.model import (
    CommentKind,
    Decision,
    Delegation,
    DelegationCode,
    DelegationStatus,
    Review,
    Status,
    fields_of,
    is_gone,
)
from datacollect.features.reviews.service import DELEGATING, move, say
from datacollect.jobs import Continue, Done, Job, Lease, Retries, Retry, Step
from datacollect.kernel.clock import Clock
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import Tenant

ASKED_AT_ONCE = 10
RULED_AT_ONCE = MOST_AT_ONCE
LONGEST_REASON = 4000
_FORCED = Decision(force=True)

CANNOT_DECIDE = Failure(
    code=DelegationCode.CANNOT_DELEGATE,
    message="The program's other system does not decide about changes as it is configured now.",
    retryable=True,
)
_NOTHING_TO_ASK = Failure(
    code=DelegationCode.NOT_DELEGABLE, message="The other system does not take what this is about.", retryable=False
)


_ELSEWHERE = "It was asked of another system than the program names now."


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    """Of the adapter."""
    system: str
    delegations: Sequence[Delegation]
    outcomes: Mapping[str, Outcome]
    """By the reviews' ids."""
    last: str | None
    """None if these were all."""


@dataclass(frozen=True, slots=True)
class _Ruled:
    name: str
    system: str
    delegations: Mapping[str, Delegation]
    rulings: Sequence[Ruling]
    last: str | None


@dataclass(frozen=True, slots=True)
class _Troubled:
    """There is no way to the other system now."""

    failure: Failure
    retry_after_seconds: float | None = None


_Result = _Asked | _Ruled | _Troubled


class DelegatingHandler:
    """Implements `CallingHandler`. First what waits is proposed, then what was proposed is asked after."""

    kind = DELEGATING
    call_seconds = 300.0
    retries = Retries(attempts=6, first_seconds=2, most_seconds=60)

    def __init__(self, database: Database, log: EventLog, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._log = log
        self._connections = connections
        self._clock = clock

    # -- speaking to the other system

    async def call(self, scope: TenantScope, job: Job, lease: Lease) -> _Result:
        try:
            connection = await self._connections.make(scope, await self._connections.tenant(scope))
        except CannotConnect as error:
            return _Troubled(error.failure)
        try:
            if not (isinstance(connection.adapter, Decides) and connection.adapter.decides):
                return _Troubled(CANNOT_DECIDE)
            if job.checkpoint.get("phase", "ask") == "ask":
                return await self._ask(scope, lease, connection, connection.adapter, job.checkpoint.get("after", ""))
            return await self._rule(scope, connection, connection.adapter, job.checkpoint["after"])
        except AdapterError as error:
            return _Troubled(error.failure, error.retry_after_seconds)
        finally:
            await connection.adapter.close()

    async def _ask(
        self, scope: TenantScope, lease: Lease, connection: Connection, adapter: Decides, after: str
    ) -> _Asked:
        async with self._database.reading(scope) as view:
            found = await queries.list_delegations(
                view, scope, DelegationStatus.WAITING, after=after, limit=ASKED_AT_ONCE
            )
            reviews = await queries.find_many(view, scope, [one.review_id for one in found])
            guids = {review.entity_guid for review in reviews.values()}
            picture = await take_picture(view, scope, connection.system, guids)
        last = found[-1].review_id if len(found) == ASKED_AT_ONCE else None
        waiting = [one for one in found if reviews[one.review_id].status is Status.PENDING]
        proposals = {
            one.review_id: proposal
            for one in waiting
            if (proposal := _proposal(reviews[one.review_id], one, picture)) is not None
        }
        outcomes: dict[str, Outcome] = {
            one.review_id: Failed(failure=_NOTHING_TO_ASK) for one in waiting if one.review_id not in proposals
        }
        if proposals:
            async with lease.transaction() as tx:
                await queries.note_tries(tx, scope, sorted(proposals), now=self._clock.now())
            answered = await adapter.propose(list(proposals.values()))
            outcomes |= dict(zip(proposals, answered, strict=True))
        return _Asked(connection.name, connection.system, found, outcomes, last)

    async def _rule(self, scope: TenantScope, connection: Connection, adapter: Decides, after: str) -> _Ruled:
        async with self._database.reading(scope) as view:
            found = await queries.list_delegations(
                view, scope, DelegationStatus.ASKED, after=after, limit=RULED_AT_ONCE
            )
            proposed = await self._proposed(view, scope, connection, found)
        rulings = await adapter.rulings(proposed) if proposed else ()
        last = found[-1].review_id if len(found) == RULED_AT_ONCE else None
        by_id = {one.review_id: one for one in found}
        return _Ruled(connection.name, connection.system, by_id, [one for one in rulings if one.key in by_id], last)

    async def _proposed(
        self, view: Reading, scope: TenantScope, connection: Connection, found: Sequence[Delegation]
    ) -> Sequence[Proposed]:
        reviews = await queries.find_many(view, scope, [one.review_id for one in found])
        guids = {review.entity_guid for review in reviews.values()}
        picture = await take_picture(view, scope, connection.system, guids)
        # Of a system that the program was turned away from nobody here can ask.
        pairs = [(one, reviews[one.review_id]) for one in found if one.system == connection.system]
        return [
            Proposed(key=review.id, followed=followed)
            for one, review in pairs
            if (followed := _followed(review, one, picture)) is not None
        ]

    # -- storing what it said

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: _Result) -> Step:
        try:
            tenant = await self._connections.tenant(scope)
        except CannotConnect:
            return Done()  # archived meanwhile; who restores it finds all as it was
        match result:
            case _Asked():
                return await self._store_asked(tx, scope, tenant, result)
            case _Ruled():
                return await self._store_ruled(tx, scope, tenant, result)
            case _Troubled():
                return await self._store_trouble(tx, scope, result)

    async def _store_asked(self, tx: Tx, scope: TenantScope, tenant: Tenant, asked: _Asked) -> Step:
        await self._log.lock(tx, scope)
        now = self._clock.now()
        for one in asked.delegations:
            # With how often it was tried, which was noted meanwhile; and whether it is still delegated.
            known = (await queries.find_delegations(tx, scope, [one.review_id])).get(one.review_id, one)
            if known.status is not DelegationStatus.WAITING:
                continue
            outcome = asked.outcomes.get(one.review_id)
            kept = replace(known, system=asked.system, updated_at=now, code=None, message=None)
            if outcome is None:
                kept = replace(kept, status=DelegationStatus.ENDED)  # decided before anybody there was asked
            elif isinstance(outcome, Pushed) and outcome.delivery is Delivery.DONE and not outcome.is_open:
                # It has it so already.
                ruling = Ruling(
                    key=one.review_id, state=outcome.state or {}, verdict=Verdict.APPROVED, link=outcome.link
                )
                kept = await self._decide(tx, scope, tenant, asked.name, kept, ruling)
            else:
                kept = _after(kept, outcome)
            await queries.store_delegation(tx, scope, kept)
        after = {"phase": "rule", "after": ""} if asked.last is None else {"phase": "ask", "after": asked.last}
        return Continue(after, 0)

    async def _store_ruled(self, tx: Tx, scope: TenantScope, tenant: Tenant, ruled: _Ruled) -> Step:
        await self._log.lock(tx, scope)
        now = self._clock.now()
        await self._tell_where_asked(tx, scope, ruled)
        for ruling in ruled.rulings:
            known = (await queries.find_delegations(tx, scope, [ruling.key])).get(ruling.key)
            if known is None or known.status is not DelegationStatus.ASKED:
                continue
            failure = ruling.failure
            kept = replace(
                known,
                state=ruling.state,
                link=_link_document(ruling.link) or known.link,
                updated_at=now,
                code=None if failure is None else failure.code,
                message=None if failure is None else failure.message,
            )
            if ruling.verdict is not None:
                kept = await self._decide(tx, scope, tenant, ruled.name, kept, ruling)
            await queries.store_delegation(tx, scope, kept)
        if ruled.last is not None:
            return Continue({"phase": "rule", "after": ruled.last}, 0)
        # Who submits holds the log, too: they met this job as active, or meet it as ended.
        return Continue({"phase": "ask"}, 0) if await queries.has_untold(tx, scope) else Done()

    async def _tell_where_asked(self, tx: Tx, scope: TenantScope, ruled: _Ruled) -> None:
        """Nobody answers for what was asked of another system: people take it back, or turn the program there again."""
        for one in ruled.delegations.values():
            is_elsewhere = one.system != ruled.system
            if is_elsewhere == (one.code == DelegationCode.ASKED_ELSEWHERE):
                continue
            known = (await queries.find_delegations(tx, scope, [one.review_id])).get(one.review_id)
            if known is not None and known.status is DelegationStatus.ASKED:
                code, message = (DelegationCode.ASKED_ELSEWHERE, _ELSEWHERE) if is_elsewhere else (None, None)
                kept = replace(known, code=code, message=message, updated_at=self._clock.now())
                await queries.store_delegation(tx, scope, kept)

    async def _store_trouble(self, tx: Tx, scope: TenantScope, troubled: _Troubled) -> Step:
        """They go on waiting: somebody mends the settings, or takes them back."""
        failure = troubled.failure
        await queries.note_trouble(tx, scope, code=failure.code, message=failure.message, now=self._clock.now())
        if failure.retryable and failure is not CANNOT_DECIDE:
            return Retry(failure.code, troubled.retry_after_seconds)
        return Done({"code": failure.code})

    async def _decide(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, name: str, kept: Delegation, ruling: Ruling
    ) -> Delegation:
        """Carry out what was decided there. What cannot be carried out is left to people of the program."""
        try:
            return await self._carried_out(tx, scope, tenant, name, kept, ruling)
        except ReviewNotPending:
            # Withdrawn in this moment. Nothing is written yet, and the others' answers are not to be lost.
            return _ended(kept)

    async def _carried_out(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, name: str, kept: Delegation, ruling: Ruling
    ) -> Delegation:
        ended = _ended(kept)
        review = await queries.find(tx, scope, kept.review_id)
        if review is None or review.status is not Status.PENDING:
            return ended
        there = scope.where_decided(name)
        reason = (ruling.reason or "").strip()[:LONGEST_REASON]
        match ruling.verdict:
            case Verdict.APPROVED:
                problem = await self._approve(tx, there, tenant, review, kept, ruling)
                return ended if problem is None else _failed(kept, problem.code, problem.message)
            case Verdict.REJECTED:
                await self._refuse(tx, there, review, Status.REJECTED, reason or "Rejected in the other system.")
            case Verdict.SENT_BACK:
                await self._refuse(
                    tx, there, review, Status.CHANGES_REQUESTED, reason or "Sent back by the other system."
                )
        return ended

    async def _approve(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, review: Review, kept: Delegation, ruling: Ruling
    ) -> EventRejected | ReviewedEntityGone | SubmissionReused | None:
        held = await entity_or_end(tx, scope, review.entity_guid)
        if is_gone(review, held):
            return ReviewedEntityGone()
        try:
            # Before anything is written: the step goes on with the others.
            await self._log.try_out(tx, scope, tenant, await event_to_append(tx, self._log, scope, tenant, review))
        except EventRejected as rejected:
            return rejected
        # What was changed here since is overruled: it is made so there already.
        at = self._log.time_now(await self._log.lock(tx, scope))
        await approved(tx, self._log, scope, tenant, review, held, _FORCED, now=self._clock.now(), at=at)
        await self._keep_link(tx, scope, review, kept, ruling)
        return None

    async def _keep_link(self, tx: Tx, scope: TenantScope, review: Review, kept: Delegation, ruling: Ruling) -> None:
        """The next exchange finds there what it would send, and does not ask for it a second time."""
        link = ruling.link
        if link is None or kept.system is None or not is_external_id(link.external_id):
            return
        taken = await links.links_to(tx, scope, kept.system, {link.external_id})
        if all(other.guid == review.entity_guid for other in taken.values()):
            await links.keep_links(tx, scope, kept.system, [stored(review.entity_guid, link)])

    async def _refuse(self, tx: Tx, scope: TenantScope, review: Review, to: Status, reason: str) -> None:
        now = self._clock.now()
        told = {"rejection_reason": reason} if to is Status.REJECTED else {}
        by = scope.actor.label
        await move(tx, scope, review, to, found_in={Status.PENDING}, now=now, reviewed_by=by, reviewed_ms=now, **told)
        await say(tx, scope, review, CommentKind(to.value), reason, now=now)


def _after(kept: Delegation, outcome: Outcome) -> Delegation:
    match outcome:
        case Pushed():
            link = _link_document(outcome.link) or kept.link
            return replace(kept, status=DelegationStatus.ASKED, state=outcome.state or kept.state, link=link)
        case Skipped():
            return _failed(kept, outcome.reason, "The other system does not take such records.")
        case Failed(failure=failure):
            link = _link_document(outcome.link) or kept.link
            told = replace(kept, state=outcome.state or kept.state, link=link)
            if not failure.retryable:
                return _failed(told, failure.code, failure.message)
            return replace(told, code=failure.code, message=failure.message)


def _ended(kept: Delegation) -> Delegation:
    return replace(kept, status=DelegationStatus.ENDED, code=None, message=None)


def _failed(kept: Delegation, code: str, message: str) -> Delegation:
    return replace(kept, status=DelegationStatus.FAILED, code=code, message=message)


def _proposal(review: Review, delegation: Delegation, picture: Picture) -> Outgoing | None:
    """The record as it would be; None for what is no record of its own."""
    followed = _followed(review, delegation, picture)
    if followed is None:
        return None
    entity = picture.entities.get(review.entity_guid)
    return Outgoing(
        guid=review.entity_guid,
        type=followed.type,
        data=followed.data,
        version=(entity.version if entity is not None else 0) + 1,
        key=review.id,
        link=followed.link,
        is_uncertain=delegation.tries > 0,
        is_deleted=review.event_type == "delete-entity",
        state=delegation.state,
    )


def _followed(review: Review, delegation: Delegation, picture: Picture) -> Followed | None:
    entity = picture.entities.get(review.entity_guid)
    is_live = entity is not None and entity.is_live
    kind = entity.kind.value if entity is not None and entity.kind and is_live else review.event_type.rpartition("-")[2]
    if kind not in _KINDS:
        return None
    held: Mapping[str, Any] = entity.data if entity is not None and is_live else {}
    return Followed(
        guid=review.entity_guid,
        type=_KINDS[kind],
        state=delegation.state,
        link=picture.link(review.entity_guid) or _link(delegation.link),
        data=content_of({**held, **fields_of(review.event)}),
    )


_KINDS = {kind.value: kind for kind in RecordType}


def _link_document(link: Link | None) -> dict[str, Any] | None:
    return None if link is None else msgspec.to_builtins(link)


def _link(document: Mapping[str, Any] | None) -> Link | None:
    return None if document is None else msgspec.convert(document, Link)
