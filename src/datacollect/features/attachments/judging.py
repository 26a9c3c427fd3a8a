"""Whether what arrived can be an attachment, before anybody waits for storage or database."""

import asyncio
import re

from datacollect.features.attachments.contents_check import mismatch
from datacollect.features.attachments.errors import (
    ContentNotOfType,
    EmptyFile,
    FileLargerThanAllowed,
    HashMismatch,
    InvalidAttachment,
    NoEntityGuid,
    NoFile,
    TypeNotAllowed,
)
from datacollect.features.attachments.model import MOST_ENTITY_GUID
from datacollect.features.attachments.naming import safe_name, shown_name
from datacollect.features.attachments.receiving import Received
from datacollect.features.attachments.service import NewAttachment
from datacollect.kernel.ids import is_uuid_text, new_guid
from datacollect.kernel.tenancy import AttachmentRules

_HASH = re.compile(r"[0-9a-fA-F]{64}")
_UNTYPED = "text/plain"
"""What a part without a Content-Type is, by RFC 7578."""
_SAME_TYPES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "audio/x-wav": "audio/wav"}
"""Other names by which phones declare types."""


async def judged(received: Received, rules: AttachmentRules) -> NewAttachment:
    """The attachment that is to be made. Raises what is wrong with it, first what its sender forgot."""
    file, form, spooled = received.file, received.form, received.spooled
    if file is None:
        raise NoFile()
    entity_guid = _entity_guid(form.text("entityGuid"))
    guid = _guid(form.text("guid"))
    expected = _hash(form.text("hash"))
    if spooled.size_bytes == 0:
        raise EmptyFile()
    if spooled.size_bytes > rules.most_bytes:
        raise FileLargerThanAllowed(f"File too large: at most {rules.most_bytes} bytes", most_bytes=rules.most_bytes)
    if expected not in (None, spooled.digest):
        raise HashMismatch()
    mime_type = _SAME_TYPES.get(file.content_type, file.content_type) or _UNTYPED
    if mime_type not in rules.types:
        raise TypeNotAllowed(file.content_type, rules.types)
    if found := await asyncio.to_thread(mismatch, spooled.path, mime_type):
        raise ContentNotOfType(mime_type, found)
    return NewAttachment(
        guid=guid,
        entity_guid=entity_guid,
        filename=safe_name(file.name),
        original_name=shown_name(file.name),
        mime_type=mime_type,
    )


def _entity_guid(sent: str | None) -> str:
    if not sent:
        raise NoEntityGuid()
    if len(sent) > MOST_ENTITY_GUID or not sent.isprintable():
        raise InvalidAttachment(f"`entityGuid` has at most {MOST_ENTITY_GUID} characters, all of which can be seen.")
    return sent


def _guid(sent: str | None) -> str:
    if not sent:
        return new_guid()
    if not is_uuid_text(sent):
        raise InvalidAttachment("`guid` is no UUID.")
    return sent.lower()


def _hash(sent: str | None) -> str | None:
    if not sent:
        return None
    if not _HASH.fullmatch(sent):
        raise InvalidAttachment("`hash` is not SHA-256 as 64 hexadecimal digits.")
    return sent.lower()
