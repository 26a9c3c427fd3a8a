"""Secrets and people's data planted in a hub, then looked for in all that each command prints."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from typer.core import TyperGroup
from typer.main import get_command

from datacollect.app import create_app
from datacollect.cli.commands import command_line
from datacollect.db import EVERY_TENANT
from datacollect.http.hub import Hub
from datacollect.jobs import list_jobs
from tests.accounts import make_person
from tests.attachments import attach
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.e2e.conftest import Run
from tests.factories import new_id, push
from tests.features.messages.outbox import Box
from tests.security.canaries import PEOPLE, Canaries, person_event, secret_config
from tests.security.test_secrets import break_database, breaking

pytestmark = pytest.mark.anyio

NOT_RUN = {
    "serve": "its requests are those of test_secrets.py",
    "mock-registry": "a registry of made-up persons, which prints the secret that its callers need",
    "stand-in": "made-up records, and nothing of a hub",
    "simulate": "made-up persons in a database of its own",
    "dev-env": "prints the login that it has made, for its reader",
}


@dataclass(frozen=True)
class Call:
    """A command as somebody calls it; `may` names what its standard output may hold, for that is what it is for."""

    name: str
    arguments: Sequence[str] = ()
    may: Sequence[str] = ()
    stdin: str = ""
    code: int = 0


@dataclass
class Planted:
    program: str
    config: dict[str, Any]
    email: str
    job: str
    broken: Sequence[str]
    """Configs with something wrong beside each of their secrets."""


def calls(planted: Planted, canary: Canaries, folder: Path) -> Sequence[Call]:
    """Each command at least once, and at the end what undoes what others need."""
    return [
        *of_the_hub(planted),
        *of_programs(planted, folder),
        *of_data(planted, canary, folder),
        *of_accounts(planted, canary),
        Call("program archive", [planted.program]),
        Call("program restore", [planted.program]),
        Call("program archive", [planted.program]),
        Call("program purge", [planted.program, "--yes-purge", planted.program]),
    ]


def of_the_hub(planted: Planted) -> Iterator[Call]:
    program, email = planted.program, planted.email
    yield Call("migrate")
    yield Call("verify")
    yield Call("rebuild", ["--check"])
    yield Call("rebuild")
    yield Call("restored")
    yield Call("secrets reseal")
    yield Call("openapi")
    for page in ("adapters", "command-line", "errors", "limits", "permissions", "program-config", "settings"):
        yield Call(f"reference {page}")
    yield Call("permissions explain", [email, "GET /api/entities", program], ["email"])
    yield Call("permissions explain", [email, "POST /api/users"], ["email"], code=3)


def of_programs(planted: Planted, folder: Path) -> Iterator[Call]:
    program, document = planted.program, json.dumps(planted.config)
    yield Call("program list")
    yield Call("program show", [program])
    yield Call("program create", ["-"], stdin=document, code=1)
    yield Call("program create", ["-", "--or-update", "--wait"], stdin=document)
    changed = json.dumps(planted.config | {"externalSync": None, "authConfigs": []})
    yield Call("program update", ["-"], stdin=changed)
    yield Call("program diff", [program])
    for broken in planted.broken:
        for name in ("create", "update", "lint"):
            yield Call(f"program {name}", ["-"], stdin=broken, code=1)
    yield Call("program lint", ["-", "--production", "--this-hub"], stdin=document)
    yield Call("program history", [program])
    yield Call("program revert", [program, "1"])
    yield Call("program export", [program], ["seed", "phone"])
    yield Call("program export", [program, "--secrets", "--out", str(folder / "config.json")])
    yield Call("program qr", [program])


def of_data(planted: Planted, canary: Canaries, folder: Path) -> Iterator[Call]:
    program, export, files = planted.program, str(folder / "export.json"), str(folder / "files")
    yield Call("export", [program, "--out", export, "--attachments", files])
    yield Call("export", [program, "--out", "-", "--format", "ndjson"], PEOPLE)
    yield Call("import", [export, "--as", "elsewhere", "--attachments", files])
    yield Call("import", [export, "--as", "elsewhere"], code=1)
    yield Call("attachments import", [files, "--program", "elsewhere"])
    yield Call("attachments check", ["--deep"])
    yield Call("jobs list")
    yield Call("jobs show", [planted.job])
    yield Call("jobs retry", [planted.job], code=1)
    yield Call("jobs cancel", [planted.job], code=1)
    yield Call("messages list", [program])
    yield Call("messages test", [program, canary["no-address"]], code=2)
    yield Call("messages test", [program, f"{canary['no-address']}@hub.test"], code=1)
    yield Call("duplicates sweep", [program])
    yield Call("duplicates report", [program])


def of_accounts(planted: Planted, canary: Canaries) -> Iterator[Call]:
    program, email, word = planted.program, planted.email, canary["password"]
    yield Call("user create", [f"own-{email}", "--password-stdin"], ["email"], f"{word}\n")
    yield Call("user create", [f"own-{email}", "--password-stdin"], ["email"], f"{word}\n", code=1)
    yield Call("user create", [f"weak-{email}", "--password-stdin"], stdin=f"{word.lower()}\n", code=1)
    yield Call("user set-password", [f"own-{email}", "--password-stdin"], ["email"], f"{canary['new']}\n")
    yield Call("user list", (), ["email"])
    yield Call("user show", [email], ["email"])
    yield Call("user sessions", [email])
    yield Call("user end-sessions", [email], ["email"])
    yield Call("user roles add", [f"own-{email}", f"{program}:viewer"], ["email"])
    yield Call("user roles remove", [f"own-{email}", program], ["email"])
    yield Call("user delete", [f"own-{email}", "--yes"], ["email"])


def names(command: Any = None, name: str = "") -> Iterator[tuple[str, bool]]:
    """Of all commands, each with whether it prints JSON when asked."""
    command = command or get_command(command_line())
    if not isinstance(command, TyperGroup):
        yield name, any("--json" in param.opts for param in command.params)
        return
    for sub, inner in command.commands.items():
        yield from names(inner, f"{name} {sub}".strip())


def broken(config: dict[str, Any], canary: Canaries) -> Sequence[str]:
    document = json.dumps(config)
    wrong = (
        config | {"externalSync": canary["adapter"]},
        config | {"externalSync": {"adapterConfig": canary["adapter"]}},
        config | {"authConfigs": [canary["provider"]]},
        config | {"url": f"https://u:{canary['url']}@x.test"},
        config | {"name": {canary["seed"]: 1}},
        config | {"entityData": [{"name": canary["seed"], "data": [canary["phone"]]}]},
    )
    return [document[:-9], document + canary["seed"], *map(json.dumps, wrong)]


@pytest.fixture
async def planted(migrated: None, environment: dict[str, str], canary: Canaries) -> Planted:
    """A program whose every table that commands look into holds something that is not for those who read logs."""
    config = secret_config(canary)
    canary.also("jwt-secret", environment["JWT_SECRET"])
    environment["ADMIN_PASSWORD"] = canary["first"]
    settings = make_settings(Path(environment["DATA_DIR"]), environment.get("DATABASE_URL"))
    app = create_app(settings)
    async with app.router.lifespan_context(app), asgi_client(app) as admin:
        hub: Hub = app.state.hub
        signed_in = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers["Authorization"] = f"Bearer {canary.also('token', signed_in.json()['token'])}"
        saved = await admin.post("/api/apps", json=config)
        assert saved.status_code == 200, saved.text
        email = await fill(admin, hub, config["id"], canary)
        await hub.jobs.drain()
        async with hub.db.reading() as view:
            page = await list_jobs(view, EVERY_TENANT, kinds=None, states=None, before=None, limit=1)
    return Planted(config["id"], config, email, page.jobs[0].id, broken(config, canary))


async def fill(admin: AsyncClient, hub: Hub, program: str, canary: Canaries) -> str:
    """People, a refused event, a photo, a message that waits, and an account, whose address it gives."""
    events = [person_event(canary), person_event(canary)]
    assert (await push(admin, program, *events)).status_code == 200
    refused = person_event(canary, type="no-such-type")
    assert (await push(admin, program, refused, atomic=False)).status_code == 207
    await attach(admin, program, events[0]["entityGuid"], name=f"{canary['person']}.jpg")
    canary.also("address", "+491517238946")
    await Box(hub, program).put(address=canary.words["address"], text=canary["text"])
    email = canary.also("email", new_id("kanari7"))
    await make_person(admin, email=f"{email}@hub.test", password=canary["password"], tenantIds=[program])
    return f"{email}@hub.test"


def told(run: Run, call: Call, canary: Canaries, *more: str) -> tuple[int, str]:
    """How it ended, and what it said to its reader; it must not have said more than they may know."""
    ended = run(*call.name.split(), *call.arguments, *more, stdin=call.stdin)
    # Who is meant may also be named where it is said what is wrong.
    named = set(call.may) & {"email"}
    leaked = canary.found_in(ended.stdout, *call.may) + canary.found_in(ended.stderr, *named)
    assert leaked == [], f"{call.name} told {leaked}: {ended.stdout[-2000:]} {ended.stderr[-2000:]}"
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("migrated", ["sqlite"], indirect=True)
async def test_no_command_tells_what_it_is_not_asked_for(
    run: Run, planted: Planted, canary: Canaries, tmp_path: Path
) -> None:
    called, takes_json = calls(planted, canary, tmp_path), dict(names())
    assert {call.name for call in called} | set(NOT_RUN) == set(takes_json)
    for call in called:
        code, said = told(run, call, canary)
        assert code == call.code, f"{call.name} ended with {code}: {said}"
        if takes_json.pop(call.name, False):
            told(run, call, canary, "--json")


@pytest.mark.parametrize("migrated", ["postgres"], indirect=True)
async def test_no_command_tells_a_secret_when_it_breaks_down(
    run: Run, planted: Planted, canary: Canaries, tmp_path: Path, environment: dict[str, str]
) -> None:
    """PostgreSQL quotes the row that it refuses, and who speaks to it the values of the statement."""
    no_accounts = "ALTER TABLE users RENAME TO gone_users"
    await break_database(environment, tmp_path, [*breaking("postgres"), no_accounts])
    once = {call.name: call for call in calls(planted, canary, tmp_path)}
    said = [told(run, call, canary)[1] for call in once.values()]
    assert sum("broke down" in text for text in said) > 10, "hardly anything broke down, so nothing was shown"
