"""Looking for duplicates behind the log: what has changed is compared, some entities at a time.

They are compared in no transaction, and with rests: others write, and have their turn on the loop, meanwhile. What is read
for it is read at one go, and no view is held while it rests. A step then
stores what has been found of those that have not changed since; whoever has changed comes once more, further on.

How far it has come is a position of the log, stored with what was found. So nothing is forgotten, whatever dies, and
looking through a whole program is the same as looking at what has just arrived: it begins at 0.
"""

import asyncio
import contextvars
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.db.lookups import LookUps
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.log import BatchRejected, EventLog
from datacollect.eventstore.store import Head
from datacollect.features.audit.service import note_all
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.comparing import (
    RULES,
    Chosen,
    Keys,
    Roles,
    Subject,
    around_them,
    blocks_of,
    choose,
    keys_of,
    scores_of,
    subjects_of,
)
from datacollect.features.duplicates.errors import CannotMerge, PairNotFound
from datacollect.features.duplicates.merging import rehoused, renamed, taken_out, told_since
from datacollect.features.duplicates.model import FoundPair, Pair, Status
from datacollect.features.duplicates.moving import hand_over, merge_events
from datacollect.features.duplicates.succession import merged_at, successors_of, survivor_of, survivors_of
from datacollect.features.entities.entity import Entity, Kind, Membership, parents_in
from datacollect.features.entities.service import (
    Around,
    entities_by_guid,
    entities_changed,
    members_named,
    memberships_of,
    positions_of,
    taken_out_gone,
)
from datacollect.features.tenants.asked import find_running, matching_of, running_version
from datacollect.features.tenants.matchable import Matching
from datacollect.jobs import Continue, Done, Job, Rest, Step, enqueue
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import SYSTEM, TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.parts import parts
from datacollect.kernel.tenancy import Tenant
from datacollect.matching.scoring import Score

KIND = "find-duplicates"
FLAGGED = "flag-potential-duplicate"
"""The contract's word in the audit trail. Source: duplicates, 1."""
BATCH = 30
"""Entities of one step."""
_READ_AT_ONCE = 60
"""People who are read by one statement, which takes the loop a millisecond."""
_AT_ONCE = 15
"""People made comparable without a rest: a millisecond, too."""
_CHOSEN_AT_ONCE = 5
"""Those for whom it is found out without a rest who shares most keys with them."""
_COMPARED_AT_ONCE = 3
"""Those who are compared with all of theirs without a rest."""
_WAIT_SECONDS = 1.0
_MOST_WAITS = 5
"""As long as more is pushed: many are cheaper to look at than one after the other."""
_FRESH_MILLIS = 10_000
_MOST_PROGRAMS = 1_000
_MOST_KNOWN = 20
"""Programs whose forms are kept read: those that are looked through one after the other."""

_log = structlog.get_logger(component="duplicates")


Scores = Mapping[str, Sequence[tuple[Subject, Score]]]
"""By guid, whom somebody was compared with, and what came of it."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found out about the next entities, before anything of it is stored."""

    mark: int
    """How far the log had been looked at."""
    through: int
    """All entities last changed in between have been looked at."""
    matching: Matching
    entities: Collection[str]
    subjects: Sequence[Subject]
    keys: Keys
    scores: Scores
    partners: Collection[str]
    """Who is in a pair with one of them already."""
    positions: Mapping[str, int]
    """Of the last change of everybody who was looked at."""

    def probable(self, guids: Collection[str]) -> Iterator[tuple[Subject, Subject, Score]]:
        """Pairs of two of these that are worth telling."""
        for subject in self.subjects:
            for other, score in self.scores[subject.guid]:
                if score.bits >= self.matching.threshold and subject.guid in guids and other.guid in guids:
                    yield subject, other, score


