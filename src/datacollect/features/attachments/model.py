"""What an attachment is, which part of it is asked for, and where a list goes on. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from datacollect.kernel.clock import Millis

MOST_ENTITY_GUID = 512
"""Characters of the guid of an entity that something can be attached to."""


class SyncStatus(StrEnum):
    """The contract's word for how far an attachment is, with the one meaning it has here."""

    PENDING = "pending"
    """It is stored, and waits for its entity: the file was sent before the event that creates it."""
    UPLOADED = "uploaded"
    """It is stored, and its entity is there."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is known of a file. One that was deleted has no digest, name, type or size any more."""

    guid: str
    entity_guid: str
    digest: str | None
    filename: str
    original_name: str
    mime_type: str
    size_bytes: int
    position: int
    created_at: Millis
    created_by: str
    deleted_at: Millis | None = None
    awaits_entity: bool = False

    @property
    def status(self) -> SyncStatus:
        return SyncStatus.PENDING if self.awaits_entity else SyncStatus.UPLOADED


# -- where a list goes on

_CURSOR = re.compile(r"([0-9]{1,18})\|([0-9a-f-]{36})(?:\|([0-9a-f]{12}))?")


@dataclass(frozen=True, slots=True)
class Mark:
    """The last change that a reader has seen. It names the history that its position is of: a hub that was put back to an
    older backup, or took the program up from an export, numbers changes differently."""

    position: int
    guid: str
    history: str = ""
    """Empty where it does not matter, and in marks of earlier releases."""

    def __str__(self) -> str:
        return f"{self.position}|{self.guid}" + (f"|{self.history}" if self.history else "")


def parse_mark(text: str) -> Mark | None:
    """None for the beginning. Raises `ValueError`."""
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ValueError("not a cursor of this list")
    return Mark(int(found[1]), found[2], found[3] or "")


def named(epoch: str) -> str:
    """A history of the log as marks name it: short, and telling nothing else."""
    return sha256(epoch.encode()).hexdigest()[:12]


# -- parts of a file

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, both ends included."""

    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range lies behind the end of the file."""


def part_of(size_bytes: int, asked: str | None) -> Part | None:
    """The part that a `Range` asks for; None for the whole file, as for what is no single range of bytes.

    RFC 9110 lets a server pass over ranges that it does not understand, and over several at once. Raises
    `Unsatisfiable`.
    """
    found = _RANGE.fullmatch((asked or "").strip())
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        count = min(int(last), size_bytes)
        if count == 0:
            raise Unsatisfiable
        return Part(size_bytes - count, size_bytes - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size_bytes:
        raise Unsatisfiable
    return Part(int(first), min(int(last or size_bytes), size_bytes - 1))


def etag_of(digest: str) -> str:
    return f'"{digest}"'
