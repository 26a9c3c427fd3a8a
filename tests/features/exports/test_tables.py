"""Columns, cells and sheets by themselves: hostile texts, odd forms, and what is larger than a spreadsheet takes."""

import csv
import io
import re
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.exports.cells import csv_text, harmless, plain
from datacollect.features.exports.columns import GROUP_KEYS, Kind, headers, rows_of, table_of
from datacollect.features.exports.workbook import MOST_CHARACTERS, Workbook, letters_of, sheet_name
from datacollect.features.exports.writing import file_name
from datacollect.kernel.clock import Millis


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t1", "\r=1", "\n=1", "  =1", "\u00a0=1", '=cmd|" /C calc"!A0', "＝1", "－x",
        "+856 20", "-", "=", "-5-3", "+-5", "-Ana", "- 5",
    ],
)  # fmt: skip
def test_what_could_be_a_formula_is_not_one_any_more(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-5", "+5", "-5.25", "-1,5", "+85620123", "1e5", "-1E-3", "a=1", "Ana-Bo", "", " a", "家", "'=1"]
)
def test_numbers_and_words_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


@given(st.text() | st.text("=+@-;\t' a1"))
def test_no_text_begins_a_formula_and_none_is_lost(text: str) -> None:
    """Not where a spreadsheet splits it either, which takes another separator than the comma."""
    safe = harmless(text)
    assert safe.replace("'", "") == text.replace("'", "")
    for cell in re.split("[;\t]", safe):
        assert cell.lstrip()[:1] not in tuple("=@"), safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Bo;=1+1", "Bo;'=1+1"), ("Bo; =1", "Bo; '=1"), ("Bo\t@x", "Bo\t'@x"), ("1; -2; +3", "1; -2; +3"),
        ("a;b", "a;b"), ("a; - b", "a; '- b"), ("=1;=2", "'=1;'=2"), ("\t=1", "'\t'=1"),
    ],
)  # fmt: skip
def test_a_formula_behind_a_separator_is_none_either(text: str, safe: str) -> None:
    assert harmless(text) == safe


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""), (True, "true"), (False, "false"), (-5, "-5"), (2**70, str(2**70)), (0.1, "0.1"), (1e22, "1e22"), (-0.5, "-0.5"),
        ([], ""), ({}, ""), (["a", 1, True], "a; 1; true"), (["a;b"], '["a;b"]'), ([None], "[null]"), ([{"a": 1}], '[{"a":1}]'),
        ({"a": "=1"}, '{"a":"=1"}'), (["=1"], "'=1"), ("a\nb", "a\nb"),
    ],
)  # fmt: skip
def test_a_value_is_one_cell(value: Any, cell: str) -> None:
    assert csv_text(value) == cell


def test_whatever_a_form_holds_it_gives_a_table() -> None:
    for definition in (
        None,
        1,
        [],
        {},
        {"components": {}},
        {"components": [None, 1, {"type": []}, {"key": 3}, {"key": ""}]},
    ):
        assert table_of("f", definition).columns == []
    odd = [{"type": kind, "key": f"k{number}"} for number, kind in enumerate(([], {}, 3, None))]
    assert [column.key for column in table_of("f", {"components": odd}).columns] == ["k0", "k1", "k2", "k3"]
    deep: Any = []
    for _ in range(500):
        deep = [{"type": "container", "key": "c", "components": deep or [{"key": "x"}]}]
    assert table_of("f", {"components": deep}).columns == []


def test_layout_gives_no_column_and_boxes_give_one_each() -> None:
    inner = [{"type": "textfield", "key": "a", "label": " A "}]
    form = {
        "components": [
            {"type": "columns", "columns": [{"components": inner}]},
            {"type": "table", "rows": [[{"components": [{"type": "number", "key": "b"}]}]]},
            {"type": "tabs", "components": [{"components": [{"type": "checkbox", "key": "c", "label": "C"}]}]},
            {"type": "content", "key": "d"},
            {"type": "survey", "key": "s", "label": "S", "questions": [{"value": "q", "label": "Q"}]},
            {"type": "textfield", "key": "a", "label": "again"},
        ]
    }
    columns = table_of("f", form).columns
    assert [(column.key, column.label) for column in columns] == [("a", "A"), ("b", "b"), ("c", "C"), ("s.q", "S: Q")]


def test_fields_with_the_same_label_say_which_they_are() -> None:
    form = {"components": [{"key": "a", "label": "N"}, {"key": "b", "label": "N"}, {"key": "c", "label": "M"}]}
    columns = table_of("f", form).columns
    assert headers(columns, labels=True) == ["N (a)", "N (b)", "M"]
    assert headers(columns, labels=False) == ["a", "b", "c"]


