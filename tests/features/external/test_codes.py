"""Whoever meets a code finds what to do about it."""

from pathlib import Path

from datacollect.features.external.codes import Trouble

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "when-records-do-not-arrive.md"


def test_every_code_is_explained() -> None:
    page = PAGE.read_text()
    for trouble in Trouble:
        assert f"| `{trouble.value}` | {trouble.help} |" in page
