"""`/api/attachments`: photos and documents of entities."""

import re
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response, status

from datacollect.features.attachments import service
from datacollect.features.attachments.answering import FileAnswer
from datacollect.features.attachments.contents.model import Content
from datacollect.features.attachments.errors import InvalidAttachmentQuery, LinkInvalid, RangeNotSatisfiable
from datacollect.features.attachments.judging import judged
from datacollect.features.attachments.links import is_valid, link_path
from datacollect.features.attachments.model import (
    Attachment,
    Mark,
    Part,
    Unsatisfiable,
    etag_of,
    parse_mark,
    part_of,
)
from datacollect.features.attachments.naming import disposition
from datacollect.features.attachments.receiving import FIELD, InUpload
from datacollect.features.attachments.schemas import (
    AttachmentList,
    Changes,
    Deleted,
    Link,
    LinkWanted,
    Pending,
    Target,
    Uploaded,
    buried,
    shown,
)
from datacollect.http.body import ProgramBody
from datacollect.http.conditional import holds
from datacollect.http.current import CurrentHub
from datacollect.http.entity_paths import any_text
from datacollect.http.hub import Hub
from datacollect.http.openapi import errors
from datacollect.http.policy import PUBLIC, Entered, InProgram
from datacollect.http.tenant import tenant_of
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.errors import InvalidPayload
from datacollect.kernel.filetypes import FILE_TYPES
from datacollect.kernel.identity import Action, TenantScope, system_scope
from datacollect.objects import ObjectMissing

router = APIRouter(prefix="/api/attachments", tags=["Attachments"])

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000
_LIMIT = re.compile(r"[0-9]{1,4}")
_INSTANT = re.compile(r"[0-9]{1,15}")

_log = structlog.get_logger(component="attachments")

# The exit code runs before the answer is sent: the file in the spool is gone when somebody is told that it is stored.
Sender = Annotated[Entered, Depends(InUpload(), scope="function")]
Reader = Annotated[Entered, Depends(InProgram(Action.READ))]
WholeReader = Annotated[Entered, Depends(InProgram(Action.READ, whole=True))]
# Decision 19: whoever may send files may delete them.
Deleter = Annotated[
    Entered, Depends(InProgram(Action.UPDATE, body=ProgramBody(Target, refused=InvalidPayload, required=False)))
]
Sharer = Annotated[
    Entered, Depends(InProgram(Action.READ, body=ProgramBody(LinkWanted, refused=InvalidPayload, required=False)))
]
Guid = Annotated[str, Path(description="The attachment's guid.")]
Expires = Annotated[str, Query(description="As in the link.")]
Signature = Annotated[str, Query(description="As in the link.")]

_NO_SUCH = "There is no such attachment within your reach, or no such program."
_NO_PROGRAM = "There is no such program."
_NOT_THERE = {
    500: "The file's bytes are missing or damaged (`OBJECT_MISSING`, `OBJECT_DAMAGED`), or something else went wrong.",
    503: "The storage cannot be reached just now.",
}
_TAG = {"ETag": {"description": "The file's SHA-256.", "schema": {"type": "string"}}}
_BINARY: dict[str, Any] = {
    media_type: {"schema": {"type": "string"} | ({} if media_type.startswith("text/") else {"format": "binary"})}
    for media_type in sorted(FILE_TYPES)
}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD, "entityGuid"],
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": "The file, with its name and type.",
                        },
                        "entityGuid": {"type": "string", "minLength": 1, "maxLength": 512},
                        "configId": {"type": "string", "description": "The program; the query may name it instead."},
                        "guid": {
                            "type": "string",
                            "format": "uuid",
                            "description": "Of the attachment: sent again with the same, it is stored once.",
                        },
                        "hash": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F]{64}$",
                            "description": "SHA-256 of the file, in hexadecimal digits: another one is refused.",
                        },
                    },
                },
                "encoding": {FIELD: {"contentType": ", ".join(sorted(FILE_TYPES))}},
            }
        },
    }
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, in the media type it was sent as.", "content": _BINARY, "headers": _TAG},
    206: {"description": "The part of the file that `Range` asks for.", "content": _BINARY, "headers": _TAG},
    304: {"description": "The caller has the file: `If-None-Match` names its tag.", "headers": _TAG},
    416: {"description": "The file has no such part; `Content-Range` tells its size."},
}


