"""`datacollect user …`: accounts. Passwords are typed, piped in or made here, and are never an argument."""

import secrets
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel

from datacollect.cli.beside import AsJson, answering, require_program, require_terminal, with_hub
from datacollect.cli.mistyped import account_key, checked, config_ids
from datacollect.cli.showing import counted, print_facts, print_json, print_table
from datacollect.features.auth import service as auth
from datacollect.features.users import service
from datacollect.features.users.model import ListQuery, Memberships, User, broken_password_rules
from datacollect.features.users.schemas import Assignment, UserCreate
from datacollect.features.users.schemas import Email as Address
from datacollect.http.decoding import validated
from datacollect.http.hub import Hub
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.errors import InvalidPayload, InvalidRequest
from datacollect.kernel.identity import COMMAND_LINE, AccountRole, Role
from datacollect.kernel.ids import TenantId
from datacollect.kernel.source import AT_THE_COMMAND_LINE

app = typer.Typer(help="Accounts: create, list, give roles, end sessions.", no_args_is_help=True)
roles = typer.Typer(help="What an account is in which program.", no_args_is_help=True)
app.add_typer(roles, name="roles")

_T = TypeVar("_T")

_PAGE = 500
_MOST_SESSIONS = 100
_LONGEST_LINE = 4096
_SIGNS = "-+=_."
"""Signs that every keyboard has and no shell, table or chat takes for something else."""
_LETTERS = "".join(sorted({*string.ascii_letters, *string.digits} - {*"0O1lI"}))


class _Addressed(BaseModel):
    email: Address


def _require_email(text: str) -> None:
    validated(_Addressed, {"email": text})


def _assignment(text: str) -> dict[str, Any]:
    """`PROGRAM:ROLE[:AREA]` in wire form. The area may have colons in it."""
    program, _, rest = text.partition(":")
    role, _, area = rest.partition(":")
    if not program or role not in set(Role):
        raise InvalidRequest(f'"{text}" is no PROGRAM:ROLE[:AREA]. Roles are {", ".join(Role)}.')
    wire = {"tenantId": program, "role": role} | ({"areaId": area} if area else {})
    validated(Assignment, wire)
    return wire


def _require_taking(text: str) -> None:
    """`PROGRAM[:ROLE[:AREA]]`."""
    program, _, rest = text.partition(":")
    if not program or (rest and rest.partition(":")[0] not in set(Role)):
        raise InvalidRequest(f'"{text}" is no PROGRAM[:ROLE[:AREA]]. Roles are {", ".join(Role)}.')


IdOrEmail = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The account's e-mail or id.", callback=checked(account_key))
]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The account's e-mail.", callback=checked(_require_email))]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make a password and print it, once. Its owner has to change it at once.")
]
MustChange = Annotated[
    bool | None,
    typer.Option(
        "--must-change/--may-keep", help="Whether the owner has to choose another password before anything else."
    ),
]
Grants = Annotated[
    list[str] | None,
    typer.Argument(metavar="PROGRAM:ROLE[:AREA]", help=f"Roles: {', '.join(Role)}.", callback=checked(_assignment)),
]
Takings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROGRAM[:ROLE[:AREA]]",
        help="A program alone: every role in it, and the membership.",
        callback=checked(_require_taking),
    ),
]


@dataclass(frozen=True, slots=True)
class _Password:
    text: str
    is_generated: bool


@app.command("create")
def create_user(
    email: Email,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator of the hub.")] = False,
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROGRAM:ROLE[:AREA]", help="A role in a program; may be repeated.", callback=checked(_assignment)
        ),
    ] = None,
    password_stdin: FromStdin = False,
    generate: Generate = False,
    must_change: MustChange = None,
    as_json: AsJson = False,
) -> None:
    """Create an account. The command asks for the password, unless you say where it comes from."""

    async def work(hub: Hub) -> User:
        strict = hub.settings.guessable_passwords_refused
        account = await _account(
            email, password, admin=admin, grants=role or (), must_change=must_change, strict=strict
        )
        async with hub.db.transaction() as tx:
            user_id = await service.create_user(
                tx, COMMAND_LINE, account, source=AT_THE_COMMAND_LINE, now=hub.clock.now()
            )
            return await service.get_user(tx, COMMAND_LINE, str(user_id))

    with answering(as_json=as_json):
        password = _password(email, from_stdin=password_stdin, generate=generate)
        _tell_account(with_hub(work), password, "created", as_json=as_json)


