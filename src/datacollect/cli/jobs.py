"""`datacollect jobs …`: what the hub does in the background, across programs."""

from typing import Annotated, Any

import typer

from datacollect.cli.beside import AsJson, answering, require_program, with_hub
from datacollect.cli.editing import editor_of, tell
from datacollect.cli.mistyped import checked, config_ids
from datacollect.cli.showing import print_facts, print_json, print_table
from datacollect.db import EVERY_TENANT, Reading
from datacollect.http.hub import Hub
from datacollect.jobs import Job, JobId, JobNotActive, JobNotFound, JobPage, JobState, find_job, list_jobs, read_cursor
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import COMMAND_LINE, Action, TenantScope
from datacollect.kernel.ids import TenantId

app = typer.Typer(
    help="Background jobs: see what runs, call it off, try again what was given up.", no_args_is_help=True
)

JobIdArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id; `list` tells it.")]


@app.command("list")
def show_jobs(
    program: Annotated[str | None, typer.Option(help="Only those of this program.", callback=config_ids)] = None,
    state: Annotated[list[JobState] | None, typer.Option(help="Only those in this state; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only those of this kind; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=1000)] = 50,
    before: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Continue where a page has ended.", callback=checked(read_cursor)),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the last two weeks, the newest first. Those that were given up are `discarded`."""

    async def work(hub: Hub) -> JobPage:
        within = EVERY_TENANT if program is None else editor_of(program)
        if program is not None:
            await require_program(hub, TenantId(program))
        async with hub.db.reading() as view:
            return await list_jobs(view, within, kinds=kind or None, states=state or None, before=before, limit=limit)

    with answering(as_json=as_json):
        page = with_hub(work)
        if as_json:
            print_json({"jobs": [job_line(job) for job in page.jobs], "following": page.following})
            return
        print_table(["ID", "PROGRAM", "KIND", "STATE", "DONE", "CREATED", "ERROR"], [_row(job) for job in page.jobs])
        if page.following is not None:
            typer.echo(f"There are more: --before {page.following}", err=True)


@app.command("show")
def show_job(job_id: JobIdArgument, as_json: AsJson = False) -> None:
    """Show one job: what it is about, and its state."""

    async def work(hub: Hub) -> Job:
        async with hub.db.reading() as view:
            return await _found(view, job_id)

    with answering(as_json=as_json):
        job = with_hub(work)
        if as_json:
            print_json(job_document(job))
        else:
            print_facts([(name, value) for name, value in job_document(job).items() if value is not None])


@app.command("cancel")
def cancel_job(job_id: JobIdArgument, as_json: AsJson = False) -> None:
    """Cancel a job. If it runs, it ends after its present step; what it has done stays."""

    async def work(hub: Hub) -> Job:
        scope, found = await _at_hand(hub, job_id)
        async with hub.db.transaction(scope) as tx:
            job = await hub.jobs.cancel(tx, scope, found)
        if job is None:
            raise JobNotActive()
        return job

    with answering(as_json=as_json):
        job = with_hub(work)
        outcome = "is called off, and ends with what it is doing" if job.is_active else "is cancelled"
        tell(job_document(job), f"{job.id} {outcome}.", as_json=as_json)


@app.command("retry")
def retry_job(job_id: JobIdArgument, as_json: AsJson = False) -> None:
    """Start a job again that was given up. A running hub continues it where it stopped."""

    async def work(hub: Hub) -> Job:
        scope, found = await _at_hand(hub, job_id)
        async with hub.db.transaction(scope) as tx:
            return await hub.jobs.retry(tx, scope, found)

    with answering(as_json=as_json):
        job = with_hub(work)
        tell(job_document(job), f"{job.id} is in line again.", as_json=as_json)


def job_line(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "configId": job.tenant_id,
        "kind": job.kind,
        "key": job.key,
        "state": job.state.value,
        "done": job.progress.done,
        "total": job.progress.total,
        "error": job.error_code,
        "createdAt": format_timestamp(job.created_at),
        "finishedAt": _time(job.finished_at),
    }


def job_document(job: Job) -> dict[str, Any]:
    return job_line(job) | {
        "startedAt": _time(job.started_at),
        "updatedAt": format_timestamp(job.updated_at),
        "tryAgainAt": _time(job.due_at) if job.state is JobState.RETRYABLE else None,
        "deadline": _time(job.deadline),
        "isCalledOff": job.is_called_off,
        "claims": job.attempt,
        "failures": job.failures,
        "args": dict(job.args),
        "result": None if job.result is None else dict(job.result),
    }


async def _at_hand(hub: Hub, job_id: str) -> tuple[TenantScope, JobId]:
    """The job, and the command line in the program that it is of."""
    async with hub.db.reading() as view:
        job = await _found(view, job_id)
    return COMMAND_LINE.in_tenant(job.tenant_id, Action.MANAGE_CONFIG), job.id


async def _found(view: Reading, job_id: str) -> Job:
    job = await find_job(view, EVERY_TENANT, job_id)
    if job is None:
        raise JobNotFound()
    return job


def _row(job: Job) -> list[object]:
    done = job.progress.done if job.progress.total is None else f"{job.progress.done}/{job.progress.total}"
    return [
        job.id,
        job.tenant_id,
        job.kind,
        job.state.value,
        done,
        format_timestamp(job.created_at),
        job.error_code or "–",
    ]


def _time(moment: Millis | None) -> str | None:
    return None if moment is None else format_timestamp(moment)
