"""Files as people attach them, the smallest that are what they say they are."""

import io
import itertools
import struct
import zipfile

from PIL import Image

_shades = itertools.count(1)

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def picture(kind: str = "JPEG", *, side: int = 8) -> bytes:
    """One that no other test has."""
    shade = next(_shades)
    image = Image.new("RGB", (side, side), (shade % 256, shade // 256 % 256, 77))
    image.putpixel((0, 0), (shade % 251, shade % 241, shade % 239))
    made = io.BytesIO()
    image.save(made, kind)
    return made.getvalue() + str(shade).encode()


def archive(*names: str, first: tuple[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        if first:
            zipped.writestr(zipfile.ZipInfo(first[0]), first[1])
        for name in names:
            zipped.writestr(name, b"<xml/>")
    return made.getvalue()


def compound(*streams: str) -> bytes:
    """A file of the older office programs, as far as its directory."""
    entries = b"".join(_entry(name, kind) for name, kind in [("Root Entry", 5), *((name, 2) for name in streams)])
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504) + entries.ljust(512, b"\0")


def _entry(name: str, kind: int) -> bytes:
    written = name.encode("utf-16-le") + b"\0\0"
    return (written.ljust(64, b"\0") + struct.pack("<HB", len(written), kind)).ljust(128, b"\0")


def _box(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + bytes(64)


FILES = {
    "image/jpeg": picture("JPEG"),
    "image/png": picture("PNG"),
    "image/gif": picture("GIF"),
    "image/webp": picture("WEBP"),
    "image/tiff": picture("TIFF"),
    "image/bmp": picture("BMP"),
    "image/heic": _box(b"heic"),
    "image/heif": _box(b"heic"),
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n",
    "application/msword": compound("1Table", "Data", "CompObj", "WordDocument"),
    "application/vnd.ms-excel": compound("Workbook"),
    _DOCX: archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    _XLSX: archive("[Content_Types].xml", "xl/workbook.xml"),
    "application/vnd.oasis.opendocument.text": archive(first=("mimetype", b"application/vnd.oasis.opendocument.text")),
    "application/vnd.oasis.opendocument.spreadsheet": archive(
        first=("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")
    ),
    "audio/mpeg": b"ID3\x03\0\0\0\0\0\0" + bytes(32),
    "audio/mp4": _box(b"M4A "),
    "audio/ogg": b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(32),
    "audio/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm",
    "video/mp4": _box(b"isom"),
    "video/3gpp": _box(b"3gp4"),
    "video/quicktime": _box(b"qt  "),
    "text/plain": "Nong Khai, ສະບາຍດີ\n".encode(),
    "text/csv": b"name;age\r\nZo\xeb;7\r\n",  # as spreadsheets on Windows write it
}
