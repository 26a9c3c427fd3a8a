"""Attachments of a program as a folder, beside its export: taken out of one hub, and up by another.

    manifest.ndjson      what the folder is, a line for each attachment and for each that was deleted, and a line that
                         says that this is the end
    files/ab/abcd…       each content once, under its SHA-256

Nothing in the folder is believed: every byte is hashed again before it is stored. Attachments are made one by one, so an
import that was cut goes on where it was when it is run again.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import msgspec

from datacollect.db import Database, Reading
from datacollect.features.attachments import queries
from datacollect.features.attachments.contents.keeping import Contents
from datacollect.features.attachments.errors import ImportContradicts, TransferFailed
from datacollect.features.attachments.model import MOST_ENTITY_GUID, Attachment
from datacollect.features.attachments.naming import safe_name, shown_name
from datacollect.features.attachments.service import Keeper
from datacollect.kernel.clock import Clock, Millis, format_timestamp, parse_timestamp
from datacollect.kernel.filetypes import FILE_TYPES
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import is_uuid_text
from datacollect.objects import Incoming, ObjectMissing, ObjectStore, Spool, Spooled

MANIFEST = "manifest.ndjson"
FORMAT = "datacollect-attachments"
VERSION = 2
_KNOWN_VERSIONS = frozenset({1, 2})
"""1 tells of no deletions."""

_PAGE = 500
_PIECE = 256 * 1024
_LONGEST_LINE = 16 * 1024
_LARGEST_FILE = 2**40

_encoder = msgspec.json.Encoder()


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One attachment, as the manifest tells it."""

    guid: str
    entityGuid: str
    filename: str
    originalName: str
    mimeType: str
    sizeBytes: int
    hash: str
    createdAt: str
    createdBy: str


class Buried(msgspec.Struct, forbid_unknown_fields=True):
    """One attachment that was deleted."""

    guid: str
    entityGuid: str
    deletedAt: str


class _Head(msgspec.Struct):
    format: str
    version: int
    configId: str
    exportedAt: str


class _End(msgspec.Struct):
    attachments: int
    deleted: int = 0


_read_head = msgspec.json.Decoder(_Head)
_read_line = msgspec.json.Decoder(Line)
_read_buried = msgspec.json.Decoder(Buried)
_read_end = msgspec.json.Decoder(_End)


@dataclass(slots=True)
class Transferred:
    """What was written, or made."""

    attachments: int = 0
    files: int = 0
    size_bytes: int = 0
    there_before: int = 0
    """Attachments that had been made by an earlier run."""
    deleted_here: int = 0
    """Attachments that have been deleted where they were to be made; they are not made again."""
    contradicting: list[str] = field(default_factory=list)
    """What is said of attachments whose guids are others' here."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Attachments whose bytes are missing or damaged, by guid, and what is wrong."""


# -- taking out


class _ListPage(Protocol):
    async def __call__(self, view: Reading, scope: TenantScope, *, after: str, limit: int) -> Sequence[Attachment]: ...


