"""Commands on what is sealed in the database."""

import asyncio

import typer

from datacollect.cli.beside import require_current
from datacollect.cli.database import open_configured, require_data, require_reachable
from datacollect.cli.showing import counted
from datacollect.db.database import closing
from datacollect.features.messages import service as messages
from datacollect.features.tenants.adoption import Resealed, adopt, reseal
from datacollect.settings import check_keys, load_settings

app = typer.Typer(help="Secrets of programs in the database.", no_args_is_help=True)

_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""


@app.callback()
def secrets() -> None:
    """Secrets of programs in the database."""


@app.command("reseal")
def reseal_secrets() -> None:
    """Seal with SECRETS_KEY what older keys have sealed. Beside a running hub, too; again is harmless. Ends with 3 if a secret cannot be opened."""
    settings = load_settings()
    check_keys(settings)
    require_data(settings)

    async def work() -> tuple[Resealed, tuple[int, int]]:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await require_current(database)
            await adopt(database, settings.seals)
            return await reseal(database, settings.seals), await messages.reseal(database, settings.seals)

    programs, (sent_later, unreadable) = asyncio.run(work())
    typer.echo(
        f"Sealed anew: {programs.done:,} rows of programs and their versions, {counted(sent_later, 'waiting message')}."
    )
    if locked := programs.locked + unreadable:
        typer.echo(
            f"WRONG: {locked:,} rows are sealed with a key that is not here, and stay as they are. "
            "Set SECRETS_KEY_PREVIOUS to it."
        )
        raise typer.Exit(_WRONG)
