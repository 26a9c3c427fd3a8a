"""The way in of a file: who sends it is known first, then it is received, then it is known which program it is for.

The program may be named in the form, in front of the file or behind it, and what counts is what the form and the query
say together. Until that is decided the file is a file of the spool and nothing else.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request

from datacollect.features.attachments.errors import FileLargerThanAllowed
from datacollect.http.body import Sent
from datacollect.http.current import CurrentHub
from datacollect.http.guard import ATTACHMENT_BYTES
from datacollect.http.multipart import FileForm, FilePart
from datacollect.http.policy import Entered, InProgram
from datacollect.http.tenant import ConfigId
from datacollect.kernel.errors import InsufficientRole, TenantAccessDenied, TenantMismatch
from datacollect.kernel.identity import Action, Actor
from datacollect.objects import Incoming, Spooled, SpoolTooLarge

FIELD = "file"


@dataclass(frozen=True, slots=True)
class Received:
    """A form as it arrived. Nothing of it has been looked at, but that it is whole."""

    file: FilePart | None
    spooled: Spooled
    """Empty if there is no file."""
    form: FileForm


class InUpload(InProgram):
    """As `InProgram`, of a form with a file, which is gone when the request has been worked on.

    Who names the program in the query, or may not send files to any, is told before anything is received.
    """

    def __init__(self) -> None:
        super().__init__(Action.CREATE)

    async def __call__(self, request: Request, hub: CurrentHub, _: ConfigId = None) -> AsyncIterator[Entered]:  # type: ignore[override]
        actor = await self.caller(request, hub)
        if request.query_params.get("configId"):
            await self.let_in(request, hub, actor, Sent(None, None))
        else:
            _require_some_program(actor)
        form = FileForm(request, field=FIELD)
        async with hub.spool.receiving(most_bytes=ATTACHMENT_BYTES) as incoming:
            spooled = await _receive(form, incoming)
            document = _named_programs(form.texts)
            yield await self.let_in(request, hub, actor, Sent(document, Received(form.file, spooled, form)))


def _require_some_program(actor: Actor) -> None:
    if actor.is_admin or any(actor.may(tenant_id, Action.CREATE) for tenant_id in actor.tenant_ids):
        return
    if actor.tenant_ids:
        raise InsufficientRole(action=Action.CREATE.value)
    raise TenantAccessDenied()


async def _receive(form: FileForm, incoming: Incoming) -> Spooled:
    try:
        if form.is_multipart:
            async for piece in form.pieces():
                await incoming.write(piece)
        return await incoming.finish()
    except SpoolTooLarge:
        raise FileLargerThanAllowed() from None


def _named_programs(texts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    if any(len(texts.get(name, ())) > 1 for name in ("configId", "tenantId")):
        raise TenantMismatch()
    return {name: texts[name][0] for name in ("configId", "tenantId") if name in texts}
