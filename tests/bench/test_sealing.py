"""The measurement of sealing, with very little to seal."""

import json
from pathlib import Path

from bench import sealing


def test_how_late_others_are_is_measured_with_threads_and_without_in_turn(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    sealing.main(
        ["--runs", "1", "--event-bytes", "60", "--repetitions", "1", "--work-dir", str(tmp_path), "--out", str(out)]
    )
    result = json.loads(out.read_text())
    assert result["complete"]
    assert [cell["key"] for cell in result["cells"]] == ["sealing/threads", "sealing/loop"]
    assert all(cell["late_ms"]["max"] > 0 for cell in result["cells"])
