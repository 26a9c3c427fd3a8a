"""Exports as bytes. Each writer gives pieces as they come, and holds no more than a few rows."""

import asyncio
import contextlib
import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from datacollect.eventstore.anchors import chain_text
from datacollect.eventstore.store import StoredEvent
from datacollect.features.audit.service import Told, shown
from datacollect.features.entities.walking import Walked
from datacollect.features.exports.archive import ZipWriter
from datacollect.features.exports.cells import csv_text
from datacollect.features.exports.model import Format, Order, Tally, What
from datacollect.features.exports.sheets import Sheet, sheets
from datacollect.features.exports.source import Source
from datacollect.features.exports.workbook import Workbook
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.parts import parts

_BOM = "\ufeff"
_SLICE = 200
_UNSAFE = re.compile(r"[^\w .,()+-]")
_LONGEST_FILE_NAME = 80
_MOST_BYTES_OF_NAME = 200
"""Systems take 255, with what stands behind it."""
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)
"""Names of devices on Windows, whatever stands behind the first dot."""

_encoder = msgspec.json.Encoder()


async def written(
    source: Source, order: Order, metadata: Mapping[str, Any], tally: Tally, now: Millis
) -> AsyncIterator[bytes]:
    """The export, in pieces. What follows the last piece of one that raises must not look like an end."""
    match order.format:
        case Format.JSON:
            pieces = _json(source, order, metadata, tally)
        case Format.NDJSON:
            pieces = _ndjson(source, order, tally)
        case Format.XLSX:
            pieces = _xlsx(source, order, tally, now)
        case Format.CSV if order.is_archive:
            pieces = _csv_archive(source, order, metadata, tally, now)
        case Format.CSV:
            pieces = _csv(source, order, tally)
    async for piece in pieces:
        if piece:
            tally.bytes += len(piece)
            yield piece
            await asyncio.sleep(0)  # others' turn: the next rows are made without a pause


# -- JSON


async def _json(source: Source, order: Order, metadata: Mapping[str, Any], tally: Tally) -> AsyncIterator[bytes]:
    """One document; each entity and event on a line of its own."""
    yield b'{"metadata":' + _encoder.encode(metadata)
    wanted = (What.ENTITIES, What.EVENTS) if order.what is What.ALL else (order.what,)
    for what in wanted:
        yield f',\n"{what}":['.encode()
        first = True
        async for lines in _lines(source, what, order, tally):
            yield (b"\n" if first else b",\n") + b",\n".join(lines)
            first = False
        yield b"\n]"
    yield b"}\n"


async def _ndjson(source: Source, order: Order, tally: Tally) -> AsyncIterator[bytes]:
    async for lines in _lines(source, order.what, order, tally):
        yield b"\n".join(lines) + b"\n"


async def _lines(source: Source, what: What, order: Order, tally: Tally) -> AsyncIterator[list[bytes]]:
    """Entities, events or entries of the audit trail as JSON, some at a time."""
    if what is What.ENTITIES:
        make = pair_of if order.what is What.ALL else view_of
        async for page in source.entities(order.form):
            for some in parts(page, _SLICE):
                tally.add(entities=len(some))
                yield [_encoder.encode(make(walked)) for walked in some]
    elif what is What.EVENTS:
        async for events in source.events():
            for batch in parts(events, _SLICE):
                tally.add(events=len(batch))
                unheard = await source.unheard(batch)
                yield [event_line(event, decides=event.guid not in unheard) for event in batch]
    else:
        async for entries in source.entries():
            for portion in parts(entries, _SLICE):
                tally.add(entries=len(portion))
                yield [_entry_line(told) for told in portion]


def view_of(walked: Walked) -> dict[str, Any]:
    """An entity as lists show it."""
    entity = walked.entity
    view: dict[str, Any] = {"guid": entity.guid, "id": entity.guid}
    if entity.name is not None:
        view["name"] = entity.name
    if entity.entity_name is not None:
        view["entityName"] = entity.entity_name
    if entity.external_id is not None:
        view["externalId"] = entity.external_id
    view |= {"type": entity.type, "data": msgspec.Raw(entity.data.encode())}
    view["lastUpdated"] = format_timestamp(entity.last_updated)
    if walked.member_ids is not None:
        view["memberIds"] = walked.member_ids
    return view