class DetectingHandler:
    """Implements `PreparingHandler`: a step is about the next entities that have changed."""

    kind = KIND

    def __init__(self, database: Database, log: EventLog, clock: Clock, *, batch: int = BATCH) -> None:
        self._database = database
        self._log = log
        self._clock = clock
        self._batch = batch
        self._known: dict[TenantId, Matching] = {}

    async def prepare(self, scope: TenantScope, job: Job, rest: Rest) -> Looked | None:
        """Compare the next ones; None if there are none."""
        async with self._database.reading(scope) as view:
            head, matching = await self._log.head(view, scope), await self._matching_of(view, scope)
            mark = await queries.find_mark(view, scope, RULES) or 0
            if head is None or matching is None or not matching.is_wanted or mark >= head.position:
                return None
            batch = await entities_changed(view, scope, after=mark, to=head.position, limit=self._batch)
            around = await around_them(view, scope, batch.entities)
        subjects = await _comparable(batch.entities, around, matching.roles, rest)
        keys = keys_of(subjects)
        partners, chosen = await self._choose(scope, keys, rest)
        others = await self._others(scope, chosen, {each.guid: each for each in subjects}, matching.roles, rest)
        scores: dict[str, Sequence[tuple[Subject, Score]]] = {}
        for those in parts(subjects, _COMPARED_AT_ONCE):
            await rest()
            scores |= {each.guid: scores_of(each, chosen[each.guid], others) for each in those}
        positions = {other.guid: other.changed_at for own in scores.values() for other, _ in own}
        positions |= {each.guid: each.changed_position for each in batch.entities}
        guids = {each.guid for each in batch.entities}
        return Looked(mark, batch.through, matching, guids, subjects, keys, scores, partners, positions)

    async def _matching_of(self, view: Reading, scope: TenantScope) -> Matching | None:
        known = self._known.get(scope.tenant_id)
        matching = await matching_of(view, scope.tenant_id, known=known)
        if matching is not None and matching is not known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[scope.tenant_id] = matching
        return matching

    async def _choose(self, scope: TenantScope, keys: Keys, rest: Rest) -> tuple[Collection[str], Mapping[str, Chosen]]:
        """Who is in a pair with one of them already, and with whom each of them is to be compared."""
        if not keys:
            return (), {}
        async with self._database.reading(scope) as view:
            also = _partners((each.pair for each in await queries.pairs_of(view, scope, keys)), keys)
            blocks = await blocks_of(view, scope, keys, are_stored=False)
        chosen: dict[str, Chosen] = {}
        for those in parts(list(keys), _CHOSEN_AT_ONCE):
            await rest()
            chosen |= {guid: choose(guid, keys[guid], blocks, also=also.get(guid, ())) for guid in those}
        return {guid for guids in also.values() for guid in guids}, chosen

    async def _others(
        self, scope: TenantScope, chosen: Mapping[str, Chosen], own: Mapping[str, Subject], roles: Roles, rest: Rest
    ) -> Mapping[str, Subject]:
        """Those who were chosen, and who chose, by guid."""
        missing = sorted({guid for each in chosen.values() for guid in each.guids} - own.keys())
        if not missing:
            return own
        read: list[tuple[Sequence[Entity], Mapping[str, Around]]] = []
        async with self._database.reading(scope) as view:
            for some in parts(missing, _READ_AT_ONCE):
                entities = await entities_by_guid(view, scope, some)
                read.append((entities, await around_them(view, scope, entities)))
        found = [one for each in read for one in await _comparable(*each, roles, rest)]
        return {**own, **{each.guid: each for each in found}}

    async def step(self, tx: Tx, scope: TenantScope, job: Job, result: Looked | None) -> Step:
        # Held from the beginning: what is read is what is there until the end, and who appends, or puts the mark back,
        # meets this job as active or after its end.
        head = await self._log.hold(tx, scope)
        version = await running_version(tx, scope.tenant_id)
        if head is None or version is None or not await self._is_wanted(tx, scope, result, version):
            return Done()
        mark = await queries.find_mark(tx, scope, RULES) or 0
        if mark >= head.position:
            return Done({"position": mark})
        if result is None or (result.mark, result.matching.version) != (mark, version):
            # It looked before somebody pushed, put the mark back or changed the forms: it looks again.
            return Continue({}, mark, head.position)
        has_appended = await self._move_on(tx, scope, result, now=self._log.time_now(head))
        await self._store(tx, scope, result)
        await queries.store_mark(tx, scope, result.through, RULES, now=self._clock.now())
        if result.through >= head.position and not has_appended:
            # The log is held: whatever is pushed from here on finds this job ended, and puts another one in line.
            return Done({"position": result.through}, total=result.through)
        return Continue({}, result.through, head.position)

    async def _is_wanted(self, tx: Tx, scope: TenantScope, looked: Looked | None, version: str) -> bool:
        """Who has looked by this version has looked because it is."""
        if looked is not None and looked.matching.version == version:
            return True
        matching = await self._matching_of(tx, scope)
        return matching is not None and matching.is_wanted

    async def _move_on(self, tx: Tx, scope: TenantScope, looked: Looked, *, now: Millis) -> bool:
        """What was written to an entity after it had been merged into another one is written to that, and so is what names
        it as its parent or its member; who was put into it is put into that, and where it is taken out that is; the one that
        went goes again. Whether that was written."""
        if not await queries.has_any(tx, scope, Status.MERGED):
            return False
        tenant = await find_running(tx, scope.tenant_id)
        if tenant is None:
            return False
        there = await entities_by_guid(tx, scope, looked.entities)
        unchanged = [each for each in there if each.changed_position == looked.positions.get(each.guid)]
        entities = sorted(unchanged, key=lambda each: each.changed_position)
        groups = [each.guid for each in entities if each.kind is Kind.GROUP]
        members, gone = await members_named(tx, scope, groups), await taken_out_gone(tx, scope, groups)
        named = {each.guid for each in entities} | {guid for each in entities for guid in parents_in(each.data)}
        named |= {guid for own in members.values() for guid in own}
        words = await memberships_of(tx, scope, [each.guid for each in entities])
        named |= {word.member_guid for word in gone}
        homes = {word.group_guid for word in words if word.present}
        into = await survivors_of(tx, scope, named | homes)
        lines = {guid: await successors_of(tx, scope, guid) for guid in sorted(homes & into.keys())}
        # A group that is back leaves its own groups when it is moved, last: before, its members would go with it.
        back = {each.guid for each in await entities_by_guid(tx, scope, into) if each.kind is Kind.GROUP}
        members = {group: [guid for guid in own if guid not in back] for group, own in members.items()}
        user = SYSTEM.event_user_id
        changed: set[str] = set()
        for events in rehoused(entities, words, into, lines, user_id=user, now=now):
            changed |= await self._append(tx, scope, tenant, events)
        for events in await self._taken_out(
            tx, scope, [word for word in gone if word.member_guid in into], into, now=now
        ):
            changed |= await self._append(tx, scope, tenant, events)
        for events in renamed(entities, members, into, user_id=user, now=now):
            changed |= await self._append(tx, scope, tenant, events)
        for entity in entities:
            if entity.guid not in into:
                continue
            # One after the other: each takes along what those before it have brought, and goes where they have gone.
            there = await entities_by_guid(tx, scope, [entity.guid]) if entity.guid in changed else [entity]
            survivor = await survivor_of(tx, scope, entity.guid)
            if there and survivor is not None:
                changed |= await self._move(tx, scope, tenant, there[0], survivor, now=now)
        return bool(changed)

    async def _taken_out(
        self, tx: Tx, scope: TenantScope, gone: Sequence[Membership], into: Mapping[str, str], *, now: Millis
    ) -> Iterable[list[Event]]:
        people = await entities_by_guid(tx, scope, {into[word.member_guid] for word in gone}) if gone else ()
        stay = {each.guid for each in people if each.kind is Kind.INDIVIDUAL}
        gone = [word for word in gone if into[word.member_guid] in stay]
        words = await memberships_of(tx, scope, stay)
        times = {word.member_guid: await merged_at(tx, scope, word.member_guid) for word in gone}
        return taken_out(gone, words, into, times, user_id=SYSTEM.event_user_id, now=now)

    async def _move(
        self, tx: Tx, scope: TenantScope, tenant: Tenant, entity: Entity, survivor: str, *, now: Millis
    ) -> set[str]:
        """Whom it has changed."""
        user = SYSTEM.event_user_id
        [stays] = await entities_by_guid(tx, scope, [survivor])
        told = told_since(entity, stays)
        try:
            events = await merge_events(tx, scope, tenant, entity.guid, survivor, told, user_id=user, now=now)
        except (PairNotFound, CannotMerge) as reason:
            _log.warning("duplicates.not_moved", code=reason.code)
            return set()
        changed = await self._append(tx, scope, tenant, events)
        if changed:
            await hand_over(tx, scope, entity.guid, survivor)
        return changed

    async def _append(self, tx: Tx, scope: TenantScope, tenant: Tenant, events: Sequence[Event]) -> set[str]:
        """All of them or none; whose events they were, if they were stored."""
        try:
            await self._log.append(tx, scope, tenant, events, origin=Origin.DERIVED)
        except BatchRejected as batch:
            _log.warning("duplicates.not_moved", code=batch.rejection.reason.code)
            return set()
        return {event.entity_guid for event in events}

    async def _unchanged(self, tx: Tx, scope: TenantScope, looked: Looked, guids: Collection[str]) -> set[str]:
        """Those that exist as they were when they were looked at."""
        there = await positions_of(tx, scope, guids)
        return {guid for guid, position in there.items() if position == looked.positions.get(guid)}

    async def _store(self, tx: Tx, scope: TenantScope, looked: Looked) -> None:
        own = {each.guid for each in looked.subjects}
        named = {other.guid for _, other, _ in looked.probable(looked.positions)}
        # What has just been moved on is among those that have changed.
        unchanged = await self._unchanged(tx, scope, looked, {*own, *named, *looked.partners})
        keys = {guid: own_keys for guid, own_keys in looked.keys.items() if guid in unchanged}
        if not keys:
            return
        await self._bring_keys(tx, scope, keys)
        known = {each.pair: each.status for each in await queries.pairs_of(tx, scope, keys)}
        found = self._found(looked, unchanged)
        over = {pair for pair in found if known.get(pair) is Status.DELETED}
        await queries.reopen_pairs(tx, scope, over, now=self._clock.now())
        await queries.keep_pairs(tx, scope, list(found.values()))
        open_before = {pair for pair, status in known.items() if status is Status.OPEN}
        compared = {pair for pair in open_before if unchanged.issuperset((pair.first, pair.second))}
        await queries.drop_open(tx, scope, compared - found.keys())
        await self._tell(tx, scope, [one for one in found.values() if one.pair not in known or one.pair in over])

    async def _tell(self, tx: Tx, scope: TenantScope, found: Sequence[FoundPair]) -> None:
        told = [(FLAGGED, one.newer, {"entityId": one.newer, "duplicateId": one.older}) for one in found]
        await note_all(tx, self._log, scope, told, now=self._clock.now())

    async def _bring_keys(self, tx: Tx, scope: TenantScope, keys: Keys) -> None:
        before = await queries.keys_of(tx, scope, keys.keys())
        now = {(key, guid) for guid, own in keys.items() for key in own}
        await queries.remove_keys(tx, scope, before - now)
        await queries.add_keys(tx, scope, now - before)

    def _found(self, looked: Looked, unchanged: Collection[str]) -> dict[Pair, FoundPair]:
        found: dict[Pair, FoundPair] = {}
        for subject, other, score in looked.probable(unchanged):
            pair = Pair.of(subject.guid, other.guid)
            if pair not in found:
                newer = max(subject, other, key=lambda each: (each.changed_at, each.guid)).guid
                found[pair] = FoundPair(pair, newer, Status.OPEN, score.bits, score.evidence, self._clock.now())
        return found


