"""The parent of several server processes: starts them, replaces them on SIGHUP, ends them on SIGTERM and SIGINT.

uvicorn's, but for what happens when it is told to end while it waits for a process: there it hears of that when the last
process has been replaced, which can take minutes, and who ends hubs (systemd, Kubernetes) does not wait so long.
"""

import contextlib
import signal
import socket
import threading
import time

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

_log = structlog.get_logger(component="server")

_POLL_SECONDS = 0.1
_END_SECONDS = 45.0
"""How long a process that was told to end may take: what is under way in it has 30 seconds."""
_REST_SECONDS = 5.0
"""Between a process that could not start and the next one in its place."""
_UNREADY_SECONDS = 10.0
"""The same for one that has not begun to serve, as far as anybody knows."""


class Supervisor(Multiprocess):
    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        *,
        worker_seconds: float,
        end_seconds: float = _END_SECONDS,
    ) -> None:
        """`worker_seconds` is how long a process may take to start, or to say that it lives; `end_seconds`, to end."""
        super().__init__(config, sockets)
        self.should_exit = _Asked(self.signal_queue)
        self._worker_seconds = worker_seconds
        self._end_seconds = end_seconds
        self.has_failed = False
        """Whether it ends because a process could not start, and not because somebody has told it to."""
        self._has_served = False
        """Whether any process has: then starting can work, and what stops it (the database is away) may pass."""
        self._rests_until: dict[Process, float] = {}
        self._ending: list[tuple[Process, float]] = []
        """Those that were told to end and have no place among the processes any more, and how long they may take."""

    def restart_all(self) -> None:
        for index, old in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            new = self._started()
            if not new.wait_until_ready(self._worker_seconds, self.should_exit):
                self._give_up(new)
                return
            self._has_served = True
            self.processes[index] = new
            self._tell_to_end(old, self._end_seconds)
            if not self._has_ended(old):
                return

    def handle_ttou(self) -> None:
        if self.processes_num > 1:
            self.processes_num -= 1
            old = self.processes.pop()
            self._tell_to_end(old, self._end_seconds)
            self._has_ended(old)

    def keep_subprocess_alive(self) -> None:
        for index, process in enumerate(self.processes):
            if self._lives(process):
                continue
            process.kill()
            process.join()
            if process.exitcode != STARTUP_FAILURE:
                _log.error("server.process_died", pid=process.pid)
            elif not self._has_served:
                _log.error("server.process_failed_to_start", pid=process.pid)
                self.has_failed = True
                self.should_exit.set()
                return
            elif not self._has_rested(process):
                continue
            self.processes[index] = self._started()

    def join_all(self) -> None:
        told_at = time.monotonic()
        for process, seconds in [*((process, self._end_seconds) for process in self.processes), *self._ending]:
            process.process.join(max(0.0, told_at + seconds - time.monotonic()))
            self._kill(process)

    def _started(self) -> Process:
        process = Process(self.config, self.sockets)
        process.start()
        return process

    def _has_rested(self, failed: Process) -> bool:
        """Whether it is time for another one in the place of one that could not start."""
        if failed not in self._rests_until:
            _log.error("server.process_failed_to_start", pid=failed.pid, again_in_seconds=_REST_SECONDS)
            self._rests_until[failed] = time.monotonic() + _REST_SECONDS
        if time.monotonic() < self._rests_until[failed]:
            return False
        del self._rests_until[failed]
        return True

    def _give_up(self, new: Process) -> None:
        if self.should_exit.is_set():
            self._tell_to_end(new, _UNREADY_SECONDS)  # it may just have begun to serve
            return
        new.kill()
        new.join()
        _log.error("server.replacement_given_up", seconds=self._worker_seconds)

    def _has_ended(self, old: Process) -> bool:
        """Wait for one that was told to end, and kill it after its time; False if the hub is to end meanwhile."""
        deadline = time.monotonic() + self._end_seconds
        while old.process.is_alive() and time.monotonic() < deadline:
            if self.should_exit.is_set():
                return False
            old.process.join(_POLL_SECONDS)
        self._kill(old)
        self._ending.remove((old, self._end_seconds))
        return True

    def _kill(self, process: Process) -> None:
        if process.process.is_alive():
            _log.error("server.process_killed", pid=process.pid)
            process.process.kill()
            process.process.join()

    def _tell_to_end(self, process: Process, seconds: float) -> None:
        self._ending.append((process, seconds))
        process.terminate()

    def _lives(self, process: Process) -> bool:
        """In many short waits: in one long wait nobody would hear that the hub is to end. It is then told to, alive or not.

        It is asked once: who does not answer does not read either, and the pipe takes fewer questions than a minute has waits.
        """
        deadline = time.monotonic() + self._worker_seconds
        with contextlib.suppress(OSError, EOFError):
            while process.parent_conn.poll():
                process.parent_conn.recv()  # what it said too late
            process.parent_conn.send(b"ping")
            while not self.should_exit.is_set() and time.monotonic() < deadline and process.process.is_alive():
                if process.parent_conn.poll(_POLL_SECONDS):
                    self._has_served |= process.parent_conn.recv()
                    return True
        return self.should_exit.is_set()


class _Asked(threading.Event):
    """Set as soon as a signal to end has come in.

    The handler only notes the signal: it may run in the middle of anything, such as this event's own lock.
    """

    def __init__(self, signals: list[int]) -> None:
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        return super().is_set() or signal.SIGTERM in self._signals or signal.SIGINT in self._signals
