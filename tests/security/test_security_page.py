"""The page that says what is secure, and by which test, says so of tests that exist."""

import re

from tests.named import ROOT, known_tests

PAGE = (ROOT / "docs" / "reference" / "security.md").read_text()

TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SAID = re.compile(r"Not applicable|Not met|\*Deployment|SHA-256|`uv\.lock`|Standard output|One pool per process")
CHAPTERS = {
    1: 33,
    2: 13,
    3: 31,
    4: 16,
    5: 13,
    6: 47,
    7: 19,
    8: 13,
    9: 7,
    10: 36,
    11: 24,
    12: 12,
    13: 21,
    14: 13,
    15: 21,
    16: 17,
}
"""The most items a chapter has, all levels."""


def rows(section: str) -> list[tuple[str, str]]:
    """The first and the last column of a section's tables."""
    part = PAGE.partition(f"\n## {section}")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("|")
    ]
    return [
        (row[0].strip("| "), row[-1].strip("| "))
        for row in cells
        if row[0].strip("| -") not in {"", "Item", "Weak point"}
    ]


def test_every_test_that_the_page_names_exists() -> None:
    named = set(TEST_ID.findall(PAGE))
    assert len(named) > 100
    missing = []
    for path in sorted({path for path, _ in named}):
        there = known_tests(path)
        missing += [f"{path}::{name}" for other, name in sorted(named) if other == path and name not in there]
    assert missing == []


def test_whatever_looks_like_a_test_on_the_page_is_a_whole_id() -> None:
    assert set(re.findall(r"\btest_\w+\b(?!\.py)", PAGE)) == {name for _, name in TEST_ID.findall(PAGE)}


def test_every_item_of_the_top_ten_is_shown() -> None:
    shown = rows("OWASP API Security Top 10 (2023)")
    assert [item.split()[0] for item, _ in shown] == [f"API{number}" for number in range(1, 11)]
    assert all(TEST_ID.search(by) for _, by in shown)


def test_every_item_of_the_standard_has_a_test_or_says_why_not() -> None:
    items: list[str] = []
    for first, by in rows("OWASP ASVS 5.0.0, levels 1 and 2"):
        assert TEST_ID.search(by) or SAID.search(by), first
        items += first.split(", ")
    assert len(items) == len(set(items)) > 240
    for item in items:
        matched = re.fullmatch(r"V(\d+)\.\d+\.\d+", item)
        assert matched and int(matched[1]) in CHAPTERS, item


def test_every_numbered_weak_point_is_tried() -> None:
    tried = " ".join(item for item, by in rows("Weak points") if TEST_ID.search(by))
    for number in range(1, 23):
        assert re.search(rf"\bW{number}\b", tried), number
    for number in range(1, 19):
        assert re.search(rf"(?<!Sync )\bS{number}\b", tried), number
    for number in range(1, 12):
        assert re.search(rf"Sync (S\d+, )*S{number}\b", tried), number
