"""`datacollect user …` as somebody at a terminal or a script uses it."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run, Serve
from tests.e2e.installation import Caller, refused, told
from tests.e2e.terminal import typed
from tests.processes import wait_until
from tests.warm import Warm

pytestmark = pytest.mark.usefixtures("migrated")

PASSWORD = "Some-Pass-7"
CAMP = '{"id": "camp", "name": "Camp"}'


def create(run: Run, email: str, *more: str) -> Any:
    return told(run, "user", "create", email, "--password-stdin", *more, stdin=f"{PASSWORD}\n")


def test_accounts_are_made_by_the_rules_of_the_api(run: Run) -> None:
    told(run, "program", "create", "-", stdin=CAMP)
    lina = create(run, " Lina@Hub.test", "--role", "camp:supervisor:north", "--role", "camp:viewer")
    assert lina["email"] == "lina@hub.test"
    assert lina["roleAssignments"] == [
        {"tenantId": "camp", "role": "supervisor", "areaId": "north"},
        {"tenantId": "camp", "role": "viewer"},
    ]
    assert (lina["role"], lina["mustChangePassword"], "password" in lina) == ("USER", False, False)

    again = refused(run, "user", "create", "lina@hub.test", "--generate")
    assert again["code"] == "USER_EXISTS"
    weak = run("user", "create", "weak@hub.test", "--password-stdin", stdin="lina\n")
    assert weak.returncode == 1
    assert "at least 8 characters" in weak.stderr
    elsewhere = refused(run, "user", "create", "x@hub.test", "--generate", "--role", "nowhere:viewer")
    assert elsewhere["details"][0]["code"] == "unknown_program"
    silent = run("user", "create", "x@hub.test")
    assert silent.stderr == "datacollect: There is no terminal to ask on. Say --password-stdin or --generate.\n"

    made = told(run, "user", "create", "omar@hub.test", "--generate")
    assert made["mustChangePassword"] is True and len(made["password"]) == 19
    assert "password" not in told(run, "user", "show", "omar@hub.test")
    assert [one["email"] for one in told(run, "user", "list", "--program", "camp")] == ["lina@hub.test"]
    assert [one["email"] for one in told(run, "user", "list")] == ["lina@hub.test", "omar@hub.test"]
    table = run("user", "list", "--search", "LINA").stdout
    assert table.splitlines()[1].split() == ["1", "USER", "lina@hub.test", "camp:supervisor:north,", "camp:viewer"]
    assert refused(run, "user", "show", "nobody@hub.test")["code"] == "USER_NOT_FOUND"


def test_roles_come_and_go_and_the_last_administrator_stays(run: Run) -> None:
    told(run, "program", "create", "-", stdin=CAMP)
    create(run, "lina@hub.test", "--role", "camp:enumerator")
    both = told(run, "user", "roles", "add", "lina@hub.test", "camp:supervisor", "camp:supervisor:a:1")
    assert [one["role"] for one in both["roleAssignments"]] == ["enumerator", "supervisor", "supervisor"]
    assert both["roleAssignments"][2]["areaId"] == "a:1"
    left = told(run, "user", "roles", "remove", "lina@hub.test", "camp:supervisor")
    assert left["roleAssignments"] == [{"tenantId": "camp", "role": "enumerator"}]
    assert "no role viewer in camp" in run("user", "roles", "remove", "lina@hub.test", "camp:viewer").stderr
    out = told(run, "user", "roles", "remove", "lina@hub.test", "camp")
    assert (out["tenantIds"], out["roleAssignments"]) == ([], [])

    told(run, "user", "roles", "add", "lina@hub.test", "--admin")
    assert refused(run, "user", "roles", "remove", "lina@hub.test", "--admin")["code"] == "LAST_ADMIN"
    assert refused(run, "user", "delete", "lina@hub.test", "--yes")["code"] == "LAST_ADMIN"
    create(run, "root@hub.test", "--admin")
    told(run, "user", "delete", "lina@hub.test", "--yes")
    assert [one["email"] for one in told(run, "user", "list")] == ["root@hub.test"]


def test_a_running_hub_knows_accounts_as_they_are_now(run: Run, serve: Serve, environment: dict[str, str]) -> None:
    with serve() as hub:
        told(run, "program", "create", "-", stdin=CAMP)
        number = create(run, "lina@hub.test", "--role", "camp:supervisor")["id"]
        lina, admin = Caller(hub.url), Caller(hub.url)
        assert lina.sign_in("lina@hub.test", PASSWORD) == 200
        [session] = told(run, "user", "sessions", "lina@hub.test")
        assert session["origin"] == "127.0.0.1"

        def quarantine() -> int:
            return lina.send("/api/sync/quarantine?configId=camp")[0]

        assert quarantine() == 200
        told(run, "user", "roles", "add", "lina@hub.test", "camp:viewer")
        told(run, "user", "roles", "remove", "lina@hub.test", "camp:supervisor")
        wait_until(lambda: quarantine() == 403)
        assert told(run, "user", "end-sessions", "lina@hub.test") == {"ended": 1}
        wait_until(lambda: quarantine() == 401)

        changed = told(run, "user", "set-password", str(number), "--generate")
        assert lina.sign_in("lina@hub.test", PASSWORD) == 401
        assert lina.sign_in("lina@hub.test", changed["password"]) == 200
        assert lina.send("/api/users/check-token")[1]["code"] == "PASSWORD_CHANGE_REQUIRED"

        assert admin.sign_in(environment["ADMIN_EMAIL"], environment["ADMIN_PASSWORD"]) == 200
        _, log = admin.send(f"/api/security-log?userId={number}")
        here = [entry for entry in log["entries"] if entry["origin"] == "command line"]
        assert [entry["action"] for entry in here] == [
            "user.changed", "session.revoked", "user.changed", "user.changed", "user.created",
        ]  # fmt: skip
        assert {entry["actorUserId"] for entry in here} == {None}
        assert changed["password"] not in str(log) and "lina" not in str(log)


def test_a_password_is_typed_twice_and_not_shown(
    run: Run, warm: Warm, tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ("user", "create", "lina@hub.test")
    answers = [("Password: ", PASSWORD), ("Repeat for confirmation: ", PASSWORD)]
    code, shown = typed(warm, tmp_path, environment, arguments, answers)
    assert (code, PASSWORD in shown) == (0, False), shown
    assert "lina@hub.test (account 1): created." in shown
    arguments, answers = ("user", "delete", "lina@hub.test"), [("Delete lina@hub.test? ", "n")]
    code, shown = typed(warm, tmp_path, environment, arguments, answers)
    assert code == 1
    assert [one["email"] for one in told(run, "user", "list")] == ["lina@hub.test"]
