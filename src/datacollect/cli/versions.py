"""`datacollect program history|diff|revert`: what was done to a program, and back."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import typer

from datacollect.cli.beside import AsJson, answering, require_program, with_hub
from datacollect.cli.editing import IfRevision, ProgramId, editor_of, expected_revision, reader_of, saved, tell_saved
from datacollect.cli.showing import print_json, print_table, shown
from datacollect.features.tenants import service
from datacollect.features.tenants.differences import Comparison, Difference, Kind, path_for_people
from datacollect.features.tenants.versions_model import Version
from datacollect.features.tenants.versions_views import diff_document, version_line
from datacollect.http.hub import Hub
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.source import AT_THE_COMMAND_LINE

_LONGEST_VALUE = 120
_MARKS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~", Kind.MOVED: "%"}

Revision = Annotated[int, typer.Argument(metavar="REVISION", help="The revision; `history` lists them.", min=1)]


def show_history(
    program_id: ProgramId,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show who has changed the program, and when: the newest first."""

    async def work(hub: Hub) -> list[Version]:
        scope = reader_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.reading(scope) as view:
            return (await service.list_versions(view, scope, before=None, limit=limit)).versions

    with answering(as_json=as_json):
        versions = with_hub(work)
        if as_json:
            print_json([version_line(version) for version in versions])
        else:
            print_table(["REVISION", "WHEN", "BY", "WHAT"], [_row(version) for version in versions])


def show_diff(
    program_id: ProgramId,
    revision: Annotated[
        int | None, typer.Argument(metavar="REVISION", help="The version to look at. [default: the present one]", min=1)
    ] = None,
    against: Annotated[
        int | None, typer.Option(help="The version to compare with. [default: the one before]", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the differences between two versions of the program. Secrets are not shown, only that they changed."""

    async def work(hub: Hub) -> Comparison:
        scope = reader_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.reading(scope) as view:
            wanted = revision or (await service.read_program(view, scope, seals=hub.seals)).revision.number
            return await service.compare_versions(view, scope, wanted, against, seals=hub.seals)

    with answering(as_json=as_json):
        found = with_hub(work)
        if as_json:
            print_json(diff_document(found))
        else:
            for line in _diff(found):
                typer.echo(line)


def revert_program(
    program_id: ProgramId, revision: Revision, if_revision: IfRevision = None, as_json: AsJson = False
) -> None:
    """Go back to an older version of the program, secrets included, as a new revision."""

    async def work(hub: Hub) -> Mapping[str, Any]:
        scope = editor_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.transaction(scope) as tx:
            stored = await service.revert(
                tx,
                scope,
                revision,
                expected=expected_revision(if_revision),
                source=AT_THE_COMMAND_LINE,
                now=hub.clock.now(),
            )
        return saved(scope, stored)

    with answering(as_json=as_json):
        tell_saved(with_hub(work), as_json=as_json)


def _row(version: Version) -> list[object]:
    change = version.change
    what = change.action.value + (f" ({change.detail})" if change.detail else "")
    return [version.revision, format_timestamp(version.recorded_at), version.actor, what]


def _diff(found: Comparison) -> Iterator[str]:
    yield f"revision {found.revision} against {found.against or 'nothing'}"
    for change in found.changes:
        yield f"{_MARKS[change.kind]} {shown(path_for_people(change.path))}: {_values(change)}"
    for seeds in found.seeds:
        yield f"~ entityData of {shown(seeds.form)}: {seeds.added} added, {seeds.removed} removed, {seeds.changed} changed"


def _values(change: Difference) -> str:
    if change.kind is Kind.ADDED:
        return _value(change.after)
    if change.kind is Kind.REMOVED:
        return _value(change.before)
    return f"{_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    text = shown(msgspec.json.encode(value).decode())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
