"""`datacollect serve`: check everything, then listen; end what is in flight, then stop."""

import asyncio
import contextlib
import ctypes
import errno
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import structlog
import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from datacollect.app import create_app, prepare
from datacollect.assembly import create_hub
from datacollect.cli.alone import alone_in
from datacollect.cli.collecting import settled
from datacollect.cli.database import bring_up_to_date, require_reachable, storing_in
from datacollect.cli.failures import reporting, said_of
from datacollect.cli.showing import counted
from datacollect.cli.start_warnings import warn_of_data, warn_of_settings
from datacollect.cli.supervisor import Supervisor
from datacollect.db import Database
from datacollect.http.protocol import DrainingProtocol, HubProtocol
from datacollect.kernel.errors import DataCollectError, StartupError
from datacollect.logs import configure_logging
from datacollect.settings import Settings, check_startup, load_settings

_log = structlog.get_logger(component="server")

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h
_M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
_PORT_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_SHUTDOWN_SECONDS = 30
_WORKER_SECONDS = 60
"""How long a process may take to start, or to say that it lives, on a machine that is busy."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep theirs (60 s), so that they never send a request into a closing connection."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. [default: SYNC_SERVER_PORT or 3000]", min=0, max=65535)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Server processes. [default: WEB_CONCURRENCY or 1]", min=1)
    ] = None,
) -> None:
    """Run the hub until SIGTERM or SIGINT. With several processes, SIGHUP replaces them one by one; a single one it ends."""
    # The first process of a container has no default for it, and the orchestrator would wait in vain and then kill.
    signal.signal(signal.SIGTERM, _end_before_serving)
    settings = load_settings()
    check_startup(settings)
    processes = workers or settings.workers
    if settings.database_url is None and processes > 1:
        raise StartupError("SQLite serves from one process: leave WEB_CONCURRENCY at 1, or set DATABASE_URL.")
    configure_logging(settings.log_level)
    _give_back_large_blocks()
    with alone_in(settings), _listening(host, settings.port if port is None else port) as listener:
        _in_a_process_of_its_own(lambda: asyncio.run(_prepare_once(settings, processes)))
        warn_of_settings(settings)
        _run(settings, listener, processes)


def _end_before_serving(*_: object) -> None:
    """End where there is nothing to finish yet; what prepares in a process of its own is ended with this one."""
    # Not by an exception: in the middle of a fork it would be passed over.
    os._exit(0)


def worker_app() -> ASGIApp:
    """The application of one server process among several; each reads the environment again."""
    _end_with_parent()
    configure_logging("error")  # until it is known what is asked for
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        _give_back_large_blocks()
        return settled(create_app(settings))
    except DataCollectError as refused:
        # What is in `.env` may have been changed since the first start.
        structlog.get_logger(component="app").error("app.not_started", reason=said_of(refused))
        sys.exit(STARTUP_FAILURE)  # so that the next one is not started at once, and again and again


def _end_with_parent() -> None:
    """Have the system send SIGTERM when the process that started this one is gone, where the system is Linux.

    It may be killed (out of memory, `kill -9`) and can then end nobody: what is left would serve on, with old settings, and
    keep the port from the hub that is started in its place.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit("datacollect: The process that started this one is gone.")


def _give_back_large_blocks() -> None:
    """Let blocks of 4 MiB and more go back to the system when they are freed, where the C library is glibc.

    By default glibc raises that limit to the largest block it has seen freed: after the first hashed password the
    19 MiB that argon2 worked in would stay with the process for good. It costs a login about 5 ms of page faults.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def _in_a_process_of_its_own(work: Callable[[], None]) -> None:
    """Do what comes before serving where all that it needs is given back: migrations, and Alembic to run them, are 10 MiB.

    If it fails, it has said why, and this process ends as that one did. Only where the system is Linux: elsewhere not
    everything that is loaded by now bears a fork.
    """
    if sys.platform != "linux":
        work()
        return
    process = multiprocessing.get_context("fork").Process(target=_alone, args=(work,), daemon=True)
    process.start()
    process.join()
    if process.exitcode:
        # As a shell tells of it, if a signal ended it.
        sys.exit(process.exitcode if process.exitcode > 0 else 128 - process.exitcode)


def _alone(work: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what interrupts both is told by the one that waits
    _end_with_parent()
    with reporting():
        work()


async def _prepare_once(settings: Settings, processes: int) -> None:
    """Do what can go wrong before listening, once for all processes, where it can be said in one line."""
    hub = create_hub(settings)
    try:
        await require_reachable(hub.db)
        await _require_connections(hub.db, settings, processes)
        await bring_up_to_date(hub.db)
        with storing_in(hub.db):
            await prepare(hub)
        await warn_of_data(hub)
    finally:
        await hub.db.close()


async def _require_connections(database: Database, settings: Settings, processes: int) -> None:
    """Raises `StartupError` if the processes could ask for more connections than the database gives."""
    most = await database.most_connections()
    # While they are replaced there is one more.
    at_once = processes + 1 if processes > 1 else 1
    wanted = at_once * settings.db_pool_size
    if most is not None and wanted > most:
        raise StartupError(
            f"The database gives {most} connections, and {counted(at_once, 'process', 'processes')} with {settings.db_pool_size} each (DB_POOL_SIZE) could"
            f" ask for {wanted}. Lower DB_POOL_SIZE or WEB_CONCURRENCY, or raise the database's max_connections."
        )


def _run(settings: Settings, listener: socket.socket, processes: int) -> None:
    config = uvicorn.Config(
        settled(create_app(settings)) if processes == 1 else "datacollect.cli.serve:worker_app",
        factory=processes > 1,
        workers=processes,
        http=DrainingProtocol if processes > 1 else HubProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Ours decides by TRUST_PROXY; uvicorn's would believe every local peer.
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    address, port = listener.getsockname()[:2]
    _log.info("server.starting", address=address, port=port, processes=processes)
    typer.echo(f"DataCollect Hub listens on http://{_reachable(address)}:{port} (API page: /api-docs)", err=True)
    if processes > 1:
        supervisor = Supervisor(config, [listener], worker_seconds=_WORKER_SECONDS)
        supervisor.run()
        if supervisor.has_failed:
            raise StartupError("A process of the hub could not start; the log says why.")
    else:
        _run_here(config, listener)
    _log.info("server.stopped")


def _run_here(config: uvicorn.Config, listener: socket.socket) -> None:
    server = uvicorn.Server(config)
    # After a graceful stop uvicorn raises the signal again for whoever handled it before: by default that would
    # turn a clean stop into death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # By `systemctl reload`, or from a terminal that is closed: what is under way is finished. Not for who said `nohup`.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, server.handle_exit)
    server.run(sockets=[listener])
    if not server.started:
        raise StartupError("The hub could not start; the log says why.")


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the port; connections are taken only when the server starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            advice = "Set SYNC_SERVER_PORT to a free port." if error.errno in _PORT_TAKEN else "Check --host."
            raise StartupError(f"Cannot listen on {host}:{port} ({error.strerror}). {advice}") from error
        listener.set_inheritable(True)
        yield listener


def _reachable(address: str) -> str:
    if address in {"0.0.0.0", "::"}:
        return "localhost"
    return f"[{address}]" if ":" in address else address
