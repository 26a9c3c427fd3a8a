import asyncio
import errno
import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from datacollect.kernel.errors import Unavailable
from datacollect.logs import _READ, configure_logging, describe_exception


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, before = root.handlers, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in ("root", *_READ)}
    yield
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**before)


def logged(capfdbinary: pytest.CaptureFixture[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["something.noticed", "something.happened", "something.failed", "library talks", "library warns"]),
        ("info", ["something.happened", "something.failed", "library warns"]),
        ("warning", ["something.failed", "library warns"]),
        ("silent", []),
    ],
)
def test_every_level_lets_its_lines_through_as_json(
    level: str, events: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    configure_logging(level)
    log = structlog.get_logger(component="test")
    log.debug("something.noticed")
    log.info("something.happened")
    log.error("something.failed")
    logging.getLogger("alembic.runtime").info("library %s", "talks")
    logging.getLogger("alembic.runtime").warning("library warns")
    lines = logged(capfdbinary)
    assert [line["event"] for line in lines] == events
    assert {line["name"] for line in lines} <= {"datacollect-hub"}


class Disk(io.RawIOBase):
    """Takes what there is room for."""

    def __init__(self) -> None:
        self.room = 0
        self.held = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data[: self.room])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.held += taken
        return len(taken)


@pytest.mark.usefixtures("restored_logging")
def test_a_log_that_cannot_be_written_is_nobodys_failure() -> None:
    disk = Disk()
    configure_logging("info", stream=io.TextIOWrapper(io.BufferedWriter(disk)))
    log = structlog.get_logger(component="test")
    log.info("there.is_room")
    disk.room = 60  # for a part of a line
    for number in range(200):
        log.info("nobody.fails", number=number, text="x" * 200)
    disk.room = 100_000
    log.info("there.is_room_again")
    lines = [json.loads(line) for line in disk.held.splitlines()]
    assert [lines[0]["event"], lines[-2]["event"]] == ["there.is_room", "there.is_room_again"]
    assert (lines[-1]["event"], lines[-1]["level"], lines[-1]["lines"]) == ("log.held_up", "warning", 201)
    assert len(lines) < 200, "what waits for room does not fill the memory"


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("library", ["aiosqlite", "sqlalchemy.engine.Engine", "asyncpg", "of which nobody has heard"])
def test_what_libraries_talk_of_is_logged_of_those_only_whose_talk_was_read(
    library: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Others write parameters of statements, addresses, headers."""
    configure_logging("debug")
    for write in (logging.getLogger(library).debug, logging.getLogger(library).info):
        write("executing %s", "INSERT INTO users ... ('$argon2id$...',)")
    assert logged(capfdbinary) == []


@pytest.mark.usefixtures("restored_logging")
def test_that_the_database_is_away_is_one_line_with_the_drivers_word(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    configure_logging("info")
    try:
        try:
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        except asyncpg.PostgresError as error:
            raise Unavailable() from error
    except Unavailable as unavailable:
        structlog.get_logger(component="test").warning("work.put_off", exc_info=unavailable)
    [line] = logged(capfdbinary)
    assert line["reason"] == "asyncpg.exceptions.CannotConnectNowError: the database system is starting up"
    assert "exception" not in line


@pytest.mark.usefixtures("restored_logging")
def test_of_a_task_that_nobody_asked_for_its_end_no_values_are_told(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The loop's own line shows the task, and with it what its exception says."""
    configure_logging("info")
    personal = "person@" + "hub.test"

    async def fail() -> None:
        raise ValueError(f"no number: '{personal}'")

    async def leave_it() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    asyncio.run(leave_it())
    gc.collect()
    [line] = logged(capfdbinary)
    assert line["event"] == "Task exception was never retrieved"
    assert str(line["exception"]).endswith("ValueError: no number: '...'")
    assert personal not in str(line)


def test_of_an_exception_only_the_first_line_is_told() -> None:
    personal = "person@" + "hub.test"  # in two parts, because the traceback quotes this source

    def fail() -> None:
        try:
            raise ValueError(f"inner\nDETAIL: Key (email)=({personal})")
        except ValueError as cause:
            raise RuntimeError(f"outer\n[parameters: ({personal},)]") from cause

    with pytest.raises(RuntimeError) as raised:
        fail()
    told = describe_exception(raised.value)
    assert told.endswith("RuntimeError: outer")
    assert told.index("ValueError: inner") < told.index("RuntimeError: outer")
    assert "in fail" in told
    assert personal not in told


@pytest.mark.anyio
async def test_a_value_the_driver_quotes_does_not_reach_the_log(postgres_server: str) -> None:
    value = "".join(["secret", "-", "person"])  # not as one literal: tracebacks show source lines
    connection = await asyncpg.connect(postgres_server)
    with pytest.raises(asyncpg.DataError) as refused:
        await connection.fetch("SELECT $1::int", value)
    await connection.close()
    assert value in str(refused.value)
    assert value not in describe_exception(refused.value)
