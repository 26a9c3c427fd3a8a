"""An installation for commands: a migrated database of one engine, and a hub to ask over HTTP."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.e2e.conftest import Run


def told(run: Run, *arguments: str, stdin: str = "") -> Any:
    """What a command prints as JSON when it succeeds."""
    ended = run(*arguments, "--json", stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def refused(run: Run, *arguments: str, stdin: str = "") -> Any:
    """What a command prints as JSON when it is refused."""
    ended = run(*arguments, "--json", stdin=stdin)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stdout
    return json.loads(ended.stderr)


@dataclass
class Caller:
    """Somebody who speaks HTTP to a running hub."""

    url: str
    token: str = ""

    def send(self, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "X-Device-Id": "t"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def sign_in(self, email: str, password: str) -> int:
        status, answer = self.send("/api/users/login", {"email": email, "password": password})
        self.token = answer.get("token", "")
        return status
