"""A result beside the committed one: `python -m bench.compare result.json`, or `--keep` to put it in its place.

More than 1 is better. Rates and latencies depend on what else the machine does; CPU time per request less so. What the
baseline's machine did meanwhile stands above the table.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.client import BenchError

BASELINES = Path(__file__).with_name("baselines")
_NOTHING = "–"
_KEPT = ("key", "events_per_s", "logins_per_s", "requests", "latency_ms", "server", "share", "device_seconds")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--baseline", type=Path, help="another result (bench/baselines/<engine>.json)")
    parser.add_argument("--keep", action="store_true", help="make this result the baseline")
    options = parser.parse_args(argv)
    try:
        result = json.loads(options.result.read_text())
        path = options.baseline or BASELINES / f"{result['hub']['engine']}.json"
        if options.keep:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(trimmed(result), indent=1) + "\n")
        elif path.exists():
            sys.stdout.write("\n".join(table(result, json.loads(path.read_text()))) + "\n")
        else:
            raise BenchError(f"there is no baseline at {path}: make one with --keep")
    except (OSError, KeyError, ValueError, BenchError) as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    return 0


def trimmed(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared of it, and under what it was measured."""
    cells = [{name: cell[name] for name in _KEPT if name in cell} for cell in result["cells"]]
    return {name: result[name] for name in ("format", "started", "machine", "hub")} | {"cells": cells}


def table(result: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown: each cell both have."""
    loads = [one["machine"]["load_average"][0] for one in (baseline, result)]
    yield f"Baseline of {baseline['started']} at load {loads[0]}; now {loads[1]}. More than 1 is better."
    yield ""
    yield "| cell | rate/s | x | p50 ms | x | server CPU, ms a request | x |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    known = {cell["key"]: cell for cell in baseline["cells"]}
    for cell in result["cells"]:
        before = known.get(cell["key"])
        if before is not None:
            figures = [
                *_ratio(_rate_of(cell), _rate_of(before)),
                *_ratio(_p50_of(cell), _p50_of(before), less_is_better=True),
                *_ratio(_cpu_of(cell), _cpu_of(before), less_is_better=True),
            ]
            yield f"| {cell['key']} | {' | '.join(figures)} |"


def _ratio(now: float | None, before: float | None, *, less_is_better: bool = False) -> tuple[str, str]:
    if now is None:
        return _NOTHING, _NOTHING
    better, worse = (before, now) if less_is_better else (now, before)
    return f"{now:,.3g}", f"{better / worse:.2f}" if better is not None and worse else _NOTHING


def _rate_of(cell: Mapping[str, Any]) -> float | None:
    found: float | None = cell.get("events_per_s", cell.get("logins_per_s", cell.get("share")))
    return found


def _p50_of(cell: Mapping[str, Any]) -> float | None:
    found: float | None = cell.get("latency_ms", {}).get("p50")
    return found


def _cpu_of(cell: Mapping[str, Any]) -> float | None:
    if not cell.get("requests") or "server" not in cell:
        return None
    used: float = cell["server"]["cpu_seconds"]
    return 1000 * used / int(cell["requests"])


if __name__ == "__main__":
    sys.exit(main())
