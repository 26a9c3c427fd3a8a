"""Whom somebody is with, and how many are called so: what the hub knows beyond a record itself."""

import uuid
from random import Random
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import create_engine

from datacollect.db.metadata import metadata
from datacollect.features.duplicates.queries import _SHARING, _size_of
from datacollect.http.hub import Hub
from tests.factories import make_event, make_program, new_id, push
from tests.features.duplicates.test_routes import look, pairs_of

pytestmark = pytest.mark.anyio

ASHA = {"entityName": "individual", "givenName": "Asha", "familyName": "Noor", "birthDate": "1990-04-02"}


async def household(admin: AsyncClient, program: str, *names: str) -> None:
    """Asha, and with her people of these given names."""
    group, people = new_id("g"), [new_id("p") for _ in range(1 + len(names))]
    told = [ASHA, *({"entityName": "individual", "givenName": name, "familyName": "Noor"} for name in names)]
    members = {"members": [{"guid": guid} for guid in people]}
    answer = await push(
        admin,
        program,
        *(make_event(entity=guid, data=data) for guid, data in zip(people, told, strict=True)),
        make_event(type="create-group", entity=group, data={"name": "Noor", "entityName": "household"}),
        make_event(type="add-member", entity=group, data=members),
    )
    assert answer.status_code == 200, answer.text


async def relatives_of_asha(admin: AsyncClient, hub: Hub, *households: tuple[str, ...]) -> list[Any]:
    program = await make_program(admin)
    for names in households:
        await household(admin, program, *names)
    await look(admin, hub, program)
    [pair] = [
        each for each in await pairs_of(admin, program) if any(r["about"] == "birthDate" for r in each["reasons"])
    ]
    return [reason["found"] for reason in pair["reasons"] if reason["about"] == "relatives"]


async def test_relatives_are_known_by_the_names_that_their_form_asks_for(admin: AsyncClient, hub: Hub) -> None:
    assert await relatives_of_asha(admin, hub, ("Omar", "Sahra"), ("Sahra", "Omar")) == ["2 in common"]


async def test_people_whose_forms_have_no_field_called_name_are_not_all_called_the_same(
    admin: AsyncClient, hub: Hub
) -> None:
    assert await relatives_of_asha(admin, hub, ("Omar", "Sahra"), ("Idil", "Guled")) == ["0 in common"]


async def test_what_the_hub_calls_people_without_a_name_is_no_name_they_share(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    data = {"entityName": "individual", "birthDate": "1990-04-02", "village": "Dolow"}
    await push(admin, program, *(make_event(data=data | {"rooms": rooms}) for rooms in (1, 2)))
    await look(admin, hub, program)
    assert await pairs_of(admin, program) == []


async def test_a_name_that_the_whole_village_has_is_worth_less(admin: AsyncClient, hub: Hub) -> None:
    def told(name: str, year: int, rooms: int) -> dict[str, Any]:
        data = {"entityName": "individual", "name": name, "birthDate": f"{year}", "village": "Luuq", "rooms": rooms}
        return make_event(data=data)

    program = await make_program(admin)
    others = [told("Mohamed Hassan", year, 3) for year in range(1930, 1980, 4)]
    twice = [told(name, 2001, rooms) for name in ("Mohamed Hassan", "Gedi Igal") for rooms in (1, 2)]
    await push(admin, program, *others, *twice)
    await look(admin, hub, program)
    found = {pair["entity"]["name"]: pair for pair in await pairs_of(admin, program)}
    assert found["Gedi Igal"]["score"] > found["Mohamed Hassan"]["score"] + 2
    [name] = [each for each in found["Mohamed Hassan"]["reasons"] if each["about"] == "name"]
    assert name["found"] == "same words, as of others"


async def test_an_age_counts_from_when_it_was_told(admin: AsyncClient, hub: Hub) -> None:
    program, told = await make_program(admin), new_id("a")
    asha = {"entityName": "individual", "name": "Asha Noor", "village": "Dolow"}
    before = make_event(entity=told, data=asha | {"age": 30}, timestamp="2015-06-01T08:00:00.000Z")
    since = make_event("update-individual", entity=told, data={"phone": "0615551234"})
    await push(admin, program, before, since, make_event(data=asha | {"birthDate": "1985"}))
    await look(admin, hub, program)
    [pair] = await pairs_of(admin, program)
    [birth] = [reason for reason in pair["reasons"] if reason["about"] == "birthDate"]
    assert (birth["found"], birth["bits"]) == ("age agrees", 4)


def test_how_many_share_a_key_is_told_from_the_first_of_random_guids() -> None:
    dice = Random(1)
    for there in (200, 5_000, 100_000):
        guids = sorted(str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(there))
        assert 0.6 * there < _size_of(guids[:61]) < 1.6 * there
    assert _size_of([f"person-{number:04}" for number in range(61)]) == 61
    assert _size_of([*guids[:60], "zz"]) == 61


def test_a_key_that_many_have_is_read_no_further_than_it_says_something() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine, tables=[metadata.tables["match_keys"]])
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {_SHARING['sqlite']}", ("t", '["k"]', 61)).all()
    # In the order of the key, so that its limit ends it.
    assert "SEARCH k USING PRIMARY KEY (tenant_id=? AND key=?)" in [row[3] for row in plan]
    assert not [row[3] for row in plan if "B-TREE" in row[3]]
