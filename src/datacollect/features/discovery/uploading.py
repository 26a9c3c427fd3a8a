"""A sample record, as the body or as a file."""

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from datacollect.features.discovery.errors import (
    MOST_PARTS,
    LargeSample,
    NoFieldFile,
    NoSample,
    NotAFieldFile,
    NotOneRecord,
    UnreadableFieldFile,
)
from datacollect.features.discovery.schemas import Sample
from datacollect.http.body import JsonBody, read_body
from datacollect.http.decoding import strict_json
from datacollect.http.upload import JsonUpload
from datacollect.kernel.errors import InvalidJson

LARGEST_FILE_BYTES = 10 * 1024 * 1024


class SampleBody(JsonBody):
    """A dependency that gives the sample record of a JSON body."""

    def __init__(self) -> None:
        super().__init__(Sample)

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await read_body(request)
        if not body:
            raise NoSample()
        return record_of(strict_json(body))


class SampleFile(JsonUpload):
    """A dependency that gives the sample record of an uploaded file."""

    def __init__(self) -> None:
        super().__init__(
            Sample,
            field="payload",
            missing=NoFieldFile,
            largest_bytes=LARGEST_FILE_BYTES,
            not_json=NotAFieldFile,
        )

    async def __call__(self, request: Request) -> dict[str, Any]:
        try:
            document = await super().__call__(request)
        except InvalidJson as invalid:
            # Those that say more (a key twice, too deep) stay as they are.
            if type(invalid) is not InvalidJson:
                raise
            raise UnreadableFieldFile() from None
        return record_of(document)

    def is_json(self, file: UploadFile) -> bool:
        return super().is_json(file) or (file.filename or "").lower().endswith(".json")


def record_of(document: Any) -> dict[str, Any]:
    """The record itself, or the first of an array. Raises `NoSample`, `NotOneRecord`, `LargeSample`."""
    if document is None:
        raise NoSample()
    record = document[0] if isinstance(document, list) and document else document
    if not isinstance(record, dict):
        raise NotOneRecord()
    if len(record) + sum(len(value) for value in record.values() if isinstance(value, list)) > MOST_PARTS:
        raise LargeSample()
    return record
