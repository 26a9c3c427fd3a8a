"""`datacollect program …`: programs, for people who like terminals and for automation."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from datacollect.cli import versions
from datacollect.cli.beside import (
    AsJson,
    answering,
    as_json_text,
    read_json_file,
    require_program,
    with_hub,
)
from datacollect.cli.editing import (
    IfRevision,
    ProgramId,
    editor_of,
    expected_revision,
    reader_of,
    saved,
    tell,
    tell_saved,
)
from datacollect.cli.failures import print_bytes
from datacollect.cli.linting import lint_programs
from datacollect.cli.mistyped import checked
from datacollect.cli.purging import purge_program
from datacollect.cli.showing import counted, print_facts, print_json, print_table, progress_bar
from datacollect.cli.writing import written
from datacollect.db import EVERY_TENANT
from datacollect.eventstore.figures import figures_of
from datacollect.features.tenants import service
from datacollect.features.tenants.accepting import Accepted, accept
from datacollect.features.tenants.artifacts import Picture, artifact_qr, public_base_url, qr_code
from datacollect.features.tenants.config_schemas import ProgramConfig
from datacollect.features.tenants.listing import Line, list_page
from datacollect.features.tenants.model import ANYTHING, LARGEST_CONFIG_BYTES, Expected, ListQuery, classify
from datacollect.features.tenants.seeding import plan_of, seed_records
from datacollect.features.tenants.seeding_job import KIND as SEEDING
from datacollect.http.hub import Hub
from datacollect.kernel.errors import InvalidRequest
from datacollect.kernel.identity import COMMAND_LINE, TenantScope
from datacollect.kernel.source import AT_THE_COMMAND_LINE
from datacollect.settings import Settings, check_addresses, load_settings

app = typer.Typer(help="Programs: check, create, change, archive, bring onto devices.", no_args_is_help=True)

app.command("lint")(lint_programs)
app.command("history")(versions.show_history)
app.command("diff")(versions.show_diff)
app.command("revert")(versions.revert_program)
app.command("purge")(purge_program)

File = Annotated[str, typer.Argument(metavar="FILE", help="The program's config as JSON; `-` is standard input.")]

_PAGE = 100
_LOOK_AGAIN_SECONDS = 0.2
_PICTURES = {".png": Picture.PNG, ".svg": Picture.SVG}
_LOCKED = (
    "Secrets that no key of this hub opens are missing. Set SECRETS_KEY, or SECRETS_KEY_PREVIOUS, to what sealed them."
)
_IN_FILES = frozenset(field.alias for field in ProgramConfig.model_fields.values()) - {"artifactId", "archivedAt"}
"""Members that a config file has; a stored program has more."""


@app.command("create")
def create_program(
    file: File,
    or_update: Annotated[
        bool, typer.Option("--or-update", help="Replace the program if it exists, and seed what is not there yet.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Seed everything before the command ends. Without it, a running hub seeds large programs in the background.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the program of a config file, and seed its data. One that exists is left alone, unless you say otherwise."""

    async def work(hub: Hub) -> dict[str, Any]:
        accepted = _accepted(file, hub)
        plan = plan_of(seed_records(accepted.document.get("entityForms", ()), accepted.entity_data))
        scope = editor_of(accepted.document["id"])
        expected = ANYTHING if or_update else Expected(exists=False)
        async with hub.db.transaction(scope) as tx:
            stored = await service.upload(
                tx,
                scope,
                accepted,
                plan,
                log=hub.log,
                seals=hub.seals,
                base_url=_base_url(hub.settings),
                source=AT_THE_COMMAND_LINE,
                expected=expected,
                now=hub.clock.now(),
            )
        seeding = await _seeded(hub, scope) if wait and stored.seeding else None
        return saved(scope, stored, seeding)

    with answering(as_json=as_json):
        tell_saved(with_hub(work), as_json=as_json)


@app.command("update")
def update_program(
    file: File,
    if_revision: IfRevision = None,
    as_json: AsJson = False,
) -> None:
    """Replace the whole config of a program that exists. What is not in the file is removed; nothing is seeded."""

    async def work(hub: Hub) -> dict[str, Any]:
        accepted = _accepted(file, hub)
        scope = editor_of(accepted.document["id"])
        await require_program(hub, scope.tenant_id)
        async with hub.db.transaction(scope) as tx:
            stored = await service.replace_program(
                tx,
                scope,
                accepted,
                seals=hub.seals,
                base_url=_base_url(hub.settings),
                source=AT_THE_COMMAND_LINE,
                expected=expected_revision(if_revision),
                now=hub.clock.now(),
            )
        return saved(scope, stored)

    with answering(as_json=as_json):
        tell_saved(with_hub(work), as_json=as_json)


