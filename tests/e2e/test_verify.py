import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from datacollect.assembly import event_store
from datacollect.cli.integrity import _record
from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.database import closing
from datacollect.eventstore.anchors import anchor_file
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.tables import events, log_heads
from datacollect.features.integrity.model import KeptFinding, LastVerification
from datacollect.features.integrity.service import known
from datacollect.features.tenants.tables import purges
from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.eventstore import append, event_at
from tests.e2e.conftest import Run, Serve

pytestmark = pytest.mark.anyio

A, B = TenantId("a"), TenantId("b")
FORM = {"id": "f1", "name": "person", "title": "Person", "formio": {"components": []}}


@pytest.fixture
async def filled(anyio_backend: str, migrated: str | None, environment: dict[str, str]) -> AsyncIterator[Database]:
    """The database the command uses, with 3 events of `a` and 1 of `b`."""
    async with closing(open_database(migrated, data_dir=Path(environment["DATA_DIR"]), pool_size=2)) as database:
        for tenant, size in ((A, 3), (B, 1)):
            await add(database, tenant, size)
        yield database


async def add(database: Database, tenant: TenantId, size: int) -> None:
    store, scope = event_store(database), system_scope(tenant)
    async with database.transaction(scope) as tx:
        await store.create(tx, scope, epoch="first", now=Millis(0))
    await append(database, store, scope, [event_at(number) for number in range(size)])


async def tamper(database: Database, tenant: TenantId, position: int, **values: object) -> None:
    async with database.transaction(EVERY_TENANT) as tx:
        row = (events.c.tenant_id == tenant) & (events.c.position == position)
        await tx.execute(update(events).where(row).values(**values))


async def verify(run: Run, *arguments: str) -> tuple[int, list[str], str]:
    ended = await asyncio.to_thread(run, "verify", *arguments)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


async def test_logs_in_order_are_anchored(run: Run, filled: Database, environment: dict[str, str]) -> None:
    data_dir = Path(environment["DATA_DIR"])
    code, lines, errors = await verify(run)
    assert (code, errors) == (0, "")
    assert [re.sub(r"v3:[0-9a-f]{64}", "HASH", line) for line in lines] == [
        "ok: a: 3 events, head HASH",
        "ok: b: 1 event, head HASH",
    ]
    assert anchor_file(data_dir, A).read_text().startswith(f"3 {lines[0].split()[-1]} 20")
    await add(filled, A, 2)
    assert (await verify(run, "--tenant", "a"))[0] == 0
    assert [line.split()[0] for line in anchor_file(data_dir, A).read_text().splitlines()] == ["3", "5"]


async def test_no_anchor_is_written_when_none_is_wanted(
    run: Run, filled: Database, environment: dict[str, str]
) -> None:
    assert (await verify(run, "--no-anchor"))[0] == 0
    assert not anchor_file(Path(environment["DATA_DIR"]), A).exists()


async def test_a_changed_event_ends_with_3_and_is_named_while_the_other_logs_are_verified(
    run: Run, filled: Database, environment: dict[str, str]
) -> None:
    await tamper(filled, A, 2, guid="forged\nok: a: 3 events")
    code, lines, errors = await verify(run)
    assert (code, errors) == (3, "")
    assert len(lines) == 2
    assert lines[0].startswith("WRONG: a: COLUMN_DIFFERS at position 2 (event ")
    assert re.search(r"Before it: position 1 \(event .{36}\); after it: position 3 \(event .{36}\)\.$", lines[0])
    assert lines[1].startswith("ok: b: ")
    assert not anchor_file(Path(environment["DATA_DIR"]), A).exists()


async def test_an_anchor_of_another_history_ends_with_3(
    run: Run, filled: Database, environment: dict[str, str]
) -> None:
    assert (await verify(run))[0] == 0
    file = anchor_file(Path(environment["DATA_DIR"]), A)
    file.write_text(file.read_text() + f"9 v3:{'0' * 64} 2026-01-01T00:00:00.000Z\n")
    code, lines, _ = await verify(run, "--tenant", "a")
    assert (code, len(lines)) == (3, 1)
    assert lines[0].startswith("WRONG: a: ANCHOR_DIFFERS at position 9: ")
    file.write_text("nonsense\n")
    code, lines, _ = await verify(run)
    assert (code, len(lines)) == (3, 2)
    assert lines[0].startswith("WRONG: a: ANCHORS_UNREADABLE: Line 1 of ")


