"""Making a program's current state from its log once more, beside the live one, and putting it in its place.

The events go through the same `apply` as when they were taken, in the same order, into tables of their own. Each batch
and the checkpoint that counts it are one transaction, so that a rebuild that was cut off goes on where it stopped. What
is left at the end, and the exchange with the live rows, happen in one transaction that holds the log: a reader sees the
old state or the new one, and a push waits for no more than that.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import datacollect
from datacollect import __version__
from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.event import Event, EventRejected, event_from_body
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import EventStore, Head, RowUnreadable, StoredEvent
from datacollect.eventstore.upcasting import Upcasters
from datacollect.eventstore.verification import FindingCode
from datacollect.features.entities import rebuilt, relatives, rows, touched
from datacollect.features.entities.indexing.checking import Fault, faults_of
from datacollect.features.entities.indexing.reindexing import Reindexer, give_up_index
from datacollect.features.entities.indexing.state import Fields
from datacollect.features.entities.projection import EntityRun, Follower
from datacollect.features.entities.rebuilt import Checkpoint, Difference
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import NotFound
from datacollect.kernel.identity import TenantScope

BATCH = 5000
"""Events held in memory at once, with the states they touch."""

_INDEXED_AT_ONCE = 1000

MOST_NAMED = 1000
"""Failures and differences that are told one by one; the others are counted."""

_SOURCES = Path(datacollect.__file__).parent
_DECIDING = ("kernel", "eventstore", "features/entities")
"""All of them: a list of single files would have to be kept by whoever moves a rule from one to another."""

Progress = Callable[[int], None]
"""Called with the number of events that are applied for good."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that could not be applied, or the place in the log where that ended altogether."""

    position: int
    guid: str | None
    code: str


@dataclass(slots=True)
class Outcome:
    """What became of one program. Only the first failures and differences are listed."""

    events: int = 0
    entities: int = 0
    memberships: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    figures: list[tuple[str, int, int]] = field(default_factory=list)
    """Running counts that differ: name, live, rebuilt."""

    @property
    def ok(self) -> bool:
        return not (self.failed or self.different)

    def add_difference(self, difference: Difference) -> None:
        self.different += 1
        if len(self.differences) < MOST_NAMED:
            self.differences.append(difference)

    def add(self, failures: Sequence[Failure]) -> None:
        self.failed += len(failures)
        self.failures += failures[: MOST_NAMED - len(self.failures)]


