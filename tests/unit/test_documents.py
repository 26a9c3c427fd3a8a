"""What the documents name is there: pages and headings, commands and options, routes, settings and codes, files and tests."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from datacollect.app import create_app
from datacollect.cli.commands import command_line
from datacollect.http.policy import operations_of
from datacollect.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(file for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for file in ROOT.glob(pattern))
FENCED = re.compile(r"^([ \t]*)```(?P<text>.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"\b_?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
OF_OTHERS = {
    "SSL_CERT_FILE": "OpenSSL's",
    "POSTGRES_USER": "of PostgreSQL's images",
    "PROGRAM_ID": "an argument's place, made of its name",
    "SERVER_RESTART": "a code of the reference that the hub does not have",
    "PATH": "the shell's",
    "PGOPTIONS": "PostgreSQL's programs'",
    "SQL_ASCII": "PostgreSQL's",
}
"""Names of the documents that the code does not know, and whose they are."""


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def code(page: Path) -> Iterator[str]:
    """What is set as code, a line at a time."""
    yield from SPAN.findall(prose(page))
    for block in FENCED.finditer(page.read_text()):
        yield from block["text"].replace("\\\n", " ").splitlines()[1:]


@cache
def source() -> str:
    files = [file for part in ("src", "tests", "bench") for file in (ROOT / part).rglob("*.py")]
    return "\n".join(file.read_text() for file in files if file != Path(__file__))


# -- links


@cache
def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    slugs = set()
    for heading in re.findall(r"^#{1,6} +(.+?)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        slugs.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return slugs


def test_every_link_leads_to_a_file_and_to_a_heading_in_it() -> None:
    lost = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", SPAN.sub("", prose(page))):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                lost.append(f"{page.name}: {link}")
    assert lost == []


# -- commands


def calls_in(line: str) -> Iterator[list[str]]:
    """The words behind each `datacollect` that is called on the line."""
    for call in re.findall(r"(?:^|[\s(`/])datacollect ([a-z][^|;&)>#`]*)", line):
        try:
            yield shlex.split(call)
        except ValueError:  # a quotation that ends elsewhere
            yield call.split()


@cache
def commands() -> Any:
    return typer.main.get_command(command_line())


def mistake_in(words: list[str]) -> str | None:
    command: Any = commands()
    for word in words:
        if hasattr(command, "commands") and word != "…":
            if word not in command.commands:
                return f"no command {word}"
            command = command.commands[word]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {unknown}" if unknown else None


def test_every_command_and_each_of_its_options_is_there() -> None:
    called = [(page, words) for page in PAGES for line in code(page) for words in calls_in(line)]
    assert len(called) > 100
    assert [f"{page.name}: {words}: {mistake_in(words)}" for page, words in called if mistake_in(words)] == []


# -- routes


@cache
def routes() -> list[tuple[str, re.Pattern[str]]]:
    # Without settings: nothing is opened to look at the routes.
    operations = operations_of(create_app(Settings(_env_file=None)))
    return [
        (one.method, re.compile(re.sub(r"\{\w+\}", r"[^/]+", re.sub(r"\.", r"\\.", one.path)))) for one in operations
    ]


def is_served(method: str | None, path: str) -> bool:
    return any(method in (None, by) and pattern.fullmatch(path) for by, pattern in routes())


def test_every_route_is_served() -> None:
    named = r"\b(GET|POST|PUT|PATCH|DELETE) (/(?:api|health|artifacts|openapi)[^\s?\"'`,…]*)"
    called = r"(?:localhost:3000|https://hub\.example(?:\.org)?)(/api/[^\s?\"'`]*)"
    found: list[tuple[Path, str | None, str]] = []
    for page in PAGES:
        for line in code(page):
            found += [(page, method, path) for method, path in re.findall(named, line)]
            found += [(page, None, path) for path in re.findall(called, line)]
    assert len(found) > 200
    assert [f"{page.name}: {method} {path}" for page, method, path in found if not is_served(method, path)] == []


# -- names


def test_every_setting_and_every_code_is_one_of_the_hubs() -> None:
    known = set(NAME.findall(source())) | OF_OTHERS.keys()
    named = {(page.name, name) for page in PAGES for span in SPAN.findall(prose(page)) for name in NAME.findall(span)}
    assert sorted(one for one in named if one[1] not in known and f"_{one[1]}" not in known) == []


def test_what_is_set_in_the_shell_is_a_setting_or_used_there() -> None:
    known = {field.alias for field in Settings.model_fields.values()} | {"MOCK_REGISTRY_SECRET"} | OF_OTHERS.keys()
    strange = []
    for page in [ROOT / "README.md", *(ROOT / "docs/how-to").glob("*.md")]:
        text = page.read_text()
        for block in FENCED.finditer(text):
            for name in re.findall(r"^(?:# or |# )?([A-Z][A-Z0-9_]+)=", block["text"], re.MULTILINE):
                if name not in known and not re.search(rf"\$\{{?{name}\b", text):
                    strange.append(f"{page.name}: {name}")
    assert strange == []


def test_every_file_and_every_test_is_there() -> None:
    tests = set(re.findall(r"def (test_\w+)", source())) | {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    roots = [ROOT, ROOT / "src/datacollect", ROOT / "src/datacollect/features"]
    lost = []
    for page in PAGES:
        text = page.read_text()
        lost += [f"{page.name}: {name}" for name in re.findall(r"\btest_\w+", text) if name not in tests]
        for path in re.findall(r"`([\w./-]+/[\w./-]*\.py)\b", text):
            if not any((root / path).exists() for root in roots):
                lost.append(f"{page.name}: {path}")
    assert lost == []
