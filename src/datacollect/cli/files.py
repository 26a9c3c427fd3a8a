"""The commands that take a program out as a file, and take it up from one."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import structlog
import typer

from datacollect.assembly import (
    create_attachment_exporter,
    create_attachment_importer,
    create_exporter,
    create_importer,
)
from datacollect.cli.alone import alone_in
from datacollect.cli.beside import require_current
from datacollect.cli.database import (
    bring_up_to_date,
    no_such_program,
    open_configured,
    require_data,
    require_reachable,
)
from datacollect.cli.mistyped import config_ids, mistyped
from datacollect.cli.showing import counted, progress_bar, shown
from datacollect.cli.writing import ending_tidily, failing, written
from datacollect.db import Database
from datacollect.db.database import closing
from datacollect.db.migrate import applied_revisions
from datacollect.eventstore.anchors import Anchor, chain_text, read_anchors, write_anchor
from datacollect.features.attachments.transfer import read_manifest
from datacollect.features.audit import service as audit
from datacollect.features.exports.importing import Imported
from datacollect.features.exports.model import Format, Header, Order, What, order_of
from datacollect.features.exports.reading import read_metadata
from datacollect.features.quarantine import service as quarantine
from datacollect.features.reviews import service as reviews
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.errors import DataCollectError, TenantUnknown
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from datacollect.settings import Settings, load_settings

_STDOUT = "-"
_WRONG = 3
"""Not 2: that is what a mistyped option ends with."""


def export_program(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="Id of the program.", callback=config_ids)],
    out: Annotated[str, typer.Option("--out", help="File to write, or `-` for standard output.")],
    format: Annotated[Format, typer.Option(help="What kind of file.")] = Format.JSON,
    what: Annotated[
        What | None, typer.Option(help="`all` (json only, its default: can be imported), entities, events or audit.")
    ] = None,
    form: Annotated[str | None, typer.Option(help="Only entities of this form; as csv one table, no archive.")] = None,
    header: Annotated[Header, typer.Option(help="Name columns by the form's labels, or by its keys.")] = Header.LABELS,
    bom: Annotated[
        bool, typer.Option("--bom", help="Begin each CSV with the mark by which Excel knows UTF-8.")
    ] = False,
    attachments: Annotated[
        Path | None, typer.Option(help="Folder to write the attachments to, beside the file.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out attachments whose bytes are missing or damaged.")
    ] = False,
) -> None:
    """Write a program's data to a file, and its attachments to a folder. The audit trail tells of it. Ends with 0 when all is whole, with 3 if attachments were left out, else with 1."""
    wanted = what or (What.ALL if format is Format.JSON and form is None else What.ENTITIES)
    with mistyped():
        order = order_of(format, wanted, form=form, header=header, bom=bom)
    if skip_missing and attachments is None:
        raise typer.BadParameter("--skip-missing goes with --attachments only.")
    settings = load_settings()
    require_data(settings)
    # Lines of the log go to standard output by default: that is the file's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

    async def work() -> bool:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            await require_current(database)
            with _written(out) as file:
                await _export(database, TenantId(program), order, file)
            if attachments is None:
                return True
            return await _export_attachments(
                settings, database, TenantId(program), attachments, skip_missing=skip_missing
            )

    with ending_tidily():
        is_whole = asyncio.run(work())
    if not is_whole:
        raise typer.Exit(_WRONG)


async def _export(database: Database, tenant: TenantId, order: Order, file: IO[bytes]) -> None:
    scope = system_scope(tenant)
    staying = await _staying_behind(database, scope) if order.what is What.ALL else ""
    begun = time.monotonic()
    try:
        async with create_exporter(database).export(scope, Tenant(tenant, tenant), order, by="command line") as export:
            with progress_bar(tenant, export.expected) as progress:
                export.tally.on_progress = progress
                async for piece in export.pieces:
                    file.write(piece)
    except TenantUnknown:
        raise no_such_program(tenant) from None
    tally = export.tally
    rows = ", ".join(
        f"{count:,} {name}"
        for name, count in (("entities", tally.entities), ("events", tally.events), ("audit entries", tally.entries))
        if count
    )
    if staying:
        typer.echo(f"datacollect: Not in the file, and left behind by an import: {staying}.", err=True)
    typer.echo(
        f"{shown(tenant)}: {rows or 'nothing'}, {tally.bytes:,} bytes, {time.monotonic() - begun:.1f} s", err=True
    )


async def _staying_behind(database: Database, scope: TenantScope) -> str:
    """What the program has that no import brings, as it is before the export is noted; empty if there is nothing."""
    async with database.reading(scope) as view:
        submitted, waiting = await reviews.count(view, scope)
        told = (
            (submitted, f"{counted(submitted, 'review')} ({waiting:,} waiting)"),
            (refused := await quarantine.count_open(view, scope), counted(refused, "quarantined event")),
            (notes := await audit.count_notes(view, scope), counted(notes, "note") + " of the audit trail"),
        )
    return ", ".join(text for count, text in told if count)


