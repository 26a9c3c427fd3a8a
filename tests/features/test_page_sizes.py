"""Every list has an end, and no number in an address is too strange to be answered."""

import itertools
import re
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.http.pages import ApiDescription
from tests.factories import make_event, make_program, push

pytestmark = pytest.mark.anyio

OUT_OF_RANGE = ["-1", "0", "9" * 10, "9" * 19, "9" * 400]
STRANGE = ["1e9", "0x10", "+5", " 5", "5_0", "１２", "NaN", "9" * 5000, "1.5", *OUT_OF_RANGE]
MOST_EVENTS = 10_000
IN_WORDS = re.compile(r"at most\s+[\d,]+|more\s+than\s+[\d,]+")


def reading(app: FastAPI) -> dict[str, dict[str, Any]]:
    # The hub's own, which it makes once: that takes half a second.
    description: ApiDescription = app.state.description
    paths: dict[str, dict[str, Any]] = msgspec.json.decode(description.as_json)["paths"]
    return {path: item["get"] for path, item in paths.items() if "get" in item}


async def test_no_number_in_a_query_is_too_strange_to_be_answered(app: FastAPI, hub: Hub, admin: AsyncClient) -> None:
    """How it is spelt is looked at before a database is asked: PostgreSQL is asked for what may be too large for it."""
    program = await make_program(admin)
    numbers = STRANGE if hub.db.dialect == "sqlite" else OUT_OF_RANGE
    asked = 0
    for path, operation in reading(app).items():
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query" and p["name"] != "configId"]
        for name, value in itertools.product(names, numbers):
            address = path.replace("{id}", program).replace("{guid}", "g")
            answer = await admin.get(address, params={"configId": program, name: value})
            assert answer.status_code < 500, (path, name, value[:30], answer.text)
            asked += 1
    assert asked > 100


async def test_no_number_in_a_path_is_too_strange_to_be_answered(app: FastAPI, admin: AsyncClient) -> None:
    program = await make_program(admin)
    for path, operation in reading(app).items():
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
        for value in STRANGE:
            address = path
            for name in names:
                address = address.replace(f"{{{name}}}", value)
            if names:
                answer = await admin.get(address, params={"configId": program})
                assert answer.status_code < 500, (path, value[:30], answer.text)


def test_every_list_says_how_long_it_may_be(app: FastAPI) -> None:
    """By a parameter for the size of its pages, or in words."""
    endless = []
    for path, operation in reading(app).items():
        content = operation["responses"]["200"].get("content", {}).get("application/json", {})
        if content.get("schema", {}).get("type") != "array":
            continue
        sizes = {parameter["name"] for parameter in operation.get("parameters", ())} & {"limit", "pageSize"}
        if not sizes and not IN_WORDS.search(operation["description"]):
            endless.append(path)
    assert endless == []


async def test_of_an_entity_with_very_many_events_the_latest_are_listed(admin: AsyncClient) -> None:
    program = await make_program(admin)
    created = make_event(entity="e")
    updates = [make_event("update-individual", entity="e", data={"n": n}) for n in range(MOST_EVENTS)]
    for start in range(0, MOST_EVENTS + 1, 2500):
        assert (await push(admin, program, *[created, *updates][start : start + 2500])).status_code == 200
    listed = (await admin.get("/api/entities/e/events", params={"configId": program})).json()
    assert [event["guid"] for event in listed] == [event["guid"] for event in updates]
