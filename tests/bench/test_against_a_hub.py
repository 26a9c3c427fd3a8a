"""The driver and a real hub, started and stopped as an unattended run does it."""

import json
import pstats
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import asyncpg
import pytest

from bench import __main__ as bench
from bench import kills
from bench.client import BenchError
from bench.serve import Launch, Served, serving
from bench.table import render
from datacollect.testing.postgres import fresh_database
from tests.launching import forking
from tests.warm import Warm

pytestmark = pytest.mark.long


Main = Callable[[list[str]], int]
Run = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def launch(warm: Warm) -> Launch:
    return forking(warm)


@pytest.fixture
def main(launch: Launch) -> Main:
    """`python -m bench`, with what it runs of a hub forked."""
    return partial(bench.main, launch=launch)


@pytest.fixture(scope="module")
def hub(launch: Launch) -> Iterator[Served]:
    """For scenarios that bring programs of their own, so that not each of them starts a hub."""
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving("sqlite", launch=launch)) as served:
            yield served


@pytest.fixture
def run(main: Main, hub: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The result of a scenario, with these options, on the hub that runs."""

    def run(scenario: str, options: str) -> dict[str, Any]:
        monkeypatch.setenv("LOAD_EMAIL", hub.credentials.email)
        monkeypatch.setenv("LOAD_PASSWORD", hub.credentials.password)
        out = tmp_path / "result.json"
        target = f"--url={hub.url} --pid={hub.pid} --max-minutes 5 --out={out}"
        assert main([scenario, *target.split(), *options.split()]) == 0
        result: dict[str, Any] = json.loads(out.read_text())
        assert result["complete"] is True
        return result

    return run


@pytest.mark.parametrize(
    ("scenario", "keys"),
    [
        ("pull", {"pull/held40/default/clients2", "pull/held40/limit7/clients2"}),
        ("hot", {"hot/clients4"}),
        ("configs", {"configs/programs3"}),
    ],
)
def test_a_run_measures_and_finds_everything(scenario: str, keys: set[str], run: Run) -> None:
    result = run(scenario, "--events 40 --updates 12 --configs 3 --concurrency 4 --clients 2 --limit 0 7 --seconds 20")
    assert {cell["key"] for cell in result["cells"]} == keys
    assert all(set(cell["outcomes"]) == {"200"} and cell["server"]["rss_mib"] > 0 for cell in result["cells"])


def test_a_run_with_a_hub_of_its_own_leaves_nothing_behind(main: Main, tmp_path: Path) -> None:
    out, work = tmp_path / "result.json", tmp_path / "work"
    work.mkdir()
    options = f"growth --serve sqlite --sizes 0 25 --samples 5 --max-minutes 2 --out={out} --work-dir={work}"
    assert main(options.split()) == 0
    result = json.loads(out.read_text())
    assert result["complete"] is True
    assert {cell["key"] for cell in result["cells"]} == {"growth/held0", "growth/held25"}
    assert all(set(cell["outcomes"]) == {"200"} and cell["server"]["rss_mib"] > 0 for cell in result["cells"])
    assert str(tmp_path) not in out.read_text()
    assert list(work.iterdir()) == []
    assert "### Every cell, SQLite" in render([result], {**dict.fromkeys(_REFERENCE_TEXTS, "x"), "figures": {}})


@pytest.mark.parametrize(
    ("scenario", "keys"),
    [
        (
            "stampede",
            [
                "stampede/cold/held60/default/devices6",
                "stampede/cold/held60/limit7/devices6",
                "stampede/incremental/held60/devices6",
                "stampede/incremental/held60/within0.1s/devices6",
            ],
        ),
        ("soak", ["soak/held60"]),
    ],
)
def test_crowds_are_measured_without_an_error(scenario: str, keys: list[str], run: Run) -> None:
    result = run(scenario, "--events 60 --devices 6 --spread 0.1 --limit 0 7 --seconds 1")
    assert [cell["key"] for cell in result["cells"]] == keys
    assert all(set(cell["outcomes"]) == {"200"} for cell in result["cells"])


def test_the_bare_database_is_measured_in_turn(main: Main, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--serve sqlite --events 60 --batch 5 --rounds 2 --max-minutes 5 --out={out} --work-dir={tmp_path}"
    assert main(["ceiling", *options.split()]) == 0
    cells = json.loads(out.read_text())["cells"]
    rounds = [f"ceiling/batch5/round{number}/{what}" for number in range(2) for what in ("hub", "bare")]
    assert [cell["key"] for cell in cells] == [*rounds, "ceiling/batch5"]
    assert all(set(cell.get("outcomes", {"200": 1})) == {"200"} for cell in cells)
    assert cells[-1]["share"] > 0
    assert cells[1]["rows_per_event"] >= 2


def test_pages_are_measured_as_they_lie(run: Run) -> None:
    [cell] = run("sealed", "--events 60 --limit 7 --clients 1 --seconds 0.5")["cells"]
    assert (cell["key"], set(cell["outcomes"])) == ("sealed/held60/limit7/clients1", {"200"})
    assert cell["events_per_s"] > 0 and cell["hub_cpu_ms_per_page"] > 0


def test_a_profile_of_the_hub_is_kept(tmp_path: Path) -> None:
    out, profile = tmp_path / "result.json", tmp_path / "hub.profile"
    options = f"growth --serve sqlite --sizes 0 --samples 2 --max-minutes 5 --out={out} --profile={profile}"
    assert bench.main([*options.split(), f"--work-dir={tmp_path}"]) == 0
    stats = pstats.Stats(str(profile))
    assert any("features/sync/routes.py" in name for name, _, _ in stats.stats)  # type: ignore[attr-defined]
    assert str(tmp_path) not in out.read_text()


def test_a_rebuild_is_measured_with_what_pushes_feel_of_it(main: Main, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--serve sqlite --events 300 --max-minutes 2 --out={out} --work-dir={tmp_path}"
    assert main(["rebuild", *options.split()]) == 0
    result = json.loads(out.read_text())
    assert [cell["key"] for cell in result["cells"]] == ["fill/events300", "rebuild/events300", "check/events300"]
    for cell in result["cells"][1:]:
        assert cell["peak_rss_mib"] > 10
        assert set(cell["pushes_meanwhile"]["outcomes"]) == {"200"}
    assert "### Every cell, SQLite" in render([result], {**dict.fromkeys(_REFERENCE_TEXTS, "x"), "figures": {}})


def test_a_long_history_is_measured_and_can_be_kept(main: Main, tmp_path: Path) -> None:
    out, kept = tmp_path / "result.json", tmp_path / "kept"
    options = f"history --serve sqlite --samples 2 --max-minutes 3 --out={out} --keep={kept}".split()
    held = []
    for events in (300, 3000):
        assert main([*options, f"--events={events}"]) == 0
        cells = {cell["key"].rpartition(f"events{events}/")[2]: cell for cell in json.loads(out.read_text())["cells"]}
        held.append(cells["size"]["events"])
    # The first run has left some events of its own.
    assert held == [300, 3000] and 0 < cells["fill"]["events"] < 2700
    assert cells["fill"]["sealed_runs"] == 6
    assert cells["size"]["bytes_per_event"] > 500
    assert {"events", "entities", "search_terms", "log_segments"} < cells["size"]["tables"].keys()
    assert {f"{kind}{batch}" for kind in ("push", "register") for batch in (1, 10, 100)} < cells.keys()
    assert {f"pull{limit}/{place}" for limit in (10, 1000) for place in ("start", "middle", "end")} < cells.keys()
    for name in cells.keys() - {"fill", "size"}:
        assert {"p50", "p95"} < cells[name]["ratio"].keys(), name
        assert cells[name]["full"]["outcomes"] == {"200": 2}


def test_a_bystander_is_measured_beside_others_in_bulk(run: Run) -> None:
    result = run("bystander", "--events 60 --seconds 0.05 --rounds 1")  # too short for one of each
    cells = {cell["key"]: cell for cell in result["cells"]}
    phases = ("quiet", "push10", "push100", "push1000", "pull10", "pull1000", "behind")
    kinds = ("check-token", "pull10", "push1")
    assert set(cells) == {f"bystander/{phase}/{kind}" for phase in phases for kind in kinds}
    assert all(set(cell["outcomes"]) == {"200"} for cell in cells.values())
    busy = cells["bystander/push100/push1"]
    assert busy["ratio"]["p95"] > 0
    assert all(one["events_per_s"] > 0 for one in busy["bulk"])


def test_looking_for_duplicates_is_measured(main: Main, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--serve sqlite --people 80 --samples 6 --rounds 2 --max-minutes 3 --out={out} --work-dir={tmp_path}"
    assert main(["duplicates", *options.split()]) == 0
    cells = {cell["key"].rpartition("/")[2]: cell for cell in json.loads(out.read_text())["cells"]}
    assert list(cells) == ["fill", "sweep", "check", "found", "push"]
    assert cells["fill"]["people"] >= 80 and cells["sweep"]["entities"] > cells["fill"]["people"]
    assert cells["sweep"]["peak_rss_mib"] > 10
    assert cells["check"]["outcomes"] == {"200": 6} and cells["check"]["matched"] >= 3
    assert cells["push"]["ratio"] > 0 and cells["push"]["hub_cpu_ms_per_event_on"] > 0


def test_checks_can_be_measured_without_a_sweep(main: Main, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--serve sqlite --people 80 --samples 6 --rounds 2 --max-minutes 3 --keys-only --out={out} --work-dir={tmp_path}"
    assert main(["duplicates", *options.split()]) == 0
    cells = {cell["key"].rpartition("/")[2]: cell for cell in json.loads(out.read_text())["cells"]}
    assert list(cells) == ["fill", "keys", "check", "push"]
    assert cells["check"]["matched"] >= 3 and cells["keys"]["rows"] > 800


def test_a_killed_hub_is_looked_after_with_one_fake(launch: Launch, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--records 100 --kills 1 --spread 0.1 --remotes mock --max-minutes 2 --out={out} --work-dir={tmp_path}"
    assert kills.main(options.split(), launch=launch) == 0
    result = json.loads(out.read_text())
    assert result["complete"] is True
    (cell,) = result["cells"]
    assert (cell["key"], cell["kills"], cell["rounds"]) == ("kills/sqlite/mock", 1, 1)
    assert (cell["records"], cell["jobs_success"], cell["twins"], cell["missing"]) == (100, 1, 0, 0)
    assert list(tmp_path.iterdir()) == [out]


def test_what_times_tell_is_measured_without_a_difference_in_the_answers(main: Main, tmp_path: Path) -> None:
    # As the next one, it uses sign-ins up: it has a hub of its own.
    out = tmp_path / "result.json"
    options = f"--serve sqlite --samples 3 --max-minutes 2 --out={out} --work-dir={tmp_path}"
    assert main(["timing", *options.split()]) == 0
    cells = {cell["key"].removeprefix("timing/"): cell for cell in json.loads(out.read_text())["cells"]}
    assert all(0 <= cell["separation"] <= 1 and cell["samples"] == 3 for cell in cells.values())
    # Answers that are the same for both; that a program's login screen exists may be seen.
    for name in sorted(cells.keys() - {"public/absent-existing"}):
        one, other = cells[name]["outcome_pair"]
        assert one.keys() == other.keys(), name


def test_a_flood_of_logins_is_measured_beside_what_pushes_feel_of_it(main: Main, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = f"--serve sqlite --seconds 0.5 --rate 60 --max-minutes 2 --out={out} --work-dir={tmp_path}"
    assert main(["flood", *options.split()]) == 0
    cells = {cell["key"]: cell for cell in json.loads(out.read_text())["cells"]}
    assert set(cells["flood/quiet"]["outcomes"]) == {"200"}
    for name in ("many-addresses", "one-address"):
        assert sum(cells[f"flood/{name}"]["logins"]["outcomes"].values()) == 45
        assert set(cells[f"flood/{name}/ratio"]) == {"key", "p50", "p95"}
    assert "200" not in cells["flood/one-address"]["logins"]["outcomes"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://postgres@127.0.0.1:1/nothing", "no database"),
        ("postgresql://postgres@db.example/hub", "this machine"),
        ("postgresql:///hub?host=db.example", "this machine"),
    ],
)
def test_a_database_that_cannot_be_used_gives_one_line_without_its_url(
    main: Main, url: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memory", "--serve", "postgres", "--database-url", url, "--work-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert url not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_a_database_that_holds_something_is_not_used(postgres_server: str) -> None:
    async with fresh_database(postgres_server) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE precious (id int)")
        await connection.close()
        with pytest.raises(BenchError, match="not empty"):
            async with serving("postgres", database_url=url):
                pass


_REFERENCE_TEXTS = ("source", "measured", "machine", "setup", "accuracy")
