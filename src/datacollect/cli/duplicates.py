"""`datacollect duplicates sweep|report`: looking through a whole program, and what has been found."""

from typing import Annotated, Any, Literal

import typer

from datacollect.cli.beside import AsJson, answering, require_program, with_hub
from datacollect.cli.editing import ProgramId, editor_of, reader_of
from datacollect.cli.showing import counted, print_json, print_table, progress_bar
from datacollect.features.duplicates import service
from datacollect.features.duplicates.detecting import KIND
from datacollect.features.duplicates.model import FoundPair, Status
from datacollect.features.duplicates.views import pair_document
from datacollect.http.hub import Hub
from datacollect.kernel.errors import Conflict

app = typer.Typer(help="People who are registered twice: look for them, list them.", no_args_is_help=True)

Asked = Literal["open", "not-a-duplicate", "merged", "deleted", "all"]

_LOOK_AGAIN_SECONDS = 0.2


@app.command("sweep")
def sweep_program(program_id: ProgramId, as_json: AsJson = False) -> None:
    """Compare everybody in the program once more. What has been decided stays decided.

    If it is interrupted, a running hub goes on from where it was.
    """

    async def work(hub: Hub) -> dict[str, Any]:
        scope = editor_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.transaction(scope) as tx:
            job_id = await service.sweep(tx, hub.log, scope, now=hub.clock.now())
        async with hub.db.reading(scope) as view:
            head = await hub.log.head(view, scope)
        async with hub.jobs.running(only={KIND}):
            job = await hub.jobs.wait_for(scope, job_id, seconds=0)
            with progress_bar(scope.tenant_id, head.position if head else 0) as progress:
                while job is not None and job.is_active:
                    job = await hub.jobs.wait_for(scope, job_id, seconds=_LOOK_AGAIN_SECONDS)
                    if job is not None and progress is not None:
                        progress(job.progress.done)
        if job is not None and job.error_code is not None:
            raise Conflict(f"Looking through the program was given up ({job.error_code}). Run this again.")
        async with hub.db.reading(scope) as view:
            count = await service.count_pairs(view, scope, status=Status.OPEN)
        return {"id": program_id, "openPairs": count}

    with answering(as_json=as_json):
        told = with_hub(work)
        if as_json:
            print_json(told)
        else:
            typer.echo(f"{program_id} has {counted(told['openPairs'], 'open pair')}.")


@app.command("report")
def report(
    program_id: ProgramId,
    status: Annotated[Asked, typer.Option(help="Only those in this state.")] = "open",
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """The pairs found last, with what speaks for them. Names are not shown: they are people's data."""

    async def work(hub: Hub) -> service.PairPage:
        scope = reader_of(program_id)
        await require_program(hub, scope.tenant_id)
        wanted = None if status == "all" else Status(status)
        async with hub.db.reading(scope) as view:
            return await service.list_pairs(view, scope, status=wanted, after=None, limit=limit)

    with answering(as_json=as_json):
        page = with_hub(work)
        if as_json:
            print_json([pair_document(found, {}) for found in page.pairs])
        else:
            print_table(["ENTITY", "DUPLICATE", "STATUS", "BITS", "WHY"], [_row(found) for found in page.pairs])


def _row(found: FoundPair) -> list[object]:
    why = ", ".join(f"{each.about} {each.found} {each.bits:+.1f}" for each in found.evidence)
    return [found.newer, found.older, found.status.value, f"{found.bits:.1f}", why]
