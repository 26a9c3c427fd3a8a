"""The command line. Everything that makes work is bounded in count, everything that waits in time."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_EVENTS = 2_000_000
MAX_HISTORY = 20_000_000
MAX_BATCH = 10_000
MAX_CLIENTS = 256
MAX_SECONDS = 3_600

ENGINES = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. Times in seconds; `events` None means each scenario's own default."""

    scenario: str
    url: str
    serve: str | None = None
    workers: int = 1
    database_url: str | None = None
    work_dir: Path | None = None
    keep: Path | None = None
    pid: int | None = None
    database_pid: int | None = None
    out: Path | None = None
    label: str = ""
    seconds: float = 60
    grace: float = 15
    request_timeout: float = 60
    max_minutes: float = 60
    batch: tuple[int, ...] = (1, 10, 100, 1000)
    concurrency: tuple[int, ...] = (1, 8, 32)
    events: int | None = None
    tenants: int = 1
    sizes: tuple[int, ...] = (0, 10_000, 50_000)
    clients: tuple[int, ...] = (1, 8)
    limit: tuple[int, ...] = (0, 1000)
    samples: int = 200
    updates: int = 64
    configs: int = 8
    rate: int = 200
    programs: int = 500
    records: int | None = None
    config: str | None = None
    entities: int | None = None
    devices: int = 100
    spread: float = 0
    profile: Path | None = None
    people: int | None = None
    keys_only: bool = False
    rounds: int | None = None


def parse(argv: Sequence[str] | None, scenarios: dict[str, str]) -> Options:
    """Read the arguments; `scenarios` maps each name to its one-line help."""
    listing = "\n".join(f"  {name:<9} {text}" for name, text in scenarios.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure a hub on this machine. Credentials of an administrator: LOAD_EMAIL and LOAD_PASSWORD.",
        epilog=f"scenarios:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=tuple(scenarios), metavar="scenario", help="what to measure (see below)")
    _add_target(parser)
    _add_limits(parser)
    _add_work(parser)
    values = vars(parser.parse_args(argv))
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Options(**{**values, **lists})


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group("target")
    target.add_argument("--url", default="http://127.0.0.1:3000", help="a loopback address (%(default)s)")
    target.add_argument("--pid", type=_whole(1, 2**31), help="the server's process, for memory and CPU time")
    target.add_argument("--database-pid", type=_whole(1, 2**31), help="the database server's process, likewise")
    target.add_argument("--serve", choices=ENGINES, help="start a hub of its own for this run, and stop it afterwards")
    target.add_argument("--workers", type=_whole(1, 16), default=1, help="with --serve: server processes (%(default)s)")
    target.add_argument("--database-url", help="with --serve postgres: use this empty database, not one from the wheel")
    target.add_argument("--work-dir", type=Path, help="with --serve: make the data folder in here (temporary folder)")
    target.add_argument(
        "--keep",
        type=Path,
        help="with --serve: leave the hub in this folder, or go on with the one left there (history)",
    )
    target.add_argument("--config", help="growth, pull, page, entities, stall: use this filled program and keep it")
    target.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    target.add_argument(
        "--profile",
        type=Path,
        help="with --serve: keep what Python's profiler saw of the hub (slower; not for figures)",
    )
    target.add_argument("--label", default="", help="a name for this run, kept in the result")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    second = _number(0.05, MAX_SECONDS)
    limits.add_argument("--seconds", type=second, default=60, help="one measurement at most (%(default)s)")
    limits.add_argument("--grace", type=second, default=15, help="more for what is under way then (%(default)s)")
    limits.add_argument("--request-timeout", type=second, default=60, help="one request at most (%(default)s)")
    limits.add_argument("--max-minutes", type=_number(0.1, 600), default=60, help="the whole run (%(default)s)")


def _add_work(parser: argparse.ArgumentParser) -> None:
    defaults = Options(scenario="", url="")
    work = parser.add_argument_group("work")

    def several(name: str, least: int, most: int, text: str) -> None:
        default = list(getattr(defaults, name))
        shown = " ".join(map(str, default))
        work.add_argument(f"--{name}", type=_whole(least, most), nargs="+", default=default, help=f"{text} ({shown})")

    def one(name: str, most: int, text: str) -> None:
        default = getattr(defaults, name)
        work.add_argument(f"--{name}", type=_whole(1, most), default=default, help=text)

    several("batch", 1, MAX_BATCH, "push: events per request")
    several("concurrency", 1, MAX_CLIENTS, "push, login, hot, configs: clients at once; bystander, if it is one number")
    one(
        "events",
        MAX_HISTORY,
        "push, configs: events per cell (5000); pull, page, entities, stall, seed: held (10000); rebuild, programs: held"
        " (1000000); history: held (10000000); seeding: records (100000)",
    )
    one("tenants", MAX_CLIENTS, "push: programs to spread over (%(default)s)")
    several("sizes", 0, MAX_EVENTS, "growth, suite: events held")
    several("clients", 1, MAX_CLIENTS, "pull: cold clients at once")
    several("limit", 0, 5000, "pull, page: page sizes, 0 for the server's own")
    one("samples", 10_000, "growth, page, entities, timing: requests each (%(default)s)")
    one("updates", 10_000, "hot: updates of the one entity (%(default)s)")
    one("rate", 1_000, "flood: logins a second (%(default)s)")
    one("programs", 10_000, "programs: how many (%(default)s)")
    one("records", MAX_EVENTS, "external: records per adapter (5000); dead: records that wait (100000)")
    work.add_argument(
        "--entities",
        type=_whole(1, MAX_EVENTS),
        help="entities: measure lists and searches of a program that holds as many; export: entities held (100000)",
    )
    one("people", MAX_EVENTS, "duplicates: registered (20000)")
    work.add_argument(
        "--keys-only",
        action="store_true",
        help="duplicates: bring the keys without a sweep, and measure checks and pushes",
    )
    one("rounds", 100, "bystander, ceiling (3), duplicates (4): how often what is compared takes turns")
    one("configs", MAX_CLIENTS, "configs: programs at once (%(default)s)")
    one("devices", 2_000, "stampede: how many start together (%(default)s)")
    work.add_argument(
        "--spread",
        type=_number(0, 600),
        default=defaults.spread,
        help="stampede: incremental syncs also begin one after another within so many seconds (%(default)s)",
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not between {least} and {most}")
        return number

    return read


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = float(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return number

    return read
