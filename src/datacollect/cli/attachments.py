"""Commands on stored attachments."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from datacollect.cli.beside import AsJson, answering, with_hub
from datacollect.cli.database import no_such_program, require_data
from datacollect.cli.files import import_attachments
from datacollect.cli.mistyped import config_ids
from datacollect.cli.showing import counted, print_json, progress_bar, shown
from datacollect.db import EVERY_TENANT
from datacollect.features.attachments.checking import Checked, Checker, Finding, Problem
from datacollect.features.attachments.service import programs_with_attachments
from datacollect.features.attachments.transfer import read_manifest
from datacollect.features.tenants.asked import being_purged, every_program
from datacollect.http.hub import Hub
from datacollect.kernel.errors import StartupError
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.objects import StorageUnavailable
from datacollect.settings import load_settings

app = typer.Typer(help="Stored attachments.", no_args_is_help=True)

_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""

_TOLD = {
    Problem.MISSING: "the bytes are gone",
    Problem.DAMAGED: "the bytes are not those that were uploaded",
    Problem.ORPHANED: "no attachment has these bytes",
    Problem.FOREIGN: "this is nothing that a hub has put there",
    Problem.MISCOUNTED: "the number of attachments that have it is noted wrongly",
}


@app.callback()
def attachments() -> None:
    """Stored attachments."""


@app.command("check")
def check_attachments(
    program: Annotated[
        list[str] | None,
        typer.Option(help="Program to check; may be repeated. All if left out.", callback=config_ids),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare it with its hash.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Take up files whose content is lost, delete others that no attachment refers to, and correct the counts.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the storage of attachments with the database: missing, damaged and orphaned files. Beside a running hub, too. Ends with 0 if all is well, with 3 if something is not."""
    with answering(as_json=as_json):
        programs, unknown = with_hub(lambda hub: _check(hub, program or [], deep=deep, repair=repair))
    ok = all(checked.ok for checked in programs.values()) and not unknown
    if as_json:
        print_json({"ok": ok, "programs": [_as_json(*pair) for pair in programs.items()], "unknownFolders": unknown})
    else:
        _print(programs, unknown)
    if not ok:
        raise typer.Exit(_WRONG)


@app.command("import")
def take_in(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder that `datacollect export --attachments` has written.")
    ],
    program: Annotated[
        str | None,
        typer.Option(help="Id of the program to import into; that of the folder if left out.", callback=config_ids),
    ] = None,
) -> None:
    """Import the attachments of an export. Beside a running hub, too; again is harmless, and goes on where it was cut. Ends with 0 when all are stored, else with 1."""
    settings = load_settings()
    require_data(settings)
    if not asyncio.run(import_attachments(settings, TenantId(program or read_manifest(folder)[0]), folder)):
        raise typer.Exit(1)


async def _check(
    hub: Hub, asked: Sequence[str], *, deep: bool, repair: bool
) -> tuple[dict[TenantId, Checked], Sequence[str]]:
    """What was found in each program, and, if all were checked, the folders of none."""
    checker = Checker(hub.db, hub.objects, hub.log, deep=deep, repair=repair)
    await _require_reachable(hub)
    async with hub.db.reading(EVERY_TENANT) as view:
        known = await programs_with_attachments(view)
        there, purged = {*known, *await every_program(view)}, await being_purged(view)
    named = [TenantId(name) for name in dict.fromkeys(asked)]
    if unknown := [name for name in named if name not in there]:
        raise no_such_program(unknown[0])
    found = {}
    for tenant_id in named or known:
        found[tenant_id] = await _check_one(checker, system_scope(tenant_id))
    if named:
        return found, []
    return found, await checker.unknown_folders([system_scope(tenant_id) for tenant_id in {*there, *purged}])


async def _require_reachable(hub: Hub) -> None:
    """Raises `StartupError` with what to look at: somebody is trying whether the settings are right."""
    try:
        await hub.objects.health()
    except StorageUnavailable as away:
        if hub.settings.attachments_store != "s3":
            folder = hub.settings.attachments_folder
            raise StartupError(f"The folder of attachments, {folder}, cannot be used. Check its rights.") from None
        raise StartupError(_AWAY.get(away.answered, _AWAY_OTHERWISE.format(status=away.answered))) from None


_REFUSED = "The bucket does not let the hub in. Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, S3_REGION, and what the key may do."
_AWAY = {
    None: "Nobody answers where the bucket should be. Check S3_ENDPOINT, S3_CA_FILE and the network.",
    401: _REFUSED,
    403: _REFUSED,
    404: "There is no such bucket. Check S3_BUCKET and S3_ENDPOINT, or make it.",
}
_AWAY_OTHERWISE = "The bucket answers with {status}. Check S3_ENDPOINT, S3_BUCKET and S3_REGION."


async def _check_one(checker: Checker, scope: TenantScope) -> Checked:
    with progress_bar(scope.tenant_id, await checker.expected(scope)) as progress:
        return await checker.check(scope, progress=progress)


def _print(programs: dict[TenantId, Checked], unknown: Sequence[str]) -> None:
    for tenant_id, checked in programs.items():
        word = "ok" if checked.ok else "WRONG"
        found = f", {counted(len(checked.findings), 'finding')}" if checked.findings else ""
        typer.echo(
            f"{word}: {shown(tenant_id)}: {counted(checked.contents, 'file')}, {counted(checked.size_bytes, 'byte')}{found}"
        )
        for finding in checked.findings:
            typer.echo(f"  {_line(finding)}")
    for folder in unknown:
        typer.echo(f"WRONG: the folder {shown(folder)} belongs to no program of this database; it is left as it is.")


def _line(finding: Finding) -> str:
    having = f" (attachments {', '.join(map(shown, finding.attachments))})" if finding.attachments else ""
    repaired = "; repaired" if finding.repaired else ""
    return f"{finding.problem.value}: {shown(finding.name)}: {_TOLD[finding.problem]}{having}{repaired}"


def _as_json(tenant_id: TenantId, checked: Checked) -> dict[str, Any]:
    return {
        "program": tenant_id,
        "ok": checked.ok,
        "files": checked.contents,
        "bytes": checked.size_bytes,
        "findings": [
            {
                "problem": finding.problem.value,
                "name": finding.name,
                "attachments": list(finding.attachments),
                "repaired": finding.repaired,
            }
            for finding in checked.findings
        ],
    }