def pair_of(walked: Walked) -> dict[str, Any]:
    """An entity as the reference exports it. Its baseline equals its state, and so is left out."""
    entity = walked.entity
    return {"guid": entity.guid, "modified": view_of(walked) | {"version": walked.version}}


class _Hub(msgspec.Struct, omit_defaults=True):
    """What the hub knows of an event beside what is delivered."""

    position: int
    recordedAt: str
    actor: str
    deviceId: str | None
    origin: str
    chainHash: str
    decides: bool = True
    """False of what somebody says about duplicates who may not decide about them."""


def event_line(event: StoredEvent, *, decides: bool = True) -> bytes:
    """The event as it is delivered, byte for byte, and what the hub knows of it in a member of its own."""
    hub = _Hub(
        event.position,
        format_timestamp(event.recorded_at),
        event.actor,
        event.device_id,
        event.origin.value,
        chain_text(event.chain_hash),
        decides,
    )
    return b"".join((event.body[:-1].encode(), b',"hub":', _encoder.encode(hub), b"}"))


def _entry_line(told: Told) -> bytes:
    return _encoder.encode(shown(told))


# -- tables


async def _csv(source: Source, order: Order, tally: Tally) -> AsyncIterator[bytes]:
    """One table: the first of those there are."""
    async for sheet in sheets(source, order, tally):
        if order.bom:
            yield _BOM.encode()
        async for piece in _csv_of(sheet):
            yield piece
        return


async def _csv_archive(
    source: Source, order: Order, metadata: Mapping[str, Any], tally: Tally, now: Millis
) -> AsyncIterator[bytes]:
    names = {"about.json"}
    with contextlib.closing(ZipWriter(now, large_files=True)) as archive:
        archive.begin("about.json")
        archive.write(_encoder.encode(metadata))
        yield archive.take()
        async for sheet in sheets(source, order, tally):
            archive.begin(file_name(sheet.name, names))
            if order.bom:
                archive.write(_BOM.encode())
            async for piece in _csv_of(sheet):
                archive.write(piece)
                yield archive.take()
        archive.close()
        yield archive.take()


async def _csv_of(sheet: Sheet) -> AsyncIterator[bytes]:
    """RFC 4180."""
    first = True
    async for names in sheet.head():
        line = _csv_lines([names]).removesuffix("\r\n")
        if names:
            yield (line if first else f",{line}").encode()
            first = False
    yield b"\r\n"
    async for rows in sheet.rows():
        yield _csv_lines(rows).encode()


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows([csv_text(value) for value in row] for row in rows)
    return buffer.getvalue()


async def _xlsx(source: Source, order: Order, tally: Tally, now: Millis) -> AsyncIterator[bytes]:
    with contextlib.closing(Workbook(now)) as book:
        yield book.take()
        async for sheet in sheets(source, order, tally):
            header = [name async for names in sheet.head() for name in names]
            book.begin_sheet(sheet.name, header, sheet.kinds)
            async for rows in sheet.rows():
                for row in rows:
                    book.add_row(row)
                yield book.take()
        book.finish()
        yield book.take()


def file_name(title: str, taken: "set[str]") -> str:
    """A file name that every system takes, and that no other file of the archive has; it is added to `taken`."""
    units = _UNSAFE.sub("_", title[:_LONGEST_FILE_NAME]).encode()[:_MOST_BYTES_OF_NAME]
    cleaned = units.decode(errors="ignore").strip(" .") or "form"
    if cleaned.partition(".")[0].strip().casefold() in _RESERVED:
        cleaned = f"_{cleaned}"
    name, number = f"{cleaned}.csv", 1
    while name.casefold() in taken:
        number += 1
        name = f"{cleaned} ({number}).csv"
    taken.add(name.casefold())
    return name
