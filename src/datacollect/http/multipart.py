"""A multipart form with one file, read as it arrives: of the file only the piece at hand is in memory.

The parts may stand in any order, so what a text part says may be known only behind the file.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from datacollect.http.body import BodyInterrupted
from datacollect.http.decoding import InvalidUtf8, NulCharacter
from datacollect.http.upload import MULTIPART, MalformedUpload, UnexpectedField

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

ENVELOPE_BYTES = 64 * 1024
"""Room for what is around the file: boundaries, headers and text parts."""

MOST_TEXTS = 16
MOST_TEXT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FilePart:
    """What the form tells of its file; nothing of it is to be believed."""

    name: str
    content_type: str
    """As declared, without parameters and in lower case; empty if there was none."""


class FileForm:
    """Reads one form: `pieces` first, to its end, then the rest is known."""

    def __init__(self, request: Request, *, field: str) -> None:
        """`field` is the part that holds the file."""
        self._request = request
        self._field = field
        self._part = _Part()
        self._pieces: list[memoryview] = []
        self._ended = False
        self.file: FilePart | None = None
        self.texts: dict[str, list[str]] = {}
        """The values of each text part, in their order."""

    @property
    def is_multipart(self) -> bool:
        return self._content_type()[0].decode("latin-1") == MULTIPART

    async def pieces(self) -> AsyncIterator[memoryview]:
        """The file's bytes; none if the form has no file.

        Raises `MalformedUpload`, also for a form without its end, `UnexpectedField` for a second file or one in another
        part, `BodyInterrupted`, and what the limits of bodies raise.
        """
        parser = self._parser()
        try:
            async for chunk in self._request.stream():
                parser.write(chunk)
                # Views of what arrived, not copies: 32 uploads at once are 32 times what is held of one.
                pieces, self._pieces = self._pieces, []
                for piece in pieces:
                    yield piece
        except FormParserError:
            raise MalformedUpload() from None
        except ClientDisconnect as gone:
            raise BodyInterrupted() from gone
        if not self._ended:
            raise MalformedUpload("The multipart body has no end: a part of it is missing.")

    def text(self, name: str) -> str | None:
        """The value of a text part; None without one. Raises `MalformedUpload` if it is there twice."""
        values = self.texts.get(name, [])
        if len(values) > 1:
            raise MalformedUpload(f"The part `{name}` is there more than once.")
        return values[0] if values else None

    def _content_type(self) -> tuple[bytes, dict[bytes, bytes]]:
        return parse_options_header(self._request.headers.get("content-type"))

    def _parser(self) -> MultipartParser:
        boundary = self._content_type()[1].get(b"boundary")
        if not boundary:
            raise MalformedUpload("The Content-Type names no boundary.")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary, callbacks)
        except FormParserError:
            raise MalformedUpload() from None

    # -- called by the parser

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]

    def _header_end(self) -> None:
        part = self._part
        part.headers[part.header_name.lower().decode("latin-1")] = part.header_value.strip()
        part.header_name, part.header_value = b"", b""

    def _headers_end(self) -> None:
        part = self._part
        disposition, options = parse_options_header(part.headers.get("content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise MalformedUpload("A part of the form has no name.")
        part.name = _text(options[b"name"])
        # Browsers send an empty name for a file input in which nothing was chosen.
        if not options.get(b"filename"):
            if sum(map(len, self.texts.values())) >= MOST_TEXTS:
                raise MalformedUpload(f"The form has more than {MOST_TEXTS} text parts.")
            return
        if part.name != self._field or self.file is not None:
            raise UnexpectedField()
        declared, _ = parse_options_header(part.headers.get("content-type"))
        self.file = FilePart(_lenient_text(options[b"filename"]), declared.decode("latin-1"))
        part.is_file = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._pieces.append(memoryview(data)[start:end])
            return
        self._part.text += data[start:end]
        if len(self._part.text) > MOST_TEXT_BYTES:
            raise MalformedUpload(f"The part `{self._part.name[:100]}` is longer than {MOST_TEXT_BYTES} bytes.")

    def _end_part(self) -> None:
        part = self._part
        if not part.is_file:
            self.texts.setdefault(part.name, []).append(_text(bytes(part.text)))

    def _end(self) -> None:
        self._ended = True


class _Part:
    """The part at hand."""

    __slots__ = ("header_name", "header_value", "headers", "is_file", "name", "text")

    def __init__(self) -> None:
        self.header_name = b""
        self.header_value = b""
        self.headers: dict[str, bytes] = {}
        self.name = ""
        self.is_file = False
        self.text = bytearray()


def _text(written: bytes) -> str:
    if b"\0" in written:
        raise NulCharacter()
    try:
        return written.decode()
    except UnicodeDecodeError:
        raise InvalidUtf8() from None


def _lenient_text(written: bytes) -> str:
    """A file's name: whatever it is written in, it is no reason to refuse a photo."""
    try:
        return written.decode()
    except UnicodeDecodeError:
        return written.decode("latin-1")
