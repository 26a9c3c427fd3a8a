import asyncio
import importlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from fastapi import FastAPI
from httpx2 import AsyncClient
from openapi_spec_validator import validate
from pydantic import BaseModel
from starlette.routing import Route

from datacollect import features
from datacollect.app import create_app
from datacollect.http.openapi_of_3_0 import in_words_of_3_0
from datacollect.http.pages import ApiDescription
from datacollect.settings import Settings
from tests.client import HubClient
from tests.description import Document, json_schema_of
from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio

_EITHER = [{}, {"BearerAuth": []}]
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


@pytest.fixture(scope="module")
async def hub(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    """One for all: to describe it takes half a second."""
    app = create_app(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("hub")))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def visitor(hub: FastAPI) -> AsyncIterator[AsyncClient]:
    async with HubClient(hub) as client:
        yield client


@pytest.fixture(scope="module")
def document(hub: FastAPI) -> dict[str, Any]:
    description: ApiDescription = hub.state.description
    parsed: dict[str, Any] = msgspec.json.decode(description.as_json)
    return parsed


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_document_is_valid_and_names_the_contract(document: dict[str, Any]) -> None:
    validate(document)
    assert document["info"]["title"] == "ID PASS DataCollect Backend API"
    assert document["info"]["version"] == "2.0.0"
    assert {"BearerAuth", "SelfServiceAuth"} <= set(document["components"]["securitySchemes"])
    assert all("security" in operation for operation in operations(document).values())


def test_every_operation_has_summary_description_tag_and_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = operations(document)
    tags = {tag["name"] for tag in document["tags"]}
    poor = [name for name, o in found.items() if not (o.get("summary") and o.get("description"))]
    assert poor == []
    assert [name for name, o in found.items() if not set(o.get("tags", ())) & tags] == []
    names = [o["operationId"] for o in found.values()]
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", name)] == []
    assert len(set(names)) == len(found)


def test_every_parameter_and_header_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        headers = [one for response in operation["responses"].values() for one in response.get("headers", {}).values()]
        assert all(one.get("description") for one in (*operation.get("parameters", ()), *headers)), name


