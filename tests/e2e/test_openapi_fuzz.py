"""Every documented operation, called with what its own description generates, answers as it documents and never 5xx.

A short run; `SCHEMATHESIS_EXAMPLES` makes it longer.
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import Serve

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SECONDS = 300


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_generated_requests_get_documented_answers(
    serve: Serve, environment: dict[str, str], request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> None:
    more = {} if engine == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with serve(**more) as hub:
        login = json.dumps({"email": environment["ADMIN_EMAIL"], "password": environment["ADMIN_PASSWORD"]}).encode()
        with urllib.request.urlopen(f"{hub.url}/api/users/login", data=login, timeout=10) as answer:
            token = json.load(answer)["token"]
        command = [Path(sys.executable).with_name("schemathesis"), "run", f"{hub.url}/openapi.json"]
        command += ["--header", f"Authorization: Bearer {token}", "--checks", CHECKS, "--phases", "coverage,fuzzing"]
        command += ["--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "10"), "--suppress-health-check", "all"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-8000:]
    assert "Test cases:" in done.stdout
