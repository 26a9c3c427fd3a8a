"""Every code the hub answers belongs to an error class or to the list of issue codes, and so is in the catalogue."""

import ast
from collections.abc import Iterator
from pathlib import Path

import datacollect.app  # imports every slice, and so every error
from datacollect.adapters.codes import FAILURE_CODES
from datacollect.kernel.errors import DataCollectError, IssueCode

SOURCE = Path(datacollect.app.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text()


def _kinds(base: type[DataCollectError] = DataCollectError) -> Iterator[type[DataCollectError]]:
    if base.__module__.startswith("datacollect."):
        yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _code_literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Texts given as a code to a call, in an answer's dictionary, or to a function that makes an issue."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg in ("code", "error_code")]
            if isinstance(node.func, ast.Name) and node.func.id in ("PydanticCustomError", "_issue", "_seed_issue"):
                given += node.args[:1]
        elif isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            given = [value for key, value in zip(keys, node.values, strict=True) if key == "code"]
        else:
            continue
        yield from (found for found in given if isinstance(found, ast.Constant) and isinstance(found.value, str))


def test_no_code_is_given_where_an_error_is_made() -> None:
    known = {kind.code for kind in _kinds()} | {issue.value for issue in IssueCode}
    for file in sorted(SOURCE.rglob("*.py")):
        if file.is_relative_to(SOURCE / "testing"):
            continue  # what other systems say
        for literal in _code_literals(ast.parse(file.read_text())):
            if file.is_relative_to(SOURCE / "adapters") and literal.value in FAILURE_CODES:
                continue  # told with records and runs: docs/reference/adapters.md has them
            if "-" in literal.value or file.is_relative_to(SOURCE / "testing"):
                continue  # codes of other systems, in examples and fakes
            # The API description shows some in examples.
            assert file.name in ("openapi.py", "schemas.py") and literal.value in known, (
                file,
                literal.lineno,
                literal.value,
            )


def test_a_code_that_is_given_in_place_would_be_found() -> None:
    for line in ('Refused(code="A_B")', '{"code": "A_B"}', 'PydanticCustomError("a_b", "text")', 'Issue(code="a_b")'):
        assert len(list(_code_literals(ast.parse(line)))) == 1


def test_a_code_has_one_status() -> None:
    statuses: dict[str, set[int]] = {}
    for kind in _kinds():
        statuses.setdefault(kind.code, set()).add(kind.status)
    # The contract names what a read and an event say of an entity that is not there with one code.
    assert {code: found for code, found in statuses.items() if len(found) > 1} == {"ENTITY_NOT_FOUND": {404, 422}}


def test_every_code_is_in_the_catalogue_with_what_to_do() -> None:
    for kind in _kinds():
        if "code" in vars(kind):
            assert vars(kind).get("help"), kind
            assert kind.code == "STARTUP_FAILED" or f"| {kind.status} | `{kind.code}` |" in PAGE
    for issue in IssueCode:
        assert issue.help
        assert f"| `{issue}` | {issue.help} |" in PAGE


def test_an_issue_code_that_is_not_listed_is_told_as_an_invalid_value() -> None:
    assert IssueCode("some_type_of_a_later_release") is IssueCode.INVALID_VALUE
    assert IssueCode("missing") is IssueCode.MISSING
