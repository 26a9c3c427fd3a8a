"""Whether a file is what it is declared as, by its content. It is read in pieces, from the disk: call it in a thread.

Nothing here proves that a file is sound: a photo that breaks off in the middle passes, and so does a file that is two
things at once. What it keeps out is what is called by another type's name.
"""

import codecs
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 256 * 1024
_HEAD_BYTES = 4096
_WORDPROCESSING = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Check = Callable[[BinaryIO, bytes], bool]
"""Is given the file, and what it begins with."""


def mismatch(path: Path, declared: str) -> str | None:
    """None for a file that is `declared`, a type of `FILE_TYPES`; else what it looks like, for people."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        return None if _CHECKS[declared](file, head) else _looks_like(file, head)


# -- types that begin with a mark of their own


def _magic(*names: str) -> Check:
    wanted = frozenset(names)
    return lambda _, head: not wanted.isdisjoint(_names_of(head))


def _names_of(head: bytes) -> list[str]:
    """The types that have the longest mark with which it begins: several have the same, or begin alike."""
    # With the first file: it reads a table of all marks there are, 1.3 MiB, when it is imported.
    import puremagic  # noqa: PLC0415

    try:
        found = [one for one in puremagic.magic_string(head) if one.mime_type]
    except (puremagic.PureError, ValueError):
        return []
    best = max((one.confidence for one in found), default=0)
    return [one.mime_type for one in found if one.confidence == best]


def _either(*checks: Check) -> Check:
    return lambda file, head: any(check(file, head) for check in checks)


# -- what has its mark in many forms: tables of marks know some of them

_SMALLEST_FTYP = 16
_PHOTOS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_OTHER_PHOTOS = frozenset({b"avif", b"avis"})
_FARTHEST_PDF = 1024
"""Readers look for the beginning of a PDF as far as this."""


def _brands(head: bytes) -> list[bytes]:
    """What an ISO media file (ISO/IEC 14496-12) says it is: its own brand, then those it is compatible with. Empty for
    another file."""
    size = int.from_bytes(head[:4])
    if head[4:8] != b"ftyp" or not _SMALLEST_FTYP <= size <= len(head):
        return []
    return [head[8:12], *(head[at : at + 4] for at in range(_SMALLEST_FTYP, size, 4))]


def _is_iso_photo(_: BinaryIO, head: bytes) -> bool:
    brands = _brands(head)
    return not _PHOTOS.isdisjoint(brands) and brands[0] not in _OTHER_PHOTOS


def _is_iso_media(_: BinaryIO, head: bytes) -> bool:
    """Sound or film, of any brand: phones and browsers write whichever they like, and none of them tells which of the two."""
    brands = _brands(head)
    return bool(brands) and brands[0] not in _PHOTOS | _OTHER_PHOTOS


def _is_mpeg_audio(_: BinaryIO, head: bytes) -> bool:
    """Whether it begins with the header of a frame of layer II or III, of any version of MPEG audio."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer in (1, 2) and bitrate != 15 and rate != 3


def _is_pdf(_: BinaryIO, head: bytes) -> bool:
    at = head[:_FARTHEST_PDF].find(b"%PDF-")
    return at == 0 or (at > 0 and not _is_active(head[:at]))


# -- zip archives


def _office_document(folder: str) -> Check:
    def check(file: BinaryIO, _: bytes) -> bool:
        names = set(_names_in_zip(file))
        with_macros = any(name.rpartition("/")[2] == "vbaProject.bin" for name in names)
        return "[Content_Types].xml" in names and any(name.startswith(folder) for name in names) and not with_macros

    return check


_MOST_DIRECTORY_BYTES = 1024 * 1024
_MOST_TRAILER_BYTES = 22 + 65535
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")


