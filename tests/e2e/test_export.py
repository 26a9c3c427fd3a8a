"""`datacollect export` and `import` as an operator runs them, and the export's route on a real socket."""

import asyncio
import contextlib
import json
import sqlite3
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.db.migrate import migrate
from datacollect.eventstore.anchors import anchor_file
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.quarantine.model import Kind, Quarantined
from datacollect.features.quarantine.queries import keep
from datacollect.features.tenants.service import take_up
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Run, Serve
from tests.histories import event

pytestmark = pytest.mark.anyio

PROGRAM = TenantId("cash-2025")
CONFIG = {
    "name": "Cash",
    "entityForms": [{"id": "f", "name": "person", "title": "Person", "formio": {"components": []}}],
}


async def fill(database: Database, count: int = 3) -> None:
    scope = system_scope(PROGRAM)
    log = EventLog(event_store(database), [EntityProjection(FOLLOWERS)], SystemClock())
    made = [
        event("create-individual", f"e-{number}", {"name": f"N {number}", "entityName": "person"})
        for number in range(count)
    ]
    async with database.transaction(scope) as tx:
        await take_up(tx, log, scope, CONFIG, now=SystemClock().now())
        await log.append(tx, scope, Tenant(PROGRAM, "Cash"), made)


def parts_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "part" in path.name]


@pytest.fixture
async def filled(anyio_backend: str, migrated: str | None, environment: dict[str, str]) -> AsyncIterator[Database]:
    """The database the command uses, with a program of three."""
    async with closing(open_database(migrated, data_dir=Path(environment["DATA_DIR"]), pool_size=2)) as database:
        await fill(database)
        yield database


