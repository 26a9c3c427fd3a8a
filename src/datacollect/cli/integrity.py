"""The command that verifies the logs."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from datacollect.assembly import event_store
from datacollect.cli.beside import AsJson, answering, require_current
from datacollect.cli.database import has_table, logs_asked_for, open_configured, require_data, require_reachable
from datacollect.cli.mistyped import config_ids
from datacollect.cli.showing import counted, print_json, progress_bar, shown
from datacollect.db import EVERY_TENANT, Database, Reading
from datacollect.db.database import closing
from datacollect.eventstore.anchors import (
    Anchor,
    AnchorsUnreadable,
    anchored_tenants,
    chain_text,
    read_anchors,
    write_anchor,
)
from datacollect.eventstore.store import EventStore, Head, HeadUnreadable
from datacollect.eventstore.tables import log_heads
from datacollect.eventstore.verification import Finding, Neighbour, Verification, history_of, read_head, verify
from datacollect.features.integrity.model import LastVerification, result_of, unread
from datacollect.features.integrity.service import keep_verification, logs_there
from datacollect.features.tenants.asked import being_purged
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.errors import DataCollectError, StartupError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.logs import reason_of
from datacollect.settings import load_settings

_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""


def verify_logs(
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="Program to verify; may be repeated. All if left out.", callback=config_ids),
    ] = None,
    anchor: Annotated[
        bool, typer.Option(help="Write an anchor to DATA_DIR/anchors for each log that is in order.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Verify every stored event, the hash chain, heads and anchors. Ends with 0 if all is well, with 3 if something is not."""
    with answering(as_json=as_json):
        told = _verify_all(tenant or [], anchor=anchor, aloud=not as_json)
    if as_json:
        print_json(
            [
                {
                    "configId": one.tenant_id,
                    "ok": one.ok,
                    "events": one.events,
                    "head": one.head,
                    "finding": one.finding,
                }
                for one in told
            ]
        )
    if not all(one.ok for one in told):
        raise typer.Exit(_WRONG)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said of one log."""

    tenant_id: TenantId
    line: str
    ok: bool = True
    events: int = 0
    """How many are in order."""
    head: str | None = None
    finding: Mapping[str, object] | None = None


def _verify_all(asked: Sequence[str], *, anchor: bool, aloud: bool) -> Sequence[_Told]:
    settings = load_settings()
    require_data(settings)

    async def work() -> Sequence[_Told]:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await _require_logs(database)
            async with database.reading(EVERY_TENANT) as view:
                chosen = await _chosen(view, settings.data_dir, asked)
            told = []
            for name in chosen:
                told.append(one := await _verify_one(database, settings.data_dir, name, anchor=anchor))
                if aloud:
                    typer.echo(one.line)
            return told

    return asyncio.run(work())


async def _require_logs(database: Database) -> None:
    async with database.reading() as view:
        if not await has_table(view, log_heads):
            raise StartupError(
                "This database holds no logs. Check DATA_DIR or DATABASE_URL; `datacollect migrate` makes them."
            )
    await require_current(database)


async def _chosen(view: Reading, data_dir: Path, asked: Sequence[str]) -> Sequence[TenantId]:
    """The tenants to verify: those asked for, or all that have a log or had one when an anchor was written; none that is
    being purged."""
    anchored = frozenset(anchored_tenants(data_dir)).difference(await being_purged(view))
    return logs_asked_for(asked, sorted(anchored.union(await logs_there(view))))


async def _verify_one(database: Database, data_dir: Path, tenant: TenantId, *, anchor: bool) -> _Told:
    """Verify one log and record the result."""
    scope = system_scope(tenant)
    async with database.reading(scope) as view:
        history = await history_of(view, scope)
    try:
        anchors = read_anchors(data_dir, tenant)
    except AnchorsUnreadable as unreadable:
        await _record(database, scope, history, unread(unreadable, now=SystemClock().now()))
        return _refused(tenant, unreadable)
    async with database.reading(scope) as view:
        outcome = await _verify_visibly(view, event_store(database), scope, anchors)
    if not await _record(database, scope, history, result_of(outcome, now=SystemClock().now())):
        return _Told(tenant, f"gone: {shown(tenant)}")
    if outcome.ok and anchor and outcome.sound.position:
        new = Anchor(outcome.sound.position, outcome.sound.chain_hash, SystemClock().now())
        try:
            write_anchor(data_dir, tenant, new)
        except DataCollectError as refused:
            return _refused(tenant, refused)
    return _of(tenant, outcome)


async def _verify_visibly(
    view: Reading, store: EventStore, scope: TenantScope, anchors: Sequence[Anchor]
) -> Verification:
    head = await read_head(view, store, scope)
    with progress_bar(scope.tenant_id, head.position if isinstance(head, Head) else 0) as progress:
        return await verify(view, store, scope, anchors=anchors, progress=progress)


async def _record(database: Database, scope: TenantScope, history: str | None, last: LastVerification) -> bool:
    """Let the hub show the result. A database that takes no writes (a standby, say) can be verified all the same.

    False if the log of that history has been purged meanwhile: the result says nothing of a program that has its id.
    """
    try:
        async with database.transaction(scope) as tx:
            with contextlib.suppress(HeadUnreadable):
                await event_store(database).hold(tx, scope)
            if await history_of(tx, scope) != history or scope.tenant_id in await being_purged(tx):
                return False
            await keep_verification(tx, scope, last)
    except Exception as error:
        reason = reason_of(error)
        typer.echo(f"datacollect: The result for {shown(scope.tenant_id)} is not recorded ({reason}).", err=True)
    return True


def _refused(tenant: TenantId, refused: DataCollectError) -> _Told:
    line = f"WRONG: {shown(tenant)}: {refused.code}: {refused.message}"
    return _Told(tenant, line, ok=False, finding={"code": refused.code, "message": refused.message})


def _of(tenant: TenantId, outcome: Verification) -> _Told:
    count, finding = outcome.sound.position, outcome.finding
    head = chain_text(outcome.sound.chain_hash) if count else None
    if finding is None:
        line = f"ok: {shown(tenant)}: {counted(count, 'event')}{f', head {head}' if head else ''}"
        return _Told(tenant, line, events=count, head=head)
    told = {"code": finding.code, "position": finding.position, "guid": finding.guid, "message": finding.message}
    return _Told(
        tenant, f"WRONG: {shown(tenant)}: {_describe(finding)}", ok=False, events=count, head=head, finding=told
    )


def _describe(finding: Finding) -> str:
    guid = "" if finding.guid is None else f" (event {shown(finding.guid)})"
    sides = f"Before it: {_beside(finding.before)}; after it: {_beside(finding.after)}."
    return f"{finding.code} at position {finding.position}{guid}: {shown(finding.message)} {sides}"


def _beside(neighbour: Neighbour | None) -> str:
    return "nothing" if neighbour is None else f"position {neighbour.position} (event {shown(neighbour.guid)})"
