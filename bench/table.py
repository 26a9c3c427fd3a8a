"""Turn results into the Markdown of docs/benchmarks.md: `python -m bench.table sqlite.json postgres.json --into FILE`.

Every row names its figure of the reference and the ratio to it, always so that more than 1 is better.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.checks import loss
from bench.client import BenchError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_REFERENCE = Path(__file__).with_name("reference.json")
_NOTHING = "–"
_MORE_IS_BETTER = ("events_per_s", "logins_per_s")
_UNITS = {"events_per_s": "events/s", "logins_per_s": "logins/s", "rss_mib": "MiB"}

Figure = float | str | Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: which cell, which figure of it, and in what words. `target` is our own aim, as text."""

    key: str
    metric: str
    title: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: tuple[Row, ...]


def _push_rows() -> tuple[Row, ...]:
    targets = {(10, 8): "≥ 3,000", (1000, 1): "≥ 15,000", (1000, 8): "≥ 15,000", (1000, 32): "≥ 15,000"}
    rows = [
        Row(
            f"push/batch{batch}/clients{clients}/tenants1",
            "events_per_s",
            f"batches of {batch:,}, {_count(clients, 'client')}",
            targets.get((batch, clients), ""),
        )
        for batch in (1, 10, 100, 1000)
        for clients in (1, 8, 32)
    ]
    spread = Row("push/batch10/clients8/tenants8", "events_per_s", "batches of 10, 8 clients, 8 programs", "≥ 5,000")
    return (*rows, spread)


def _pull_rows() -> tuple[Row, ...]:
    targets = {(50_000, "default", 1): "≥ 8,000", (50_000, "limit1000", 1): "≥ 100,000"}
    names = {"default": "pages of 10", "limit1000": "pages of 1,000"}
    return tuple(
        Row(
            f"pull/held{held}/{limit}/clients{clients}",
            "events_per_s",
            f"{held:,} held, {name}, {_count(clients, 'client')}",
            targets.get((held, limit, clients), ""),
        )
        for held in (10_000, 50_000)
        for limit, name in names.items()
        for clients in (1, 8)
    )


def _read_rows() -> tuple[Row, ...]:
    names = {
        "list100": "list of 100",
        "list1000": "list of 1,000",
        "count": "count",
        "count-by-form": "count by form",
        "one": "one entity",
        "events-of-one": "events of one entity",
    }
    targets = {(10_000, "list100"): "≤ 5 ms"}
    rows = [
        Row(f"entities/held{held}/{what}", "p50", f"{name}, {held:,} held", targets.get((held, what), ""))
        for held in (10_000, 50_000)
        for what, name in names.items()
    ]
    return (*rows, Row("entities/held50000/programs", "p50", "list of programs"))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


SECTIONS = (
    Section("Push into an empty program, events/s", _push_rows()),
    Section(
        "One-event push when events are held already, p50",
        tuple(
            Row(f"growth/held{held}", "p50", f"{held:,} held", target)
            for held, target in ((0, ""), (10_000, ""), (50_000, "≤ 5 ms"))
        ),
    ),
    Section("Cold client pulls everything, events/s", _pull_rows()),
    Section(
        "One page of 10, p50",
        tuple(
            Row(f"page/held{held}/default/{place}", "p50", f"at the {place} of {held:,}")
            for held in (10_000, 50_000)
            for place in ("start", "middle", "end")
        ),
    ),
    Section("Entity reads, p50", _read_rows()),
    Section(
        "Bystander's check of a token while two clients push",
        tuple(
            Row(f"stall/held{held}", metric, f"{held:,} held, {words}")
            for held in (100, 10_000, 50_000)
            for metric, words in (("p95", "p95 of the bystander"), ("events_per_s", "events/s pushed meanwhile"))
        ),
    ),
    Section(
        "Logins per second",
        tuple(Row(f"login/clients{n}", "logins_per_s", _count(n, "client")) for n in (1, 8, 32)),
    ),
    Section(
        "Memory of the server's processes",
        (
            Row("memory/idle", "rss_mib", "idle, just started", "≤ 120 MiB"),
            Row("memory/after", "rss_mib", "after all of the above"),
        ),
    ),
)


def figure(cell: Mapping[str, Any] | None, metric: str) -> float | None:
    """One figure of a result's cell, wherever it is kept; None when it was not measured or nothing succeeded."""
    if cell is None:
        return None
    for place in (cell, cell.get("latency_ms", {}), cell.get("server", {}), cell.get("check", {})):
        value = place.get(metric)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def ratio(ours: float | None, theirs: Figure, metric: str) -> str:
    """How many times better we are, with the end of the reference's range that flatters us least."""
    more = metric in _MORE_IS_BETTER
    if isinstance(theirs, Mapping):
        theirs = theirs["high"] if more else theirs["low"]
    if not ours or not isinstance(theirs, int | float) or not theirs:
        return _NOTHING
    times = ours / theirs if more else theirs / ours
    return f"{times:,.0f}×" if times >= 10 else f"{times:.1f}×"


def shown(value: Figure, metric: str) -> str:
    """A figure with its unit, to about three digits; words and ranges as they are."""
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return f"{_digits(value['low'])} to {_digits(value['high'])} {_unit(metric)}".rstrip()
    return f"{_digits(value)} {_unit(metric)}".rstrip()


def _unit(metric: str) -> str:
    return "" if metric in _MORE_IS_BETTER else _UNITS.get(metric, "ms")