async def test_what_is_exported_is_imported(filled: Database, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cash.json"
    ended = await asyncio.to_thread(run, "export", PROGRAM, "--out", str(file))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.splitlines()[-1].startswith("cash-2025: 3 entities, 3 events, ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert parts_in(tmp_path) == []
    ended = await asyncio.to_thread(run, "import", str(file), "--as", "copy")
    assert (ended.returncode, ended.stdout) == (0, "copy: 3 events, 3 entities; program made\n"), ended.stderr
    verified = await asyncio.to_thread(run, "verify", "--tenant", "copy")
    assert verified.stdout.startswith("ok: copy: 3 events, head v3:")
    checked = await asyncio.to_thread(run, "rebuild", "--check", "--tenant", "copy")
    assert checked.returncode == 0
    ended = await asyncio.to_thread(run, "import", str(file), "--as", "copy")
    assert (ended.returncode, ended.stderr) == (1, "datacollect: copy has 3 events already.\n")


async def test_what_is_imported_is_there_though_it_cannot_be_anchored(
    filled: Database, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    """It was told as an import that had failed, and what was left of it, the attachments, was not taken in."""
    file, folder = str(tmp_path / "cash.json"), str(tmp_path / "files")
    assert (await asyncio.to_thread(run, "export", PROGRAM, "--out", file, "--attachments", folder)).returncode == 0
    anchors = anchor_file(Path(environment["DATA_DIR"]), TenantId("copy"))
    anchors.parent.mkdir(parents=True)
    anchors.symlink_to(tmp_path / "nowhere" / "copy.log")
    ended = await asyncio.to_thread(run, "import", file, "--as", "copy", "--attachments", folder)
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        "copy: 0 attachments of 0 bytes",
        "copy: 3 events, 3 entities; program made",
    ]
    assert "no anchor of it" in ended.stderr


async def test_what_no_import_brings_is_told(filled: Database, run: Run, tmp_path: Path) -> None:
    scope = system_scope(PROGRAM)
    body = event("update-individual", "nobody", {}).body()
    refused = Quarantined(
        "q-1", Kind.REFUSED, "e-1", "nobody", body, "user", None, "X", "It is not there.", None, Millis(1), Millis(1)
    )
    async with filled.transaction(scope) as tx:
        await keep(tx, scope, [refused])
    said = []
    for _ in range(2):
        ended = await asyncio.to_thread(run, "export", PROGRAM, "--out", str(tmp_path / "cash.json"))
        said.append(ended.stderr.splitlines()[-2])
    before = "datacollect: Not in the file, and left behind by an import: 1 quarantined event"
    # The first export is in the trail by then.
    assert said == [f"{before}.", f"{before}, 2 notes of the audit trail."]


async def test_standard_output_gets_nothing_but_the_file(filled: Database, run: Run) -> None:
    ended = await asyncio.to_thread(run, "export", PROGRAM, "--format", "csv", "--form", "person", "--out", "-")
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[0] == "_guid,_type,_name,_members,_lastUpdated,name,_other"
    assert [line.split(",")[0] for line in ended.stdout.splitlines()[1:]] == ["e-0", "e-1", "e-2"]


async def test_an_export_that_fails_leaves_the_file_before(filled: Database, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cash.json"
    file.write_text("yesterday's")
    ended = await asyncio.to_thread(run, "export", "nobody", "--out", str(file))
    assert (ended.returncode, ended.stderr) == (1, "datacollect: There is no program nobody.\n")
    ended = await asyncio.to_thread(run, "export", PROGRAM, "--format", "csv", "--what", "all", "--out", str(file))
    assert (ended.returncode, "`what=all` goes with `format=json` only." in ended.stderr) == (2, True)
    assert file.read_text() == "yesterday's"
    assert parts_in(tmp_path) == []
    for nothing, name in (("", "A file without a name"), (".", ".")):
        ended = await asyncio.to_thread(run, "export", PROGRAM, "--out", nothing)
        assert (ended.returncode, ended.stderr) == (1, f"datacollect: {name} cannot be written.\n")
    ended = await asyncio.to_thread(run, "export", PROGRAM, "--out", str(tmp_path / "nowhere" / "x.json"))
    assert ended.returncode == 1
    assert "cannot be written (No such file or directory)" in ended.stderr


async def test_a_file_that_is_no_export_is_refused_in_one_line(filled: Database, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for written, said in (("{}", "This is no export"), ('{"metadata": {', "breaks off"), ("", "breaks off")):
        file.write_text(written)
        ended = await asyncio.to_thread(run, "import", str(file))
        assert ended.returncode == 1
        assert said in ended.stderr and ended.stderr.count("\n") == 1
    ended = await asyncio.to_thread(run, "import", str(tmp_path / "missing.json"))
    assert (ended.returncode, "No such file" in ended.stderr) == (1, True)


async def test_nothing_is_imported_beside_a_hub_on_sqlite(
    serve: Serve, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    with serve():
        ended = await asyncio.to_thread(run, "import", str(tmp_path / "x.json"))
    assert ended.returncode == 1
    assert "Another hub already serves" in ended.stderr


async def test_a_file_that_breaks_off_on_the_way_does_not_arrive_as_a_whole_one(
    serve: Serve, environment: dict[str, str]
) -> None:
    folder = Path(environment["DATA_DIR"])
    database = open_database(None, data_dir=folder, pool_size=2)
    await migrate(database)
    await fill(database, 3000)
    await database.close()
    with serve() as hub:
        async with httpx2.AsyncClient(base_url=hub.url, timeout=60) as client:
            signed = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            client.headers["Authorization"] = f"Bearer {signed.json()['token']}"
            query = {"configId": PROGRAM}
            whole = await client.get("/api/entities/export", params=query)
            assert len(json.loads(whole.content)["events"]) == 3000
            with contextlib.closing(sqlite3.connect(folder / "hub.sqlite3")) as connection, connection:
                connection.execute("UPDATE events SET origin = 'moon' WHERE position = 2500")
            for format in ("json", "ndjson", "csv"):
                with pytest.raises(httpx2.RemoteProtocolError):
                    await client.get("/api/entities/export", params=query | {"format": format, "what": "events"})
            assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "kept.json"),
        ("attachments", "import", "files", "--program", PROGRAM),
        ("export", PROGRAM, "--out", "-"),
        ("verify",),
    ],
)
async def test_a_database_of_another_release_is_left_alone(
    filled: Database, run: Run, tmp_path: Path, arguments: Sequence[str]
) -> None:
    """Its hub may be serving: only `migrate` and `serve` change the tables, and on PostgreSQL an import did."""
    folder = str(tmp_path / "files")
    kept = await asyncio.to_thread(run, "export", PROGRAM, "--out", "kept.json", "--attachments", folder)
    assert kept.returncode == 0, kept.stderr
    async with filled.transaction() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    refused = await asyncio.to_thread(run, *arguments)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("and run `datacollect migrate`.\n") and refused.stderr.count("\n") == 1


async def test_a_database_with_tables_of_something_else_is_refused_in_one_line(
    filled: Database, run: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    await asyncio.to_thread(run, "export", PROGRAM, "--out", str(tmp_path / "kept.json"))
    other = tmp_path / "other"
    other.mkdir()
    with contextlib.closing(sqlite3.connect(other / "hub.sqlite3")) as database:
        database.execute("CREATE TABLE users (id)")
    for name in ("POSTGRES", "DATABASE_URL"):
        environment.pop(name, None)
    environment["DATA_DIR"] = str(other)
    refused = await asyncio.to_thread(run, "import", str(tmp_path / "kept.json"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("datacollect: The tables cannot be made or changed")
    assert refused.stderr.count("\n") == 1
