"""`datacollect program purge`: a program and all its data, gone for good."""

from typing import Annotated, Any

import typer

from datacollect.cli.beside import AsJson, answering, require_terminal, with_hub
from datacollect.cli.database import no_such_program
from datacollect.cli.editing import ProgramId, editor_of, tell
from datacollect.cli.showing import counted, progress_bar
from datacollect.features.purging import service
from datacollect.features.purging.purge_job import KIND
from datacollect.features.tenants.errors import ProgramNotFound
from datacollect.http.hub import Hub
from datacollect.jobs import JobState
from datacollect.kernel.errors import Conflict, InvalidRequest, StartupError
from datacollect.kernel.source import AT_THE_COMMAND_LINE

_LOOK_AGAIN_SECONDS = 0.2


def purge_program(
    program_id: ProgramId,
    yes_purge: Annotated[
        str | None, typer.Option(metavar="ID", help="The id again, instead of typing it when asked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete an archived program with all its data, for good. Asks you to type its id.

    If it is interrupted, a running hub deletes the rest.
    """

    async def work(hub: Hub) -> dict[str, Any]:
        if not hub.settings.purge_offered:
            raise StartupError("Purging is switched off here. Set PURGE=true for this command.")
        scope = editor_of(program_id)
        try:
            async with hub.db.transaction(scope) as tx:
                job_id = await service.begin(tx, scope, source=AT_THE_COMMAND_LINE, now=hub.clock.now())
        except ProgramNotFound:
            raise no_such_program(program_id) from None
        async with hub.jobs.running(only={KIND}):
            job = await hub.jobs.wait_for(scope, job_id, seconds=0)
            with progress_bar(scope.tenant_id, (job and job.progress.total) or 0) as progress:
                while job is not None and job.is_active:
                    job = await hub.jobs.wait_for(scope, job_id, seconds=_LOOK_AGAIN_SECONDS)
                    if job is not None and progress is not None:
                        progress(job.progress.done)
        if job is not None and job.state is not JobState.COMPLETED:
            raise Conflict(
                f"The purge was given up ({job.error_code}). The program is gone; purge it again for its data."
            )
        rows = sum(job.result["rows"].values()) if job and job.result else 0
        return {"id": program_id, "deletedRows": rows}

    with answering(as_json=as_json):
        _confirm(program_id, yes_purge)
        told = with_hub(work)
        tell(told, f"{program_id} is gone, with {counted(told['deletedRows'], 'row')}.", as_json=as_json)


def _confirm(program_id: str, yes_purge: str | None) -> None:
    if yes_purge is None:
        require_terminal(f"Say --yes-purge {program_id}.")
        yes_purge = typer.prompt(f"Nobody can bring it back. Type {program_id} to delete it", err=True)
    if yes_purge != program_id:
        raise InvalidRequest("That is not the program's id. Nothing is deleted.")
