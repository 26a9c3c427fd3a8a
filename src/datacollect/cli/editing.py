"""What the commands on programs share: who acts on one, which revision they mean, and what is told of a change."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from datacollect.cli.mistyped import config_ids
from datacollect.cli.showing import print_json
from datacollect.features.tenants.model import ANYTHING, Expected
from datacollect.features.tenants.service import Stored
from datacollect.kernel.identity import COMMAND_LINE, Action, Actor, Role, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import RoleAssignment

ProgramId = Annotated[str, typer.Argument(metavar="PROGRAM", help="The program's `id`.", callback=config_ids)]
IfRevision = Annotated[
    int | None, typer.Option(help="Only if the program is still at this revision; `show` tells it.", min=0)
]


def editor_of(program_id: str) -> TenantScope:
    """Somebody who may do everything to the program, and sees its secrets."""
    return COMMAND_LINE.in_tenant(TenantId(program_id), Action.MANAGE_CONFIG)


def reader_of(program_id: str) -> TenantScope:
    """Somebody who sees everything of the program but its secrets."""
    tenant_id = TenantId(program_id)
    reader = Actor(
        kind="system",
        label=COMMAND_LINE.label,
        tenant_ids=frozenset({tenant_id}),
        assignments=(RoleAssignment(tenant_id, Role.SYSTEM_ADMIN),),
    )
    return reader.in_tenant(tenant_id, Action.READ)


def expected_revision(revision: int | None) -> Expected:
    return ANYTHING if revision is None else Expected(frozenset({(revision, None)}), exists=True)


def saved(scope: TenantScope, stored: Stored, seeding: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is told of a change. `seeding` is how far it is, if that is known better than when it was stored."""
    if seeding is None and stored.seeding is not None:
        seeding = {"state": "running", "total": stored.seeding.total, "done": stored.seeding.tally.done}
    return {
        "id": scope.tenant_id,
        "artifactId": stored.artifact_id,
        "revision": stored.revision.number,
        "warnings": stored.warnings,
    } | ({} if seeding is None else {"seeding": seeding})


def tell_saved(told: Mapping[str, Any], *, as_json: bool) -> None:
    if not as_json:
        for warning in told["warnings"]:
            typer.echo(f"warning: {warning}", err=True)
    tell(told, f"{told['id']} is saved as revision {told['revision']}.{_seeding_text(told)}", as_json=as_json)


def _seeding_text(told: Mapping[str, Any]) -> str:
    seeding = told.get("seeding")
    if seeding is None:
        return ""
    if seeding["state"] == "running":
        return f" {seeding['total']:,} seed records are left to a running hub; `datacollect program show` tells how far it is."
    return f" Seeding is {seeding['state']}: {seeding['done']:,} of {seeding['total']:,}."


def tell(told: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        typer.echo(line)