def _digits(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def render(results: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]) -> str:
    """The whole results part: machine, comparison, survival, and every cell. One column pair per result."""
    names = [_name(result) for result in results]
    if len(set(names)) != len(names):
        raise BenchError(f"two results of the same engine: {', '.join(names)}")
    cells = [{cell["key"]: cell for cell in result["cells"]} for result in results]
    parts = [
        "## Results",
        *(_origin(name, result) for name, result in zip(names, results, strict=True)),
        _reference_note(reference),
        *(_comparison(section, names, cells, reference["figures"]) for section in SECTIONS),
        _survival(names, cells, reference["figures"]),
        *(_losses(name, result) for name, result in zip(names, results, strict=True)),
        *(_all_cells(name, result) for name, result in zip(names, results, strict=True)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _name(result: Mapping[str, Any]) -> str:
    engines = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
    engine = str(result.get("hub", {}).get("engine", ""))
    return engines.get(engine) or str(result.get("label") or "hub")


def _origin(name: str, result: Mapping[str, Any]) -> str:
    machine, hub = result["machine"], result["hub"]
    database = ", ".join(f"{key} {value}" for key, value in hub.items() if key not in ("version", "engine"))
    unfinished = "" if result.get("complete") else " **The run was ended early.**"
    return (
        f"**{name}**: hub {hub.get('version')}{f' ({database})' if database else ''}, {result['started']}; "
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {_disk(machine)}load at the start {machine['load_average'][0]}.{unfinished}"
    )


def _disk(machine: Mapping[str, Any]) -> str:
    return f"data on {machine['filesystem']}, " if "filesystem" in machine else ""


def _reference_note(reference: Mapping[str, Any]) -> str:
    return (
        f"**Reference**: {reference['source']}, {reference['measured']}; {reference['machine']}. {reference['setup']}; "
        f"{reference['accuracy']}."
    )


def _comparison(
    section: Section, names: Sequence[str], cells: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> str:
    lines = []
    for row in section.rows:
        ours = [figure(found.get(row.key), row.metric) for found in cells]
        if all(value is None for value in ours):
            continue
        theirs = reference.get(row.key, {}).get(row.metric)
        measured = [text for v in ours for text in (shown(v, row.metric), ratio(v, theirs, row.metric))]
        lines.append([row.title, shown(theirs, row.metric), *measured, row.target or _NOTHING])
    if not lines:
        return ""
    heads = [text for name in names for text in (name, "ratio")]
    return f"### {section.title}\n\n" + _table(["", "reference", *heads, "target"], lines)


def _survival(names: Sequence[str], cells: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]) -> str:
    """Of what was acknowledged: how much is there afterwards."""
    lines = []
    for key, title in (
        ("hot/clients1", "updates of one entity, one after the other"),
        ("hot/clients8", "the same, 8 at once"),
        ("hot/clients32", "the same, 32 at once"),
        ("configs/programs8", "8 programs pushed to at once"),
    ):
        if any(key in found for found in cells):
            lines.append(
                [title, _survived(reference.get(key)), *(_survived(_check(found.get(key))) for found in cells)]
            )
    if not lines:
        return ""
    return "### Survived, of acknowledged\n\n" + _table(["", "reference", *names], lines)


def _losses(name: str, result: Mapping[str, Any]) -> str:
    lines = [f"- **{name}, {cell['key']}: {missing}**" for cell in result["cells"] if (missing := loss(cell))]
    return "\n".join(lines)


def _check(cell: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return cell.get("check") if cell else None


def _survived(check: Mapping[str, Any] | None) -> str:
    return f"{check['survived']:,} of {check['acknowledged']:,}" if check else _NOTHING


def _all_cells(name: str, result: Mapping[str, Any]) -> str:
    heads = ["cell", "rate/s", "p50", "p95", "p99", "max", "outcomes", "server MiB", "server CPU s", "driver CPU s"]
    return f"### Every cell, {name} (latencies in ms)\n\n" + _table(heads, [_cell_line(c) for c in result["cells"]])


def _cell_line(cell: Mapping[str, Any]) -> list[str]:
    per_second = next((cell[name] for name in _MORE_IS_BETTER if name in cell), None)
    outcomes = ", ".join(f"{count:,} × {outcome}" for outcome, count in cell.get("outcomes", {}).items())
    server = cell.get("server", {})
    return [
        cell["key"],
        _plain(per_second),
        *(_plain(figure(cell, name)) for name in ("p50", "p95", "p99", "max")),
        outcomes or _NOTHING,
        _plain(server.get("rss_mib")),
        _plain(server.get("cpu_seconds")),
        _plain(cell.get("driver_cpu_seconds")),
    ]


def _plain(value: float | None) -> str:
    return _NOTHING if value is None else _digits(value)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown with the first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in heads[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, rule, *lines))


def insert(document: str, results: str) -> str:
    """The document with everything between the two markers replaced. Raises `BenchError` without both, in order."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"the document has no region from {BEGIN} to {END}")
    return f"{before}{BEGIN}\n\n{results}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or write it into a document; 1 with a line about what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description="Compare results with the reference.")
    parser.add_argument("results", type=Path, nargs="+", help="JSON of a run, one for each engine")
    parser.add_argument("--into", type=Path, help=f"document whose region {BEGIN} … {END} is rewritten")
    options = parser.parse_args(argv)
    try:
        results = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
        text = render(results, json.loads(_REFERENCE.read_text(encoding="utf-8")))
        if options.into is None:
            sys.stdout.write(text)
        else:
            options.into.write_text(insert(options.into.read_text(encoding="utf-8"), text), encoding="utf-8")
    except (OSError, ValueError, KeyError, BenchError) as error:
        sys.stderr.write(f"no table: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
