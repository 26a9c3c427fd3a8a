"""A JSON document sent as a file: one multipart part of a known name, or simply the body."""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar

from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from datacollect.http.aside import aside
from datacollect.http.body import BodyInterrupted, JsonBody, read_body
from datacollect.http.decoding import strict_json
from datacollect.kernel.errors import DataCollectError, InvalidRequest, PayloadTooLarge, UnsupportedMedia

JSON = "application/json"
MULTIPART = "multipart/form-data"
MOST_FILES = 2
MOST_FIELDS = 8

_LARGE_BYTES = 64 * 1024
"""From here on decoding takes longer than others should wait."""


class MalformedUpload(InvalidRequest):
    """The multipart body cannot be read."""

    code = "MALFORMED_UPLOAD"
    help = "Send one file in a multipart form, or the JSON as the body."
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class UnexpectedField(InvalidRequest):
    """Unexpected field"""

    code = "UNEXPECTED_FIELD"
    help = "Send one file, in the form field that the route names."
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class NotAJsonFile(UnsupportedMedia):
    """Only JSON files are allowed"""

    help = "Declare the body, or the file in the form, as `application/json`; curl: `-F 'config=@app.json;type=application/json'`."

    members: ClassVar[Mapping[str, Any]] = {"success": False}


class FileTooLarge(PayloadTooLarge):
    """File too large"""


class _InMemory(MultiPartParser):
    """Nothing that was sent touches the disk; how much it may be is limited on the way in."""

    spool_max_size = 0  # no size is too large


class JsonUpload(JsonBody):
    """A dependency that gives the uploaded document, decoded strictly but not validated: the model only documents.

    Put it behind the auth parameter. Raises `missing` when there is no document, `not_json`, `FileTooLarge` (413),
    `UnexpectedField`, `MalformedUpload` and `InvalidJson`.
    """

    def __init__(
        self,
        model: type[BaseModel],
        *,
        field: str,
        missing: type[InvalidRequest],
        largest_bytes: int,
        not_json: type[DataCollectError] = NotAJsonFile,
    ) -> None:
        super().__init__(model)
        self.field = field
        self._missing = missing
        self._not_json = not_json
        self._largest_bytes = largest_bytes

    async def __call__(self, request: Request) -> Any:
        if is_form(request):
            content = await self._file(request)
        else:
            content = await read_body(request)
            if not content:
                raise self._missing()
            if _media_type(request.headers.get("content-type")) != JSON:
                raise self._not_json()
        if len(content) > self._largest_bytes:
            raise FileTooLarge(most_bytes=self._largest_bytes)
        if len(content) < _LARGE_BYTES:
            return strict_json(content)
        return await aside(partial(strict_json, content))

    async def _file(self, request: Request) -> bytes:
        form = await _form_of(request)
        # A text field instead of a file counts as no file: browsers send one for an empty file input.
        files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        try:
            if not files:
                raise self._missing()
            if len(files) > 1 or files[0][0] != self.field:
                raise UnexpectedField()
            file = files[0][1]
            if not self.is_json(file):
                raise self._not_json()
            if (file.size or 0) > self._largest_bytes:
                raise FileTooLarge(most_bytes=self._largest_bytes)
            return await file.read()
        finally:
            await form.close()

    def is_json(self, file: UploadFile) -> bool:
        return _media_type(file.content_type) == JSON


def is_form(request: Request) -> bool:
    """Whether the document comes as a part of a form, and is not the body itself."""
    return _media_type(request.headers.get("content-type")) == MULTIPART


async def _form_of(request: Request) -> FormData:
    """Raises `MalformedUpload`, `BodyInterrupted`."""
    try:
        async with aclosing(request.stream()) as stream:
            return await _InMemory(_plain(request), stream, max_files=MOST_FILES, max_fields=MOST_FIELDS).parse()
    except MultiPartException as refused:
        raise MalformedUpload(refused.message) from None
    except ClientDisconnect as gone:
        raise BodyInterrupted() from gone


def _plain(request: Request) -> Headers:
    """What the parser has to know. Not a `charset`: it would take any that Python has, and some of those take minutes."""
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = b'; boundary="%b"' % options[b"boundary"] if b"boundary" in options else b""
    return Headers(raw=[(b"content-type", MULTIPART.encode() + boundary)])


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