def test_no_two_columns_have_one_heading() -> None:
    form = {
        "components": [
            {"key": "phoneNumber", "label": "phone"},
            {"key": "a", "label": "_other"},
            {"key": "b", "label": "N (c)"},
            {"key": "c", "label": "N"},
            {"key": "d", "label": "N"},
            {"type": "container", "key": "home", "components": [{"key": "zip"}]},
            {"key": "home.zip", "label": "zip code"},
        ]
    }
    table, taken = table_of("f", form), {"_guid", "_other"}
    assert headers(table.columns, labels=True, taken=set(taken)) == [
        "phone", "_other (a)", "N (c)", "N (c) (2)", "N (d)", "zip", "zip code",
    ]  # fmt: skip
    assert headers(table.columns, labels=False)[-2:] == ["home.zip", "home.zip (home.zip)"]
    known = len(table.columns)
    headers(table.columns, labels=True, taken=taken)
    table.add_keys(["phone", "_guid"])
    assert headers(table.columns[known:], labels=False, taken=taken) == ["phone (phone)", "_guid (_guid)"]


def test_nothing_in_the_data_is_lost() -> None:
    form = {
        "components": [
            {"type": "container", "key": "home", "components": [{"key": "zip"}]},
            {"type": "selectboxes", "key": "needs", "values": [{"value": "water"}]},
            {"type": "datagrid", "key": "kids", "components": [{"key": "name"}]},
        ]
    }
    table = table_of("f", form)
    table.add_keys(["extra", "home", "entityName"])
    data = {
        "home": {"zip": 1, "town": {"x": 2}},
        "needs": {"water": True, "fire": True},
        "kids": "none",
        "extra": [1],
        "later": 5,
        "entityName": "f",
    }
    values, rest = table.row(data, GROUP_KEYS)
    assert dict(zip((column.key for column in table.columns), values, strict=True)) == {
        "home.zip": 1, "needs.water": True, "extra": [1],
    }  # fmt: skip
    assert rest == {"home.town": {"x": 2}, "needs.fire": True, "kids": "none", "later": 5}
    assert table.row({"home": "here", "kids": [{"name": "A"}]})[1] == {"home": "here"}


def test_a_grid_has_columns_of_any_name() -> None:
    grid = {"type": "datagrid", "key": "visits", "components": [{"key": "members"}]}
    ((visits,),) = table_of("f", {"components": [{"key": "members"}, grid]}).chains()
    assert [column.key for column in visits.columns] == ["members"]
    assert visits.row({"members": 5, "entityName": "x"}) == ([5], {"entityName": "x"})


def test_rows_inside_rows_are_numbered_by_those_around_them() -> None:
    inner = {"type": "editgrid", "key": "shots", "components": [{"key": "kind"}]}
    boxed = {"type": "container", "key": "more", "components": [inner]}
    table = table_of("f", {"components": [{"type": "datagrid", "key": "kids", "components": [{"key": "name"}, boxed]}]})
    (kids,), (_, shots) = table.chains()
    data = {"kids": [{"more": {"shots": [{"kind": "a"}]}}, 5, {"more": {"shots": [{}, {"kind": "b"}]}}]}
    assert [number for number, _ in rows_of([kids], data)] == ["1", "3"]
    assert [number for number, _ in rows_of([kids, shots], data)] == ["1.1", "3.1", "3.2"]
    assert [column.key for column in shots.columns] == ["kind"]


def written(*sheets: tuple[str, list[str], list[list[Any]]], most_rows: int = 1_048_576) -> Any:
    book = Workbook(Millis(0), most_rows=most_rows)
    parts = [book.take()]
    for title, header, rows in sheets:
        book.begin_sheet(title, header, [Kind.DATE if name.endswith("?") else Kind.PLAIN for name in header])
        for row in rows:
            book.add_row(row)
            parts.append(book.take())
    book.finish()
    parts.append(book.take())
    return openpyxl.load_workbook(io.BytesIO(b"".join(parts)))


def rows_in(sheet: Any) -> list[list[Any]]:
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def test_texts_come_back_as_they_were() -> None:
    texts = [
        " a ",
        "a\nb",
        "=1+1",
        "<&>\"'",
        "家 \U0001f600",
        "_x000D_",
        "a\rb",
        "\x01\x1f",
        "]]>",
        "x" * MOST_CHARACTERS,
    ]
    book = written(("s", ["t"], [[text] for text in texts]))
    found = [row[0] for row in rows_in(book["s"])[1:]]
    assert [openpyxl.utils.escape.unescape(text) for text in found] == texts


