"""File names mean nothing to a file system or a header, and still tell people what a file is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.attachments.naming import MOST_CHARACTERS, disposition, safe_name, shown_name


@pytest.mark.parametrize(
    ("sent", "safe", "shown"),
    [
        ("id_card.jpg", "id_card.jpg", "id_card.jpg"),
        ("../../id card (1).jpg", "id_card__1_.jpg", "id card (1).jpg"),
        ("C:\\Users\\me\\photo.png", "photo.png", "photo.png"),
        ("/etc/passwd", "passwd", "passwd"),
        ("..", "attachment", "attachment"),
        ("a/", "attachment", "attachment"),
        ("", "attachment", "attachment"),
        ("ບັດ.jpg", "___.jpg", "ບັດ.jpg"),
        ('a"b\r\nSet-Cookie: x.jpg', "a_b__Set-Cookie__x.jpg", 'a"b__Set-Cookie: x.jpg'),
        ("evil\u202egpj.exe", "evil_gpj.exe", "evil_gpj.exe"),
        ("nul\0.txt", "nul_.txt", "nul_.txt"),
        ("e\u0301.txt", "e_.txt", "\u00e9.txt"),
    ],
)
def test_names(sent: str, safe: str, shown: str) -> None:
    assert (safe_name(sent), shown_name(sent)) == (safe, shown)


def test_a_long_name_keeps_its_extension() -> None:
    long = "x" * 5000 + ".jpeg"
    for name in (safe_name(long), shown_name(long)):
        assert len(name) == MOST_CHARACTERS and name.endswith("x.jpeg")


@given(st.text(max_size=300))
def test_whatever_is_sent_the_header_is_one_line_with_one_name(sent: str) -> None:
    safe, shown = safe_name(sent), shown_name(sent)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", safe) and safe.strip(".")
    assert 0 < len(shown) <= MOST_CHARACTERS and not set("/\\\r\n\0") & set(shown)
    header = disposition(safe, shown)
    assert re.fullmatch(r"attachment; filename=\"[A-Za-z0-9._-]+\"(; filename\*=UTF-8''[A-Za-z0-9._~%-]+)?", header)
