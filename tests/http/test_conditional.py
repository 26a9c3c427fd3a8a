"""What `If-None-Match` names."""

import pytest
from starlette.requests import Request

from datacollect.http.conditional import holds


@pytest.mark.parametrize(
    ("sent", "is_held"),
    [
        ([], False),
        ([""], False),
        (['"a"'], False),
        (['"b"'], True),
        (['"a", W/"b"'], True),
        (['"a"', '"b"'], True),
        (["*"], True),
    ],
)
def test_a_tag_is_held_if_it_is_named_weak_or_not_or_by_the_star(sent: list[str], is_held: bool) -> None:
    headers = [(b"if-none-match", text.encode()) for text in sent]
    assert holds(Request({"type": "http", "headers": headers}), '"b"') is is_held
