"""Taking a program up from its export: all of it in one transaction, or nothing.

Nothing in the file is believed. Events go through the same `apply` as when they were taken; their hashes are computed
anew and must be the file's; and what they give must be the entities of the file. Positions, times, actors and origins
are kept, so that the cursors of devices that know the program go on from where they are. The epoch is a new one: of what
was pushed after the export was made nobody here knows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from datacollect.db import Database, Tx
from datacollect.eventstore.event import EventRejected, level_of
from datacollect.eventstore.integrity import EventHash, hash_event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import EventStore, Head, StoredEvent
from datacollect.features.audit.service import note
from datacollect.features.entities.indexing.upkeep import Indexing
from datacollect.features.entities.projection import EntityRun, Follower
from datacollect.features.entities.rebuilt import expect_growth
from datacollect.features.entities.relatives import load_merges
from datacollect.features.entities.rows import load_for_append
from datacollect.features.entities.touched import touched
from datacollect.features.entities.walking import walk_named
from datacollect.features.exports.errors import FileContradictsItself, ProgramNotEmpty, StateDiffers
from datacollect.features.exports.model import Decisions, Policies
from datacollect.features.exports.reading import Metadata, ReadEvent, read_entities, read_events, read_metadata
from datacollect.features.exports.writing import pair_of
from datacollect.features.tenants.asked import lock_searchable
from datacollect.features.tenants.service import take_up
from datacollect.kernel.canonical import holds_nul, is_same_json
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid

BATCH = 2000
"""Events, or entities, in memory at once."""
IMPORTED = "imported"

_T = TypeVar("_T")
_ordered = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Imported:
    """What was stored."""

    tenant_id: TenantId
    created: bool
    """Whether the program was made; else one without events was there."""
    head: Head
    entities: int


@dataclass(slots=True)
class _Progress:
    tell: Callable[[int], None] | None
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        if self.tell is not None:
            self.tell(self.done)


class Importer:
    """Imports files. `followers` are told what the events did, as they were when the events were taken."""

    def __init__(
        self,
        database: Database,
        store: EventStore,
        log: EventLog,
        clock: Clock,
        followers: Sequence[Follower],
        decisions: Decisions,
        policies: Policies,
    ) -> None:
        self._database = database
        self._store = store
        self._log = log
        self._clock = clock
        self._followers = followers
        self._decisions = decisions
        self._policies = policies

    async def take_in(
        self,
        file: Path,
        *,
        tenant_id: TenantId | None = None,
        anchors: Mapping[int, Iterable[bytes]] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Imported:
        """Import into the program of the file, or into the one named; it is made from the file if it is not there.

        `anchors` are chain hashes that the program's log is known to have had, by position. Raises `FileUnreadable`,
        `FileContradictsItself`, `StateDiffers`, `ProgramNotEmpty`, `InvalidConfig`; then nothing is stored.
        """
        metadata = read_metadata(file)
        scope = system_scope(tenant_id or TenantId(metadata.config_id))
        told = _Progress(progress)
        async with self._database.transaction(scope) as tx:
            made = await take_up(
                tx,
                self._log,
                scope,
                metadata.program,
                archived_at=metadata.archived,
                # Under another id it is another program, whose code is to lead to itself.
                artifact_id=metadata.artifact_id if scope.tenant_id == metadata.config_id else None,
                now=self._clock.now(),
            )
            head = await self._held(tx, scope)
            await self._policies.take_up(tx, scope, metadata.review_policies, now=self._clock.now())
            await expect_growth(tx)
            if head.scoping is not None:
                # Who reads a part was here when it was empty. What comes now is filed by place for the next one.
                await self._log.set_scoping(tx, scope, replace(head.scoping, id=new_guid(), prepared_to=""))
            intake = _Intake(head, anchors or {}, await lock_searchable(tx, scope.tenant_id) or ())
            for batch in _batches(read_events(file), BATCH):
                await self._apply(tx, scope, intake, batch)
                told.add(len(batch))
            head = intake.finish(metadata)
            await self._log.renew(tx, scope, position=head.position)
            entities = await self._compare(tx, scope, file, sum(head.figures.values()), told)
            # What comes later counts from here: the trail must say where these events come from.
            source = {"from": metadata.config_id, "exportedAt": metadata.exported_at, "events": head.position}
            await note(tx, self._log, scope, IMPORTED, "*", source, now=self._clock.now())
        return Imported(scope.tenant_id, made, head, entities)

    async def _held(self, tx: Tx, scope: TenantScope) -> Head:
        head = await self._log.hold(tx, scope)
        if head is None:
            raise TenantUnknown()
        if head.position:
            raise ProgramNotEmpty(f"{scope.tenant_id} has {head.position:,} events already.")
        return head

    async def _apply(self, tx: Tx, scope: TenantScope, intake: "_Intake", batch: Sequence[ReadEvent]) -> None:
        stored = [intake.checked(read) for read in batch]
        await self._require_new(tx, scope, stored)
        current = [self._log.upcasters.upcast(read.event) for read in batch]
        needed = touched(current)
        states, index = await load_for_append(tx, scope, needed)
        await load_merges(tx, scope, states, needed)
        indexing = Indexing(index, intake.searchable)
        run = EntityRun(scope, states, None, self._followers, index=indexing)
        for event, row in zip(current, stored, strict=True):
            try:
                run.apply(event, Context(row.position, row.recorded_at, row.origin))
            except EventRejected as reason:
                raise StateDiffers(f"{_place(row)} cannot be applied: {reason.code}.") from reason
        await run.save(tx)
        await self._store.append(tx, scope, stored, intake.counted(run.figures))
        if unheard := [read.event.guid for read in batch if not read.decides]:
            await self._decisions.note_unheard(tx, scope, unheard)  # which followers ask about
        await run.tell(tx)

    async def _require_new(self, tx: Tx, scope: TenantScope, stored: Sequence[StoredEvent]) -> None:
        """Raises `FileContradictsItself` for a guid that an event before has."""
        seen = set(await self._store.held(tx, scope, [row.guid for row in stored]))
        for row in stored:
            if row.guid in seen:
                raise FileContradictsItself(f"{_place(row)} has the guid of an event before it.")
            seen.add(row.guid)

    async def _compare(self, tx: Tx, scope: TenantScope, file: Path, expected: int, told: _Progress) -> int:
        """Compare each entity of the file with what its events have given. How many there are."""
        count = 0
        for batch in _batches(read_entities(file), BATCH):
            held = await walk_named(tx, scope, [item["guid"] for item in batch])
            for item in batch:
                walked = held.get(item["guid"])
                if walked is None:
                    raise StateDiffers(f"By the events there is no entity {item['guid']}, but the file has it.")
                _require_same(item, msgspec.json.decode(msgspec.json.encode(pair_of(walked))))
            count += len(batch)
            told.add(len(batch))
        if count != expected:
            raise StateDiffers(f"By the events there are {expected:,} entities, but the file has {count:,}.")
        return count


class _Intake:
    """Follows the events of a file as the log that they are going to be, and finds what does not follow."""

    def __init__(self, head: Head, anchors: Mapping[int, Iterable[bytes]], searchable: Sequence[str]) -> None:
        self.searchable = searchable
        self._head = head
        self._anchors = anchors
        self._figures: dict[str, int] = {}
        self._recorded_at: Millis | None = None

    def checked(self, read: ReadEvent) -> StoredEvent:
        """The event as the log's next row. Raises `FileContradictsItself`, naming its place."""
        hashed = hash_event(read.event)
        row = self._row(read, hashed)
        if read.position != self._head.position + 1:
            raise FileContradictsItself(f"{_place(row)} should have position {self._head.position + 1}.")
        if row.chain_hash != read.chain_hash:
            raise FileContradictsItself(f"{_place(row)} is not the event that was exported: its chain hash differs.")
        if any(row.chain_hash != known for known in self._anchors.get(row.position, ())):
            raise FileContradictsItself(f"{_place(row)} is not what an anchor of this program says was there.")
        if self._recorded_at is not None and row.recorded_at < self._recorded_at:
            raise FileContradictsItself(f"{_place(row)} was recorded before the one in front of it.")
        if holds_nul(row.body.encode()) or not row.guid:
            raise FileContradictsItself(f"{_place(row)} holds what no event can.")
        self._recorded_at = row.recorded_at
        self._head = replace(
            self._head,
            position=row.position,
            chain_hash=row.chain_hash,
            max_occurred_at=row.max_occurred_at,
            recorded_at=row.recorded_at,
        )
        return row

    def _row(self, read: ReadEvent, hashed: EventHash) -> StoredEvent:
        event, latest = read.event, self._head.max_occurred_at
        return StoredEvent(
            position=read.position,
            guid=event.guid,
            entity_guid=event.entity_guid,
            type=event.type,
            occurred_at=event.occurred_at,
            max_occurred_at=event.occurred_at if latest is None else max(latest, event.occurred_at),
            recorded_at=read.recorded_at,
            actor=read.actor,
            device_id=read.device_id,
            origin=read.origin,
            content_hash=hashed.content,
            chain_hash=hashed.chained_to(self._head.chain_hash),
            body=replace(event, sync_level=level_of(read.origin)).body(),
        )

    def counted(self, changes: Mapping[str, int]) -> Head:
        """The head behind a batch that changed the counts like this."""
        for name, change in changes.items():
            self._figures[name] = self._figures.get(name, 0) + change
        self._head = replace(self._head, figures={name: count for name, count in self._figures.items() if count})
        return self._head

    def finish(self, metadata: Metadata) -> Head:
        """The head; it must be the one that the export tells."""
        head, told = self._head, metadata.head
        if head.position != told.position or (head.position and head.chain_hash != metadata.chain_hash):
            raise FileContradictsItself(
                f"The file has {head.position:,} events, and was exported with {told.position:,}; or their chain differs."
            )
        if head.figures != {name: count for name, count in metadata.entities_by_form.items() if count}:
            raise StateDiffers("By the events the entities of each form are not as many as the export says.")
        return head


def _require_same(item: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Raises `StateDiffers`, naming the entity and what of it differs."""
    for side in (item, made):
        # No event tells it: it stays with the installation that works with that system.
        side["modified"].pop("externalId", None)
    # Nearly always the very same values, which is quickly seen.
    if _ordered.encode(item) == _ordered.encode(made) or is_same_json(item, made):
        return
    sides = {**item["modified"].get("data", {})}, made["modified"]["data"]
    fields = sorted(f"data.{name}" for name in {*sides[0], *sides[1]} if _differ(name, *sides))
    members = sorted(
        name
        for name in {*item["modified"], *made["modified"]} - {"data"}
        if _differ(name, item["modified"], made["modified"])
    )
    named = ", ".join([*members, *fields][:5]) or "its form"
    raise StateDiffers(f"Entity {item['guid']} is not what the events give: {named} differ.")


_MISSING = object()


def _differ(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    a, b = one.get(name, _MISSING), other.get(name, _MISSING)
    if a is _MISSING or b is _MISSING:
        return a is not b
    return not is_same_json(a, b)


def _place(row: StoredEvent) -> str:
    return f"The event at position {row.position} ({row.guid})"


def _batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch
