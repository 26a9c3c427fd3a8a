"""Nobody opens connections past the guarded client. What import-linter cannot see: parts of packages, and calls."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import datacollect.outgoing

SOURCE = Path(datacollect.outgoing.__file__).parents[1]
MODULES = {"httpcore2", "httpx2", "http.client", "urllib.request", "socket", "aiohttp", "ftplib", "smtplib", "requests"}
MODULES |= {"aiosmtplib"}
CALLS = {"create_connection", "open_connection", "create_unix_connection", "open_unix_connection", "urlopen"}
CALLS |= {"getaddrinfo", "gethostbyname", "sock_connect", "connect_tcp", "connect_ex"}
LISTENS = Path("cli/serve.py")
HANDS_ON = Path("cli/supervisor.py")
"""What listens, to the processes that serve."""
MAILS = Path("messaging/smtp.py")
"""To the operator's own mail server, which no request names."""


def _found(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [node.attr] if node.attr in CALLS else []
        else:
            continue
        yield from (name for name in names if name in CALLS | MODULES)


def test_only_the_guarded_client_opens_connections() -> None:
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        place = file.relative_to(SOURCE)
        if place.parts[0] not in ("outgoing", "testing"):
            found[place] = set(_found(ast.parse(file.read_text())))
    assert {place: names for place, names in found.items() if names} == {
        LISTENS: {"socket"},
        HANDS_ON: {"socket"},
        MAILS: {"aiosmtplib"},
    }


@pytest.mark.parametrize(
    "line",
    [
        "import httpx2",
        "import urllib.request",
        "from urllib import request",
        "from http import client",
        "from http.client import HTTPConnection",
        "from httpcore2 import ConnectionPool",
        "await asyncio.open_connection('a', 1)",
        "await loop.create_connection(make, 'a', 1)",
    ],
)
def test_a_way_past_it_would_be_found(line: str) -> None:
    assert list(_found(ast.parse(line)))
