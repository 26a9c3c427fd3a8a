"""A workbook (XLSX) that is written from its beginning to its end, and never held.

A workbook is a zip of XML. The libraries that write one keep its sheets in temporary files, people's data on a disk, and
give the first byte when the last row is there. Here a sheet's rows go out as they come, and the list of sheets last.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from datacollect.features.exports.archive import ZipWriter
from datacollect.features.exports.cells import plain
from datacollect.features.exports.columns import Kind
from datacollect.kernel.clock import Millis

MOST_ROWS = 1_048_576
"""Of a sheet, its header included."""
MOST_CHARACTERS = 32_767
"""Of a cell, counted as UTF-16 does."""
_MOST_SHEET_BYTES = 1_900_000_000
"""Of a sheet's XML: Excel does not read zips with larger files."""
_EXACT = 10**15
"""Excel keeps 15 digits: a longer whole number is a text."""

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

# What is not said to be something else is a sheet: so the list of types can stand first.
_CONTENT_TYPES = (
    f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Default Extension="xml" ContentType="{_TYPES}.worksheet+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/></Types>'
)
_ROOT = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)
_HEADER_STYLE, _MOMENT_STYLE, _DAY_STYLE = 1, 2, 3
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_SHEET_BEGIN = (
    f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData>'
)
_SHEET_END = "</sheetData></worksheet>"

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet has no time zones
_FIRST_SAFE = datetime(1900, 3, 1)  # noqa: DTZ001 - before it Excel counts a day that there was not

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")
_REMARKABLE = re.compile(f"[&<>]|{_UNWRITABLE.pattern}")
_UNNAMEABLE = re.compile(r"[\[\]:*?/\\\x00-\x1f\ufffe\uffff\ud800-\udfff]")
_LONGEST_NAME = 31
_LONGEST_TITLE = 200
"""What is looked at of it: an event may name a form with all its length."""
_KEPT_BY_EXCEL = "history"


