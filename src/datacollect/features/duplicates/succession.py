"""Who has taken the place of those that were merged into another one."""

from collections.abc import Collection, Mapping, Sequence

from datacollect.db import Reading
from datacollect.features.duplicates import queries
from datacollect.features.duplicates.model import Status
from datacollect.features.entities.service import positions_of
from datacollect.kernel.identity import TenantScope


async def successors_of(view: Reading, scope: TenantScope, guid: str) -> Sequence[str]:
    """Who took an entity's place, then who took theirs, and so on, whether they exist or not. Implements `Successors`."""
    line = [guid]
    while True:
        merged = await queries.pairs_of(view, scope, line[-1:], status=Status.MERGED)
        # Who was merged, came back, and was merged into another one is where it was put last.
        into = [each for each in merged if each.survivor not in (None, line[-1])]
        successor = max(into, key=lambda each: each.decided_at or 0).survivor if into else None
        if successor is None or successor in line:
            return line[1:]
        line.append(successor)


async def survivor_of(view: Reading, scope: TenantScope, guid: str) -> str | None:
    """Who has taken an entity's place; None if nobody has who exists."""
    line = await successors_of(view, scope, guid)
    there = await positions_of(view, scope, line)
    return next((each for each in line if each in there), None)


async def survivors_of(view: Reading, scope: TenantScope, guids: Collection[str]) -> Mapping[str, str]:
    """As `survivor_of`, for those of them that have one."""
    merged = await queries.pairs_of(view, scope, guids, status=Status.MERGED)
    gone = {each.pair.other(each.survivor) for each in merged if each.survivor is not None} & set(guids)
    found = {guid: await survivor_of(view, scope, guid) for guid in sorted(gone)}
    return {guid: survivor for guid, survivor in found.items() if survivor is not None}


async def merged_at(view: Reading, scope: TenantScope, guid: str) -> Collection[int]:
    """When an entity was merged into another one, that into the next, and so on."""
    line = [guid, *await successors_of(view, scope, guid)]
    merged = await queries.pairs_of(view, scope, line, status=Status.MERGED)
    return {
        each.decided_at
        for each in merged
        if each.decided_at is not None and each.pair.first in line and each.pair.second in line
    }
