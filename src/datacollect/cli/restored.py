"""The command that tells the logs that they were put back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from datacollect.assembly import create_event_log
from datacollect.cli.alone import alone_in
from datacollect.cli.beside import AsJson, answering, require_current
from datacollect.cli.database import logs_asked_for, open_configured, require_data, require_reachable
from datacollect.cli.mistyped import checked, config_ids
from datacollect.cli.showing import counted, print_json, shown
from datacollect.db import EVERY_TENANT, Database
from datacollect.db.database import closing
from datacollect.features.integrity.service import logs_there, put_back
from datacollect.kernel.clock import Millis, SystemClock, parse_timestamp
from datacollect.kernel.errors import InvalidRequest, TenantUnknown
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.settings import load_settings

_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""

_NO_HEAD = (
    "datacollect: {logs} without a head, so not told: {names}. If that is many or all, the backup was made without the"
    " programs' data: take another one. See `datacollect verify` and docs/how-to/restore-a-backup.md."
)


def _instant(text: str) -> Millis:
    try:
        instant = parse_timestamp(text)
    except ValueError:
        raise InvalidRequest("--backup-time must be a time in UTC, as in 2026-11-26T03:00:00Z.") from None
    if instant > SystemClock().now():
        # Everything would count as restored, as if it were left out.
        raise InvalidRequest("--backup-time is in the future: it must be the time in UTC at which the backup was made.")
    return instant


def note_restored(
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="Program that was restored; may be repeated. All if left out.", callback=config_ids),
    ] = None,
    backup_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the backup was made (2026-11-26T03:00:00Z), if a hub ran on the restored database already.",
            callback=checked(_instant),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """After a restore from a backup, before the hub starts: devices that have seen more than the backup miss nothing then.

    Ends with 3 if a program that runs has no log, as after a dump without its rows.
    """
    with answering(as_json=as_json):
        told = _note_all(tenant or [], None if backup_time is None else _instant(backup_time), aloud=not as_json)
    if as_json:
        print_json([{"configId": name, "events": kept} for name, kept in told.items()])
    if untold := [shown(name) for name, kept in told.items() if kept is None]:
        typer.echo(_NO_HEAD.format(logs=counted(len(untold), "log"), names=", ".join(untold)), err=True)
        raise typer.Exit(_WRONG)


def _note_all(asked: Sequence[str], backup_at: Millis | None, *, aloud: bool) -> Mapping[TenantId, int | None]:
    """How many events each log was put back to; None for one without a head, which must not keep the others from being
    told."""
    settings = load_settings()
    require_data(settings)

    async def work() -> Mapping[TenantId, int | None]:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await require_current(database)
            async with database.reading(EVERY_TENANT) as view:
                chosen = logs_asked_for(asked, await logs_there(view))
            told = {}
            for name in chosen:
                told[name] = kept = await _note_one(database, name, backup_at)
                if aloud and kept is not None:
                    typer.echo(f"{shown(name)}: put back to its first {counted(kept, 'event')}.")
            return told

    with alone_in(settings):
        return asyncio.run(work())


async def _note_one(database: Database, tenant_id: TenantId, backup_at: Millis | None) -> int | None:
    clock, scope = SystemClock(), system_scope(tenant_id)
    try:
        async with database.transaction(scope) as tx:
            return await put_back(tx, create_event_log(database, clock), scope, backup_at=backup_at, now=clock.now())
    except TenantUnknown:
        return None
