"""Appending to the log: one lock, one pass over the batch in memory, then a constant number of statements.

More than `PART` events take several such turns under the one lock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat

from datacollect.db import Reading, Tx
from datacollect.db.portions import Portion
from datacollect.db.turns import AT_ONCE, in_turns, others_turn
from datacollect.eventstore.epochs import epoch_put_back
from datacollect.eventstore.event import Event, EventRejected, Origin, level_of, require_complete
from datacollect.eventstore.integrity import EventHash, hash_event
from datacollect.eventstore.projection import Context, InlineProjection, ProjectionRun
from datacollect.eventstore.store import (
    DeliveredEvent,
    EventStore,
    Head,
    HeldEvent,
    OpenLog,
    Page,
    Scoping,
    StoredEvent,
)
from datacollect.eventstore.upcasting import Upcasters
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import SYSTEM, TenantScope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that could not be applied: its index in the batch as given to `append`, and why."""

    index: int
    event: Event
    reason: EventRejected


@dataclass(slots=True)
class Appended:
    """What became of a batch. `stored` and `known` count as applied for the client; nothing else does."""

    head: Head
    stored: list[StoredEvent] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    """Of the stored events, in the batch as it was given."""
    snapshots: list[StoredEvent] = field(default_factory=list)
    """What the hub stored beside them, for devices that hold only a part of the program."""
    known: int = 0
    """Events whose guid the log (or an earlier event of the batch) already held, with the same content."""
    reused: list[int] = field(default_factory=list)
    """Indexes of events that carry the guid of another event with other content. They are not stored."""
    rejections: list[Rejection] = field(default_factory=list)

    def and_then(self, part: "Appended") -> "Appended":
        """With what became of the next part of the batch."""
        return Appended(
            part.head,
            self.stored + part.stored,
            self.indexes + part.indexes,
            self.snapshots + part.snapshots,
            self.known + part.known,
            self.reused + part.reused,
            self.rejections + part.rejections,
        )


PART = 2000
"""Events that are applied and stored at a time. What is made of them (states, terms of the index, rows) takes ten times
the room of the events, and is let go with each part; they are in one transaction all the same."""


_PASSES = 3
"""Over what several bring, in memory: the first may find somebody to be left out, and the next somebody who cannot do
without them."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one caller brings to a batch that several make up. `hashed` is what `hash_ahead` gave for the events."""

    scope: TenantScope
    events: Sequence[Event]
    hashed: Sequence[EventHash]
    device_id: str | None


@dataclass(frozen=True, slots=True)
class AppendedTogether:
    """What became of a batch that several make up. Indexes of events in `appended` count through the shares in it."""

    appended: Appended
    left_out: Set[int]
    """Indexes of the shares of which nothing is stored."""


OnRejection = Callable[[Rejection], None]

_Sender = tuple[str, str | None]
"""Whose event it is, as `StoredEvent.actor` has it, and the device it came from."""

_Fresh = tuple[int, EventHash, _Sender]
"""An event that the log does not hold yet, by its index."""

OnGrowth = Callable[[TenantId, Head, Head], None]
"""Is told the tenant and its log's head before and after an append that has been committed."""


def stop_at_first(rejection: Rejection) -> None:
    """All or nothing: the transaction ends with the first event that cannot be applied."""
    raise BatchRejected(rejection)


