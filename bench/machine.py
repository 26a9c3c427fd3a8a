"""Facts about the machine, and what a process and its children use of it (Linux /proc)."""

import contextlib
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def machine_facts(data_dir: Path | None = None) -> dict[str, Any]:
    """Cores, memory, versions and load; with `data_dir`, the kind of filesystem below it (a RAM disk flatters)."""
    facts: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _field(_PROC / "cpuinfo", "model name"),
        "memory_gib": round(int(_field(_PROC / "meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    if data_dir is not None:
        facts["filesystem"] = _filesystem(data_dir)
    return facts


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree holds now and has used since it began."""

    processes: int
    rss_mib: float
    pss_mib: float
    cpu_seconds: float


def process_tree(root: int) -> list[int]:
    """The process and its living descendants; empty when it is gone."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root] if _stat(root) is not None else []
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, ()))
    return found


def usage(root: int) -> Usage:
    """Add up the process tree. Pages that several processes share count once in `pss_mib`, each time in `rss_mib`."""
    pids = process_tree(root)
    rss = pss = cpu = 0.0
    for pid in pids:
        fields = _stat(pid)
        if fields is None:
            continue
        cpu += (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        rollup = _PROC / str(pid) / "smaps_rollup"
        rss += _kib(rollup, "Rss") / 1024
        pss += _kib(rollup, "Pss") / 1024
    return Usage(len(pids), round(rss, 1), round(pss, 1), round(cpu, 2))


def exact_cpu_seconds(root: int) -> float:
    """CPU time of the living threads of a process tree, to the microsecond; what `usage` tells comes in hundredths.

    For differences over a time in which none of them ends.
    """
    nanoseconds = 0
    for pid in process_tree(root):
        for file in (_PROC / str(pid) / "task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                nanoseconds += int(file.read_text().split()[0])
    return nanoseconds / 1e9


def peak_memory_mib(pid: int) -> float:
    """The most memory the process has held so far; 0 when it is gone."""
    return round(_kib(_PROC / str(pid) / "status", "VmHWM") / 1024, 1)


def reset_peak_memory(pid: int) -> None:
    """Let `peak_memory_mib` count from here on; without effect for a process of somebody else."""
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "clear_refs").write_text("5")


def own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def machine_cpu_seconds() -> float:
    """Time all cores together have been busy since the machine started."""
    ticks = [int(number) for number in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting_for_disk = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting_for_disk) / _TICKS_PER_SECOND


_FIRST, _AS_OTHERS = -10, 0
"""Niceness."""


def go_first() -> int:
    """Have this process run as soon as it is ready, if we may; the niceness it has now."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _FIRST)
    return os.getpriority(os.PRIO_PROCESS, 0)


def go_as_others() -> None:
    """For the child of one that goes first."""
    if os.getpriority(os.PRIO_PROCESS, 0) < _AS_OTHERS:
        os.setpriority(os.PRIO_PROCESS, 0, _AS_OTHERS)


def _stat(pid: int) -> list[str] | None:
    """The fields after the name, which may itself hold spaces and brackets; None when the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _kib(path: Path, name: str) -> int:
    value = _field(path, name)
    return int(value.split()[0]) if value else 0


def _field(path: Path, name: str) -> str:
    """The value of the first `name: value` line; empty when there is none or the process is gone."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def _filesystem(path: Path) -> str:
    target = str(path.resolve())
    best, kind = "", "unknown"
    for line in (_PROC / "mounts").read_text().splitlines():
        _, mount, fs_type, *_ = line.split()
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind
