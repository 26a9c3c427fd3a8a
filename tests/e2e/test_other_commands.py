import contextlib
import json
import re
import resource
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from datacollect.cli.beside import answering
from datacollect.cli.database import advice_on_sqlite
from datacollect.cli.development import write_dev_env
from datacollect.cli.failures import print_bytes, printing, reporting
from datacollect.kernel.errors import StartupError, Unavailable
from tests.e2e.conftest import Run, Serve, command


def test_migrate_can_be_repeated(run: Run) -> None:
    for _ in range(2):
        ended = run("migrate")
        assert (ended.returncode, ended.stdout) == (0, "The database is up to date.\n")


def test_migrate_changes_nothing_under_a_hub_of_the_release_before(run: Run, serve: Serve, tmp_path: Path) -> None:
    with serve():
        assert run("migrate").returncode == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "hub.sqlite3")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '0001'")
        ended = run("migrate")
        assert ended.returncode == 1
        assert "Another hub already serves from" in ended.stderr


@pytest.mark.parametrize("line", ["migrate", "verify", "rebuild", "user list", "jobs list", "restored"])
def test_a_command_of_an_older_release_says_that_the_database_is_a_newer_ones(
    run: Run, tmp_path: Path, line: str
) -> None:
    """All but `migrate` said that it was not up to date."""
    assert run("migrate").returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "hub.sqlite3")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    ended = run(*line.split())
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(
        "datacollect: The database has schema 9999, which this release does not know: a newer"
    )


def test_openapi_prints_the_document_without_any_configuration(run: Run, tmp_path: Path) -> None:
    everything = ("ADMIN_EMAIL", "ADMIN_PASSWORD", "JWT_SECRET", "DATA_DIR")
    as_json = run("openapi", without=everything)
    as_yaml = run("openapi", "--yaml", without=everything)
    document = json.loads(as_json.stdout)
    assert document["info"]["title"] == "ID PASS DataCollect Backend API"
    assert yaml.load(as_yaml.stdout, yaml.CSafeLoader) == document
    assert list(tmp_path.iterdir()) == []


def test_dev_env_writes_a_private_file_and_prints_the_login_once(run: Run, tmp_path: Path) -> None:
    first, second = run("dev-env"), run("dev-env")
    file = tmp_path / ".env"
    values = dict(line.split("=", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert values["ADMIN_EMAIL"] == "admin@hdm.example"
    assert values["CORS_ORIGINS"] == "*"
    assert values["ALLOW_PRIVATE_ADAPTER_HOSTS"] == "true"
    assert len(values["JWT_SECRET"]) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert values["ADMIN_PASSWORD"] in first.stdout
    assert values["ADMIN_EMAIL"] in first.stdout
    assert values["JWT_SECRET"] not in first.stdout
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


@pytest.mark.parametrize(("port", "address"), [("3987", "http://localhost:3987"), ("", "http://localhost:3000")])
def test_codes_of_a_hub_at_another_port_lead_there(run: Run, tmp_path: Path, port: str, address: str) -> None:
    assert run("dev-env", SYNC_SERVER_PORT=port).returncode == 0
    assert f"PUBLIC_BASE_URL={address}\n" in (tmp_path / ".env").read_text()


def test_an_env_file_that_is_there_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ADMIN_EMAIL=mine@hub.test\n")
    assert run("dev-env").stdout == ""
    assert (tmp_path / ".env").read_text() == "ADMIN_EMAIL=mine@hub.test\n"


def test_an_env_file_that_cannot_be_written_is_said_in_one_line() -> None:
    with pytest.raises(StartupError, match=r"^/proc/nowhere/\.env cannot be written "):
        write_dev_env(Path("/proc/nowhere/.env"))


def test_an_env_file_for_which_there_is_no_room_is_not_there(tmp_path: Path) -> None:
    """What was left of it was taken for a file of one's own, and the next `make run` found no settings in it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StartupError, match="cannot be written"):
            write_dev_env(tmp_path / ".env")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [b"a line\n", b"a megabyte " * 100_000])
def test_what_cannot_be_printed_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: bytes
) -> None:
    """It was told as a breakdown, or by Python when it ended, and with a code that no page names."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as ended, reporting(), printing():
            print_bytes(said)
            raise SystemExit(0)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "datacollect: Standard output cannot be written (No space left on device).\n"


def test_a_command_that_may_print_nothing_ends_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts a hub or a nightly check with `>&-` was told that it had broken down."""
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(SystemExit) as ended, reporting(), printing():
        raise SystemExit(3)
    assert ended.value.code == 3


def test_a_hub_starts_from_what_dev_env_wrote(run: Run, serve: Serve, environment: dict[str, str]) -> None:
    for name in ("ADMIN_EMAIL", "ADMIN_PASSWORD", "JWT_SECRET"):
        del environment[name]
    assert run("dev-env").returncode == 0
    with serve() as hub:
        assert hub.stop() == 0


_NOT_NEEDED = {"fastapi", "datacollect.app", "datacollect.cli.program", "datacollect.cli.serve", "datacollect.testing"}


def test_a_command_imports_no_routes_and_none_of_the_other_commands(
    run: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert run("migrate").returncode == 0
    telling = "import atexit, sys; atexit.register(lambda: print('IMPORTED', *sys.modules)); "
    python, option, code, *arguments = command("user", "list")
    ended = subprocess.run(
        [python, option, telling + code, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    (imported,) = [line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("IMPORTED")]
    assert "datacollect.assembly" in imported
    ours = [name for name in imported if name.startswith("datacollect.features.")]
    of_routes = [name for name in ours if re.search(r"(routes|schemas|feature)$", name)]
    # What a config and a new account are checked by, whoever sends them.
    assert set(of_routes) == {"datacollect.features.tenants.config_schemas", "datacollect.features.users.schemas"}
    assert _NOT_NEEDED & set(imported) == set()


ABOUT_A_PROGRAM = [
    "program export nope",
    "program show nope --json",
    "program archive nope --json",
    "program restore nope --json",
    "program qr nope",
    "program history nope --json",
    "program diff nope --json",
    "program revert nope 1 --json",
    "program purge nope --yes-purge nope --json",
    "duplicates sweep nope --json",
    "duplicates report nope --json",
    "messages list nope --json",
    "messages test nope +49151123456 --json",
    "jobs list --program nope --json",
    "user list --program nope --json",
    "attachments check --program nope --json",
    "verify --tenant nope",
    "rebuild --tenant nope",
    "restored --tenant nope",
    "export nope --out -",
]


@pytest.mark.usefixtures("migrated")
def test_of_a_program_that_is_not_there_nothing_is_listed_or_begun(run: Run) -> None:
    """An empty table would look like an answer. All say the same."""
    for line in ABOUT_A_PROGRAM:
        ended = run(*line.split(), PURGE="true")
        assert (ended.returncode, ended.stdout) == (1, ""), line
        if "--json" in line:
            told = json.loads(ended.stderr)
            assert told == {"code": "PROGRAM_NOT_FOUND", "message": "There is no program nope."}, line
        else:
            assert ended.stderr == "datacollect: There is no program nope.\n", line
    assert json.loads(run("jobs", "list", "--json").stdout)["jobs"] == []


def test_what_keeps_a_database_away_is_told_also_by_commands_that_answer(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with pytest.raises(typer.Exit), answering(as_json=as_json):
            raise Unavailable() from sqlite3.OperationalError("database or disk is full")
        assert "(sqlite3.OperationalError: database or disk is full)" in capsys.readouterr().err


def test_a_disk_without_room_for_what_sqlite_shares_is_called_full(tmp_path: Path) -> None:
    """A clean stop takes `-shm` away; SQLite calls it an I/O error that it cannot make it again."""
    file = tmp_path / "hub.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE kept (name TEXT)")
    assert list(tmp_path.iterdir()) == [file]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with (
            contextlib.closing(sqlite3.connect(file)) as database,
            pytest.raises(sqlite3.OperationalError, match="disk I/O error") as full,
        ):
            database.execute("BEGIN IMMEDIATE")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert advice_on_sqlite(full.value) == "Make room on the disk of DATA_DIR."


def test_only_a_damaged_database_is_called_damaged(tmp_path: Path) -> None:
    file = tmp_path / "hub.sqlite3"
    with (
        contextlib.closing(sqlite3.connect(file)) as writer,
        contextlib.closing(sqlite3.connect(file, timeout=0)) as other,
    ):
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as locked:
            other.execute("BEGIN IMMEDIATE")
    file.write_bytes(b"no database " * 100)
    with contextlib.closing(sqlite3.connect(file)) as database, pytest.raises(sqlite3.DatabaseError) as damaged:
        database.execute("PRAGMA user_version")
    busy = Unavailable()
    busy.__cause__ = locked.value
    assert advice_on_sqlite(busy).startswith("Another process is writing there")
    assert "if the file is damaged, restore a backup" in advice_on_sqlite(damaged.value)
