"""Every documented operation, called with what its own description generates, answers as it documents and never 5xx.

As an administrator and as an ordinary enumerator, on a program with data whose ids the requests name (`fuzz_hooks.py`).
A short run, with one of the two on each engine; `SCHEMATHESIS_EXAMPLES=200` makes it a long one of both, with more than
20,000 requests per engine.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.accounts import PASSWORD, bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Serve
from tests.factories import make_config, make_event, new_id

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
IN_THE_SHORT_RUN = {"sqlite": "administrator", "postgres": "enumerator"}
# The hooks sign in, again and again: a long run takes longer than a token is good for.
SETTINGS = "auth.auto-signup = false\n"
# The body is that of `POST /api/apps`, which a thousand requests go through systematically.
IN_THE_SHORT_RUN_ONCE = """
[[operations]]
include-name = "PUT /api/apps/{id}"
phases.coverage.enabled = false
generation.max-examples = 20
"""
PATIENCE_SECONDS = 3 * 60 * 60 if EXAMPLES else 600
SECRET = "nothing-of-this-program-is-for-the-enumerator"

PATHS = (
    ("/api/apps/", "programs"),
    ("/api/users/me/sessions/", "sessions"),
    ("/api/users/", "accounts"),
    ("/api/entities/{guid}/members", "groups"),
    ("/api/entities/", "entities"),
    ("/api/conflicts/", "conflicts"),
    ("/api/sync/quarantine/", "quarantined"),
    ("/api/sync/external/", "runs"),
    ("/api/admin/devices/", "devices"),
    ("/artifacts/", "artifacts"),
    ("/api/attachments/entity/", "entities"),
    ("/api/attachments/", "attachments"),
    ("", "entities"),
)
"""Which of the seeds belong into paths that begin so."""

WITH_CREDENTIALS = {f"POST /api/users/{name}" for name in ("login", "login/provider", "refresh", "logout")}
"""What may answer 401 to somebody who is signed in: operations that take credentials in the body."""


@dataclass
class Seeded:
    """What a hub holds for requests to find."""

    seeds: dict[str, Any]
    callers: dict[str, dict[str, str]]
    """What each signs in with."""


class Seeder:
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def seed(self) -> Seeded:
        admin = self._login(ADMIN_EMAIL, ADMIN_PASSWORD)
        self._client.headers.update(bearer(admin["token"]))
        program, spares = self._program(), [self._program() for _ in range(4)]
        self._fill(program, "Ana")
        foreign = self._program(SECRET)
        self._fill(foreign, SECRET)
        accounts = [self._account(program) for _ in range(12)]
        enumerator_id, enumerator = self._account(program, "enumerator")
        refresh_tokens = [self._login(email, PASSWORD)["refreshToken"] for _, email in accounts[:6]]
        callers = {
            "enumerator": {"email": enumerator, "password": PASSWORD},
            "administrator": {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD},
        }
        conflicts = self._get("/api/conflicts", program)["conflicts"]
        seeds = {
            "paths": PATHS,
            "secret": SECRET,
            "program": program,
            "programs": [*[program] * 8, *spares],
            "spare programs": spares,
            "callers": [admin["userId"], int(enumerator_id)],
            "accounts": [key for key, _ in accounts],
            "entities": [one["guid"] for one in self._get("/api/entities", program)],
            "conflicts": [one["guid"] for one in conflicts],
            "quarantined": [one["id"] for one in self._get("/api/sync/quarantine", program)["quarantined"]],
            "runs": [self._run(one) for one in (program, *spares)],
            "devices": ["tablet-1", "tablet-2"],
            "artifacts": [self._get(f"/api/apps/{one}", program)["artifactId"] for one in (program, *spares)],
            "attachments": [self._attach(program) for _ in range(30)],
            "groups": [one["guid"] for one in self._get("/api/entities", program) if one["type"] == "group"],
            "refresh tokens": refresh_tokens,
            "sessions": [session for one in callers.values() for session in self._sessions_of(**one)],
            "logins": [{"email": email, "password": PASSWORD} for _, email in accounts[6:]],
        }
        assert all(seeds.values())
        return Seeded(seeds, callers)

    def _fill(self, program: str, name: str) -> None:
        """Entities, a group with members, conflicts, and events that cannot be applied."""
        data = {"entityName": "individual", "name": name, "area_id": "north"}
        people = [make_event(data=data) for _ in range(20)]
        group = make_event("create-group", data={"entityName": "household", "name": name})
        members = [{"guid": new_id("m"), "name": name}]
        joined = make_event("add-member", entity=group["entityGuid"], data={"members": members})
        orphans = [make_event("add-member", entity=new_id("g"), data={"members": members}) for _ in range(20)]
        self._push(program, *people, group, joined, *orphans)
        # The groups of some follow, so that these can be replayed.
        self._push(program, *(make_event("create-group", entity=one["entityGuid"]) for one in orphans[::2]))
        late, early = "2025-03-01T00:00:00.000Z", "2025-02-01T00:00:00.000Z"
        for timestamp, value in ((late, f"{name}, late"), (early, f"{name}, early")):
            edits = [
                make_event("update-individual", entity=one["entityGuid"], data={"village": value}, timestamp=timestamp)
                for one in people
            ]
            self._push(program, *edits)

    def _push(self, program: str, *events: dict[str, Any]) -> None:
        answer = self._client.post(
            "/api/sync/push",
            json={"configId": program, "events": events, "atomic": False},
            headers={"X-Device-Id": "tablet-1"},
        )
        assert answer.status_code in (200, 207), answer.text

    def _attach(self, program: str) -> str:
        answer = self._client.post(
            "/api/attachments/upload",
            data={"configId": program, "entityGuid": self._get("/api/entities", program)[0]["guid"]},
            files={"file": ("note.txt", b"hello", "text/plain")},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["attachment"]["guid"])

    def _program(self, name: str = "Program") -> str:
        config = make_config(name=name, formValidation="warn", auditReads=True)
        answer = self._client.post("/api/apps", json=config)
        assert answer.status_code == 200, answer.text
        return str(config["id"])

    def _run(self, program: str) -> str:
        """Of an exchange; it ends at once, as there is nobody to exchange with."""
        answer = self._client.post("/api/sync/external", json={"configId": program})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    def _account(self, program: str, role: str = "viewer") -> tuple[str, str]:
        account = {"email": f"{new_id('u')}@hub.test", "password": PASSWORD, "role": "USER"}
        answer = self._client.post(
            "/api/users", json=account | {"roleAssignments": [{"tenantId": program, "role": role}]}
        )
        assert answer.status_code == 201, answer.text
        # The number that it has got is in what it is told on signing in.
        return str(self._login(account["email"], PASSWORD)["userId"]), account["email"]

    def _sessions_of(self, email: str, password: str) -> list[str]:
        for _ in range(3):
            token = self._login(email, password)["token"]
        listed = self._client.get("/api/users/me/sessions", headers=bearer(token)).json()
        # The administrator who makes all this is at work too.
        return [one["id"] for one in listed[:3]]

    def _login(self, email: str, password: str) -> Any:
        answer = self._client.post("/api/users/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _get(self, path: str, program: str) -> Any:
        answer = self._client.get(path, params={"configId": program})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.mark.long
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_generated_requests_get_documented_answers(
    serve: Serve,
    request: pytest.FixtureRequest,
    engine: str,
    tmp_path: Path,
    measured: Callable[[str, object], None],
) -> None:
    more = {} if engine == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with serve(LOGIN_RATE_LIMIT="1000000", **more) as hub, httpx2.Client(base_url=hub.url, timeout=30) as client:
        seeded = Seeder(client).seed()
        (tmp_path / "seeds.json").write_text(json.dumps(seeded.seeds))
        documented = operations_of(client)
        for who, credentials in seeded.callers.items():
            if not EXAMPLES and who != IN_THE_SHORT_RUN[engine]:
                continue
            # What the description allows is the same on both engines and for everybody; once is enough in the short run.
            is_systematic = bool(EXAMPLES) or engine == "sqlite"
            answers = fuzz(hub.url, who, credentials, tmp_path, is_systematic=is_systematic)
            good = sum(count for (_, status), count in answers.items() if status < 300)
            reached = {operation for operation, status in answers if status < 300}
            never = sorted(documented - {operation for operation, _ in answers})
            measured(
                who,
                f"{answers.total():,} requests, {good:,} got a 2xx, from {len(reached)} of {len(documented)} operations",
            )
            assert len(never) <= 1, f"never called: {never}"
            # It has been at work to the end: nothing it did has put it out.
            assert client.post("/api/users/login", json=credentials).status_code == 200
            strange = {operation: count for (operation, status), count in answers.items() if status == 401}
            assert strange.keys() <= WITH_CREDENTIALS, strange


def operations_of(client: httpx2.Client) -> set[str]:
    paths = client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def fuzz(
    url: str, who: str, credentials: dict[str, str], folder: Path, *, is_systematic: bool
) -> Counter[tuple[str, int]]:
    """How often each operation answered each status. Fails if an answer is not as documented, or leaks."""
    notes = folder / f"{who}.txt"
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--workers", "1"]
    command += ["--checks", CHECKS, "--continue-on-failure"]
    command += ["--phases", "coverage,fuzzing" if is_systematic else "fuzzing"]
    command += ["--max-examples", EXAMPLES or "3", "--suppress-health-check", "all"]
    (folder / "schemathesis.toml").write_text(SETTINGS if EXAMPLES else SETTINGS + IN_THE_SHORT_RUN_ONCE)
    told = {"FUZZ_URL": url, "FUZZ_LOGIN": json.dumps(credentials)}
    paths = {"FUZZ_SEEDS": str(folder / "seeds.json"), "FUZZ_NOTES": str(notes)}
    hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | told | paths | hooks,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    lines = notes.read_text().splitlines()
    leaks = [line for line in lines if " LEAK " in line]
    assert who == "administrator" or not leaks, leaks[:5]
    answers: Counter[tuple[str, int]] = Counter()
    for line in lines:
        method, path, status = line.split(" ")[:3]
        answers[f"{method} {path}", int(status)] += 1
    return answers