class BatchRejected(Exception):
    """Raised inside the transaction, so that nothing of the batch stays."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.reason.message)
        self.rejection = rejection


class GuidTaken(EventRejected):
    """The log holds another event with this guid."""

    code = "GUID_TAKEN"
    help = "Give the event a new guid."

    def __init__(self) -> None:
        super().__init__(path=["guid"])


class EventLog:
    """The event store together with the projections that are kept in its transactions."""

    def __init__(
        self,
        store: EventStore,
        projections: Sequence[InlineProjection],
        clock: Clock,
        upcasters: Upcasters | None = None,
        on_growth: OnGrowth | None = None,
    ) -> None:
        self.upcasters = upcasters or Upcasters()
        """What brings older layouts of events to the current one before they are applied."""
        self._store = store
        self._projections = tuple(projections)
        self._clock = clock
        self._on_growth = on_growth

    def turn(self, scope: TenantScope) -> AbstractAsyncContextManager[None]:
        """Wait here, before opening a transaction, while others of this process append to the tenant."""
        return self._store.turn(scope)

    async def create(self, tx: Tx, scope: TenantScope) -> None:
        """Give a new tenant an empty log; harmless if it has one."""
        await self._store.create(tx, scope, epoch=new_guid(), now=self._clock.now())

    async def close(self, tx: Tx, scope: TenantScope) -> None:
        """Take no more events from the commit of `tx` on, whoever has been let in before."""
        await self._store.close(tx, scope, now=self._clock.now())

    async def reopen(self, tx: Tx, scope: TenantScope) -> None:
        await self._store.reopen(tx, scope)

    async def lock(self, tx: Tx, scope: TenantScope) -> Head:
        """Let nobody else append until `tx` ends: what is read now is what the next append meets.

        Gives where the log ends. Raises `TenantUnknown` if the tenant has no log or it is closed.
        """
        return (await self._store.open(tx, scope, ())).head

    async def hold(self, tx: Tx, scope: TenantScope) -> Head | None:
        """As `lock`, closed or not; None if the tenant has no log."""
        return await self._store.hold(tx, scope)

    def time_now(self, head: Head) -> Millis:
        """When an event counts as stored that is appended now: never before what is there, whatever became of the clock.

        Events of the hub's own carry it, for devices go by the times of events. The caller holds the log.
        """
        return max(self._clock.now(), head.recorded_at)

    async def set_scoping(self, tx: Tx, scope: TenantScope, scoping: Scoping) -> None:
        """Note how far the log is filed by place. The caller has locked it."""
        await self._store.set_scoping(tx, scope, scoping)

    async def try_out(self, tx: Tx, scope: TenantScope, tenant: Tenant, event: Event) -> bool:
        """Whether the event could be appended now: true if it could, false if the log has it. Nothing is stored.

        Nobody else appends until `tx` ends. Raises what stands in its way: an `EventRejected`.
        """
        opened, hashed = await self._store.open(tx, scope, [event.guid]), hash_event(event)
        if opened.known.get(event.guid) == hashed.content:
            return False
        if event.guid in opened.known:
            raise GuidTaken()
        require_complete(event)
        current = self.upcasters.upcast(event)
        now = self.time_now(opened.head)
        for projection in self._projections:
            run = await projection.start(tx, scope, tenant, [current], scoping=opened.head.scoping)
            run.apply(current, Context(opened.head.position + 1, now, size_bytes=len(hashed.canonical)))
        return True

    async def hash_ahead(self, events: Sequence[Event]) -> deque[EventHash]:
        """What is hashed of the events that `append` begins with, to be made before anybody waits for its transaction."""
        return await _hashes_of(events[:PART])

    async def append(
        self,
        tx: Tx,
        scope: TenantScope,
        tenant: Tenant,
        events: Sequence[Event],
        *,
        origin: Origin = Origin.CLIENT,
        device_id: str | None = None,
        refused: Mapping[int, EventRejected] | None = None,
        on_rejection: OnRejection = stop_at_first,
        hashed: deque[EventHash] | None = None,
    ) -> Appended:
        """Append events in the given order and bring the projections up to them, all in `tx`.

        An event whose guid is known is skipped. `refused` are events, by index, that a check has found wanting before
        anybody had to wait: unless they are known, they cannot be applied. `on_rejection` is called for one that cannot be applied; if it
        returns, the event is left out and the batch goes on. `hashed` is what `hash_ahead` gave for the same events; it is
        used up. Raises `BatchRejected` by default.
        """
        whole: Appended | None = None
        sender = (scope.actor.event_user_id, device_id)
        for first in range(0, max(len(events), 1), PART):
            part = await self._append(
                tx,
                scope,
                tenant,
                events[first : first + PART],
                first,
                origin,
                repeat(sender),
                refused or {},
                on_rejection,
                hashed if first == 0 else None,
            )
            whole = part if whole is None else whole.and_then(part)
        assert whole is not None
        return whole

    async def append_together(self, tx: Tx, tenant: Tenant, shares: Sequence[Share]) -> AppendedTogether:
        """Append what several callers bring, one after the other, as one batch of `PART` events at most.

        Whoever brings an event that cannot be applied, or one with the guid of another, is left out, with all they
        bring and as if they had not come. What each may do has to be the same: they are of one role, and none is
        limited to a part of the tenant.
        """
        scope = shares[0].scope
        if any(one.scope.reach.is_bounded or one.scope.tenant_id != tenant.id for one in shares):
            raise ValueError("shares of one batch are of one tenant, and of callers who may write to all of it")
        if any(one.scope.role is not scope.role for one in shares):
            raise ValueError("shares of one batch are of callers of one role")
        opened = await self._store.open(tx, scope, [event.guid for one in shares for event in one.events])
        left_out: set[int] = set()
        for _ in range(_PASSES):
            kept = [(at, one) for at, one in enumerate(shares) if at not in left_out]
            if not kept:
                break
            batch = _Batch(opened, self.time_now(opened.head), 0)
            events = [event for _, one in kept for event in one.events]
            senders = [(one.scope.actor.event_user_id, one.device_id) for _, one in kept for _ in one.events]
            hashes = deque(hashed for _, one in kept for hashed in one.hashed)
            fresh = batch.fresh(events, hashes, senders)
            await self._apply(tx, scope, tenant, batch, events, fresh, Origin.CLIENT, {}, lambda _: None)
            wrong = batch.wrong
            if not wrong:
                await self._save(tx, scope, batch)
                return AppendedTogether(batch.result, left_out)
            bringers = [at for at, one in kept for _ in one.events]
            left_out.update(bringers[index] for index in wrong)
        return AppendedTogether(Appended(opened.head), set(range(len(shares))))

    async def _append(
        self,
        tx: Tx,
        scope: TenantScope,
        tenant: Tenant,
        events: Sequence[Event],
        first: int,
        origin: Origin,
        senders: Iterable[_Sender],
        refused: Mapping[int, EventRejected],
        on_rejection: OnRejection,
        hashed_ahead: deque[EventHash] | None,
    ) -> Appended:
        """A part of a batch, whose first event has the index `first` in it; constant in its statements."""
        hashes = await _hashes_of(events) if hashed_ahead is None else hashed_ahead
        opened = await self._store.open(tx, scope, [event.guid for event in events])
        batch = _Batch(opened, self.time_now(opened.head), first)
        fresh = batch.fresh(events, hashes, senders)
        await self._apply(tx, scope, tenant, batch, events, fresh, origin, refused, on_rejection)
        await self._save(tx, scope, batch)
        return batch.result

    async def _apply(
        self,
        tx: Tx,
        scope: TenantScope,
        tenant: Tenant,
        batch: "_Batch",
        events: Sequence[Event],
        fresh: "deque[_Fresh]",
        origin: Origin,
        refused: Mapping[int, EventRejected],
        on_rejection: OnRejection,
    ) -> None:
        """Apply the `fresh` ones of the events in memory."""
        if not fresh:
            return
        current = {index: self.upcasters.upcast(events[index]) for index, _, _ in fresh}
        if len(fresh) > AT_ONCE:
            await others_turn(holding=True)
        for projection in self._projections:
            batch.runs.append(
                await projection.start(tx, scope, tenant, list(current.values()), scoping=batch.opened.scoping)
            )
        while fresh:
            if len(fresh) % AT_ONCE == 0:
                await others_turn(holding=True)
            index, hashed, sender = (
                fresh.popleft()
            )  # what was hashed of an event is let go with it: it is as long as the event
            if batch.first + index in refused:
                batch.reject(index, events[index], hashed, refused[batch.first + index], on_rejection)
                continue
            batch.apply(
                index,
                events[index],
                current[index],
                hashed,
                sender,
                origin,
                on_rejection,
            )

    async def _save(self, tx: Tx, scope: TenantScope, batch: "_Batch") -> None:
        """Store what has been applied."""
        if not batch.result.stored:
            return
        for run in batch.runs:
            await run.save(tx)
        if batch.opened.scoping is not None:
            for run in batch.runs:
                batch.add_snapshots(await run.snapshots(tx))
        head = batch.finish()
        await self._store.append(tx, scope, [*batch.result.stored, *batch.result.snapshots], head)
        for run in batch.runs:
            await run.tell(tx)
        if self._on_growth is not None:
            tx.after_commit(partial(self._on_growth, scope.tenant_id, batch.opened, head))

    async def renew(self, tx: Tx, scope: TenantScope, *, position: int) -> None:
        """Note that the log was put back now to what it is up to this position. The caller holds it."""
        await self._store.renew(tx, scope, epoch=epoch_put_back(self._clock.now()), position=position)

    async def held(self, view: Reading, scope: TenantScope, guids: Sequence[str]) -> Mapping[str, HeldEvent]:
        return await self._store.held(view, scope, guids)

    async def read(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Page:
        return await self._store.read(view, scope, after=after, limit=limit)

    async def read_at(
        self, view: Reading, scope: TenantScope, positions: Sequence[int], *, epoch: str | None = None
    ) -> Portion[DeliveredEvent]:
        return await self._store.read_at(view, scope, positions, epoch=epoch)

    async def position_at(self, view: Reading, scope: TenantScope, instant: Millis) -> int:
        return await self._store.position_at(view, scope, instant)

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        return await self._store.read_rows(view, scope, after=after, limit=limit)

    async def head(self, view: Reading, scope: TenantScope) -> Head | None:
        return await self._store.head(view, scope)


async def _hashes_of(events: Sequence[Event]) -> deque[EventHash]:
    hashes: deque[EventHash] = deque()
    async for some in in_turns(events):
        hashes += map(hash_event, some)
    return hashes


class _Batch:
    """One append in memory."""

    def __init__(self, opened: OpenLog, recorded_at: Millis, first: int) -> None:
        head = self.opened = opened.head
        self.first = first
        self._position = head.position
        self._chain_hash = head.chain_hash
        self._latest = head.max_occurred_at
        self._known = dict(opened.known)
        self._recorded_at = recorded_at
        self.runs: list[ProjectionRun] = []
        self.result = Appended(head)

    @property
    def wrong(self) -> Sequence[int]:
        """Indexes of the events that are neither stored nor known."""
        return [*self.result.reused, *(rejection.index for rejection in self.result.rejections)]

    def fresh(self, events: Sequence[Event], hashes: deque[EventHash], senders: Iterable[_Sender]) -> "deque[_Fresh]":
        """The events the log does not hold yet, by index; echoes and reused guids are noted. Takes the hashes."""
        found: deque[_Fresh] = deque()
        for index, (event, sender) in enumerate(zip(events, senders, strict=False)):
            hashed = hashes.popleft()
            if not self._is_known(index, event, hashed):
                found.append((index, hashed, sender))
        return found

    def _is_known(self, index: int, event: Event, hashed: EventHash) -> bool:
        stored = self._known.get(event.guid)
        if stored is None:
            return False
        if stored == hashed.content:
            self.result.known += 1
        else:
            self.result.reused.append(self.first + index)
        return True

    def apply(
        self,
        index: int,
        event: Event,
        current: Event,
        hashed: EventHash,
        sender: _Sender,
        origin: Origin,
        on_rejection: OnRejection,
    ) -> None:
        """Apply `current`, the event in its current layout, and store `event`, as it was sent."""
        if self._is_known(index, event, hashed):
            # An event before it in this batch has its guid, and was not rejected.
            return
        context = Context(self._position + 1, self._recorded_at, origin, len(hashed.canonical))
        try:
            require_complete(event)
            for run in self.runs:
                run.apply(current, context)
        except EventRejected as reason:
            self._note_rejection(index, event, reason, on_rejection)
            return
        self.result.stored.append(self._stored(event, hashed, context, sender))
        self.result.indexes.append(self.first + index)

    def add_snapshots(self, events: Sequence[Event]) -> None:
        for event in events:
            context = Context(self._position + 1, self._recorded_at, Origin.SNAPSHOT)
            for run in self.runs:
                run.apply(event, context)
            self.result.snapshots.append(self._stored(event, hash_event(event), context, (SYSTEM.label, None)))

    def _stored(self, event: Event, hashed: EventHash, context: Context, sender: _Sender) -> StoredEvent:
        """The event as the next one of the log."""
        actor, device_id = sender
        occurred_at, level = event.occurred_at, level_of(context.origin)
        self._position = context.position
        self._chain_hash = hashed.chained_to(self._chain_hash)
        self._latest = occurred_at if self._latest is None else max(self._latest, occurred_at)
        stored = StoredEvent(
            position=context.position,
            guid=event.guid,
            entity_guid=event.entity_guid,
            type=event.type,
            occurred_at=occurred_at,
            max_occurred_at=self._latest,
            recorded_at=self._recorded_at,
            actor=actor,
            device_id=device_id,
            origin=context.origin,
            content_hash=hashed.content,
            chain_hash=self._chain_hash,
            body=(event if event.sync_level == level else replace(event, sync_level=level)).body(),
        )
        self._known[event.guid] = stored.content_hash
        return stored

    def reject(
        self, index: int, event: Event, hashed: EventHash, reason: EventRejected, on_rejection: OnRejection
    ) -> None:
        """Leave out an event that was found wanting before."""
        if not self._is_known(index, event, hashed):
            self._note_rejection(index, event, reason, on_rejection)

    def _note_rejection(self, index: int, event: Event, reason: EventRejected, on_rejection: OnRejection) -> None:
        rejection = Rejection(self.first + index, event, reason)
        on_rejection(rejection)
        self.result.rejections.append(rejection)

    def finish(self) -> Head:
        """The new head, with the projections' counts brought up to date."""
        figures = dict(self.opened.figures)
        for run in self.runs:
            for name, change in run.figures.items():
                figures[name] = figures.get(name, 0) + change
        self.result.head = replace(
            self.opened,
            position=self._position,
            chain_hash=self._chain_hash,
            max_occurred_at=self._latest,
            recorded_at=self._recorded_at,
            figures={name: count for name, count in figures.items() if count},
        )
        return self.result.head
