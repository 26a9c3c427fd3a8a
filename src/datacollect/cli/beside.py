"""Work on the hub's own database from the command line, beside a server that may be running.

The commands call the services that the routes call, each in one transaction, as `COMMAND_LINE`. A running server sees
the change within a second, as it sees another server process's: see docs/decisions/0034-the-command-line.md.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from datacollect.assembly import create_hub
from datacollect.cli.database import no_such_program, require_data, require_reachable
from datacollect.cli.failures import said_of
from datacollect.cli.showing import print_json
from datacollect.db import EVERY_TENANT, Database
from datacollect.db.migrate import is_up_to_date
from datacollect.features.tenants.asked import every_program
from datacollect.http.decoding import said_of_a_file, strict_json, without_mark
from datacollect.http.hub import Hub
from datacollect.kernel.errors import (
    DataCollectError,
    InvalidJson,
    InvalidPayload,
    PayloadTooLarge,
    StartupError,
)
from datacollect.kernel.ids import TenantId
from datacollect.logs import configure_logging
from datacollect.settings import check_keys, check_storage, load_settings

_T = TypeVar("_T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]


def with_hub(work: Callable[[Hub], Awaitable[_T]]) -> _T:
    """What `work` gives, called with the parts of the hub that the settings are about."""
    # Places of its own to work at jobs, for commands that wait for one, whatever a server is to leave to others.
    settings = load_settings().model_copy(update={"jobs_at_once": 1, "calls_at_once": 1})
    check_keys(settings)
    check_storage(settings)
    require_data(settings)
    # Standard output is for what was asked.
    configure_logging("warning", stream=sys.stderr)

    async def run() -> _T:
        hub = create_hub(settings)
        try:
            await require_reachable(hub.db)
            await require_current(hub.db)
            return await work(hub)
        finally:
            hub.duplicates.stop()
            await hub.duplicates.tell()
            await hub.outgoing.aclose()
            await hub.urgent.aclose()
            await hub.objects.aclose()
            await hub.anchorer.finish()
            await hub.db.close()

    return asyncio.run(run())


@contextlib.contextmanager
def answering(*, as_json: bool) -> Iterator[None]:
    """Tell what is refused, with everything that is wrong, on standard error; the exit code is 1."""
    try:
        yield
    except DataCollectError as refused:
        issues = refused.issues if isinstance(refused, InvalidPayload) else []
        if as_json:
            told: dict[str, Any] = {"code": refused.code, "message": said_of(refused)}
            print_json(told | ({"details": issues} if issues else {}), err=True)
        else:
            lines = [issue["message"] for issue in issues if issue["message"] not in refused.message]
            typer.echo("\n  ".join([f"datacollect: {said_of(refused)}", *lines]), err=True)
        raise typer.Exit(1) from None


async def require_program(hub: Hub, tenant_id: TenantId) -> None:
    """Raises `ProgramNotFound` where there is no such program, archived or not: a list of nothing would look like an answer."""
    async with hub.db.reading(EVERY_TENANT) as view:
        if tenant_id in await every_program(view):
            return
    raise no_such_program(tenant_id)


def read_json_file(name: str, *, largest_bytes: int) -> Any:
    """The JSON document in a file; `-` is standard input. Raises what says so, with the file's name."""
    body = read_file(name, largest_bytes=largest_bytes)
    try:
        return strict_json(body)
    except InvalidJson as malformed:
        raise InvalidJson(f"{name}: {said_of_a_file(malformed)}") from None


def read_file(name: str, *, largest_bytes: int) -> bytes:
    """What is in a file, or on standard input for `-`, without a mark for UTF-8 before it. Raises `StartupError`, `PayloadTooLarge`."""
    try:
        body = sys.stdin.buffer.read(largest_bytes + 1) if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise StartupError(f"{name} cannot be read ({error.strerror}).") from None
    if len(body) > largest_bytes:
        raise PayloadTooLarge(f"{name} is larger than {largest_bytes // 1024 // 1024} MB.")
    return without_mark(body)


def require_terminal(otherwise: str) -> None:
    """Raises `StartupError` where nobody can be asked, with what to say in place of an answer."""
    if not sys.stdin.isatty():
        raise StartupError(f"There is no terminal to ask on. {otherwise}")


def as_json_text(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


async def require_current(database: Database) -> None:
    """Raises `StartupError` unless the schema is this release's: a command must not be what migrates a live hub, nor work
    by old rules on what a newer release has made."""
    if await is_up_to_date(database):
        return
    raise StartupError(
        "This database is not there or not up to date. Check DATA_DIR or DATABASE_URL, and run `datacollect migrate`."
    )