class Workbook:
    """Sheets one after the other; `take` gives what has been written since it was called last."""

    def __init__(self, now: Millis, *, most_rows: int = MOST_ROWS) -> None:
        self._zip = ZipWriter(now, large_files=False)
        self._most_rows = most_rows
        self._names: list[str] = []
        self._title = ""
        self._header = ""
        self._letters: list[str] = []
        self._kinds: Sequence[Kind] = ()
        self._rows: list[str] = []
        self._row_count = 0
        self._sheet_bytes = 0
        for name, text in (("[Content_Types].xml", _CONTENT_TYPES), ("_rels/.rels", _ROOT), ("xl/styles.xml", _STYLES)):
            self._write_part(name, text)

    def begin_sheet(self, title: str, header: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._end_sheet()
        self._title, self._kinds = title, kinds
        self._letters = [letters_of(index) for index in range(len(header))]
        cells = (_text(f"{letters}1", text, _HEADER_STYLE) for letters, text in zip(self._letters, header, strict=True))
        self._header = f'<row r="1">{"".join(cells)}</row>'
        self._open_sheet()

    def add_row(self, values: Sequence[Any]) -> None:
        if self._row_count >= self._most_rows or self._sheet_bytes >= _MOST_SHEET_BYTES:
            self._end_sheet()
            self._open_sheet()
        self._row_count += 1
        number = self._row_count
        cells = [
            cell
            for letters, kind, value in zip(self._letters, self._kinds, values, strict=True)
            if value is not None and (cell := _cell(f"{letters}{number}", kind, value))
        ]
        self._rows.append(f'<row r="{number}">{"".join(cells)}</row>')

    def finish(self) -> None:
        if not self._names:
            self.begin_sheet("Export", [], [])
        self._end_sheet()
        sheets = "".join(
            f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
            for number, name in enumerate(self._names, 1)
        )
        self._write_part(
            "xl/workbook.xml",
            f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
            for number in range(1, len(self._names) + 1)
        )
        links += f'<Relationship Id="rIdStyles" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
        self._write_part(
            "xl/_rels/workbook.xml.rels",
            f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
        )
        self._zip.close()

    def close(self) -> None:
        """Let go of a workbook, finished or not."""
        self._zip.close()

    def take(self) -> bytes:
        self._flush()
        return self._zip.take()

    def _open_sheet(self) -> None:
        self._names.append(sheet_name(self._title, self._names))
        self._zip.begin(f"xl/worksheets/sheet{len(self._names)}.xml")
        self._rows = [_SHEET_BEGIN, self._header]
        self._row_count, self._sheet_bytes = 1, 0

    def _end_sheet(self) -> None:
        if self._row_count:
            self._rows.append(_SHEET_END)
            self._flush()
            self._row_count = 0

    def _flush(self) -> None:
        if self._rows:
            written = "".join(self._rows).encode()
            self._sheet_bytes += len(written)
            self._zip.write(written)
            self._rows = []

    def _write_part(self, name: str, text: str) -> None:
        self._zip.begin(name)
        self._zip.write(text.encode())


def letters_of(index: int) -> str:
    """The name of a column: A, B, …, Z, AA, …"""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def sheet_name(title: str, taken: Collection[str]) -> str:
    """A name that Excel takes, near to the title, and not one of those taken."""
    cleaned = _shortened(_UNNAMEABLE.sub("_", title[:_LONGEST_TITLE]), _LONGEST_NAME) or "Sheet"
    if cleaned.casefold() == _KEPT_BY_EXCEL:
        cleaned += "_"
    used = {name.casefold() for name in taken}
    name, number = _shortened(cleaned, _LONGEST_NAME), 1
    while name.casefold() in used:
        number += 1
        suffix = f" ({number})"
        name = _shortened(cleaned, _LONGEST_NAME - len(suffix)) + suffix
    return name


def _shortened(text: str, most: int) -> str:
    """At most so many UTF-16 units, which is what Excel counts, without spaces and apostrophes around them."""
    units = _bare(text).encode("utf-16-le")[: 2 * most]
    return _bare(units.decode("utf-16-le", "ignore"))


def _bare(text: str) -> str:
    while (bare := text.strip().strip("'")) != text:
        text = bare
    return text


def _cell(place: str, kind: Kind, value: Any) -> str:
    value = plain(value)
    if isinstance(value, str):
        if kind is Kind.DATE and (moment := _moment(value)) is not None:
            number, style = moment
            return f'<c r="{place}" s="{style}"><v>{number!r}</v></c>'
        return _text(place, value) if value else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int) and abs(value) >= _EXACT:
        return _text(place, str(value))
    return f'<c r="{place}"><v>{value!r}</v></c>'


def _text(place: str, text: str, style: int = 0) -> str:
    """A text is never run as a formula: it says that it is a text."""
    styled = f' s="{style}"' if style else ""
    return f'<c r="{place}"{styled} t="inlineStr"><is><t xml:space="preserve">{_written(text)}</t></is></c>'


def _written(text: str) -> str:
    if not fits(text):
        text = _cut(text)
    if _REMARKABLE.search(text) is None:
        return text
    return escape(_UNWRITABLE.sub(lambda mark: f"_x{ord(mark[0]):04X}_", text))


def fits(text: str) -> bool:
    """Whether a cell takes all of it."""
    if len(text) <= MOST_CHARACTERS // 2:
        return True
    return len(text.encode("utf-16-le", "surrogatepass")) <= 2 * MOST_CHARACTERS


def _cut(text: str) -> str:
    units = text.encode("utf-16-le", "surrogatepass")
    note = f"… [cut: {len(text)} characters]"
    return units[: 2 * (MOST_CHARACTERS - len(note))].decode("utf-16-le", "ignore") + note


def _moment(text: str) -> tuple[float, int] | None:
    """The date as its writer's clock showed it: a spreadsheet knows no time zones."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type] # noqa: DTZ001
    except ValueError:
        return None
    if moment < _FIRST_SAFE:
        return None
    since = moment - _DAY_ZERO
    if match[4] is None:
        return since.days, _DAY_STYLE
    return round(since.days + since.seconds / 86_400, 10), _MOMENT_STYLE
