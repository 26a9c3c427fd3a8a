"""Whether what is stored is what the database says: bytes that are gone or changed, bytes that nobody has, wrong counts.

The store is listed before the database is asked: an upload notes what it is going to write before it writes it, so what
is listed and not noted then has nobody.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from datacollect.db import Database, Reading
from datacollect.eventstore.log import EventLog
from datacollect.features.attachments import checking_queries as queries
from datacollect.features.attachments.contents import queries as contents
from datacollect.features.attachments.contents.model import Content
from datacollect.kernel.identity import TenantScope
from datacollect.objects import Listed, ObjectDamaged, ObjectKey, ObjectMissing, ObjectStore, tenant_folder

_AT_ONCE = 500
_MOST_GUIDS = 20
"""Of the attachments that one finding names."""


class Problem(StrEnum):
    MISSING = "missing"
    """The bytes are not there."""
    DAMAGED = "damaged"
    """There are other bytes, or another number of them."""
    ORPHANED = "orphaned"
    """Bytes that no attachment has, and that no collector is going to delete."""
    FOREIGN = "foreign"
    """Something that no hub has put there."""
    MISCOUNTED = "miscounted"
    """More or fewer attachments have the content than is noted."""


@dataclass(frozen=True, slots=True)
class Finding:
    problem: Problem
    name: str
    """The hash of the content, or what the store calls it."""
    attachments: Sequence[str] = ()
    """Guids of the attachments that are concerned, some of them if there are many."""
    repaired: bool = False


@dataclass(slots=True)
class Checked:
    """One program."""

    contents: int = 0
    size_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.repaired for finding in self.findings)


class Checker:
    """Checks programs, one at a time. `deep` reads every byte; `repair` lets bytes that nobody has stand for what is lost
    of the same content, deletes what else nobody has, and counts anew."""

    def __init__(
        self, database: Database, store: ObjectStore, log: EventLog, *, deep: bool = False, repair: bool = False
    ) -> None:
        self._database = database
        self._store = store
        self._log = log
        self._deep = deep
        self._repair = repair

    async def expected(self, scope: TenantScope) -> int:
        """How many contents there are to look at."""
        async with self._database.reading(scope) as view:
            return await queries.count_contents(view, scope)

    async def check(self, scope: TenantScope, *, progress: Callable[[int], None] | None = None) -> Checked:
        """Raises `StorageUnavailable`."""
        checked = Checked()
        stored, strange = await self._listed(scope)
        checked.findings += strange
        lost: list[tuple[Content, Problem]] = []
        after = ""
        while True:
            async with self._database.reading(scope) as view:
                page = await contents.list_all(view, scope, after=after, most=_AT_ONCE)
            for content, refs in page:
                checked.contents += 1
                checked.size_bytes += content.size_bytes
                problem = await self._problem_of(scope, content, stored)
                if problem is not None and refs:
                    lost.append((content, problem))
                if progress is not None:
                    progress(checked.contents)
            if len(page) < _AT_ONCE:
                break
            after = page[-1][0].digest
        checked.findings += await self._lost_and_orphans(scope, lost, await self._nobodys(scope, stored))
        checked.findings += await self._uncounted(scope)
        return checked

    async def unknown_folders(self, known: Sequence[TenantScope]) -> Sequence[str]:
        """Folders of the store that belong to none of these programs."""
        ours = {tenant_folder(scope.tenant_id) for scope in known}
        unknown = [folder for folder in await self._store.folders() if folder not in ours]
        # Stores may keep the name of a folder that is empty.
        return [folder for folder in unknown if [item async for item in self._store.list(folder)]]

    async def _listed(self, scope: TenantScope) -> tuple[dict[tuple[str, str], Listed], list[Finding]]:
        """What is in the program's folder, by hash and generation; and what should not be."""
        stored: dict[tuple[str, str], Listed] = {}
        strange = []
        async for item in self._store.list(tenant_folder(scope.tenant_id)):
            if item.key is None:
                strange.append(Finding(Problem.FOREIGN, item.name))
            else:
                stored[item.key.digest, item.key.generation] = item
        return stored, strange

    async def _problem_of(
        self, scope: TenantScope, content: Content, stored: dict[tuple[str, str], Listed]
    ) -> Problem | None:
        """What is wrong with the content's bytes, which then are nobody's any more in `stored`."""
        key = content.key(scope.tenant_id)
        found = stored.pop((content.digest, content.generation), None)
        size_bytes = found.size_bytes if found is not None else await self._store.stat(key)
        if size_bytes is None:
            return None if await self._has_moved(scope, content) else Problem.MISSING
        if size_bytes != content.size_bytes:
            return Problem.DAMAGED
        if not self._deep:
            return None
        try:
            await self._read(key, content)
        except ObjectMissing as error:
            if await self._has_moved(scope, content):
                return None
            return Problem.DAMAGED if isinstance(error, ObjectDamaged) else Problem.MISSING
        return None

    async def _read(self, key: ObjectKey, content: Content) -> None:
        """Every byte. Raises `ObjectMissing`, `ObjectDamaged`."""
        async with await self._store.open(key, content.size_bytes) as opened:
            async for _ in opened:
                pass

    async def _has_moved(self, scope: TenantScope, content: Content) -> bool:
        """Whether it was collected or repaired since we read of it."""
        async with self._database.reading(scope) as view:
            return await contents.find(view, scope, content.digest) != content

    async def _nobodys(self, scope: TenantScope, stored: dict[tuple[str, str], Listed]) -> Sequence[ObjectKey]:
        """What nobody has, of what is left in the store when all contents were taken out."""
        async with self._database.reading(scope) as view:
            loose = {(one.digest, one.generation) for one in await contents.list_loose(view, scope)}
            left = [item for name, item in stored.items() if name not in loose]
            return [item.key for item in left if item.key and not await self._is_had(view, scope, item.key)]

    async def _lost_and_orphans(
        self, scope: TenantScope, lost: Sequence[tuple[Content, Problem]], nobodys: Sequence[ObjectKey]
    ) -> Sequence[Finding]:
        twins: defaultdict[str, list[ObjectKey]] = defaultdict(list)
        for key in nobodys:
            twins[key.digest].append(key)
        findings, kept = [], set[ObjectKey]()
        for content, problem in lost:
            taken_up = await self._taken_up(scope, content, twins[content.digest])
            findings.append(replace(await self._lost(scope, problem, content), repaired=taken_up is not None))
            if taken_up is None:
                # The last bytes there are of it, in whatever state.
                kept.update(twins[content.digest])
            else:
                twins[content.digest].remove(taken_up)
        for key in itertools.chain.from_iterable(twins.values()):
            is_deleted = self._repair and key not in kept
            if is_deleted:
                await self._store.delete(key)
            findings.append(Finding(Problem.ORPHANED, key.name, repaired=is_deleted))
        return findings

    async def _lost(self, scope: TenantScope, problem: Problem, content: Content) -> Finding:
        async with self._database.reading(scope) as view:
            guids = await queries.guids_having(view, scope, content.digest, most=_MOST_GUIDS)
        return Finding(problem, content.digest, guids)

    async def _taken_up(self, scope: TenantScope, content: Content, twins: Sequence[ObjectKey]) -> ObjectKey | None:
        """Which of these orphans stands for a lost content from now on: one that is whole, with `repair`.

        The hub has left it behind when it wrote the content anew because it had not found it: another store, or none,
        was in the place of this one then.
        """
        for key in twins if self._repair else ():
            try:
                await self._read(key, content)
            except ObjectMissing:
                continue
            async with self._database.transaction(scope) as tx:
                if await contents.replace(tx, scope, content.digest, content.generation, by=key.generation):
                    return key
        return None

    async def _is_had(self, view: Reading, scope: TenantScope, key: ObjectKey) -> bool:
        found = await contents.find(view, scope, key.digest)
        return found is not None and found.generation == key.generation

    async def _uncounted(self, scope: TenantScope) -> Sequence[Finding]:
        """Under the lock of the log, which whoever makes or deletes an attachment holds: nothing is counted meanwhile."""
        async with self._database.transaction(scope) as tx:
            if await self._log.hold(tx, scope) is None:
                return []
            lost = await queries.without_content(tx, scope)
            wrong = await queries.miscounted(tx, scope)
            if self._repair:
                await queries.count_anew(tx, scope, [digest for digest, _ in wrong])
        missing = [Finding(Problem.MISSING, digest, [guid]) for digest, guid in lost]
        return [*missing, *(Finding(Problem.MISCOUNTED, digest, repaired=self._repair) for digest, _ in wrong)]
