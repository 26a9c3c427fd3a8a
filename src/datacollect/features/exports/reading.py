"""Reading an export: one document of any size, of which a few entities and events are in memory at once."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import ijson
import msgspec

from datacollect.eventstore.event import Event, Origin
from datacollect.features.exports.errors import FileUnreadable
from datacollect.features.exports.model import FORMAT_NAME, FORMAT_VERSION, What
from datacollect.kernel.clock import Millis, parse_timestamp

_CHAIN_TAG = "v3:"
_T = TypeVar("_T")


class _Head(msgspec.Struct, rename="camel"):
    position: int
    chain_hash: str
    recorded_at: str


class Metadata(msgspec.Struct, rename="camel"):
    """What an export says of itself."""

    format: str
    format_version: int
    config_id: str
    exported_at: str
    what: str
    head: _Head
    entities_by_form: dict[str, int]
    program: dict[str, Any]
    review_policies: list[dict[str, Any]] = []
    """Empty in files of earlier releases, too."""
    archived_at: str | None = None
    artifact_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")] | None = None

    @property
    def chain_hash(self) -> bytes:
        return _chain_hash(self.head.chain_hash)

    @property
    def archived(self) -> Millis | None:
        """When the program was archived; None while it runs. Raises `FileUnreadable`."""
        try:
            return None if self.archived_at is None else parse_timestamp(self.archived_at)
        except ValueError:
            raise FileUnreadable("In metadata the time of archiving cannot be read.") from None


class _Hub(msgspec.Struct, rename="camel"):
    position: int
    recorded_at: str
    actor: str
    origin: Origin
    chain_hash: str
    device_id: str | None = None
    decides: bool = True


class _FileEvent(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    guid: str
    entity_guid: str
    type: str
    data: dict[str, Any]
    timestamp: str
    user_id: str
    sync_level: int
    hub: _Hub
    schema_version: int | None = None


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event of the file, and what its hub knew of it."""

    event: Event
    position: int
    recorded_at: Millis
    actor: str
    device_id: str | None
    origin: Origin
    chain_hash: bytes
    decides: bool
    """Whether what it says about duplicates counts."""


def read_metadata(file: Path) -> Metadata:
    """Raises `FileUnreadable` for what is no export that can be imported."""
    found = next(_items(file, "metadata"), None)
    if not isinstance(found, dict) or found.get("format") != FORMAT_NAME:
        raise FileUnreadable("This is no export of DataCollect: it has no `metadata` that says so.")
    if found.get("formatVersion") != FORMAT_VERSION:
        raise FileUnreadable("This export was made by a release with another layout. Import it with that release.")
    if found.get("what") != What.ALL:
        raise FileUnreadable("This export holds a part of a program. Export it with `--format json --what all`.")
    return _converted(found, Metadata, "metadata")


def read_events(file: Path) -> Iterator[ReadEvent]:
    """The events in the order of the file. Raises `FileUnreadable`."""
    for index, item in enumerate(_items(file, "events.item"), 1):
        place = f"event {index} of the file"
        read = _converted(item, _FileEvent, place)
        try:
            event = Event(
                guid=read.guid,
                entity_guid=read.entity_guid,
                type=read.type,
                data=read.data,
                occurred_at=parse_timestamp(read.timestamp),
                user_id=read.user_id,
                schema_version=read.schema_version,
            )
            hub = read.hub
            recorded = parse_timestamp(hub.recorded_at)
            chain_hash = _chain_hash(hub.chain_hash)
        except ValueError as error:
            raise FileUnreadable(f"In {place} a time or a hash cannot be read.") from error
        yield ReadEvent(event, hub.position, recorded, hub.actor, hub.device_id, hub.origin, chain_hash, hub.decides)


def read_entities(file: Path) -> Iterator[Mapping[str, Any]]:
    """The entities as they were exported. Raises `FileUnreadable`."""
    for index, item in enumerate(_items(file, "entities.item"), 1):
        modified = item.get("modified") if isinstance(item, dict) else None
        if not isinstance(modified, dict) or not isinstance(item.get("guid"), str):
            raise FileUnreadable(f"Entity {index} of the file has no `guid` or no `modified`.")
        yield item


def _items(file: Path, prefix: str) -> Iterator[Any]:
    try:
        with file.open("rb") as opened:
            if opened.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                opened.seek(0)
            for item in ijson.items(opened, prefix):
                yield _with_floats(item)
    except (ijson.JSONError, UnicodeDecodeError, RecursionError) as error:
        raise FileUnreadable("The file is not one whole JSON document: it breaks off, or was changed.") from error
    except OSError as error:
        raise FileUnreadable(f"{file} cannot be read ({error.strerror}).") from error


def _with_floats(value: Any) -> Any:
    """The parser keeps every digit of a fraction; the hub has doubles. Whole numbers are exact in both."""
    if isinstance(value, dict):
        return {key: _with_floats(item) if isinstance(item, _INSIDE) else item for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) if isinstance(item, _INSIDE) else item for item in value]
    return float(value) if isinstance(value, Decimal) else value


_INSIDE = (dict, list, Decimal)


def _converted(item: Any, kind: type[_T], place: str) -> _T:
    try:
        return msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        raise FileUnreadable(f"In {place}: {error}") from error


def _chain_hash(text: str) -> bytes:
    if text == _CHAIN_TAG:
        return b""
    if not text.startswith(_CHAIN_TAG) or len(text) != len(_CHAIN_TAG) + 64:
        raise ValueError("not a chain hash")
    return bytes.fromhex(text.removeprefix(_CHAIN_TAG))