async def _export_attachments(
    settings: Settings, database: Database, tenant: TenantId, folder: Path, *, skip_missing: bool
) -> bool:
    """Whether all are there."""
    scope = system_scope(tenant)
    exporter = create_attachment_exporter(settings, database)
    with progress_bar(tenant, await exporter.expected(scope)) as progress:
        done = await exporter.export(scope, folder, skip_missing=skip_missing, progress=progress)
    for guid, what in done.left_out:
        typer.echo(f"datacollect: Left out: attachment {guid}: {what}", err=True)
    attachments, files = counted(done.attachments, "attachment"), counted(done.files, "file")
    typer.echo(f"{shown(tenant)}: {attachments}, {files} of {done.size_bytes:,} bytes", err=True)
    return not done.left_out


@contextlib.contextmanager
def _written(out: str) -> Iterator[IO[bytes]]:
    """The file, readable by its owner only; or standard output."""
    if out == _STDOUT:
        with failing(out):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    with written(out, is_secret=True) as file:
        yield file


def import_program(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export as json, of everything.")],
    as_id: Annotated[
        str | None,
        typer.Option("--as", help="Id of the program to import into; the file's own if left out.", callback=config_ids),
    ] = None,
    attachments: Annotated[
        Path | None, typer.Option(help="Folder of its attachments; they can also be imported later, alone.")
    ] = None,
) -> None:
    """Import a program from its export: all of it, or nothing. The program must have no events; it is made if it is not there. Attachments follow one by one.

    On SQLite no hub may be running. Ends with 0 when all is stored, else with 1.
    """
    settings = load_settings()
    # Events and states make no cycles; looking for some after every 700 objects would take a third of the time.
    gc.set_threshold(200_000)
    with alone_in(settings):
        if attachments is not None:
            read_manifest(attachments)
        imported = asyncio.run(_import(settings, file, as_id))
        is_whole = attachments is None or asyncio.run(import_attachments(settings, imported.tenant_id, attachments))
    made = "made" if imported.created else "was there, without events; its config is left as it is"
    typer.echo(
        f"{shown(imported.tenant_id)}: {imported.head.position:,} events, {imported.entities:,} entities; program {made}"
    )
    if not is_whole:
        raise typer.Exit(1)


async def _import(settings: Settings, file: Path, as_id: str | None) -> Imported:
    metadata = read_metadata(file)
    tenant = TenantId(as_id or metadata.config_id)
    anchors: dict[int, list[bytes]] = {}
    for anchor in read_anchors(settings.data_dir, tenant):
        anchors.setdefault(anchor.position, []).append(anchor.chain_hash)
    async with closing(open_configured(settings)) as database:
        await require_reachable(database)
        await _require_tables(database)
        rows = metadata.head.position + sum(metadata.entities_by_form.values())
        with progress_bar(tenant, rows) as progress:
            imported = await create_importer(database).take_in(
                file, tenant_id=tenant, anchors=anchors, progress=progress
            )
    head = imported.head
    if head.position:
        try:
            write_anchor(settings.data_dir, tenant, Anchor(head.position, head.chain_hash, SystemClock().now()))
        except DataCollectError as refused:
            typer.echo(f"datacollect: There is no anchor of it: {refused.message}", err=True)
    if max(anchors, default=0) > head.position:
        typer.echo(
            f"datacollect: There are anchors of {shown(tenant)} behind position {head.position:,}, where this export ends"
            f" ({chain_text(head.chain_hash)}). `datacollect verify` will tell so: what they anchored is not in the file.",
            err=True,
        )
    return imported


async def _require_tables(database: Database) -> None:
    """Make them where there are none. Those of another release are left alone: its hub may be serving from them."""
    async with database.reading() as view:
        is_empty = not await view.connection.run_sync(applied_revisions)
    if is_empty:
        await bring_up_to_date(database)
    else:
        await require_current(database)


async def import_attachments(settings: Settings, tenant: TenantId, folder: Path) -> bool:
    """Whether nothing was in the way of any of them."""
    scope = system_scope(tenant)
    _, count = read_manifest(folder)
    async with closing(open_configured(settings)) as database:
        await require_reachable(database)
        await require_current(database)
        with progress_bar(tenant, count) as progress:
            try:
                done = await create_attachment_importer(settings, database).take_in(scope, folder, progress=progress)
            except TenantUnknown:
                raise no_such_program(tenant) from None
    for message in done.contradicting:
        typer.echo(f"datacollect: Left out: {message}", err=True)
    before = f"; {done.there_before:,} were there" if done.there_before else ""
    deleted = f"; {done.deleted_here:,} are deleted here, and stay so" if done.deleted_here else ""
    typer.echo(f"{shown(tenant)}: {done.attachments:,} attachments of {done.size_bytes:,} bytes{before}{deleted}")
    return not done.contradicting