def _names_in_zip(file: BinaryIO) -> Iterator[str]:
    """From the archive's directory, of which no more is read than an honest document needs."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _MOST_TRAILER_BYTES))
    trailer = file.read(_MOST_TRAILER_BYTES)
    at = trailer.rfind(b"PK\5\6")
    if at < 0 or len(trailer) - at < _END.size:
        return
    directory_bytes, offset = _END.unpack_from(trailer, at)[5:7]
    if offset >= size:
        return
    file.seek(offset)
    directory = file.read(min(directory_bytes, _MOST_DIRECTORY_BYTES))
    at = 0
    while at + _ENTRY.size <= len(directory) and directory[at : at + 4] == b"PK\1\2":
        name_bytes, extra_bytes, comment_bytes = _ENTRY.unpack_from(directory, at)[10:13]
        at += _ENTRY.size
        yield directory[at : at + name_bytes].decode("utf-8", "replace")
        at += name_bytes + extra_bytes + comment_bytes


def _open_document(name: str) -> Check:
    # Its first entry, stored as it is, names the type.
    mark = b"mimetype" + name.encode()
    return lambda _, head: head.startswith(b"PK\3\4") and head[30 : 30 + len(mark)] == mark


# -- compound files, of the older office programs

_COMPOUND = bytes.fromhex("d0cf11e0a1b11ae1")
_ENTRY_BYTES = 128
_STREAM = 2


def _compound(*streams: str) -> Check:
    """Whether the directory of such a file has a stream of one of these names."""

    def check(file: BinaryIO, head: bytes) -> bool:
        return head.startswith(_COMPOUND) and any(_has_entry(file, name) for name in streams)

    return check


def _has_entry(file: BinaryIO, name: str) -> bool:
    """Wherever the directory is: its entries begin at multiples of their size, which sectors are multiples of too."""
    written = name.encode("utf-16-le") + b"\0\0"
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        at = piece.find(written)
        while at >= 0:
            entry = piece[at : at + _ENTRY_BYTES]
            if at % _ENTRY_BYTES == 0 and entry[64:67] == struct.pack("<HB", len(written), _STREAM):
                return True
            at = piece.find(written, at + 1)
    return False


# -- texts

_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1a\x1b"))
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_ACTIVE = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<svg", b"%pdf-")
"""What a program that looks for itself would run or show as something else."""


def _is_text(file: BinaryIO, head: bytes) -> bool:
    """Of any encoding that has no control characters: spreadsheets still write what Windows wrote 30 years ago."""
    file.seek(0)
    encoding = _UTF16.get(head[:2])
    if _is_active(head) or (encoding and _is_active(head[2:].decode(encoding, "replace").encode())):
        return False
    if encoding is None:
        return all(len(piece) == len(piece.translate(None, _CONTROLS)) for piece in _pieces(file))
    try:
        return all(len(piece) == len(piece.translate(None, _CONTROLS)) for piece in _as_utf8(file, encoding))
    except UnicodeError:
        return False


def _as_utf8(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for piece in _pieces(file):
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _is_active(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(_ACTIVE)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


# -- what it looks like


def _looks_like(file: BinaryIO, head: bytes) -> str:
    for name, check in _CHECKS.items():
        if not name.startswith("text/") and check(file, head):
            return name
    if _is_text(file, head):
        return "text"
    return next(iter(_names_of(head)), "nothing that is known here")


_CHECKS: Mapping[str, Check] = {
    "image/jpeg": _magic("image/jpeg"),
    "image/png": _magic("image/png"),
    "image/gif": _magic("image/gif"),
    "image/webp": _magic("image/webp"),
    "image/heic": _is_iso_photo,
    "image/heif": _is_iso_photo,
    "image/tiff": _magic("image/tiff"),
    "image/bmp": _magic("image/bmp", "image/x-ms-bmp"),
    "application/pdf": _is_pdf,
    "application/msword": _compound("WordDocument"),
    "application/vnd.ms-excel": _compound("Workbook", "Book"),
    _WORDPROCESSING: _office_document("word/"),
    _SPREADSHEET: _office_document("xl/"),
    "application/vnd.oasis.opendocument.text": _open_document("application/vnd.oasis.opendocument.text"),
    "application/vnd.oasis.opendocument.spreadsheet": _open_document("application/vnd.oasis.opendocument.spreadsheet"),
    # Songs of a program called Koz begin as an MP3 file with a tag does, and newer tables name that type alone.
    "audio/mpeg": _either(_is_mpeg_audio, _magic("audio/mpeg", "audio/vnd.audiokoz")),
    "audio/ogg": _magic("audio/ogg", "application/ogg"),
    "audio/wav": _magic("audio/wave", "audio/x-wav", "audio/wav"),
    "audio/webm": _magic("video/webm", "audio/webm"),
    "video/mp4": _is_iso_media,
    "audio/mp4": _is_iso_media,
    "video/3gpp": _is_iso_media,
    # Those of old have no brand.
    "video/quicktime": _either(_is_iso_media, _magic("video/quicktime")),
    "video/webm": _magic("video/webm"),
    "text/plain": _is_text,
    "text/csv": _is_text,
}
