import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.attachments.model import Mark, Part, Unsatisfiable, named, parse_mark, part_of


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (None, None),
        ("bytes=0-", Part(0, 99)),
        ("bytes=10-19", Part(10, 19)),
        ("bytes=90-1000", Part(90, 99)),
        ("bytes=-5", Part(95, 99)),
        ("bytes=-1000", Part(0, 99)),
        ("bytes=99-99", Part(99, 99)),
        # Not understood, so passed over.
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0-9999999999999999999999", None),
    ],
)
def test_parts_of_a_file_of_a_hundred_bytes(asked: str | None, part: Part | None) -> None:
    assert part_of(100, asked) == part


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_parts_that_are_not_there(asked: str) -> None:
    with pytest.raises(Unsatisfiable):
        part_of(100, asked)


@given(st.integers(1, 10**9), st.text("bytes=0123456789-, ", max_size=30))
def test_a_part_is_always_within_the_file(size: int, asked: str) -> None:
    try:
        part = part_of(size, asked)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part.first <= part.last < size


def test_marks() -> None:
    mark = Mark(7, "0b6d1f0e-5b39-4d0e-9f1a-2f6f7f0f7a11")
    of_history = Mark(7, mark.guid, named("an epoch"))
    assert parse_mark(str(mark)) == mark and parse_mark(str(of_history)) == of_history and parse_mark("") is None
    for text in ("7", "7|", "|x", "-7|0b6d1f0e-5b39-4d0e-9f1a-2f6f7f0f7a11", f"{mark}|", "x" * 500):
        with pytest.raises(ValueError, match="not a cursor"):
            parse_mark(text)
