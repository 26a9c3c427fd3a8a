"""Wire models of attachments."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.features.attachments.links import MOST_SECONDS, SECONDS
from datacollect.features.attachments.model import Attachment
from datacollect.http.wire import Model, Wire, examples
from datacollect.kernel.clock import format_timestamp

_EXAMPLE: Any = {
    "guid": "0b6d1f0e-5b39-4d0e-9f1a-2f6f7f0f7a11",
    "entityGuid": "p-001",
    "filename": "id_card.jpg",
    "originalName": "id card.jpg",
    "mimeType": "image/jpeg",
    "sizeBytes": 48211,
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "createdAt": "2026-03-01T08:00:00.000Z",
    "createdBy": "7",
    "syncStatus": "uploaded",
    "tenantId": "household-registry",
}


_LINK = "/api/attachments/0b6d1f0e-5b39-4d0e-9f1a-2f6f7f0f7a11/file?configId=household-registry&expires=…&signature=…"
_CURSOR = "1204|0b6d1f0e-5b39-4d0e-9f1a-2f6f7f0f7a11|5c1f0a9be217"
_GONE: Any = {
    "guid": "1c7e2a1f-6c40-4e1f-8a2b-3a7a8a1a8b22",
    "entityGuid": "p-001",
    "deletedAt": "2026-03-02T08:00:00.000Z",
    "tenantId": "household-registry",
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class AttachmentOut(_Out):
    """A file of an entity."""

    model_config = examples(_EXAMPLE)

    guid: str
    entity_guid: str
    filename: str = Field(description="Letters, digits, `.`, `_` and `-`.")
    original_name: str = Field(description="As it was called where it came from.")
    mime_type: str
    size_bytes: int
    hash: str = Field(description="SHA-256 of the content, in hexadecimal digits.")
    created_at: str
    created_by: str = Field(description="The account, by id.")
    sync_status: Literal["pending", "uploaded", "failed"] = Field(
        description="`pending`: stored, but its entity is not there yet; `uploaded`: stored. Nothing that is listed has `failed`."
    )
    tenant_id: str


class Gone(_Out):
    """An attachment that was deleted."""

    guid: str
    entity_guid: str
    deleted_at: str
    tenant_id: str


class Uploaded(_Out):
    model_config = examples({"status": "success", "attachment": _EXAMPLE})

    status: Literal["success"] = "success"
    attachment: AttachmentOut


class AttachmentList(_Out):
    model_config = examples({"status": "success", "attachments": [_EXAMPLE]})

    status: Literal["success"] = "success"
    attachments: list[AttachmentOut]


class Changes(_Out):
    """Attachments by their last change."""

    model_config = examples(
        {"status": "success", "attachments": [_EXAMPLE], "deleted": [_GONE], "nextCursor": _CURSOR, "hasMore": False}
    )

    status: Literal["success"] = "success"
    attachments: list[AttachmentOut]
    deleted: list[Gone]
    next_cursor: str = Field(description="Send it as `since` next time, whether or not there is more now.")
    has_more: bool


class Pending(_Out):
    model_config = examples(
        {"status": "success", "attachments": [_EXAMPLE | {"syncStatus": "pending"}], "nextCursor": None}
    )

    status: Literal["success"] = "success"
    attachments: list[AttachmentOut]
    next_cursor: str | None = Field(description="Send it as `since` for the next page; null on the last one.")


class Deleted(_Out):
    model_config = examples({"status": "success", "message": "Attachment deleted"})

    status: Literal["success"] = "success"
    message: str = "Attachment deleted"


class LinkWanted(Wire):
    """For how long; and the program, if the query does not name it."""

    model_config = examples({"configId": "household-registry", "seconds": 300})

    config_id: str | None = None
    seconds: int = Field(SECONDS, ge=1, le=MOST_SECONDS, description="How long the link is to be good for.")


class Target(Wire):
    """The program, if the query does not name it."""

    model_config = examples({"configId": "household-registry"})

    config_id: str | None = None


class Link(_Out):
    """Whoever has it can fetch the file until it ends: show it to nobody else, and store it nowhere."""

    model_config = examples(
        {
            "status": "success",
            "url": f"https://hub.example.org{_LINK}",
            "path": _LINK,
            "expiresAt": "2026-03-01T08:05:00.000Z",
        }
    )

    status: Literal["success"] = "success"
    url: str = Field(
        description="With the hub's address, where that is known (`PUBLIC_BASE_URL`); else as `path`.",
    )
    path: str
    expires_at: str


def shown(attachment: Attachment, tenant_id: str) -> AttachmentOut:
    assert attachment.digest is not None
    return AttachmentOut(
        guid=attachment.guid,
        entity_guid=attachment.entity_guid,
        filename=attachment.filename,
        original_name=attachment.original_name,
        mime_type=attachment.mime_type,
        size_bytes=attachment.size_bytes,
        hash=attachment.digest,
        created_at=format_timestamp(attachment.created_at),
        created_by=attachment.created_by,
        sync_status=attachment.status.value,
        tenant_id=tenant_id,
    )


def buried(attachment: Attachment, tenant_id: str) -> Gone:
    assert attachment.deleted_at is not None
    return Gone(
        guid=attachment.guid,
        entity_guid=attachment.entity_guid,
        deleted_at=format_timestamp(attachment.deleted_at),
        tenant_id=tenant_id,
    )
