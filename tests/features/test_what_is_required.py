"""What the API description leaves to the caller may be left out."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.description import Document, json_schema_of
from tests.features.conftest import Alone

pytestmark = pytest.mark.anyio

ONE_OF_SEVERAL = {
    "admitUser": "programs, in either of two members",
    "exchangeIdToken": "a code, or a token",
    "resolveConflict": "`mergedData`, for what is merged",
    "submitForm": "the program, in the query or in the body",
}
"""What cannot be said of one member or parameter alone; their descriptions do."""


async def test_nothing_is_missing_from_a_request_that_has_all_that_is_required(alone: Alone) -> None:
    admin = await alone.admin()
    document = Document((await admin.get("/openapi.json")).json())
    missed = []
    for method, path, operation in document.operations():
        name, asked = operation["operationId"], operation.get("parameters", [])
        if name == "logout":
            continue
        address = path.format(**{one["name"]: "none" for one in asked if one["in"] == "path"})
        query = {one["name"]: "default" for one in asked if one["in"] == "query" and one["required"]}
        for body in _bodies(document, operation):
            answer = await admin.request(method, address, params=query, json=body)
            assert answer.status_code != 401 or name == "loginByProvider", name
            if answer.status_code == 400 and _is_for_what_is_missing(answer.json()):
                missed.append(name)
    assert {*missed} == ONE_OF_SEVERAL.keys()


def _bodies(document: Document, operation: dict[str, Any]) -> Iterator[Any]:
    """Each example, without what may be left out."""
    schema = json_schema_of(operation.get("requestBody", {}).get("content", {}))
    if not schema:
        yield None
        return
    required = document.whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]].get("required", ())
    for example in document.examples_of(schema):
        yield {member: example[member] for member in required}


def _is_for_what_is_missing(refused: dict[str, Any]) -> bool:
    issues = [issue["code"] for issue in refused.get("details", ())]
    return not {"REQUIRED", "MISSING"}.isdisjoint(refused["code"].split("_")) or "missing" in issues