@app.command("list")
def list_users(
    program: Annotated[str | None, typer.Option(help="Only members of this program.", callback=config_ids)] = None,
    search: Annotated[str, typer.Option(help="Part of the e-mail.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the accounts, oldest first."""

    async def work(hub: Hub) -> list[User]:
        query = ListQuery(
            search=service.normal_email(search), programs=None if program is None else frozenset({TenantId(program)})
        )
        found: list[User] = []
        if program is not None:
            await require_program(hub, TenantId(program))
        async with hub.db.reading() as view:
            while True:
                page = await service.list_users(view, COMMAND_LINE, query, limit=_PAGE)
                found += page.users
                if page.following is None:
                    return found
                query = replace(query, after=page.following)

    with answering(as_json=as_json):
        users = with_hub(work)
        if as_json:
            print_json([_wire(user) for user in users])
        else:
            print_table(
                ["ID", "ROLE", "EMAIL", "PROGRAMS"],
                [[user.id, user.role.value, user.email, ", ".join(_standings(user))] for user in users],
            )


@app.command("show")
def show_user(email: IdOrEmail, as_json: AsJson = False) -> None:
    """Show one account, and its roles in programs."""

    async def work(hub: Hub) -> User:
        async with hub.db.reading() as view:
            return await service.get_user(view, COMMAND_LINE, email)

    with answering(as_json=as_json):
        user = with_hub(work)
        if as_json:
            print_json(_wire(user))
        else:
            _print_account(user)


@app.command("set-password")
def set_password(
    email: IdOrEmail,
    password_stdin: FromStdin = False,
    generate: Generate = False,
    must_change: MustChange = None,
    as_json: AsJson = False,
) -> None:
    """Give the account another password. All its sessions end."""

    async def work(hub: Hub) -> User:
        async with hub.db.reading() as view:
            user = await service.get_user(view, COMMAND_LINE, email)
        strict = hub.settings.guessable_passwords_refused
        if issues := service.password_issues(password.text, member="password", strict=strict, email=user.email):
            raise service.InvalidAccount(issues)
        hashed = await service.hash_password(password.text)
        forced = password.is_generated if must_change is None else must_change
        return await _altered(
            hub, str(user.id), lambda now: replace(now, password_hash=hashed, must_change_password=forced)
        )

    with answering(as_json=as_json):
        password = _password(email, from_stdin=password_stdin, generate=generate)
        _tell_account(with_hub(work), password, "has a new password", as_json=as_json)


@app.command("delete")
def delete_user(
    email: IdOrEmail,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the account. Its sessions end; what it has pushed stays."""

    async def work(hub: Hub) -> None:
        async with hub.db.transaction() as tx:
            await service.delete_user(tx, COMMAND_LINE, email, source=AT_THE_COMMAND_LINE, now=hub.clock.now())

    with answering(as_json=as_json):
        if not yes:
            require_terminal("Say --yes.")
            typer.confirm(f"Delete {email}?", abort=True, err=True)
        with_hub(work)
        if as_json:
            print_json({"deleted": email})
        else:
            typer.echo(f"{email} is deleted.")


@app.command("sessions")
def list_sessions(email: IdOrEmail, as_json: AsJson = False) -> None:
    """List where the account is signed in, the last used first."""

    async def work(hub: Hub) -> list[dict[str, Any]]:
        async with hub.db.reading() as view:
            user = await service.get_user(view, COMMAND_LINE, email)
            found = await auth.list_sessions(view, user.id, now=hub.clock.now(), limit=_MOST_SESSIONS)
        return [
            {
                "id": one.id,
                "createdAt": format_timestamp(one.created_at),
                "lastUsedAt": format_timestamp(one.last_used_at),
                "expiresAt": format_timestamp(one.expires_at),
                "origin": one.origin,
                "userAgent": one.user_agent,
            }
            for one in found
        ]

    with answering(as_json=as_json):
        sessions = with_hub(work)
        if as_json:
            print_json(sessions)
        else:
            columns = ("lastUsedAt", "createdAt", "origin", "userAgent")
            headings = ["LAST USED", "SIGNED IN", "FROM", "CLIENT"]
            print_table(headings, [[one[name] or "–" for name in columns] for one in sessions])


@app.command("end-sessions")
def end_sessions(email: IdOrEmail, as_json: AsJson = False) -> None:
    """Sign the account out everywhere. It can sign in again; see `set-password`."""

    async def work(hub: Hub) -> int:
        async with hub.db.transaction() as tx:
            user = await service.get_user(tx, COMMAND_LINE, email)
            return await auth.end_sessions(
                tx, user.id, actor=COMMAND_LINE, source=AT_THE_COMMAND_LINE, now=hub.clock.now()
            )

    with answering(as_json=as_json):
        ended = with_hub(work)
        if as_json:
            print_json({"ended": ended})
        else:
            typer.echo(f"{counted(ended, 'session')} ended.")


@roles.command("add")
def add_roles(
    email: IdOrEmail,
    grants: Grants = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make it an administrator of the hub.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give the account roles in programs; it becomes a member of them. Takes effect within a second."""

    def change(user: User) -> User:
        given = Memberships().changed(None, assignments)
        user = user.with_memberships(user.memberships.joined(given))
        return replace(user, role=AccountRole.ADMIN) if admin else user

    with answering(as_json=as_json):
        _require_something(grants, admin)
        assignments = [_assignment(text) for text in grants or ()]
        _tell_account(with_hub(lambda hub: _altered(hub, email, change)), None, "changed", as_json=as_json)


@roles.command("remove")
def remove_roles(
    email: IdOrEmail,
    takings: Takings = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make it an ordinary account.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take roles away. If none is left, the account does not belong to the program any more."""

    def change(user: User) -> User:
        user = user.with_memberships(_without(user.memberships, takings or ()))
        return replace(user, role=AccountRole.USER) if admin else user

    with answering(as_json=as_json):
        _require_something(takings, admin)
        _tell_account(with_hub(lambda hub: _altered(hub, email, change)), None, "changed", as_json=as_json)


async def _altered(hub: Hub, key: str, change: Callable[[User], User]) -> User:
    async with hub.db.transaction() as tx:
        return await service.alter_user(tx, COMMAND_LINE, key, change, source=AT_THE_COMMAND_LINE, now=hub.clock.now())


async def _account(
    email: str, password: _Password, *, admin: bool, grants: Sequence[str], must_change: bool | None, strict: bool
) -> service.Account:
    """The account to store, by the rules of `POST /api/users`; hashed before any transaction is open."""
    assignments = [_assignment(text) for text in grants]
    sent = {
        "email": email,
        "password": password.text,
        "role": "ADMIN" if admin else "USER",
        "roleAssignments": assignments,
        "mustChangePassword": password.is_generated if must_change is None else must_change,
    }
    issues = service.password_issues(password.text, member="password", strict=strict, email=email)
    try:
        body = validated(UserCreate, sent)
    except InvalidPayload as invalid:
        raise service.InvalidAccount(invalid.issues + issues) from None
    if issues:
        raise service.InvalidAccount(issues)
    return service.Account(
        email=body.email,
        role=body.role,
        password_hash=await service.hash_password(password.text),
        role_assignments=assignments,
        must_change_password=body.must_change_password,
    )


def _without(held: Memberships, takings: Sequence[str]) -> Memberships:
    """The memberships without those roles, and without the programs in which none is left."""
    for text in takings:
        program, _, rest = text.partition(":")
        role, _, area = rest.partition(":")
        mine = held.within([program])
        if not mine.tenant_ids:
            raise InvalidRequest(f"The account does not belong to {program}.")
        taken = [one for one in mine.assignments if role in ("", one["role"]) and area in ("", one.get("areaId"))]
        if role and not taken:
            raise InvalidRequest(f"The account has no role {rest} in {program}.")
        kept = tuple(one for one in mine.assignments if one not in taken)
        held = held.without([program])
        if kept:
            held = held.joined(Memberships((program,), kept))
    return held


def _password(email: str, *, from_stdin: bool, generate: bool) -> _Password:
    if from_stdin and generate:
        raise typer.BadParameter("Take one of --password-stdin and --generate.")
    if generate:
        return _Password(_generated(email), is_generated=True)
    if from_stdin:
        return _Password(sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n"), is_generated=False)
    require_terminal("Say --password-stdin or --generate.")
    text: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return _Password(text, is_generated=False)


def _generated(email: str) -> str:
    """Four groups of four: some 90 bits, and nothing that is mistaken for something else when it is read out."""
    while True:
        groups = ["".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)]
        password = secrets.choice(_SIGNS).join(groups)
        if not broken_password_rules(password, strict=True, email=email):
            return password


def _require_something(named: Sequence[str] | None, admin: bool) -> None:
    if not named and not admin:
        raise typer.BadParameter("Name at least one role.")


def _wire(user: User) -> dict[str, Any]:
    return user.to_wire() | {"mustChangePassword": user.must_change_password}


def _standings(user: User) -> list[str]:
    """`program:role:area` for each assignment, and the bare program where there is none."""
    assigned = {one["tenantId"] for one in user.role_assignments}
    plain = [tenant for tenant in user.tenant_ids if tenant not in assigned]
    return [
        *plain,
        *(":".join(filter(None, (one["tenantId"], one["role"], one.get("areaId")))) for one in user.role_assignments),
    ]


def _print_account(user: User) -> None:
    facts: list[tuple[str, object]] = [("account", f"{user.id}, {user.email}"), ("role", user.role.value)]
    if user.must_change_password:
        facts.append(("password", "must be changed before anything else"))
    facts += [("program", one) for one in _standings(user)]
    print_facts(facts)


def _tell_account(user: User, password: _Password | None, done: str, *, as_json: bool) -> None:
    made = {"password": password.text} if password is not None and password.is_generated else {}
    if as_json:
        print_json(_wire(user) | made)
        return
    typer.echo(f"{user.email} (account {user.id}): {done}.")
    if made:
        typer.echo(f"password: {made['password']}")
