import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import SIGNALS, Process

from datacollect.cli.supervisor import Supervisor

_CONFIG = uvicorn.Config("tests.unit.test_supervisor:app", workers=1, log_config=None)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield Supervisor(_CONFIG, [], worker_seconds=1, end_seconds=0.5)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def stuck() -> Iterator[Process]:
    """A process that lives, and neither answers nor ends when it is told to."""
    process = Process(_CONFIG, [])
    process.process = multiprocessing.get_context("spawn").Process(target=_be_stuck, args=(process.child_conn,))
    process.start()
    assert process.parent_conn.recv() == "stuck"
    yield process
    process.process.kill()
    process.process.join()


def _be_stuck(pipe: "multiprocessing.connection.Connection[str, bytes]") -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send("stuck")
    while True:
        signal.pause()


def test_a_process_that_does_not_answer_is_asked_once(supervisor: Supervisor, stuck: Process) -> None:
    """A pipe takes some 280 questions: with the next one the parent was stuck as well, and heard of nothing any more."""
    assert not supervisor._lives(stuck)
    assert stuck.child_conn.recv() == b"ping"
    assert not stuck.child_conn.poll()


def test_what_a_process_said_too_late_is_no_answer(supervisor: Supervisor, stuck: Process) -> None:
    stuck.child_conn.send(True)
    assert not supervisor._lives(stuck)


def test_one_that_does_not_end_is_killed_and_the_next_one_is_replaced(supervisor: Supervisor, stuck: Process) -> None:
    """It was waited for without an end: nobody was replaced any more, and nobody who died."""
    stuck.terminate()
    supervisor._ending.append((stuck, 0.5))
    assert supervisor._has_ended(stuck)
    assert stuck.exitcode == -signal.SIGKILL
    assert supervisor._ending == []


@dataclass
class Deaf:
    """What `multiprocessing` has for a process that ends by being killed; time passes only while it is waited for."""

    clock: list[float]
    pid: int = 1
    exitcode: int | None = None

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, seconds: float | None = None) -> None:
        if self.is_alive():
            assert seconds is not None
            self.clock[0] += seconds

    def kill(self) -> None:
        self.exitcode = self.exitcode or -signal.SIGKILL


def _process(deaf: Deaf) -> Process:
    process = Process(_CONFIG, [])
    process.process = deaf  # type: ignore[assignment]
    return process


def test_those_that_do_not_end_are_waited_for_together(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other they took their time each, and who ends hubs does not wait for so long."""
    clock = [0.0]
    monkeypatch.setattr("datacollect.cli.supervisor.time", SimpleNamespace(monotonic=lambda: clock[0]))
    supervisor.processes = [_process(Deaf(clock)) for _ in range(3)]
    supervisor._ending = [(_process(Deaf(clock)), 0.25)]
    supervisor.join_all()
    assert clock == [0.5]
    ended = [*supervisor.processes, *(process for process, _ in supervisor._ending)]
    assert [process.exitcode for process in ended] == [-signal.SIGKILL] * 4


def test_it_tells_that_it_ends_because_a_process_could_not_start(supervisor: Supervisor) -> None:
    """It ended as if somebody had told it to, with 0: nobody started it again."""
    supervisor.processes = [_process(Deaf([0.0], exitcode=STARTUP_FAILURE))]
    supervisor.keep_subprocess_alive()
    assert supervisor.should_exit.is_set()
    assert supervisor.has_failed


def test_one_that_cannot_start_while_others_serve_is_tried_again_after_a_rest(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub ended: one process had died while the database was away for a moment."""
    clock, started = [0.0], []
    monkeypatch.setattr("datacollect.cli.supervisor.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Process, "start", lambda process: started.append(process))
    serving = _process(Deaf(clock))
    serving.process.is_alive = lambda: serving.pong() is None
    serving.server.started = True
    failed = _process(Deaf(clock, exitcode=STARTUP_FAILURE))
    supervisor.processes = [serving, failed]
    for now, processes in ((0.0, 0), (4.9, 0), (5.1, 1)):
        clock[0] = now
        supervisor.keep_subprocess_alive()
        assert len(started) == processes
    assert supervisor.processes == [serving, *started]
    assert not supervisor.should_exit.is_set()


@pytest.mark.parametrize("is_to_end", [True, False])
def test_the_hub_hears_that_it_is_to_end_while_there_is_one_process_less(
    supervisor: Supervisor, stuck: Process, is_to_end: bool
) -> None:
    supervisor.processes, supervisor.processes_num = [Process(_CONFIG, []), stuck], 2
    if is_to_end:
        supervisor.signal_queue.append(signal.SIGTERM)
    supervisor.handle_ttou()
    assert (len(supervisor.processes), supervisor.processes_num) == (1, 1)
    assert stuck.process.is_alive() is is_to_end
    assert supervisor._ending == ([(stuck, 0.5)] if is_to_end else [])