async def test_an_unknown_program_is_refused(run: Run, filled: Database) -> None:
    code, lines, errors = await verify(run, "--tenant", "a", "--tenant", str(uuid.UUID(int=0)))
    assert (code, lines) == (1, [])
    assert errors == "datacollect: There is no program 00000000-0000-0000-0000-000000000000.\n"


@pytest.mark.parametrize("command", ["verify", "rebuild", "restored"])
async def test_a_program_that_is_being_purged_keeps_nobody_from_the_others(
    run: Run, filled: Database, command: str
) -> None:
    async with filled.transaction(EVERY_TENANT) as tx:
        await tx.execute(delete(log_heads).where(log_heads.c.tenant_id == A))
        await tx.execute(insert(purges).values(tenant_id=A, begun_ms=0))
    ended = await asyncio.to_thread(run, command)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.match("(ok: )?b: [^\n]*\n$", ended.stdout)
    ended = await asyncio.to_thread(run, command, "--tenant", "a")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "datacollect: There is no program a.\n")


@pytest.mark.parametrize(("command", "code"), [("rebuild", 3), ("restored", 3)])
async def test_a_log_without_a_head_keeps_nobody_from_the_others(
    run: Run, filled: Database, command: str, code: int
) -> None:
    async with filled.transaction(EVERY_TENANT) as tx:
        await tx.execute(delete(log_heads).where(log_heads.c.tenant_id == A))
    ended = await asyncio.to_thread(run, command)
    assert ended.returncode == code
    assert "head" in ended.stdout + ended.stderr
    assert re.match("(ok: )?b: ", ended.stdout.splitlines()[-1])


async def test_programs_that_run_without_a_log_are_named(
    run: Run, serve: Serve, filled: Database, tmp_path: Path
) -> None:
    """As after `pg_dump --enable-row-security` alone: the programs are there, and nothing of theirs."""
    for name in ("camp", "north", "past"):
        program = {"id": name, "name": name, "entityForms": [FORM]}
        assert (await asyncio.to_thread(run, "program", "create", "-", stdin=json.dumps(program))).returncode == 0
    assert (await asyncio.to_thread(run, "program", "archive", "past")).returncode == 0
    assert [(await asyncio.to_thread(run, command)).returncode for command in ("restored", "verify")] == [0, 0]
    async with filled.transaction(EVERY_TENANT) as tx:
        for table in (events, log_heads):
            await tx.execute(delete(table).where(table.c.tenant_id.in_(["camp", "north", "past"])))

    code, lines, errors = await verify(run)
    assert (code, [line.partition(" at ")[0] for line in lines if line.startswith("WRONG")], errors) == (
        3,
        ["WRONG: camp: HEAD_DIFFERS", "WRONG: north: HEAD_DIFFERS"],
        "",
    )
    ended = await asyncio.to_thread(run, "verify", "--json", "--tenant", "north", "--tenant", "b")
    told = json.loads(ended.stdout)
    assert (ended.returncode, [(one["configId"], one["ok"], one["events"]) for one in told]) == (
        3,
        [("north", False, 0), ("b", True, 1)],
    )
    assert told[0]["finding"]["message"] == "There is no log: no head, and no events."

    ended = await asyncio.to_thread(run, "restored")
    assert (ended.returncode, [line[:2] for line in ended.stdout.splitlines()]) == (3, ["a:", "b:"])
    assert ended.stderr.startswith("datacollect: 2 logs without a head, so not told: camp, north.")
    ended = await asyncio.to_thread(run, "restored", "--json")
    assert (ended.returncode, json.loads(ended.stdout)) == (
        3,
        [{"configId": name, "events": kept} for name, kept in (("a", 3), ("b", 1), ("camp", None), ("north", None))],
    )
    assert (await asyncio.to_thread(run, "rebuild", "--check", "--tenant", "north")).returncode == 3
    assert (await asyncio.to_thread(run, "restored", "--tenant", "a")).returncode == 0

    assert await warned(serve, tmp_path, "programs.without_log") == [(2, ["camp", "north"])]


