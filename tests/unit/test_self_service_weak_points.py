"""The page that says which test tries which weak point of self-service and reviews names all of them, and tests that exist."""

import re

from tests.named import ROOT, known_tests

PAGE = (ROOT / "docs" / "reference" / "self-service-weak-points.md").read_text()
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
POINTS = {"Signing in": range(1, 13), "Own data": range(13, 23), "Reviews": range(23, 34)}


def test_every_weak_point_is_tried_by_tests_that_exist() -> None:
    for section, numbers in POINTS.items():
        part = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| R")]
        assert [row[0].split()[0] for row in rows] == [f"R{number}" for number in numbers]
        assert all(len(row) == 3 and TEST_ID.search(row[2]) for row in rows), section
    named = set(TEST_ID.findall(PAGE))
    there = {path: known_tests(path) for path, _ in named}
    assert sorted(f"{path}::{name}" for path, name in named if name not in there[path]) == []


def test_whatever_looks_like_a_test_on_the_page_is_a_whole_id() -> None:
    assert set(re.findall(r"\btest_\w+\b(?!\.py)", PAGE)) == {name for _, name in TEST_ID.findall(PAGE)}