def test_models_of_one_name_are_one_model(document: dict[str, Any]) -> None:
    """Of two models of one name generated clients get one, or none."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []
    modules = (importlib.import_module(f"datacollect.features.{one}") for one in _schema_modules())
    models = [
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
    ]
    assert len(models) > 200
    assert [name for name, times in Counter(models).items() if times > 1 and not name.startswith("_")] == []


def _schema_modules() -> list[str]:
    slices = Path(features.__file__).parent
    return [".".join(file.relative_to(slices).with_suffix("").parts) for file in slices.rglob("*schemas.py")]


def test_every_json_body_and_answer_has_an_example(document: dict[str, Any]) -> None:
    read = Document(document)
    without = [
        f"{name} {part}"
        for name, operation in operations(document).items()
        for part, media in _shown_json(operation)
        if not read.examples_of(json_schema_of(media))
    ]
    assert without == []


def _shown_json(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    parts = {"body": operation.get("requestBody", {})} | operation["responses"]
    for part, shown in parts.items():
        if part < "300" or part == "body":
            media = shown.get("content", {})
            if "application/json" in media:
                yield part, media


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    read = Document(document)
    found = list(read.schemas_with_examples())
    assert len(found) > 100
    wrong = {
        place: problems
        for place, schema in found
        for example in schema["examples"]
        if (problems := read.problems(schema, example))
    }
    assert wrong == {}


def test_tokens_look_as_they_do(document: dict[str, Any]) -> None:
    """Those of JWTs have three parts."""
    shown = [
        example[name]
        for _, schema in Document(document).schemas_with_examples()
        for example in schema["examples"]
        for name in ("token", "refreshToken", "idToken")
        if isinstance(example, dict) and name in example
    ]
    assert len(shown) > 8
    assert [one for one in shown if not re.fullmatch(r"eyJ[^.]+\.eyJ[^.]+\.[^.]+", one)] == []


def test_every_operation_tells_its_statuses(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        statuses = set(operation["responses"])
        assert "500" in statuses, name
        assert any(status.startswith("2") for status in statuses), name
        if operation["security"] not in ([], _EITHER):
            assert {"401", "403"} <= statuses, name
        if "requestBody" in operation:
            assert {"400", "408", "413", "415"} <= statuses, name
        if not name.startswith("GET /health"):
            assert {"429", "503"} <= statuses, name


def test_every_error_has_the_shared_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}, f"{name} {status}"


def test_api_routes_need_a_token_unless_listed_here(document: dict[str, Any]) -> None:
    public = {name for name, o in operations(document).items() if "/api/" in name and o["security"] in ([], _EITHER)}
    assert public == {
        "POST /api/users/login",
        "POST /api/users/login/provider",
        "GET /api/users/login/providers",
        "POST /api/users/refresh",
        "POST /api/users/logout",
        "POST /api/auth/otp/request",
        "POST /api/auth/otp/verify",
        "POST /api/auth/id/verify",
        "POST /api/auth/oidc/nonce",
        "POST /api/auth/oidc/exchange",
        "GET /api/apps/{id}/public",
        "GET /api/attachments/{guid}/file",  # signed
        "HEAD /api/attachments/{guid}/file",
    }


def test_routes_of_citizens_take_their_tokens_and_no_others_do(document: dict[str, Any]) -> None:
    citizens = {name for name, o in operations(document).items() if o.get("security") == [{"SelfServiceAuth": []}]}
    assert citizens == {name for name in operations(document) if " /api/auth/self-service/" in name}
    assert citizens


def test_routes_of_devices_take_tokens_of_the_program_s_providers_too(document: dict[str, Any]) -> None:
    both = {name for name, o in operations(document).items() if {"ProviderAuth": []} in o["security"]}
    assert {"GET /api/sync/pull", "POST /api/sync/push", "GET /api/conflicts"} <= both
    assert "GET /api/users/me" not in both


async def test_all_addresses_give_the_document(open_hub: OpenHub) -> None:
    answered = 0
    async with open_hub() as client:
        first = asyncio.ensure_future(client.get("/openapi.json"))
        while not first.done():
            assert (await client.get("/health")).status_code == 200
            answered += not first.done()
        one, two, text = [
            await first,
            *[await client.get(path) for path in ("/api-docs/openapi.json", "/openapi.yaml")],
        ]
    assert answered  # while it was made: that takes half a second, and nobody else waits for it
    assert one.headers["content-type"] == "application/json"
    assert (two.json()["openapi"], two.json()["info"]["version"]) == ("3.0.3", one.json()["info"]["version"])
    assert two.json()["paths"].keys() == one.json()["paths"].keys()
    assert yaml.load(text.content, yaml.CSafeLoader) == one.json()


def test_what_only_a_newer_version_of_openapi_knows_is_written_as_older_tools_read_it() -> None:
    def rewritten(schema: dict[str, Any]) -> Any:
        document = {"openapi": "3.1.0", "info": {"license": {"name": "A", "identifier": "B"}}, "schema": schema}
        told = in_words_of_3_0(document)
        assert (told["openapi"], told["info"]) == ("3.0.3", {"license": {"name": "A"}})
        return told["schema"]

    null = {"type": "null"}
    assert rewritten({"anyOf": [{"type": "string"}, null], "title": "T"}) == {
        "type": "string", "title": "T", "nullable": True
    }  # fmt: skip
    assert rewritten({"anyOf": [{"$ref": "#/x"}, null]}) == {"allOf": [{"$ref": "#/x"}], "nullable": True}
    assert rewritten({"anyOf": [{"type": "string"}, {"type": "integer"}, null]}) == {
        "anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True
    }  # fmt: skip
    assert rewritten({"anyOf": [{"const": "a"}, null]}) == {"enum": ["a", None], "nullable": True}
    assert rewritten({"type": ["string", "integer"]}) == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert rewritten({"exclusiveMinimum": 0}) == {"minimum": 0, "exclusiveMinimum": True}
    named = {"properties": {"const": {"const": 1}}, "examples": [{"const": 1}, {}]}
    assert rewritten(named) == {"properties": {"const": {"enum": [1]}}, "example": {"const": 1}}


def test_nothing_of_the_newer_version_is_left(document: dict[str, Any]) -> None:
    left: list[Any] = [in_words_of_3_0(document)]
    for node in left:
        if isinstance(node, dict):
            assert not {"const", "$defs", "prefixItems", "contentMediaType"} & node.keys()
            assert isinstance(node.get("type", ""), str | dict) and node.get("type") != "null"
            left += [value for key, value in node.items() if key not in ("example", "examples", "default")]
        elif isinstance(node, list):
            left += node


async def test_a_caller_who_has_the_document_need_not_fetch_it(visitor: AsyncClient) -> None:
    first = await visitor.get("/openapi.json")
    again = await visitor.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/api-docs", "/openapi.json", "/api-docs/openapi.json"])
async def test_monitors_may_ask_for_the_head_of_a_page(visitor: AsyncClient, path: str) -> None:
    answer = await visitor.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_the_hub_redirects_to_one_page_of_its_own_and_nowhere_else(hub: FastAPI, visitor: AsyncClient) -> None:
    redirects = {}
    for path in {route.path for route in hub.routes if isinstance(route, Route)}:
        answer = await visitor.get(re.sub(r"\{\w+(:\w+)?\}", "none", path))
        if "location" in answer.headers:
            redirects[path] = (answer.status_code, answer.headers["location"])
    assert redirects == {"/api-docs/": (307, "../api-docs")}


async def links_of(client: AsyncClient, page: str) -> list[str]:
    answer = await client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return re.findall(r'(?:href|src)="([^"]+)"', answer.text)


@pytest.mark.parametrize("page", ["/", "/api-docs"])
async def test_pages_link_only_to_what_the_hub_serves_itself(visitor: AsyncClient, page: str) -> None:
    links = await links_of(visitor, page)
    assert links
    for link in links:
        assert "//" not in link
        assert (await visitor.get(f"/{link}")).status_code == 200, link


async def test_the_api_page_obeys_the_security_policy(visitor: AsyncClient) -> None:
    answer = await visitor.get("/api-docs")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "upgrade-insecure-requests" not in answer.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", answer.text) == []
    assert re.findall(r"\son[a-z]+=", answer.text) == []