@app.command("export")
def export_program(
    program_id: ProgramId,
    out: Annotated[str | None, typer.Option(help="Write to this file, and not to standard output (`-`).")] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="With passwords and keys. Without it they are `********`.")
    ] = False,
) -> None:
    """Print the whole config, as a file that `create` and `update` take. A mask leaves the stored secret as it is."""

    async def work(hub: Hub) -> dict[str, Any]:
        found = await _read(hub, editor_of(program_id) if secrets else reader_of(program_id))
        if not found.is_whole and not _is_seeding(found.document):
            typer.echo(f"datacollect: {_LOCKED}", err=True)
        return {key: value for key, value in found.document.items() if key in _IN_FILES and value not in (None, [])}

    with answering(as_json=False):
        content = as_json_text(with_hub(work))
        if out in (None, "-"):
            print_bytes(content)
        else:
            with written(out, is_secret=secrets) as file:
                file.write(content)


@app.command("list")
def list_programs(
    search: Annotated[str, typer.Option(help="Part of the name, id or version.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the programs, by id."""

    async def work(hub: Hub) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with hub.db.reading(EVERY_TENANT) as view:
            for page in range(1, sys.maxsize):
                query = ListQuery(
                    page=page, page_size=_PAGE, sort_by="id", search=search.strip().lower(), include_archived=archived
                )
                listed = await list_page(view, COMMAND_LINE, query, seals=hub.seals)
                found += map(_line, listed.lines)
                if page >= listed.total_pages:
                    break
        return found

    with answering(as_json=as_json):
        programs = with_hub(work)
        if as_json:
            print_json(programs)
        else:
            columns = ("id", "status", "version", "entities", "name")
            print_table([name.upper() for name in columns], [[one[name] for name in columns] for one in programs])


@app.command("show")
def show_program(program_id: ProgramId, as_json: AsJson = False) -> None:
    """Show the program: its forms and their types of entities, how many entities there are, where its QR code leads."""

    async def work(hub: Hub) -> dict[str, Any]:
        scope = reader_of(program_id)
        found = await _read(hub, scope)
        async with hub.db.reading(scope) as view:
            figures = (await figures_of(view, [scope.tenant_id])).get(scope.tenant_id, {})
        return _summary(found.document, figures, hub.settings)

    with answering(as_json=as_json):
        told = with_hub(work)
        if as_json:
            print_json(told)
        else:
            _print_summary(told)


@app.command("archive")
def archive_program(program_id: ProgramId, as_json: AsJson = False) -> None:
    """Stop the program: nobody can sync with it any more, and its QR code answers 404. Its data stays; see `restore`."""

    async def work(hub: Hub) -> None:
        scope = editor_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.transaction(scope) as tx:
            await service.archive(tx, scope, log=hub.log, source=AT_THE_COMMAND_LINE, now=hub.clock.now())

    with answering(as_json=as_json):
        with_hub(work)
        tell({"id": program_id, "status": "archived"}, f"{program_id} is archived.", as_json=as_json)


@app.command("restore")
def restore_program(program_id: ProgramId, as_json: AsJson = False) -> None:
    """Let an archived program run again, with its data and under the same QR code."""

    async def work(hub: Hub) -> None:
        scope = editor_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.transaction(scope) as tx:
            await service.restore(tx, scope, log=hub.log, source=AT_THE_COMMAND_LINE, now=hub.clock.now())

    with answering(as_json=as_json):
        with_hub(work)
        tell({"id": program_id, "status": "running"}, f"{program_id} runs.", as_json=as_json)


def _require_picture(path: str | Path) -> None:
    if Path(path).suffix.lower() not in _PICTURES:
        raise InvalidRequest("A QR code is written as .png or .svg.")


def _require_address(text: str) -> None:
    if not text.startswith(("http://", "https://")):
        raise InvalidRequest("The hub's address begins with http:// or https://.")


@app.command("qr")
def print_qr(
    program_id: ProgramId,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write a .png or .svg file instead of drawing in the terminal.", callback=checked(_require_picture)
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="The hub's address as devices reach it. [default: PUBLIC_BASE_URL]", callback=checked(_require_address)
        ),
    ] = None,
) -> None:
    """The QR code that brings the program onto a device: it holds the address of the onboarding file, and no secret."""

    async def work(hub: Hub) -> str:
        document = (await _read(hub, reader_of(program_id))).document
        if document["archivedAt"] is not None:
            typer.echo(f"datacollect: {program_id} is archived: the code leads nowhere until it is restored.", err=True)
        return str(document["artifactId"])

    with answering(as_json=False):
        artifact_id = with_hub(work)
        address = base_url.rstrip("/") if base_url else _base_url(load_settings())
        if out is None:
            qr_code(artifact_id, address).terminal(compact=True)
        else:
            with written(str(out), is_secret=False) as file:
                file.write(artifact_qr(artifact_id, address, _PICTURES[out.suffix.lower()]).body)


def _accepted(file: str, hub: Hub) -> Accepted:
    document = read_json_file(file, largest_bytes=LARGEST_CONFIG_BYTES)
    return accept(document, https_only=hub.settings.providers_need_https, sends_codes=hub.settings.sends_codes)


async def _read(hub: Hub, scope: TenantScope) -> service.Shown:
    await require_program(hub, scope.tenant_id)
    async with hub.db.reading(scope) as view:
        return await service.read_program(view, scope, seals=hub.seals)


async def _seeded(hub: Hub, scope: TenantScope) -> Mapping[str, Any]:
    """Work at what is to be done in the background, beside other workers, until the program is seeded."""
    async with hub.jobs.running(only={SEEDING}):
        document = (await _read(hub, scope)).document
        with progress_bar(scope.tenant_id, document["seeding"]["total"]) as progress:
            while _is_seeding(document):
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                document = (await _read(hub, scope)).document
                if progress is not None:
                    progress(document["seeding"]["done"])
    seeding: Mapping[str, Any] = document["seeding"]
    return seeding


def _is_seeding(document: Mapping[str, Any]) -> bool:
    return (document.get("seeding") or {}).get("state") == "running"


def _line(line: Line) -> dict[str, Any]:
    program = line.program
    return {
        "id": program.id,
        "name": program.name,
        "version": program.version or "",
        "status": "running" if program.archived_at is None else "archived",
        "entities": line.entities_count,
        "artifactId": program.artifact_id,
    }


def _summary(document: Mapping[str, Any], figures: Mapping[str, int], settings: Settings) -> dict[str, Any]:
    kinds = classify(document["entityForms"])
    return {
        "id": document["id"],
        "name": document["name"],
        "version": document["version"],
        "status": "running" if document["archivedAt"] is None else "archived",
        "revision": document["revision"],
        "createdAt": document["createdAt"],
        "updatedAt": document["updatedAt"],
        "artifactId": document["artifactId"],
        "onboardingFile": f"{_base_url(settings)}/artifacts/{document['artifactId']}.json",
        "forms": [
            {
                "name": form["name"],
                "title": form["title"],
                "kind": kinds[form["name"]].entity_type,
                "dependsOn": form.get("dependsOn") or None,
                "entities": figures.get(form["name"], 0),
            }
            for form in document["entityForms"]
        ],
        "entities": sum(figures.values()),
        "seeding": document.get("seeding"),
        "identityProviders": [provider["type"] for provider in document["authConfigs"]],
        "externalSystem": (document["externalSync"] or {}).get("type") or None,
    }


def _print_summary(told: Mapping[str, Any]) -> None:
    print_facts(
        [
            ("program", f"{told['id']}: {told['name']}"),
            ("version", told["version"] or "–"),
            ("status", told["status"]),
            ("revision", f"{told['revision']}, of {told['updatedAt']}"),
            ("entities", f"{told['entities']:,}"),
            *_seeding_fact(told["seeding"]),
            ("devices", told["onboardingFile"]),
            ("sign-in", ", ".join(["the hub's accounts", *told["identityProviders"]])),
            ("external", told["externalSystem"] or "–"),
        ]
    )
    for form in told["forms"]:
        below = f", below {form['dependsOn']}" if form["dependsOn"] else ""
        typer.echo(f"  {form['name']}: {form['kind']}{below}, {counted(form['entities'], 'entity', 'entities')}")


def _seeding_fact(seeding: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """Nothing to say of one that is over."""
    if seeding is None or seeding["state"] == "done":
        return []
    return [("seeding", f"{seeding['state']}, {seeding['done']:,} of {seeding['total']:,}")]


def _base_url(settings: Settings) -> str:
    """Where devices reach the hub; without a setting, this machine's own address. Raises `StartupError`."""
    check_addresses(settings)
    return public_base_url(
        settings.public_base_url,
        settings.railway_public_domain,
        scheme="http",
        host="localhost",
        port=settings.port,
    )