async def test_logs_that_had_come_further_by_their_anchors_are_named_at_the_start(
    run: Run, serve: Serve, filled: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    """The database was put back, or deleted; each file's last line is enough, and one that cannot be read stops nothing."""
    assert (await verify(run))[0] == 0
    folder, line = Path(environment["DATA_DIR"]), f"v3:{'0' * 64} 2026-01-01T00:00:00.000Z\n"
    assert await warned(serve, tmp_path, "logs.behind_their_anchors") == []
    anchor_file(folder, TenantId("Gone")).write_text(f"1 {line}")
    anchor_file(folder, TenantId("torn")).write_text(f"9 {line}half")
    anchor_file(folder, TenantId("purged")).with_suffix(".log.purged-1").write_text(f"9 {line}")
    with anchor_file(folder, A).open("a") as anchors:
        anchors.write(f"4 {line}")
    assert await warned(serve, tmp_path, "logs.behind_their_anchors") == [(2, ["Gone", "a"])]
    await append(filled, event_store(filled), system_scope(A), [event_at(3)])
    assert await warned(serve, tmp_path, "logs.behind_their_anchors") == [(1, ["Gone"])]


async def warned(serve: Serve, folder: Path, event: str) -> list[tuple[int, list[str]]]:
    """What a hub that starts says of programs by that warning."""

    def start() -> str:
        with serve() as hub:
            assert hub.stop() == 0
        return (folder / f"serve-{hub.port}.log").read_text()

    lines = [json.loads(line) for line in (await asyncio.to_thread(start)).splitlines() if line.startswith("{")]
    found = [line for line in lines if line["event"] == event]
    assert all("docs/how-to/restore-a-backup.md" in line["help"] for line in found)
    return [(line["programs"], line["tenant_ids"]) for line in found]


async def kept(database: Database, tenant: TenantId) -> LastVerification:
    async with database.reading(EVERY_TENANT) as view:
        last = (
            await known(view, EventLog(event_store(database), [], SystemClock()), system_scope(tenant))
        ).verification
    assert last is not None
    return last


async def test_the_last_result_is_kept_for_the_hub_to_show(
    run: Run, filled: Database, environment: dict[str, str]
) -> None:
    started = SystemClock().now()
    _, lines, _ = await verify(run)
    last = await kept(filled, A)
    assert started <= last.verified_at <= SystemClock().now()
    assert (last.position, f"v3:{last.chain_hash.hex()}", last.finding) == (3, lines[0].split()[-1], None)
    await tamper(filled, A, 2, guid="Somsak Phommachanh")
    await verify(run)
    last = await kept(filled, A)
    message = "The column guid contradicts the body."
    assert (last.position, last.finding) == (1, KeptFinding("COLUMN_DIFFERS", message, 2))
    anchor_file(Path(environment["DATA_DIR"]), A).write_text("nonsense\n")
    await verify(run)
    last = await kept(filled, A)
    message = "The program's anchors cannot be read."
    assert (last.position, last.finding) == (0, KeptFinding("ANCHORS_UNREADABLE", message))


async def test_the_result_of_a_log_that_was_purged_is_not_that_of_the_one_that_has_its_id(filled: Database) -> None:
    scope, log = system_scope(A), EventLog(event_store(filled), [], SystemClock())
    result = LastVerification(Millis(0), 3, b"\1" * 32, KeptFinding("HEAD_DIFFERS", "The log has no head.", 3))
    assert not await _record(filled, scope, "the one before", result)
    async with filled.reading(EVERY_TENANT) as view:
        assert (await known(view, log, scope)).verification is None
    assert await _record(filled, scope, "first", result)
    assert await kept(filled, A) == result


async def test_a_result_that_cannot_be_kept_is_said_and_spoils_nothing(run: Run, filled: Database) -> None:
    async with filled.transaction(EVERY_TENANT) as tx:
        if filled.dialect == "sqlite":
            await tx.run("DROP TABLE verifications")
        else:
            # As on a standby.
            name = (await tx.fetch("SELECT current_database()"))[0][0]
            await tx.run(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await tamper(filled, B, 1, chain_hash=b"")
    code, lines, errors = await verify(run)
    assert (code, [line.split()[0] for line in lines]) == (3, ["ok:", "WRONG:"])
    assert re.fullmatch(
        r"(datacollect: The result for [ab] is not recorded \(.*(no such table|read-only).*\)\.\n){2}", errors
    )


async def test_a_backup_of_the_future_is_refused(run: Run, filled: Database) -> None:
    """All that the log holds now would count as restored."""
    for text, code in (("2999-01-01T00:00:00Z", 2), ("yesterday", 2), ("2026-01-01T00:00:00Z", 0)):
        ended = await asyncio.to_thread(run, "restored", "--backup-time", text)
        assert (ended.returncode, "a: put back" in ended.stdout) == (code, code == 0), text
        assert "future" in ended.stderr or not text.startswith("2999")


async def test_a_mistyped_option_is_no_finding(run: Run) -> None:
    assert (await verify(run, "--tennant", "a"))[0] == 2


async def test_a_database_without_logs_is_not_called_in_order(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hub.sqlite3").touch()
    code, lines, errors = await verify(run)
    assert (code, lines) == (1, [])
    assert errors.startswith("datacollect: This database holds no logs.")
