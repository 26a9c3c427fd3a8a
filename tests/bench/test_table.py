import json
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.client import BenchError
from bench.report import Report
from bench.table import BEGIN, END, SECTIONS, insert, main, ratio, render, shown

REFERENCE = json.loads((Path(bench.__file__).parent / "reference.json").read_text())


def make_result(engine: str, *cells: dict[str, Any]) -> dict[str, Any]:
    machine = {"cores": 2, "cpu": "x", "memory_gib": 4.0, "kernel": "6", "python": "3.11", "load_average": [0.1, 0, 0]}
    hub = {"version": "0.1.0", "engine": engine}
    return {"machine": machine, "hub": hub, "started": "now", "complete": True, "cells": list(cells)}


def push_cell(events_per_s: float) -> dict[str, Any]:
    return {"key": "push/batch10/clients8/tenants1", "events_per_s": events_per_s, "outcomes": {"200": 5}}


def test_a_ratio_above_one_is_better_for_rates_and_for_latencies() -> None:
    assert ratio(5200, 52, "events_per_s") == "100×"
    assert ratio(26, 52, "events_per_s") == "0.5×"
    assert ratio(4.0, 12, "p50") == "3.0×"
    assert ratio(154, 77, "rss_mib") == "0.5×"


def test_a_range_is_compared_at_the_end_that_flatters_us_least() -> None:
    assert ratio(10, {"low": 97, "high": 134}, "p50") == "9.7×"
    assert ratio(70, {"low": 33, "high": 35}, "logins_per_s") == "2.0×"


@pytest.mark.parametrize(("ours", "theirs"), [(None, 52), (100.0, None), (100.0, "refused"), (0.0, 52)])
def test_what_cannot_be_compared_has_no_ratio(ours: float | None, theirs: float | str | None) -> None:
    assert ratio(ours, theirs, "events_per_s") == "–"


def test_figures_show_their_unit_and_about_three_digits() -> None:
    assert shown(12345.6, "events_per_s") == "12,346"
    assert shown(3.14159, "p50") == "3.14 ms"
    assert shown(31.4159, "p95") == "31.4 ms"
    assert shown({"low": 97, "high": 134}, "p50") == "97 to 134 ms"
    assert shown("refused", "events_per_s") == "refused"
    assert shown(None, "p50") == "–"


def test_a_row_has_a_column_and_a_ratio_for_each_engine() -> None:
    text = render([make_result("sqlite", push_cell(5200)), make_result("postgres", push_cell(2600))], REFERENCE)
    assert "| batches of 10, 8 clients | 52 | 5,200 | 100× | 2,600 | 50× | ≥ 3,000 |" in text


def test_rows_that_were_not_measured_are_left_out_and_missing_engines_show_a_dash() -> None:
    text = render([make_result("sqlite", push_cell(5200)), make_result("postgres")], REFERENCE)
    assert "| batches of 10, 8 clients | 52 | 5,200 | 100× | – | – | ≥ 3,000 |" in text
    assert "batches of 100" not in text
    assert "Logins per second" not in text


def test_the_first_column_of_a_run_without_engine_is_its_label() -> None:
    result = {**make_result("", push_cell(1)), "label": "staging"}
    assert "| reference | staging | ratio |" in render([result], REFERENCE)


def test_two_results_of_one_engine_are_refused() -> None:
    with pytest.raises(BenchError, match="SQLite"):
        render([make_result("sqlite"), make_result("sqlite")], REFERENCE)


def test_what_survived_is_shown_beside_what_was_acknowledged() -> None:
    cell = {"key": "hot/clients32", "check": {"acknowledged": 64, "survived": 64}}
    assert "| the same, 32 at once | 1 of 64 | 64 of 64 |" in render([make_result("sqlite", cell)], REFERENCE)


def test_a_cell_that_lost_events_is_named() -> None:
    cell = {**push_cell(10), "check": {"acknowledged": 10, "held": 7}}
    text = render([make_result("sqlite", cell)], REFERENCE)
    assert "- **SQLite, push/batch10/clients8/tenants1: 3 of 10 acknowledged events are not there**" in text


def test_a_run_that_was_cut_short_says_so() -> None:
    assert "ended early" in render([{**make_result("sqlite", push_cell(1)), "complete": False}], REFERENCE)


def test_every_figure_of_the_reference_belongs_to_a_row_or_to_the_survival_table() -> None:
    shown_keys = {row.key for section in SECTIONS for row in section.rows}
    surviving = {key for key, figures in REFERENCE["figures"].items() if "survived" in figures}
    assert set(REFERENCE["figures"]) - shown_keys == surviving


def test_the_results_replace_what_was_between_the_markers() -> None:
    document = f"# Method\n\n{BEGIN}\nold\n{END}\n\nmore\n"
    once = insert(document, "## Results\n")
    assert once == f"# Method\n\n{BEGIN}\n\n## Results\n\n{END}\n\nmore\n"
    assert insert(once, "## Results\n") == once


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_document_without_both_markers_in_order_is_refused(document: str) -> None:
    with pytest.raises(BenchError, match="no region"):
        insert(document, "text")


def test_a_written_result_can_be_read_into_a_document(tmp_path: Path) -> None:
    facts = make_result("sqlite")
    report = Report(tmp_path / "out" / "r.json", machine=facts["machine"], hub=facts["hub"], label="")
    report.add(push_cell(5200))
    report.finish(complete=True)
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main([str(tmp_path / "out" / "r.json"), "--into", str(page)]) == 0
    assert "5,200" in page.read_text()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["r.json"]


def test_a_file_that_is_no_result_gives_one_line_and_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.json").write_text("[")
    assert main([str(tmp_path / "r.json")]) == 1
    assert capsys.readouterr().err.startswith("no table: ")