class AttachmentExporter:
    """Writes folders."""

    def __init__(
        self, database: Database, store: ObjectStore, contents: Contents, clock: Clock, *, page: int = _PAGE
    ) -> None:
        self._database = database
        self._store = store
        self._contents = contents
        self._clock = clock
        self._page = page

    async def expected(self, scope: TenantScope) -> int:
        async with self._database.reading(scope) as view:
            return (await queries.totals(view, scope)).files

    async def export(
        self,
        scope: TenantScope,
        folder: Path,
        *,
        skip_missing: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Transferred:
        """Write all that is attached; the manifest appears when everything is on disk.

        Raises `TransferFailed`, also for bytes that are missing or damaged unless those are to be left out: what a
        manifest tells of is there.
        """
        done = Transferred()
        _require_none(folder / MANIFEST)
        with _failing(folder):
            with _replacing(folder / MANIFEST) as manifest:
                head = _Head(FORMAT, VERSION, scope.tenant_id, format_timestamp(self._clock.now()))
                manifest.write(_encoder.encode(head) + b"\n")
                async for attachment in self._each(scope, queries.list_by_guid):
                    if await self._write_file(scope, attachment, folder, done, skip_missing=skip_missing):
                        manifest.write(_encoder.encode(_line_of(attachment)) + b"\n")
                        done.attachments += 1
                    if progress is not None:
                        progress(done.attachments)
                deleted = 0
                async for attachment in self._each(scope, queries.list_buried):
                    manifest.write(_encoder.encode(_buried_of(attachment)) + b"\n")
                    deleted += 1
                manifest.write(_encoder.encode(_End(done.attachments, deleted)) + b"\n")
                manifest.flush()
                await asyncio.to_thread(os.fsync, manifest.fileno())
                _require_none(folder / MANIFEST)
        return done

    async def _each(self, scope: TenantScope, list_page: _ListPage) -> AsyncIterator[Attachment]:
        """Each of them once: by guid, for one that is handed over meanwhile takes another position."""
        after = ""
        while True:
            async with self._database.reading(scope) as view:
                page = await list_page(view, scope, after=after, limit=self._page)
            for attachment in page:
                yield attachment
            if len(page) < self._page:
                return
            after = page[-1].guid

    async def _write_file(
        self, scope: TenantScope, attachment: Attachment, folder: Path, done: Transferred, *, skip_missing: bool
    ) -> bool:
        """False for an attachment that has been deleted meanwhile, and for one that is left out."""
        assert attachment.digest is not None
        target = _file_of(folder, attachment.digest)
        if await asyncio.to_thread(_is_whole, target, attachment.digest):
            return True
        async with self._database.reading(scope) as view:
            content = await self._contents.find(view, scope, attachment.digest)
        try:
            if content is None:
                raise ObjectMissing()
            async with await self._store.open(content.key(scope.tenant_id), content.size_bytes) as opened:
                await _write(target, opened)
        except ObjectMissing as missing:
            async with self._database.reading(scope) as view:
                now = await queries.find(view, scope, attachment.guid)
            if now is None or now.deleted_at is not None:
                return False
            if skip_missing:
                done.left_out.append((attachment.guid, missing.message))
                return False
            raise TransferFailed(
                f"Attachment {attachment.guid}: {missing.message} With --skip-missing the others are exported."
            ) from None
        done.files += 1
        done.size_bytes += attachment.size_bytes
        return True


async def _write(target: Path, pieces: AsyncIterable[bytes]) -> None:
    with _replacing(target) as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())


def _require_none(manifest: Path) -> None:
    if manifest.exists():
        raise TransferFailed(f"{manifest} is there already.")


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file that only its owner reads, in a folder that is made; it appears when the block ends well. Until then it has a
    name of its own: somebody else may be writing the same one."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _line_of(attachment: Attachment) -> Line:
    assert attachment.digest is not None
    return Line(
        guid=attachment.guid,
        entityGuid=attachment.entity_guid,
        filename=attachment.filename,
        originalName=attachment.original_name,
        mimeType=attachment.mime_type,
        sizeBytes=attachment.size_bytes,
        hash=attachment.digest,
        createdAt=format_timestamp(attachment.created_at),
        createdBy=attachment.created_by,
    )


def _buried_of(attachment: Attachment) -> Buried:
    assert attachment.deleted_at is not None
    return Buried(attachment.guid, attachment.entity_guid, format_timestamp(attachment.deleted_at))


# -- taking up


class AttachmentImporter:
    """Reads folders."""

    def __init__(self, keeper: Keeper, spool: Spool) -> None:
        self._keeper = keeper
        self._spool = spool

    async def take_in(
        self, scope: TenantScope, folder: Path, *, progress: Callable[[int], None] | None = None
    ) -> Transferred:
        """Make the attachments of a folder in a program; those that are there already are left as they are, and so are those
        that are deleted there, and others with their guids.

        Raises `TransferFailed` for a folder that is not whole, `ImportContradicts` for one that is not what it says; what
        was made until then stays, and another run goes on from there.
        """
        done = Transferred()
        read_manifest(folder)
        # One that was deleted while the folder was written stands in it twice.
        deleted = {line.guid.lower() for line in _lines(folder) if isinstance(line, Buried)}
        try:
            for line in _lines(folder):
                if isinstance(line, Buried):
                    await self._keeper.take_in_deleted(scope, _attachment_buried(line))
                    continue
                if line.guid.lower() in deleted:
                    continue
                await self._take_in(scope, folder, line, done)
                if progress is not None:
                    progress(done.attachments + done.there_before)
        finally:
            if done.attachments:
                await self._keeper.note_import(scope, done.attachments)
        return done

    async def _take_in(self, scope: TenantScope, folder: Path, line: Line, done: Transferred) -> None:
        attachment = _attachment_of(line)
        try:
            here = await self._keeper.find_here(scope, attachment)
        except ImportContradicts as another:
            done.contradicting.append(another.message)
            return
        if here is not None:
            done.there_before += here.deleted_at is None
            done.deleted_here += here.deleted_at is not None
            return
        async with self._spool.receiving(most_bytes=_LARGEST_FILE) as incoming:
            await _read_into(_file_of(folder, line.hash), incoming)
            spooled = await incoming.finish()
            _require_same(line, spooled)
            await self._keeper.take_in(scope, attachment, spooled)
        done.attachments += 1
        done.size_bytes += spooled.size_bytes


