"""`datacollect messages list|test`: what has become of messages to people, and whether the hub can send any."""

from typing import Annotated, Any

import typer

from datacollect.cli.beside import AsJson, answering, require_program, with_hub
from datacollect.cli.editing import ProgramId, editor_of
from datacollect.cli.mistyped import checked
from datacollect.cli.showing import print_json, print_table
from datacollect.features.messages import service
from datacollect.features.messages.model import Status, Stored
from datacollect.features.messages.service import KIND, MessageId, NewMessage, Purpose
from datacollect.features.messages.views import message_document
from datacollect.http.hub import Hub
from datacollect.jobs import JobId, find_latest
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import Conflict, InvalidRequest
from datacollect.messaging import dialled, is_mailbox

app = typer.Typer(help="Messages to people: see what became of them, send one to try.", no_args_is_help=True)

_TEST_SECONDS = 60


@app.command("list")
def list_messages(
    program_id: ProgramId,
    status: Annotated[Status | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the messages of the last 30 days, the newest first, with masked addresses and without texts."""

    async def work(hub: Hub) -> list[Stored]:
        scope = editor_of(program_id)
        await require_program(hub, scope.tenant_id)
        async with hub.db.reading(scope) as view:
            page, _ = await service.newest(view, scope, status=status, before=None, limit=limit)
        return list(page)

    with answering(as_json=as_json):
        found = [message_document(message) for message in with_hub(work)]
        if as_json:
            print_json({"messages": found})
            return
        headings = ["ID", "PURPOSE", "CHANNEL", "TO", "STATUS", "TRIES", "CREATED", "CODE"]
        print_table(headings, [_row(message) for message in found])


def _require_address(text: str) -> None:
    if dialled(text) is None and not is_mailbox(text):
        raise InvalidRequest("That is neither a phone number, as in +49 151 123456, nor an e-mail address.")


@app.command("test")
def send_test(
    program_id: ProgramId,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS", help="A phone number, or an e-mail address.", callback=checked(_require_address)
        ),
    ],
    language: Annotated[str | None, typer.Option(help="Its language. [default: the program's first]")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message in the way codes are sent, and wait for the result. It counts as one of the day's messages."""

    async def work(hub: Hub) -> Stored:
        scope, now = editor_of(program_id), hub.clock.now()
        await require_program(hub, scope.tenant_id)
        tenant = await hub.tenants.find(scope.tenant_id)
        if tenant is None:
            raise Conflict(f"{program_id} is archived: nothing is sent for it until it is restored.")
        said = service.compose(tenant, Purpose.TEST, language=language)
        message = NewMessage(
            service.channel_of(address),
            address,
            Purpose.TEST,
            said.text,
            Millis(now + _TEST_SECONDS * 1000),
            subject=said.subject,
        )
        async with hub.db.transaction(scope) as tx:
            message_id = MessageId(await hub.messages.enqueue(tx, scope, tenant, message, now=now))
            job = await find_latest(tx, scope, KIND, key=message_id)
        assert job is not None
        async with hub.jobs.running(only={KIND}):
            await hub.jobs.wait_for(scope, JobId(job.id), seconds=_TEST_SECONDS + 5)
        async with hub.db.reading(scope) as view:
            return await service.get(view, scope, message_id)

    with answering(as_json=as_json):
        message = with_hub(work)
        if as_json:
            print_json(message_document(message))
        if message.status is not Status.DELIVERED:
            raise Conflict(f"The message was not delivered: it is {message.status} ({message.code}).")
        if not as_json:
            typer.echo(f"Delivered by {message.channel} to {message.masked} as {message.id}.")


def _row(message: dict[str, Any]) -> list[object]:
    names = ("id", "purpose", "channel", "to", "status", "attempts", "createdAt")
    return [*(message[name] for name in names), message["code"] or "–"]
