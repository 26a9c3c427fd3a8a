"""Whether what arrived can be an attachment, before anybody waits for storage or database."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

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
_OR_ELSE = {"application/vnd.ms-excel": ("text/csv",)}
"""What browsers on Windows call what they do not look into: where Excel opens CSV files, they declare those so."""


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
    declared = _SAME_TYPES.get(file.content_type, file.content_type) or _UNTYPED
    possible = [one for one in (declared, *_OR_ELSE.get(declared, ())) if one in rules.types]
    if not possible:
        raise TypeNotAllowed(file.content_type, rules.types)
    mime_type = await asyncio.to_thread(_what_it_is, spooled.path, possible)
    return NewAttachment(
        guid=guid,
        entity_guid=entity_guid,
        filename=safe_name(file.name),
        original_name=shown_name(file.name),
        mime_type=mime_type,
    )


def _what_it_is(path: Path, possible: Sequence[str]) -> str:
    """Raises `ContentNotOfType`, of the first one."""
    found = [mismatch(path, one) for one in possible]
    if None not in found:
        raise ContentNotOfType(possible[0], found[0] or "")
    return possible[found.index(None)]


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