def read_manifest(folder: Path) -> tuple[str, int]:
    """Of which program the folder is, and how many attachments it has. Raises `TransferFailed` unless it is whole."""
    first, count, last = b"", -1, b""
    for raw in _raw_lines(folder):
        first, last = first or raw, raw
        count += 1
    try:
        head, end = _read_head.decode(first), _read_end.decode(last)
    except msgspec.DecodeError:
        raise TransferFailed(f"{folder / MANIFEST} is no manifest of attachments, or has no end.") from None
    if head.format != FORMAT or head.version not in _KNOWN_VERSIONS:
        raise TransferFailed(f"{folder / MANIFEST} is of another kind or version: {head.format[:50]} {head.version}.")
    if (told := end.attachments + end.deleted) != count - 1:
        raise TransferFailed(f"{folder / MANIFEST} has {count - 1} attachments, and should have {told}.")
    return head.configId, end.attachments


def _lines(folder: Path) -> Iterator[Line | Buried]:
    """Between the first and the last one."""
    before: bytes | None = None
    for number, raw in enumerate(_raw_lines(folder)):
        if number > 1 and before is not None:
            try:
                yield _read_either(before)
            except msgspec.DecodeError:
                raise ImportContradicts(f"Line {number} of {MANIFEST} cannot be read.") from None
        before = raw


def _read_either(raw: bytes) -> Line | Buried:
    try:
        return _read_line.decode(raw)
    except msgspec.ValidationError:
        return _read_buried.decode(raw)


def _raw_lines(folder: Path) -> Iterator[bytes]:
    with _failing(folder), (folder / MANIFEST).open("rb") as manifest:
        while line := manifest.readline(_LONGEST_LINE):
            yield line


def _attachment_of(line: Line) -> Attachment:
    """Raises `ImportContradicts` for what no hub would have written."""
    created_at = _time_of(line.createdAt)
    is_sound = (
        _are_guids(line.guid, line.entityGuid)
        and line.mimeType in FILE_TYPES
        and len(line.hash) == 64
        and not line.hash.strip("0123456789abcdef")
        and line.sizeBytes > 0
        and len(line.createdBy) <= 500
        and line.createdBy.isprintable()
    )
    if created_at is None or not is_sound:
        raise ImportContradicts(f"Attachment {line.guid[:40]!r} is described as no hub would.")
    return Attachment(
        guid=line.guid.lower(),
        entity_guid=line.entityGuid,
        digest=line.hash,
        filename=safe_name(line.filename),
        original_name=shown_name(line.originalName),
        mime_type=line.mimeType,
        size_bytes=line.sizeBytes,
        position=0,
        created_at=created_at,
        created_by=line.createdBy,
    )


def _attachment_buried(line: Buried) -> Attachment:
    """Raises `ImportContradicts` for what no hub would have written."""
    deleted_at = _time_of(line.deletedAt)
    if deleted_at is None or not _are_guids(line.guid, line.entityGuid):
        raise ImportContradicts(f"Attachment {line.guid[:40]!r} is described as no hub would.")
    return Attachment(
        guid=line.guid.lower(),
        entity_guid=line.entityGuid,
        digest=None,
        filename="",
        original_name="",
        mime_type="",
        size_bytes=0,
        position=0,
        created_at=deleted_at,
        created_by="",
        deleted_at=deleted_at,
    )


def _are_guids(guid: str, entity_guid: str) -> bool:
    return is_uuid_text(guid) and 0 < len(entity_guid) <= MOST_ENTITY_GUID and entity_guid.isprintable()


def _time_of(text: str) -> Millis | None:
    try:
        return Millis(parse_timestamp(text))
    except ValueError:
        return None


async def _read_into(file: Path, incoming: Incoming) -> None:
    try:
        with file.open("rb") as opened:
            while piece := await asyncio.to_thread(opened.read, _PIECE):
                await incoming.write(piece)
    except OSError as error:
        raise TransferFailed(f"{file} cannot be read ({error.strerror}).") from None


def _require_same(line: Line, spooled: Spooled) -> None:
    if (spooled.digest, spooled.size_bytes) != (line.hash, line.sizeBytes):
        raise ImportContradicts(f"The file {line.hash} is not the one that was exported: its hash or size differs.")


def _file_of(folder: Path, digest: str) -> Path:
    return folder / "files" / digest[:2] / digest


def _is_whole(file: Path, digest: str) -> bool:
    """Whether an export that was cut has left it behind whole."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == digest
    except OSError:
        return False


@contextmanager
def _failing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransferFailed(f"{folder}: {error.strerror}.") from error
