"""`datacollect permissions explain` says what a request would meet, and why."""

import json
import urllib.request

import pytest

from tests.e2e.conftest import Run, Serve

EXPLAIN = ("permissions", "explain")


@pytest.fixture
def accounts(serve: Serve, environment: dict[str, str]) -> None:
    """A program `camp` with a supervisor for its north, and an archived program."""
    with serve() as hub:
        token = ""

        def post(path: str, body: object) -> dict[str, str]:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            request = urllib.request.Request(f"{hub.url}{path}", data=json.dumps(body).encode(), headers=headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                told: dict[str, str] = json.load(answer)
                return told

        login = {"email": environment["ADMIN_EMAIL"], "password": environment["ADMIN_PASSWORD"]}
        token = post("/api/users/login", login)["token"]
        post("/api/apps", {"id": "camp", "name": "Camp"})
        assignment = {"tenantId": "camp", "role": "supervisor", "areaId": "north"}
        account = {"email": "sue@hub.test", "password": "Correct-Horse-9", "role": "USER"}
        post("/api/users", account | {"roleAssignments": [assignment]})


@pytest.mark.usefixtures("accounts")
def test_it_says_why(run: Run) -> None:
    allowed = run(*EXPLAIN, "sue@hub.test", "GET /api/entities/some-guid", "camp")
    assert allowed.returncode == 0, allowed.stderr
    for line in ("supervisor in camp, the highest of its assignments (supervisor)", "areas: north", "camp runs"):
        assert line in allowed.stdout
    assert allowed.stdout.splitlines()[-1] == "ALLOWED"

    denied = run(*EXPLAIN, "Sue@Hub.test", "GET /api/sync/quarantine", "camp")
    assert denied.returncode == 3
    assert "DENIED with 403 BEYOND_REACH" in denied.stdout
    assert "only without limits of areas or kinds" in denied.stdout

    stranger = run(*EXPLAIN, "sue@hub.test", "POST /api/sync/push", "elsewhere")
    assert stranger.returncode == 3
    assert "not a member of elsewhere" in stranger.stdout
    assert "elsewhere does not run" in stranger.stdout

    assert run(*EXPLAIN, "1", "GET /api/users").returncode == 0
    nowhere = run(*EXPLAIN, "sue@hub.test", "POST /api/users", "camp")
    assert (nowhere.returncode, "`manage-users` in the program" in nowhere.stdout) == (3, True)
    assert run(*EXPLAIN, "sue@hub.test", "GET /api/users").returncode == 3


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("nobody@hub.test", "GET /api/users"), 1, "There is no such account."),
        (("1", "GET /api/nowhere"), 1, 'There is no route "GET /api/nowhere".'),
        (("1", "GET /api/sync/pull"), 2, "name it as the third argument"),
        (("1", "GET /api/users/me", "camp"), 2, "leave the third argument out"),
    ],
)
def test_it_says_what_it_does_not_understand(run: Run, arguments: tuple[str, ...], code: int, problem: str) -> None:
    refused = run(*EXPLAIN, *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert problem in " ".join(refused.stderr.replace("│", " ").split())