@router.post(
    "/upload",
    status_code=201,
    summary="Attach a file to an entity",
    response_model=Uploaded,
    openapi_extra=_FORM,
    responses={
        200: {"model": Uploaded, "description": "The file had been stored before, under the same `guid`."},
        **errors(
            400,
            408,
            texts={
                404: "There is no such program, or no such entity within your reach.",
                409: "The entity is deleted, the guid is taken, or there may be no more attachments.",
                413: "The file is larger than the program takes.",
                415: "The file is of no type that the program takes, or is not what it is declared as.",
                503: "The storage or the database cannot be reached just now.",
                507: "There is no room left.",
            },
        ),
    },
)
async def upload_attachment(hub: CurrentHub, sender: Sender, response: Response) -> Uploaded:
    """Store one file. When this answers 201, it is stored for good, whole and once.

    A retry with the same `guid` and content is answered 200 with what is there. With `hash` a file that was spoilt on
    the way is refused. The file's content must be of its declared type, and that one of the program's types. A file may
    come before the event that creates its entity; until that comes it is `pending`. A file for an entity that was merged
    into another one is attached to that; the answer names it. Any role but viewer.
    """
    tenant = sender.tenant
    new = await judged(sender.body, tenant.attachments)
    made, is_new = await hub.attachments.keep(sender.scope, tenant.attachments, new, sender.body.spooled)
    if not is_new:
        response.status_code = 200
    return Uploaded(attachment=shown(made, sender.scope.tenant_id))


@router.get(
    "",
    summary="Attachments that are new or gone",
    response_model=Changes,
    responses=errors(400, texts={404: _NO_PROGRAM}),
)
async def list_attachments(
    hub: CurrentHub,
    reader: Reader,
    since: Annotated[
        str, Query(description="The `nextCursor` of the page before; without it from the beginning.")
    ] = "",
    limit: Annotated[str, Query(description=f"1 to {LARGEST_PAGE}.")] = str(DEFAULT_PAGE),
) -> Changes:
    """What was attached and deleted since, in the order in which the hub stored it: nothing is ever passed over. After a
    restore or an import of the program it begins anew.

    A reader who is limited to areas is told of entities that are there now; of one that comes later, ask for its list.
    """
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        page = await service.changes(view, scope, _mark(since), limit=_limit(limit))
    return Changes(
        attachments=[shown(one, scope.tenant_id) for one in page.found if one.deleted_at is None],
        deleted=[buried(one, scope.tenant_id) for one in page.found if one.deleted_at is not None],
        next_cursor=str(page.mark or ""),
        has_more=page.has_more,
    )


@router.get(
    "/pending",
    summary="Attachments that wait for their entity",
    response_model=Pending,
    responses=errors(400, texts={404: _NO_PROGRAM}),
)
async def list_pending_attachments(
    hub: CurrentHub,
    reader: WholeReader,
    since: Annotated[str, Query(description="The `nextCursor` of the page before.")] = "",
    limit: Annotated[str, Query(description=f"1 to {LARGEST_PAGE}.")] = str(DEFAULT_PAGE),
) -> Pending:
    """Files that were stored before the event that creates their entity. One that stays here belongs to an event that
    never came: look at the device, or into the quarantine. A page may hold fewer than `limit`.
    """
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        page = await service.pending(view, scope, _mark(since), limit=_limit(limit))
    attachments = [shown(one, scope.tenant_id) for one in page.found]
    return Pending(attachments=attachments, next_cursor=str(page.mark) if page.has_more else None)


