"""`datacollect program …` as somebody at a terminal or a script uses it."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from tests.e2e.conftest import Run, Serve
from tests.e2e.installation import Caller, refused, told
from tests.e2e.terminal import typed
from tests.processes import wait_until
from tests.warm import Warm

EXAMPLES = Path(__file__).parents[2] / "examples"
REGISTRY = EXAMPLES / "household-registry.json"


def config(**changes: Any) -> str:
    form = {"id": "f1", "name": "person", "title": "Person", "formio": {"components": []}}
    return json.dumps({"id": "camp", "name": "Camp", "version": "1", "entityForms": [form]} | changes)


@pytest.mark.usefixtures("migrated")
def test_a_program_is_created_changed_and_brought_back(run: Run) -> None:
    created = told(run, "program", "create", str(REGISTRY))
    assert (created["id"], created["revision"]) == ("household-registry", 1)
    assert [text.partition(":")[0] for text in created["warnings"]] == [
        "selfService.authMethods"
    ]  # no way to send codes
    assert refused(run, "program", "create", str(REGISTRY))["code"] == "PROGRAM_EXISTS"

    changed = REGISTRY.read_text().replace('"version": "1.0.0"', '"version": "1.1.0"')
    again = told(run, "program", "update", "-", "--if-revision", "1", stdin=changed)
    assert (again["revision"], again["artifactId"]) == (2, created["artifactId"])
    late = run("program", "update", str(REGISTRY), "--if-revision", "1")
    assert (late.returncode, late.stdout) == (1, "")
    assert late.stderr.startswith("datacollect: The program has been changed since you read it.")

    diff = run("program", "diff", "household-registry")
    assert diff.stdout == 'revision 2 against 1\n~ version: "1.0.0" -> "1.1.0"\n'
    assert told(run, "program", "revert", "household-registry", "1")["revision"] == 3
    lines = told(run, "program", "history", "household-registry")
    assert [line["action"] for line in lines] == ["reverted", "replaced", "created"]
    assert {line["by"]["label"] for line in lines} == {"command line"}

    exported = run("program", "export", "household-registry")
    assert json.loads(exported.stdout) == json.loads(REGISTRY.read_text())
    shown = told(run, "program", "show", "household-registry")
    assert [(form["name"], form["kind"], form["entities"]) for form in shown["forms"]] == [
        ("household", "group", 2),
        ("individual", "individual", 3),
        ("visit", "record", 0),
    ]
    assert refused(run, "program", "show", "nobody")["code"] == "PROGRAM_NOT_FOUND"
    assert run("program", "show", "a b", "--json").returncode == 2


@pytest.mark.usefixtures("migrated")
def test_create_or_update_seeds_what_is_not_there_yet(run: Run) -> None:
    told(run, "program", "create", "-", stdin=config())
    seeds = [{"name": "person", "data": [{"id": "p-1", "name": "Ana"}]}]
    told(run, "program", "create", "-", "--or-update", stdin=config(entityData=seeds))
    [line] = told(run, "program", "list", "--search", "CAM")
    assert (line["id"], line["entities"]) == ("camp", 1)
    told(run, "program", "archive", "camp")
    assert told(run, "program", "list") == []
    assert told(run, "program", "list", "--archived")[0]["status"] == "archived"


@pytest.mark.usefixtures("migrated")
def test_much_is_seeded_by_a_hub_or_here(run: Run) -> None:
    seeds = [{"name": "person", "data": [{"id": f"p-{number}", "name": "Ana"} for number in range(1200)]}]
    left = told(run, "program", "create", "-", stdin=config(entityData=seeds))["seeding"]
    assert (left["state"], left["total"], left["done"]) == ("running", 1200, 0)
    assert told(run, "program", "show", "camp")["entities"] == 0
    done = told(run, "program", "create", "-", "--or-update", "--wait", stdin=config(entityData=seeds))["seeding"]
    assert (done["state"], done["done"]) == ("done", 1200)
    assert told(run, "program", "show", "camp")["entities"] == 1200


@pytest.mark.usefixtures("migrated")
def test_secrets_are_masked_unless_they_are_asked_for(run: Run, tmp_path: Path) -> None:
    bridge = {"type": "custom", "url": "https://registry.example", "adapterConfig": {"key": "s3cret"}}
    told(run, "program", "create", "-", stdin=config(externalSync=bridge))
    masked = run("program", "export", "camp")
    assert "s3cret" not in masked.stdout and "********" in masked.stdout
    told(run, "program", "update", "-", stdin=masked.stdout)
    assert run("program", "export", "camp", "--out", "-").stdout == masked.stdout
    kept = tmp_path / "kept.json"
    assert run("program", "export", "camp", "--out", str(kept)).returncode == 0
    kept.chmod(0o644)
    assert run("program", "export", "camp", "--secrets", "--out", str(kept)).returncode == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["externalSync"] == bridge
    assert "s3cret" not in run("program", "show", "camp", "--json").stdout


@pytest.mark.usefixtures("migrated")
def test_a_running_hub_sees_what_is_done_at_the_command_line(run: Run, serve: Serve) -> None:
    with serve() as hub:
        agent = Caller(hub.url)
        made = told(run, "program", "create", str(EXAMPLES / "attendance-tracking.json"))
        told(
            run, "user", "create", "tess@hub.test", "--role", "attendance-tracking:enumerator", "--password-stdin",
            stdin="Some-Pass-7\n",
        )  # fmt: skip
        assert agent.sign_in("tess@hub.test", "Some-Pass-7") == 200
        events = json.loads((EXAMPLES / "attendance-tracking.events.json").read_text())
        assert agent.send("/api/sync/push", events)[0] == 200
        assert agent.send(f"/artifacts/{made['artifactId']}.json")[0] == 200

        def pull() -> int:
            return agent.send("/api/sync/pull?configId=attendance-tracking&since=")[0]

        assert pull() == 200
        told(run, "program", "archive", "attendance-tracking")
        wait_until(lambda: pull() == 400)
        told(run, "program", "restore", "attendance-tracking")
        wait_until(lambda: pull() == 200)
        told(run, "user", "delete", "tess@hub.test", "--yes")
        wait_until(lambda: pull() in (401, 403, 404))


@pytest.mark.usefixtures("migrated")
def test_only_who_types_its_id_purges_a_program(
    run: Run, warm: Warm, tmp_path: Path, environment: dict[str, str]
) -> None:
    seeds = [{"name": "person", "data": [{"id": "p-1", "name": "Ana"}]}]
    told(run, "program", "create", "-", stdin=config(entityData=seeds))
    assert refused(run, "program", "purge", "camp", "--yes-purge", "camp")["code"] == "PROGRAM_NOT_ARCHIVED"
    told(run, "program", "archive", "camp")
    unasked = run("program", "purge", "camp")
    assert unasked.stderr == "datacollect: There is no terminal to ask on. Say --yes-purge camp.\n"
    assert refused(run, "program", "purge", "camp", "--yes-purge", "Camp")["code"] == "INVALID_REQUEST"
    off = run("program", "purge", "camp", "--yes-purge", "camp", PURGE="false")
    assert off.stderr == "datacollect: Purging is switched off here. Set PURGE=true for this command.\n"
    question = "Type camp to delete it: "
    assert typed(warm, tmp_path, environment, ("program", "purge", "camp"), [(question, "camb")])[0] == 1
    assert told(run, "program", "show", "camp")["entities"] == 1

    code, shown = typed(warm, tmp_path, environment, ("program", "purge", "camp"), [(question, "camp")])
    assert code == 0, shown
    assert "camp is gone, with" in shown
    assert refused(run, "program", "show", "camp")["code"] == "PROGRAM_NOT_FOUND"
    assert told(run, "program", "create", "-", stdin=config())["revision"] == 1


@pytest.mark.usefixtures("migrated")
def test_a_qr_code_is_drawn_and_written(run: Run, tmp_path: Path) -> None:
    made = told(run, "program", "create", "-", stdin=config())
    drawn = run("program", "qr", "camp", PUBLIC_BASE_URL="https://hub.example")
    assert drawn.returncode == 0 and len(drawn.stdout.splitlines()) > 15
    png, svg = tmp_path / "camp.png", tmp_path / "camp.svg"
    assert run("program", "qr", "camp", "--out", str(png), "--base-url", "https://hub.example/").returncode == 0
    assert run("program", "qr", "camp", "--out", str(svg), PUBLIC_BASE_URL="https://hub.example").returncode == 0
    assert png.read_bytes().startswith(b"\x89PNG") and "<svg" in svg.read_text()
    address = f"https://hub.example/artifacts/{made['artifactId']}.json"
    with Image.open(png) as image:
        [code] = zxingcpp.read_barcodes(image)
    assert code.text == address


ANYTHING = ("ADMIN_EMAIL", "ADMIN_PASSWORD", "JWT_SECRET", "DATA_DIR")


def test_the_samples_are_free_of_findings(run: Run, tmp_path: Path) -> None:
    files = [str(EXAMPLES / f"{name}.json") for name in ("household-registry", "attendance-tracking")]
    ended = run("program", "lint", "--strict", *files, str(EXAMPLES / "entitlement-redemption.json"), without=ANYTHING)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_lint_says_where_what_is_wrong(run: Run) -> None:
    wrong = '{"id": "camp",\n "name": "",\n "roles": [1]}'
    ended = run("program", "lint", "-", stdin=wrong)
    assert ended.returncode == 1
    assert [line.partition(":")[2].split(" ")[:3] for line in ended.stdout.splitlines()] == [
        ["2:2", "error", "string_too_short"],
    ]
    typo = config(roles=[1])
    assert run("program", "lint", "-", stdin=typo).returncode == 0
    assert run("program", "lint", "-", stdin=f"\ufeff{config()}").returncode == 0
    strict = run("program", "lint", "-", "--strict", "--format", "github", stdin=typo)
    assert strict.returncode == 1
    assert strict.stdout.startswith("::warning file=-,line=1,col=")
    [finding] = json.loads(run("program", "lint", "-", "--format", "json", stdin=typo).stdout)
    assert (finding["code"], finding["path"], finding["severity"]) == ("unknown_key", ["roles"], "warning")
    [broken] = json.loads(run("program", "lint", "-", "--format", "json", stdin='{\n"id" 1}').stdout)
    assert (broken["code"], broken["line"], broken["column"]) == ("INVALID_JSON", 2, 6)
    nothing = run("program", "lint", "nowhere.json")
    assert (nothing.returncode, nothing.stderr) == (
        1,
        "datacollect: nowhere.json cannot be read (No such file or directory).\n",
    )


def test_a_config_that_is_refused_is_told_with_every_issue(run: Run) -> None:
    run("migrate")
    ended = run("program", "create", "-", stdin='{"id": "camp", "name": "", "entityForms": [{"name": "f"}]}')
    assert (ended.returncode, ended.stdout) == (1, "")
    lines = ended.stderr.splitlines()
    assert lines[0] == "datacollect: Invalid app config JSON"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "name",
        "entityForms[0].title",
        "entityForms[0].formio",
    }
    unreadable = run("program", "create", "-", stdin="{")
    assert unreadable.stderr.startswith("datacollect: -: The file is not valid JSON")


def test_a_database_without_tables_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hub.sqlite3").touch()
    ended = run("program", "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("datacollect: This database is not there or not up to date.")