class Rebuilder:
    """Rebuilds and checks programs, one at a time. `followers` are told what the events did, as they were live."""

    def __init__(
        self,
        database: Database,
        store: EventStore,
        clock: Clock,
        *,
        followers: Sequence[Follower] = (),
        upcasters: Upcasters | None = None,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._followers = tuple(followers)
        self._upcasters = upcasters or Upcasters()
        self._batch = batch

    async def rebuild(self, scope: TenantScope, *, progress: Progress | None = None) -> Outcome:
        """Replace the program's live state by what the log gives; not at all if an event cannot be applied.

        Raises `NotFound` if the program has no log, or loses it to a purge, and `RebuildTakenOver` if another rebuild of it
        begins meanwhile.
        """
        work = await self._begin(scope, "rebuild", self._followers)
        fields: Fields | None = None
        async with self._caught_up(work, progress) as (tx, _):
            if work.outcome.ok:
                await rebuilt.replace_live(tx, scope)
                await self._store.set_figures(tx, scope, work.checkpoint.figures)
                # What the index was kept up by was what is thrown away here.
                fields = await give_up_index(tx, scope, now=self._clock.now())
        outcome = await self._end(work)
        if fields is not None:
            await self._make_index(scope, fields)
        return outcome

    async def _make_index(self, scope: TenantScope, fields: Fields) -> None:
        """Make the index anew. If this is cut off, a hub's job goes on."""
        reindexer = Reindexer(self._store, batch=_INDEXED_AT_ONCE)
        is_done = False
        while not is_done:
            async with self._database.transaction(scope) as tx:
                is_done = (await reindexer.go_on(tx, scope, fields)).is_done
            await self._database.tidy()

    async def check(self, scope: TenantScope, *, progress: Progress | None = None) -> Outcome:
        """Compare the program's live state with what the log gives, and change nothing of it. Raises as `rebuild`."""
        work = await self._begin(scope, "check", ())
        async with self._caught_up(work, progress) as (tx, head):
            if work.outcome.ok:
                await self._compare(tx, work, head)
        outcome = await self._end(work)
        async for fault in faults_of(self._database, self._store, scope):
            outcome.add_difference(_difference(fault))
        return outcome

    async def _compare(self, view: Reading, work: "_Work", head: Head) -> None:
        outcome = work.outcome
        async for difference in rebuilt.differences(view, work.scope):
            outcome.add_difference(difference)
        outcome.figures = _different_figures(head.figures, work.checkpoint.figures)
        outcome.different += len(outcome.figures)

    # -- beginning

    async def _begin(self, scope: TenantScope, purpose: str, followers: Sequence[Follower]) -> "_Work":
        """Go on from the checkpoint if there is one that fits, else from the beginning with empty tables."""
        made_by = f"{purpose} {rules_tag(self._upcasters)}"
        checkpoint = None
        while checkpoint is None:
            checkpoint = await self._claim(scope, made_by)
        if not checkpoint.is_whole:
            await self._discard(scope, checkpoint)
            checkpoint = replace(checkpoint, position=0)
            async with self._database.transaction(scope) as tx:
                await rebuilt.move(tx, scope, checkpoint, now=self._clock.now())
        return _Work(scope, checkpoint, followers)

    async def _claim(self, scope: TenantScope, made_by: str) -> Checkpoint | None:
        """The checkpoint to go on from, or a discarded one where there is none that fits; None if what was found has moved
        meanwhile, and it is to be looked for again."""
        async with self._database.reading(scope) as view:
            if await self._store.head(view, scope) is None:
                raise _no_log()
            found = await rebuilt.find_checkpoint(view, scope)
            fits = found is not None and found.made_by == made_by and await self._is_in_log(view, scope, found)
        now = self._clock.now()
        async with self._database.transaction(scope) as tx:
            # A purge deletes what there is when it has taken the head away, and not what is begun later.
            if await self._store.hold(tx, scope) is None:
                raise _no_log()
            if found is not None and fits:
                return await rebuilt.take_over(tx, scope, found, now=now)
            return await rebuilt.begin(tx, scope, found, made_by, now=now)

    async def _is_in_log(self, view: Reading, scope: TenantScope, found: Checkpoint) -> bool:
        """Whether the log still is, up to the checkpoint, what it was made from."""
        if found.position <= 0:
            return found.is_whole
        try:
            at = await self._store.read_rows(view, scope, after=found.position - 1, limit=1)
        except RowUnreadable:
            return False
        return [(row.position, row.chain_hash) for row in at] == [(found.position, found.chain_hash)]

    # -- applying

    @contextlib.asynccontextmanager
    async def _caught_up(self, work: "_Work", progress: Progress | None) -> AsyncIterator[tuple[Tx, Head]]:
        """Apply the log to its end, and hold it there: in this transaction nobody appends."""
        while not work.is_broken:
            async with self._looking(work.scope) as view:
                batch = await self._apply_next(view, work)
            if len(batch.rows) < self._batch:
                break  # what little is left may as well be read while the log is held
            async with self._database.transaction(work.scope) as tx:
                await self._save(tx, work, batch)
            await self._database.tidy()
            if progress is not None:
                progress(work.checkpoint.position)
        async with self._database.transaction(work.scope) as tx:
            await rebuilt.expect_growth(tx)
            head = await self._store.hold(tx, work.scope)
            if head is None:
                raise _no_log()
            while not work.is_broken and (batch := await self._apply_next(tx, work)).rows:
                await self._save(tx, work, batch)
            self._require_whole(work, head)
            work.checkpoint = replace(work.checkpoint, figures=_present(work.checkpoint.figures))
            yield tx, head
            await rebuilt.move(tx, work.scope, work.checkpoint.discarded(), now=self._clock.now())
            work.outcome.events = work.checkpoint.position
            work.outcome.entities = sum(work.checkpoint.figures.values())
            work.outcome.memberships = await rebuilt.count_memberships(tx, work.scope)
        if progress is not None:
            progress(work.checkpoint.position)

    @contextlib.asynccontextmanager
    async def _looking(self, scope: TenantScope) -> AsyncIterator[Reading]:
        """Read without keeping anybody from writing: SQLite has but one writer, which the hub needs."""
        if self._database.dialect == "sqlite":
            async with self._database.reading(scope) as view:
                yield view
            return
        async with self._database.transaction(scope) as tx:
            await rebuilt.expect_growth(tx)
            yield tx

    async def _apply_next(self, view: Reading, work: "_Work") -> "_Batch":
        """Apply the next events to the states they touch, in memory."""
        stored = await self._read(view, work)
        failures: list[Failure] = []
        events = [(row, event) for row in stored if (event := self._event(row, failures)) is not None]
        needed = touched.touched([event for _, event in events])
        states = await rows.load(view, work.scope, needed, rows.REBUILT)
        await relatives.load_merges(view, work.scope, states, needed)
        run = EntityRun(work.scope, states, None, work.followers, rows.REBUILT)
        for row, event in events:
            try:
                run.apply(event, Context(row.position, row.recorded_at, row.origin))
            except EventRejected as reason:
                failures.append(Failure(row.position, row.guid, reason.code))
        return _Batch(stored, run, failures)

    async def _read(self, view: Reading, work: "_Work") -> Sequence[StoredEvent]:
        """The next rows, as far as they follow on from each other."""
        after = work.checkpoint.position
        try:
            found = await self._store.read_rows(view, work.scope, after=after, limit=self._batch)
        except RowUnreadable as unreadable:
            found = unreadable.sound
            work.break_off(after + len(found) + 1, str(unreadable.guid), FindingCode.ROW_UNREADABLE)
        for index, row in enumerate(found, after + 1):
            if row.position != index:
                work.break_off(index, None, FindingCode.POSITION_MISSING)
                return found[: index - after - 1]
        return found

    def _event(self, row: StoredEvent, failures: list[Failure]) -> Event | None:
        try:
            return self._upcasters.upcast(event_from_body(row.body))
        except ValueError:
            failures.append(Failure(row.position, row.guid, FindingCode.BODY_UNREADABLE))
            return None

    async def _save(self, tx: Tx, work: "_Work", batch: "_Batch") -> None:
        """Store the states and the checkpoint in one transaction."""
        last = batch.rows[-1]
        figures = dict(work.checkpoint.figures)
        for name, change in batch.run.figures.items():
            figures[name] = figures.get(name, 0) + change
        reached = replace(work.checkpoint, position=last.position, chain_hash=last.chain_hash, figures=figures)
        work.outcome.add(batch.failures)
        # Who goes on from a checkpoint must know of all failures, so there is none to go on from behind a failure.
        noted = reached.discarded() if work.outcome.failed else reached
        await rebuilt.move(tx, work.scope, noted, now=self._clock.now())
        await batch.run.save(tx)
        await batch.run.tell(tx)
        work.checkpoint = reached

    def _require_whole(self, work: "_Work", head: Head) -> None:
        reached = work.checkpoint
        if not work.is_broken and (reached.position, reached.chain_hash) != (head.position, head.chain_hash):
            work.break_off(reached.position, None, FindingCode.HEAD_DIFFERS)

    # -- ending

    async def _end(self, work: "_Work") -> Outcome:
        await self._discard(work.scope, work.checkpoint)
        async with self._database.transaction(work.scope) as tx:
            await rebuilt.remove_checkpoint(tx, work.scope, work.checkpoint)
        return work.outcome

    async def _discard(self, scope: TenantScope, checkpoint: Checkpoint) -> None:
        """Delete the rebuilt rows, some at a time: nobody waits long."""
        more = True
        while more:
            async with self._database.transaction(scope) as tx:
                await rebuilt.move(tx, scope, checkpoint.discarded(), now=self._clock.now())
                await rebuilt.expect_growth(tx)
                more = await rebuilt.discard_some(tx, scope)
            await self._database.tidy()


@dataclass(slots=True)
class _Work:
    """One rebuild under way."""

    scope: TenantScope
    checkpoint: Checkpoint
    followers: Sequence[Follower]
    outcome: Outcome = field(default_factory=Outcome)
    is_broken: bool = False

    def break_off(self, position: int, guid: str | None, code: FindingCode) -> None:
        """Apply no more: from here on the log is not what it should be."""
        self.is_broken = True
        self.outcome.add([Failure(position, guid, code)])


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Sequence[StoredEvent]
    run: EntityRun
    failures: Sequence[Failure]


def _no_log() -> NotFound:
    return NotFound("There is no log of this program.")


def _difference(fault: Fault) -> Difference:
    # The key says no more than the entity and the field: the term is what people have told.
    field, term, guid = fault.row
    row = {"term": term}
    live, made = (None, row) if fault.is_missing else (row, None)
    return Difference("search term", (field or "words", guid), live, made)


def rules_tag(upcasters: Upcasters, *, sources: Path = _SOURCES) -> str:
    """Names what decides on the states that events give: the same text, the same states. `sources` is this package's folder."""
    digest = hashlib.sha256(upcasters.describe().encode())
    for part in _DECIDING:
        for file in sorted((sources / part).rglob("*.py")):
            digest.update(f"{file.relative_to(sources)}\n".encode() + file.read_bytes())
    return f"{__version__} {digest.hexdigest()[:16]}"


def _present(figures: Mapping[str, int]) -> Mapping[str, int]:
    return {name: count for name, count in figures.items() if count}


def _different_figures(live: Mapping[str, int], made: Mapping[str, int]) -> list[tuple[str, int, int]]:
    names = sorted({*live, *made})
    return [(name, live.get(name, 0), made.get(name, 0)) for name in names if live.get(name, 0) != made.get(name, 0)]