@router.get(
    f"/entity/{any_text('entityGuid')}",
    summary="Attachments of an entity",
    response_model=AttachmentList,
    responses=errors(400, texts={404: _NO_PROGRAM}),
)
async def list_attachments_of_entity(
    hub: CurrentHub,
    reader: Reader,
    entity_guid: Annotated[str, Path(alias="entityGuid", description="The entity's guid.")],
) -> AttachmentList:
    """By time; none of an entity that is unknown, deleted or beyond the reader's reach."""
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        found = await service.of_entity(view, scope, entity_guid)
    return AttachmentList(attachments=[shown(one, scope.tenant_id) for one in found])


@router.get(
    "/{guid}/metadata",
    summary="What is known of an attachment",
    response_model=Uploaded,
    responses=errors(400, texts={404: _NO_SUCH}),
)
async def get_attachment_metadata(guid: Guid, hub: CurrentHub, reader: Reader) -> Uploaded:
    """Everything but its bytes."""
    async with hub.db.reading(reader.scope) as view:
        found = await service.get(view, reader.scope, guid)
    return Uploaded(attachment=shown(found, reader.scope.tenant_id))


@router.get(
    "/{guid}",
    summary="Download an attachment",
    response_class=Response,
    responses=_FILE | errors(400, texts={404: _NO_SUCH, **_NOT_THERE}),
)
async def download_attachment(guid: Guid, request: Request, hub: CurrentHub, reader: Reader) -> Response:
    """The file. One `Range` of it may be asked for, with `If-Range` as long as it is the same file."""
    found, answer = await _file(request, hub, reader.scope, guid)
    # A part may be all of the file but a byte.
    if answer.status_code != status.HTTP_304_NOT_MODIFIED:
        await hub.reads.note(reader.scope, reader.tenant, "read-attachment", found.entity_guid, attachmentGuid=guid)
    return answer


@router.head(
    "/{guid}",
    summary="Whether an attachment is there",
    response_class=Response,
    responses={200: {"description": "It is.", "headers": _TAG}, **errors(400, texts={404: _NO_SUCH, **_NOT_THERE})},
)
async def look_for_attachment(guid: Guid, hub: CurrentHub, reader: Reader) -> Response:
    """The headers of the download, if its bytes are there."""
    return await _looked_for(hub, reader.scope, guid)


@router.delete(
    "/{guid}", summary="Delete an attachment", response_model=Deleted, responses=errors(400, texts={404: _NO_SUCH})
)
async def delete_attachment(guid: Guid, hub: CurrentHub, deleter: Deleter) -> Deleted:
    """It is gone at once and for good. Any role but viewer."""
    await hub.attachments.delete(deleter.scope, guid)
    return Deleted()


@router.post(
    "/{guid}/link",
    summary="A link for a page",
    response_model=Link,
    responses=errors(400, texts={404: _NO_SUCH}),
)
async def make_attachment_link(guid: Guid, hub: CurrentHub, sharer: Sharer) -> Link:
    """An address that opens this one file for a short time without a token, for `<a>` and `<img>`."""
    scope = sharer.scope
    wanted: LinkWanted = sharer.body
    async with hub.db.reading(scope) as view:
        found = await service.get(view, scope, guid)
    expires_at = Millis(hub.clock.now() + wanted.seconds * 1000)
    path = link_path(hub.settings.token_secrets, scope.tenant_id, found.guid, expires_at)
    await hub.reads.note(scope, sharer.tenant, "link-attachment", found.entity_guid, attachmentGuid=found.guid)
    base = (hub.settings.public_base_url or "").rstrip("/")
    return Link(url=base + path, path=path, expires_at=format_timestamp(expires_at))


@router.get(
    "/{guid}/file",
    summary="Download by a link",
    response_class=Response,
    dependencies=[PUBLIC],
    responses=_FILE | errors(400, texts={403: "The link is not valid, or not any more.", 404: _NO_SUCH, **_NOT_THERE}),
)
async def download_attachment_by_link(
    guid: Guid, request: Request, hub: CurrentHub, expires: Expires = "", signature: Signature = ""
) -> Response:
    """What a link of `POST /api/attachments/{guid}/link` opens; nobody else can make one."""
    scope = await _linked(request, hub, guid, expires, signature)
    _, answer = await _file(request, hub, scope, guid)
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


