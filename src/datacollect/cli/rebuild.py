"""The command that makes the current state from the logs once more."""

import asyncio
import gc
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import typer

from datacollect.assembly import create_rebuilder, event_store
from datacollect.cli.beside import require_current
from datacollect.cli.database import logs_asked_for, open_configured, require_data, require_reachable
from datacollect.cli.mistyped import config_ids
from datacollect.cli.showing import progress_bar, shown
from datacollect.db import EVERY_TENANT, Database
from datacollect.db.database import closing
from datacollect.features.entities.rebuilding import Failure, Outcome
from datacollect.features.entities.rebuilt import Difference
from datacollect.features.integrity.service import logs_there
from datacollect.kernel.errors import NotFound
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.settings import load_settings

_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""


def rebuild_state(
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="Program to rebuild; may be repeated. All if left out.", callback=config_ids),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare with what is there, and change nothing.")
    ] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="With --check: show the values that differ. They are people's data.")
    ] = False,
) -> None:
    """Make entities, memberships and counts from the events again. Ends with 0 if all is well, with 3 if something is not."""
    settings = load_settings()
    require_data(settings)

    async def work() -> bool:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await require_current(database)
            async with database.reading(EVERY_TENANT) as view:
                chosen = logs_asked_for(tenant or [], await logs_there(view))
            fine = True
            for name in chosen:
                fine &= await _rebuild_one(database, name, check=check, show_values=show_values)
        return fine

    # Events and states make no cycles; looking for some after every 700 objects would take a third of the time.
    gc.set_threshold(200_000)
    if not asyncio.run(work()):
        raise typer.Exit(_WRONG)


async def _rebuild_one(database: Database, tenant: TenantId, *, check: bool, show_values: bool) -> bool:
    """Rebuild or check one program and print about it; whether all is well."""
    scope, rebuilder = system_scope(tenant), create_rebuilder(database)
    async with database.reading(scope) as view:
        head = await event_store(database).head(view, scope)
    begun = time.monotonic()
    with progress_bar(tenant, head.position if head else 0) as progress:
        try:
            outcome = await (rebuilder.check if check else rebuilder.rebuild)(scope, progress=progress)
        except NotFound:
            return await _tell_without_head(database, tenant)
    typer.echo(_line(tenant, outcome, time.monotonic() - begun))
    for text in _details(outcome, show_values=show_values):
        typer.echo(f"  {text}")
    return outcome.ok


async def _tell_without_head(database: Database, tenant: TenantId) -> bool:
    """Print about a log that has none: of a program that was purged meanwhile that is well."""
    async with database.reading(EVERY_TENANT) as view:
        is_there = tenant in await logs_there(view)
    name = shown(tenant)
    typer.echo(f"WRONG: {name}: its log has no head; the state is left as it is" if is_there else f"gone: {name}")
    return not is_there


def _line(tenant: str, outcome: Outcome, seconds: float) -> str:
    name = shown(tenant)
    if outcome.failed:
        return f"WRONG: {name}: {_counted(outcome.failed, 'event')} cannot be applied; the state is left as it is"
    applied = (
        f"{_counted(outcome.events, 'event')} applied, {_counted(outcome.entities, 'entity', 'entities')}, "
        f"{_counted(outcome.memberships, 'membership')}, {seconds:.1f} s"
    )
    if outcome.different:
        return f"DIFFERENT: {name}: {_counted(outcome.different, 'difference')}; {applied}"
    return f"ok: {name}: {applied}"


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _details(outcome: Outcome, *, show_values: bool) -> Iterator[str]:
    yield from map(_failure, outcome.failures)
    for difference in outcome.differences:
        yield from _difference(difference, show_values=show_values)
    for name, live, made in outcome.figures:
        yield f"count of {shown(name)}: {live:,}, by the log {made:,}"
    more = outcome.failed + outcome.different
    more -= len(outcome.failures) + len(outcome.differences) + len(outcome.figures)
    if more:
        yield f"and {more:,} more"


def _failure(failure: Failure) -> str:
    event = "" if failure.guid is None else f" (event {shown(failure.guid)})"
    return f"{failure.code} at position {failure.position}{event}"


def _difference(difference: Difference, *, show_values: bool) -> Iterator[str]:
    what = f"{difference.kind} {' in '.join(map(shown, reversed(difference.key)))}"
    if difference.live is None:
        yield f"{what}: is missing"
    elif difference.rebuilt is None:
        yield f"{what}: does not follow from the log"
    else:
        for name, live, made in _different_fields(difference.live, difference.rebuilt):
            yield f"{what}: {shown(name)} differs" + (f": {live!a}, by the log {made!a}" if show_values else "")


def _different_fields(live: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The columns that differ; of the data, the fields."""
    for column, value in live.items():
        if value == made[column]:
            continue
        fields = list(_different_data(value, made[column])) if column == "data" else []
        yield from fields or [(column, value, made[column])]


def _different_data(live: str, made: str) -> Iterator[tuple[str, Any, Any]]:
    try:
        sides = [msgspec.json.decode(text, type=dict[str, msgspec.Raw]) for text in (live, made)]
    except ValueError:
        return
    texts = [{name: bytes(raw).decode() for name, raw in side.items()} for side in sides]
    for name in sorted({*texts[0], *texts[1]}):
        was, made_anew = (side.get(name) for side in texts)
        if was != made_anew:
            yield f"data.{name}", was, made_anew
