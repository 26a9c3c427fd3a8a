"""Commands of how-tos that are not the hub's own, run as they are written there."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.e2e.conftest import Serve
from tests.unit.test_documents import FENCED, PAGES, ROOT


def documented(page: str, word: str) -> str:
    """The one line of the page's shell blocks with that word in it."""
    blocks = [block["text"] for block in FENCED.finditer((ROOT / "docs/how-to" / page).read_text())]
    (line,) = [line for text in blocks if text.startswith("sh\n") for line in text.splitlines() if word in line]
    return line


def in_a_shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """With the Python of these tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False
    )


def test_what_goes_wrong_is_counted_from_the_lines_that_a_hub_writes(
    serve: Serve, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Fields that are bound to a request stand anywhere in a line."""
    file = Path(environment["DATA_DIR"]) / "hub.sqlite3"
    with serve(NODE_ENV="banana") as hub:
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE users RENAME TO elsewhere")
        for _ in range(2):
            credentials = {"email": "admin@hub.test", "password": "Correct-Horse-7"}
            assert httpx2.post(f"{hub.url}/api/users/login", json=credentials).status_code == 500
        assert hub.stop() == 0
        (tmp_path / f"serve-{hub.port}.log").rename(tmp_path / "hub.log")
    ended = in_a_shell(documented("when-something-is-wrong.md", "hub.log"), tmp_path)
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["2", '"event":"request.crashed"'],
        ["1", '"event":"environment.unknown"'],
    ]


def test_a_backup_is_made_beside_a_running_hub_and_none_in_the_wrong_folder(serve: Serve, tmp_path: Path) -> None:
    line, elsewhere = documented("restore-a-backup.md", "backup.sqlite3"), tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    with serve():
        assert in_a_shell(line, tmp_path).returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "backup.sqlite3")) as backup:
        assert backup.execute("SELECT email FROM users").fetchall() == [("admin@hub.test",)]
    ended = in_a_shell(line, elsewhere)
    assert ended.returncode != 0
    assert "unable to open database file" in ended.stderr
    assert list(elsewhere.rglob("*")) == [elsewhere / "data"]


def test_every_database_that_is_made_holds_every_letter() -> None:
    made = [text for page in PAGES for text in re.findall(r"CREATE DATABASE [^;`\n]*", page.read_text())]
    assert len(made) >= 2
    assert [text for text in made if not text.endswith("ENCODING 'UTF8' TEMPLATE template0")] == []
