"""The measurements of the hash chain, with very little to measure."""

import json
from pathlib import Path
from typing import Any

from bench import chain
from datacollect.eventstore import log
from datacollect.eventstore.integrity import hash_event


def measured(tmp_path: Path, *arguments: str) -> Any:
    out = tmp_path / "result.json"
    chain.main([*arguments, "--work-dir", str(tmp_path), "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["complete"]
    [cell] = result["cells"]
    return cell


def test_ingest_is_measured_with_the_chain_and_without_it_in_turn(tmp_path: Path) -> None:
    cell = measured(tmp_path, "ingest", "--events", "100", "--batch", "50", "--repetitions", "2")
    assert {way: len(runs) for way, runs in cell["runs"].items()} == {"chained": 2, "unchained": 2}
    assert cell["ratio"] > 0 and cell["cpu_ratio"] > 0
    assert vars(log)["hash_event"] is hash_event


def test_a_log_is_made_through_the_log_and_verified_by_the_command(tmp_path: Path) -> None:
    cell = measured(tmp_path, "verify", "--events", "120")
    assert ": 120 events, head v3:" in cell["said"]
    assert cell["events_per_s"] > 0 and cell["peak_rss_mib"] > 10