@router.head(
    "/{guid}/file",
    summary="Whether a link opens an attachment",
    response_class=Response,
    dependencies=[PUBLIC],
    responses={
        200: {"description": "It does.", "headers": _TAG},
        **errors(400, texts={403: "The link is not valid, or not any more.", 404: _NO_SUCH, **_NOT_THERE}),
    },
)
async def look_for_attachment_by_link(
    guid: Guid, request: Request, hub: CurrentHub, expires: Expires = "", signature: Signature = ""
) -> Response:
    """The headers of the download, if its bytes are there."""
    scope = await _linked(request, hub, guid, expires, signature)
    answer = await _looked_for(hub, scope, guid)
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


async def _linked(request: Request, hub: Hub, guid: str, expires: str, signature: str) -> TenantScope:
    """The program whose file the link opens. Raises `LinkInvalid`."""
    tenant_id = tenant_of(request)
    secrets = hub.settings.token_secrets
    until = Millis(int(expires)) if _INSTANT.fullmatch(expires) else Millis(0)
    if not is_valid(secrets, tenant_id, guid, until, signature, now=hub.clock.now()):
        raise LinkInvalid()
    if await hub.tenants.find(tenant_id) is None:
        raise LinkInvalid()
    # Its signature says that the hub has let somebody in to this one file.
    return system_scope(tenant_id)


async def _looked_for(hub: Hub, scope: TenantScope, guid: str) -> Response:
    """Without reading the bytes: what the store says of their size. Raises `ObjectMissing`."""
    found, content = await _located(hub, scope, guid)
    if await hub.objects.stat(content.key(scope.tenant_id)) != found.size_bytes:
        raise ObjectMissing()
    return Response(headers={**_headers(found), "Content-Length": str(found.size_bytes)})


async def _located(hub: Hub, scope: TenantScope, guid: str) -> tuple[Attachment, Content]:
    """Raises `AttachmentNotFound`, and `ObjectMissing` if nothing is known of its bytes."""
    async with hub.db.reading(scope) as view:
        found = await service.get(view, scope, guid)
        assert found.digest is not None
        content: Content | None = await hub.contents.find(view, scope, found.digest)
    if content is None or content.size_bytes != found.size_bytes:
        _log.error("attachment.content_missing", guid=found.guid)
        raise ObjectMissing()
    return found, content


async def _file(request: Request, hub: Hub, scope: TenantScope, guid: str) -> tuple[Attachment, Response]:
    found, content = await _located(hub, scope, guid)
    headers = _headers(found)
    if holds(request, headers["ETag"]):
        return found, Response(status_code=304, headers=headers)
    part = _part(request, found, headers["ETag"])
    return found, FileAnswer(hub.objects, scope.tenant_id, content, part, headers=headers)


def _part(request: Request, found: Attachment, etag: str) -> Part | None:
    if request.headers.get("if-range", etag) != etag:
        return None
    try:
        return part_of(found.size_bytes, request.headers.get("range"))
    except Unsatisfiable:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{found.size_bytes}"}) from None


def _headers(found: Attachment) -> dict[str, str]:
    assert found.digest is not None
    return {
        "Content-Type": found.mime_type,
        "Content-Disposition": disposition(found.filename, found.original_name),
        "ETag": etag_of(found.digest),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        # Should a browser show it all the same, it runs nothing.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _mark(text: str) -> Mark | None:
    try:
        return parse_mark(text)
    except ValueError:
        raise InvalidAttachmentQuery("`since` is a `nextCursor` of this list, or empty.") from None


def _limit(text: str) -> int:
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise InvalidAttachmentQuery(f"`limit` is a whole number from 1 to {LARGEST_PAGE}.")
    return int(text)
