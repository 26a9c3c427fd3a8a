"""A file is what its content says, whatever it is called."""

from pathlib import Path

import pytest

from datacollect.features.attachments.contents_check import mismatch
from datacollect.kernel.filetypes import DEFAULT_FILE_TYPES, FILE_TYPES
from tests.files import FILES, archive, compound, picture

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ALIKE = [
    {"image/heic", "image/heif"},
    {"audio/webm", "video/webm"},
    {"text/plain", "text/csv"},
    {"audio/mp4", "video/mp4", "video/3gpp", "video/quicktime"},
]
"""Of the same form: nothing in a file tells which of them it is."""

HTML = b"<!DOCTYPE html><script>alert(1)</script>"
PROGRAM = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + bytes(100)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def looks_like(folder: Path, content: bytes, declared: str) -> str | None:
    path = folder / "file"
    path.write_bytes(content)
    return mismatch(path, declared)


def test_there_is_a_file_of_every_type() -> None:
    assert set(FILES) == FILE_TYPES


@pytest.mark.parametrize("declared", sorted(FILE_TYPES))
def test_a_file_passes_as_what_it_is_and_as_nothing_else(tmp_path: Path, declared: str) -> None:
    alike = {declared}.union(*(group for group in ALIKE if declared in group))
    for other in sorted(FILE_TYPES):
        found = looks_like(tmp_path, FILES[declared], other)
        if other == declared:
            assert found is None
        elif other not in alike:
            assert found, f"{declared} passed as {other}"


@pytest.mark.parametrize("content", [HTML, SVG, PROGRAM, b"\xef\xbb\xbf" + HTML, b"\n\n  " + HTML, bytes(1), b"PK\3\4"])
@pytest.mark.parametrize("declared", sorted(DEFAULT_FILE_TYPES))
def test_what_browsers_or_computers_run_passes_as_nothing(tmp_path: Path, content: bytes, declared: str) -> None:
    assert looks_like(tmp_path, content, declared)


def iso(brand: bytes, *compatible: bytes) -> bytes:
    """An ISO media file, as far as its brands."""
    named = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(named) + 4).to_bytes(4) + named + b"\0\0\0\x08free" + bytes(64)


RECORDED = {
    "an Android recorder": (iso(b"mp42", b"isom", b"mp42"), "audio/mp4"),
    "a file of ffmpeg": (iso(b"isom", b"isom", b"iso2"), "audio/mp4"),
    "sound of Safari": (iso(b"iso5", b"isom", b"iso5", b"hlsf"), "audio/mp4"),
    "a film of Safari": (iso(b"iso5", b"isom", b"iso5", b"avc1"), "video/mp4"),
    "pieces of ffmpeg": (iso(b"iso6", b"iso6", b"mp41"), "video/mp4"),
    "a newer 3GPP": (iso(b"3gp7", b"3gp7", b"isom"), "video/3gpp"),
    "an iPhone's film": (iso(b"qt  ", b"qt  "), "video/quicktime"),
    "an iPhone's photo": (iso(b"heic", b"mif1", b"heic"), "image/heic"),
    "an Android photo": (iso(b"mif1", b"mif1", b"heic"), "image/heic"),
    "a burst": (iso(b"msf1", b"msf1", b"hevc"), "image/heif"),
    "a voice at 22 kHz": (bytes.fromhex("fff34064") + bytes(400), "audio/mpeg"),
    "a voice at 8 kHz": (bytes.fromhex("ffe31864") + bytes(400), "audio/mpeg"),
    "a PDF after a line break": (b"\n%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj", "application/pdf"),
    "a PDF of a printer": (b"\x1b%-12345X@PJL\r\n" + b"%PDF-1.4\n", "application/pdf"),
}


@pytest.mark.parametrize("what", RECORDED)
def test_what_phones_and_browsers_record_passes(tmp_path: Path, what: str) -> None:
    assert looks_like(tmp_path, *RECORDED[what]) is None


NO_SUCH_THING = {
    "a page that begins with a box": (b"<!--ftypisom--><script>alert(1)</script>", "video/mp4"),
    "a box that is cut": (b"\0\0\0\x18ftypisom", "video/mp4"),
    "a photo": (iso(b"heic", b"mif1", b"heic"), "video/mp4"),
    "a film": (iso(b"isom", b"isom", b"mp41"), "image/heic"),
    "a photo of another kind": (iso(b"avif", b"mif1", b"miaf"), "image/heic"),
    "a text in UTF-16": ("\ufeff\r\nname;age".encode("utf-16-le"), "audio/mpeg"),
    "AAC": (bytes.fromhex("fff15080") + bytes(400), "audio/mpeg"),
    "a page with a PDF in it": (b"<html>\n%PDF-1.4\n", "application/pdf"),
    "a PDF too far inside": (bytes(1024) + b"%PDF-1.4\n", "application/pdf"),
}


@pytest.mark.parametrize("what", NO_SUCH_THING)
def test_what_only_looks_alike_does_not_pass(tmp_path: Path, what: str) -> None:
    assert looks_like(tmp_path, *NO_SUCH_THING[what])


def test_a_page_in_another_encoding_is_a_page_too(tmp_path: Path) -> None:
    assert looks_like(tmp_path, "﻿<html>".encode("utf-16-le"), "text/plain")


def test_the_message_names_what_it_looks_like(tmp_path: Path) -> None:
    assert looks_like(tmp_path, picture("PNG"), "image/jpeg") == "image/png"
    assert looks_like(tmp_path, b"hello", "image/jpeg") == "text"
    assert looks_like(tmp_path, HTML, "image/jpeg") == "text/html"
    assert looks_like(tmp_path, b"\x01\x02\x03\x04", "image/jpeg") == "nothing that is known here"


@pytest.mark.parametrize("content", [b"a\n" * 200_000, "Zoë".encode("cp1252"), "﻿ສະບາຍດີ".encode("utf-16-le"), b"FORM,n"])
def test_texts_of_any_encoding_are_texts(tmp_path: Path, content: bytes) -> None:
    assert looks_like(tmp_path, content, "text/csv") is None


@pytest.mark.parametrize("at", [0, 300_000])
def test_a_control_character_anywhere_makes_a_text_none(tmp_path: Path, at: int) -> None:
    content = bytearray(b"a" * 300_001)
    content[at] = 0
    assert looks_like(tmp_path, bytes(content), "text/plain")


def test_a_document_with_macros_is_not_one_without(tmp_path: Path) -> None:
    content = archive("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")
    assert looks_like(tmp_path, content, DOCX)


def test_the_name_of_a_stream_has_to_be_a_name(tmp_path: Path) -> None:
    odd = compound("Nothing") + b"x" * 64 + "WordDocument".encode("utf-16-le") + b"\0\0" + bytes(200)
    assert looks_like(tmp_path, odd, "application/msword")


@pytest.mark.parametrize("tail", [b"", b"PK\5\6", b"PK\5\6" + b"\xff" * 18, b"PK\5\6" + bytes(18)])
@pytest.mark.parametrize("declared", [DOCX, XLSX])
def test_archives_with_a_broken_end_are_refused_and_nothing_breaks(tmp_path: Path, tail: bytes, declared: str) -> None:
    assert looks_like(tmp_path, FILES[declared][:60] + tail, declared)
