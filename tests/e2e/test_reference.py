"""The reference pages in `docs/` are what the code prints."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Run

PAGES = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    "page", ["settings", "errors", "limits", "permissions", "program-config", "command-line", "adapters"]
)
def test_the_page_is_up_to_date(run: Run, page: str) -> None:
    printed = run("reference", page)
    assert printed.returncode == 0
    assert (PAGES / f"{page}.md").read_text() == printed.stdout, "run `make docs`"