async def _comparable(
    entities: Sequence[Entity], around: Mapping[str, Around], roles: Roles, rest: Rest
) -> Sequence[Subject]:
    found: list[Subject] = []
    for some in parts(entities, _AT_ONCE):
        await rest()
        found += subjects_of(some, around, roles)
    return found


def _partners(known: Iterable[Pair], keys: Keys) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in known:
        for guid in (pair.first, pair.second):
            if guid in keys:
                found.setdefault(guid, set()).add(pair.other(guid))
    return found


class Watcher:
    """Implements `Duplicates`: puts programs in line whose logs have grown, soon, and not once for every push.

    Nothing depends on it but how soon. What it has not told when the process dies is found when the next one starts.
    """

    def __init__(
        self, database: Database, clock: Clock, *, is_on: bool = True, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._is_on = is_on
        self._wait_seconds = wait_seconds
        self._open = LookUps[TenantId, bool](self._any_open, clock, most=_MOST_PROGRAMS, fresh_ms=_FRESH_MILLIS)
        self._grown: set[TenantId] = set()
        self._growths = 0
        self._telling = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None

    def committed(self, tenant_id: TenantId, before: Head, after: Head) -> None:
        """Implements `OnGrowth`."""
        if not self._is_on:
            return
        self._grown.add(tenant_id)
        self._growths += 1
        if self._work is None or self._work.done():
            # In a context of its own: its log lines are not those of the request that happened to start it.
            self._work = asyncio.get_running_loop().create_task(self._tell_later(), context=contextvars.Context())

    async def has_open(self, scope: TenantScope) -> bool:
        """Whether the program has pairs that nobody has decided about; some seconds old."""
        return self._is_on and await self._open.find(scope.tenant_id)

    async def _any_open(self, tenant_id: TenantId) -> bool:
        scope = system_scope(tenant_id)
        async with self._database.glancing(scope) as view:
            return await queries.has_any(view, scope, Status.OPEN)

    async def tell(self) -> None:
        """Put all of them in line now."""
        async with self._telling:
            while self._grown:
                tenant_id = self._grown.pop()
                scope = system_scope(tenant_id)
                try:
                    async with self._database.transaction(scope) as tx:
                        await enqueue(tx, scope, KIND, {}, now=self._clock.now())
                except BaseException:
                    self._grown.add(tenant_id)
                    raise

    def stop(self) -> None:
        """Let go of the timer."""
        if self._work is not None:
            self._work.cancel()

    async def _tell_later(self) -> None:
        while self._grown:
            await self._calm()
            try:
                await self.tell()
            except Exception as error:
                _log.warning("duplicates.not_enqueued", exc_info=error)

    async def _calm(self) -> None:
        """Wait until nothing has been pushed for a moment, and not too long."""
        for _ in range(_MOST_WAITS):
            seen = self._growths
            await asyncio.sleep(self._wait_seconds)
            if seen == self._growths:
                return


async def enqueue_behind(database: Database, now: Callable[[], Millis]) -> int:
    """Put the programs in line whose logs have not been looked at to the end; how many."""
    async with database.reading(EVERY_TENANT) as view:
        tenants = await queries.programs_behind(view, RULES)
    for tenant_id in tenants:
        scope = system_scope(tenant_id)
        async with database.transaction(scope) as tx:
            await enqueue(tx, scope, KIND, {}, now=now())
    return len(tenants)