def test_what_no_cell_can_hold_is_cut_and_says_so() -> None:
    for text in ("x" * 40_000, "\U0001f600" * 20_000):
        found = rows_in(written(("s", ["t"], [[text]]))["s"])[1][0]
        assert len(found.encode("utf-16-le")) // 2 <= MOST_CHARACTERS
        assert found.endswith(f"… [cut: {len(text)} characters]") and found[:1000] == text[:1000]


def test_cells_have_types() -> None:
    rows = [
        [5, -2.5, True, None, 2**60, "2025-03-01", ["a", "b"]],
        [0, 0.1, False, "", -1, "2025-03-01T10:30:15.5Z", {}],
    ]
    book = written(("s", ["i", "f", "b", "n", "big", "d?", "l"], rows))
    one, two = rows_in(book["s"])[1:]
    assert one[:5] == [5, -2.5, True, None, str(2**60)]
    assert (str(one[5]), str(two[5]), one[6], two[6]) == ("2025-03-01 00:00:00", "2025-03-01 10:30:15", "a; b", None)


@pytest.mark.parametrize("text", ["1899-01-01", "2025-02-30", "yesterday", "2025-13-01T00:00:00Z", "٢٠٢٥-٠٣-٠١"])
def test_what_is_no_date_for_a_spreadsheet_stays_a_text(text: str) -> None:
    assert rows_in(written(("s", ["d?"], [[text]]))["s"])[1] == [text]


def test_rows_beyond_a_sheet_go_to_a_further_one() -> None:
    book = written(("people", ["n"], [[number] for number in range(7)]), ("other", ["n"], [[1]]), most_rows=4)
    assert book.sheetnames == ["people", "people (2)", "people (3)", "other"]
    numbers = [rows_in(book[name]) for name in book.sheetnames[:3]]
    assert numbers == [[["n"], [0], [1], [2]], [["n"], [3], [4], [5]], [["n"], [6]]]


def test_hundreds_of_columns_are_in_their_places() -> None:
    header = [f"c{number}" for number in range(800)]
    sheet = written(("wide", header, [list(range(800))]))["wide"]
    assert rows_in(sheet) == [header, list(range(800))]
    assert [letters_of(number) for number in (0, 25, 26, 701, 702, 16_383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]


def test_sheets_have_names_that_excel_takes() -> None:
    titles = ["a/b", "A_B", "", "'x'", "History", "x" * 40, "x" * 40, "家" * 40, "\U0001f600" * 20, "[?]"]
    names: list[str] = []
    for title in titles:
        names.append(sheet_name(title, names))
    assert names[:5] == ["a_b", "A_B (2)", "Sheet", "x", "History_"]
    assert len({name.casefold() for name in names}) == len(titles)
    assert all(0 < len(name.encode("utf-16-le")) // 2 <= 31 for name in names)
    book = written(*((title, ["t"], [["v"]]) for title in titles))
    assert len(book.sheetnames) == len(titles)


@pytest.mark.parametrize(
    ("title", "name"),
    [("a\ufffeb\uffff", "a_b_"), ("' 'x' '", "x"), (f"History{' ' * 30}x", "History_"), ("' " * 90_000, "Sheet")],
    ids=range(4),
)
def test_whoever_names_a_form_cannot_break_the_workbook(title: str, name: str) -> None:
    assert written((title, ["t"], [["v"]])).sheetnames == [name]


def test_files_have_names_that_every_system_takes() -> None:
    titles = [
        "person",
        "Person",
        "a/b",
        "é",
        "aux",
        "Con.visits",
        "com1 ",
        "LPT²",
        "console",
        "",
        "..",
        "\U00020000" * 90,
    ]
    taken: set[str] = set()
    names = [file_name(title, taken) for title in titles]
    assert names[:-1] == [
        "person.csv", "Person (2).csv", "a_b.csv", "é.csv", "_aux.csv", "_Con.visits.csv", "_com1.csv",
        "_LPT².csv", "console.csv", "form.csv", "form (2).csv",
    ]  # fmt: skip
    assert len(names[-1].encode()) <= 255


def test_a_workbook_without_sheets_can_be_opened() -> None:
    assert len(written().sheetnames) == 1


@given(st.lists(st.lists(st.text() | st.integers() | st.booleans() | st.none(), min_size=2, max_size=2), max_size=5))
def test_any_row_is_read_back_from_csv(rows: list[list[Any]]) -> None:
    buffer = io.StringIO(newline="")
    cells = [[csv_text(value) for value in row] for row in rows]
    csv.writer(buffer, lineterminator="\r\n").writerows(cells)
    assert list(csv.reader(io.StringIO(buffer.getvalue(), newline=""))) == cells


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_is_a_cell(value: Any) -> None:
    assert isinstance(plain(value), str | int | float | bool | None)
