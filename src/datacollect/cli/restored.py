"""The command that tells the logs that they were put back."""

import asyncio
from typing import Annotated

import typer

from datacollect.assembly import create_event_log
from datacollect.cli.alone import alone_in
from datacollect.cli.beside import require_current
from datacollect.cli.database import logs_asked_for, open_configured, require_data, require_reachable
from datacollect.cli.mistyped import checked, config_ids
from datacollect.cli.showing import counted, shown
from datacollect.db import EVERY_TENANT, Database
from datacollect.db.database import closing
from datacollect.features.integrity.service import logs_there, put_back
from datacollect.kernel.clock import Millis, SystemClock, parse_timestamp
from datacollect.kernel.errors import InvalidRequest, StartupError, TenantUnknown
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.settings import load_settings


def _instant(text: str) -> Millis:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise InvalidRequest("--backup-time must be a time in UTC, as in 2026-11-26T03:00:00Z.") from None


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
) -> None:
    """After a restore from a backup, before the hub starts: devices that have seen more than the backup miss nothing then."""
    settings, backup_at = load_settings(), None if backup_time is None else _instant(backup_time)
    require_data(settings)

    async def work() -> None:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await require_current(database)
            async with database.reading(EVERY_TENANT) as view:
                chosen = logs_asked_for(tenant or [], await logs_there(view))
            untold = [name for name in chosen if not await _note_one(database, name, backup_at)]
        if untold:
            raise StartupError(
                f"There is no head of the log of {', '.join(map(shown, untold))}, so it was not told. See `datacollect verify`."
            )

    with alone_in(settings):
        asyncio.run(work())


async def _note_one(database: Database, tenant_id: TenantId, backup_at: Millis | None) -> bool:
    """Note it, and print so; False for a log that has lost its head, which must not keep the others from being told."""
    clock, scope = SystemClock(), system_scope(tenant_id)
    try:
        async with database.transaction(scope) as tx:
            kept = await put_back(tx, create_event_log(database, clock), scope, backup_at=backup_at, now=clock.now())
    except TenantUnknown:
        return False
    typer.echo(f"{shown(tenant_id)}: put back to its first {counted(kept, 'event')}.")
    return True
