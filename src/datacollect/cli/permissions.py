"""Why an account may or may not do something: the permission matrix, asked for one caller."""

import asyncio
import re
from dataclasses import replace
from typing import Annotated

import typer

from datacollect.app import create_app
from datacollect.cli.database import require_data, require_reachable
from datacollect.cli.mistyped import account_key, checked, config_ids
from datacollect.db import Reading
from datacollect.db.database import closing
from datacollect.features.users import service as users
from datacollect.http.hub import Hub
from datacollect.http.policy import Operation, operations_of
from datacollect.kernel.errors import NotFound, StartupError
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.permission import Callers, Where, explain
from datacollect.settings import load_settings

app = typer.Typer(help="Who may call which route.", no_args_is_help=True)

_DENIED = 3
"""Not 2: that is what a mistyped option ends with."""


@app.callback()
def permissions() -> None:
    """Who may call which route."""


@app.command("explain")
def explain_permission(
    user: Annotated[
        str, typer.Argument(metavar="USER", help="The account's id or e-mail.", callback=checked(account_key))
    ],
    route: Annotated[
        str, typer.Argument(metavar="ROUTE", help='Such as "GET /api/sync/pull", or with a path as it is called.')
    ],
    tenant: Annotated[
        str | None,
        typer.Argument(
            metavar="PROGRAM", help="The program's `configId`, if the route is about one.", callback=config_ids
        ),
    ] = None,
) -> None:
    """Say whether the account may call the route in the program, and why. Ends with 0 if it may, with 3 if not."""
    settings = load_settings()
    require_data(settings)
    application = create_app(settings)
    operation = _operation(list(operations_of(application)), route)
    if not asyncio.run(_explained(application.state.hub, user, operation, tenant)):
        raise typer.Exit(_DENIED)


def _operation(operations: list[Operation], route: str) -> Operation:
    """The one that is meant: by its template, or by a path that matches it. Raises `StartupError`."""
    method, _, path = route.strip().partition(" ")
    path = path.strip().partition("?")[0]
    exact = [one for one in operations if one.method == method.upper() and one.path == path]
    matching = [one for one in operations if one.method == method.upper() and _pattern(one.path).fullmatch(path)]
    if not exact + matching:
        raise StartupError(f'There is no route "{route}". Write it as in docs/reference/permissions.md.')
    return (exact + matching)[0]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", template)
    return re.compile("[^/]+".join(map(re.escape, parts)))


async def _explained(hub: Hub, user: str, operation: Operation, tenant: str | None) -> bool:
    permission = operation.permission
    if permission.where is Where.ANY_PROGRAM and tenant is not None:
        # Whether the account may do it in this very one.
        permission = replace(permission, where=Where.CONFIG_ID)
    about_one = permission.where in (Where.CONFIG_ID, Where.TENANT_ID, Where.PATH)
    if about_one and tenant is None:
        raise typer.BadParameter(f"{operation.name} is about one program: name it as the third argument.")
    if not about_one and tenant is not None:
        raise typer.BadParameter(f"{operation.name} is about no program: leave the third argument out.")
    tenant_id = TenantId(tenant) if about_one and tenant is not None else None
    async with closing(hub.db):
        await require_reachable(hub.db)
        async with hub.db.reading() as view:
            account = await _account(view, user)
        runs = tenant_id is None or await hub.tenants.find(tenant_id) is not None
    typer.echo(f"{operation.name} ({operation.summary}) as account {account.id}, {account.email}")
    explanation = explain(permission, account.to_actor(), tenant_id)
    for name, text in explanation.facts:
        typer.echo(f"  {name:8} {text}")
    if tenant_id is not None:
        typer.echo(f"  program  {tenant_id} {'runs' if runs else 'does not run: it is unknown or archived'}")
    if permission.callers is not Callers.ANYBODY and explanation.refused is not None:
        refused = explanation.refused
        typer.echo(f"DENIED with {refused.status} {refused.code}: {refused.message.rstrip('.')}. {refused.help}")
        return False
    typer.echo("ALLOWED" if runs or permission.where is Where.PATH else "ALLOWED, but there is nothing to reach")
    return True


async def _account(view: Reading, key: str) -> users.User:
    found = None
    if key.isascii() and key.isdigit() and len(key) < 10:
        found = await users.find_user(view, UserId(int(key)))
    found = found or await users.find_user_by_email(view, key)
    if found is None:
        raise NotFound("There is no such account.")
    return found
