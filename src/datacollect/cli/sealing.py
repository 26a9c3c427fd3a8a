"""Commands on the secrets that programs have in the database."""

import asyncio

import typer

from datacollect.cli.database import has_table, open_configured, require_reachable
from datacollect.db.database import closing
from datacollect.features.tenants.adoption import Resealed, adopt, reseal
from datacollect.features.tenants.tables import program_versions
from datacollect.kernel.errors import StartupError
from datacollect.settings import check_keys, load_settings

app = typer.Typer(help="Secrets of programs in the database.", no_args_is_help=True)

_WRONG = 2


@app.callback()
def secrets() -> None:
    """Secrets of programs in the database."""


@app.command("reseal")
def reseal_secrets() -> None:
    """Seal with SECRETS_KEY what older keys have sealed. Beside a running hub, too; again is harmless. Ends with 2 if a secret cannot be opened."""
    settings = load_settings()
    check_keys(settings)

    async def work() -> Resealed:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            async with database.reading() as view:
                if not await has_table(view, program_versions):
                    raise StartupError(
                        "This database is not there or not up to date. Check DATA_DIR or DATABASE_URL, and run `datacollect migrate`."
                    )
            await adopt(database, settings.seals)
            return await reseal(database, settings.seals)

    outcome = asyncio.run(work())
    typer.echo(f"Sealed anew: {outcome.done:,} rows of programs and their versions.")
    if outcome.locked:
        typer.echo(
            f"WRONG: {outcome.locked:,} rows are sealed with a key that is not here, and stay as they are. "
            "Set SECRETS_KEY_PREVIOUS to it."
        )
        raise typer.Exit(_WRONG)
