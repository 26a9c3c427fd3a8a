"""Groups, people and records live at random, and a device that is limited to one area holds what the hub holds there.

The device folds what it pulls as the sync protocol says; nothing else tells it who is in which group, or who is gone.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.factories import make_event, make_program, push
from tests.features.sync.test_limited_scopes import Agents

pytestmark = pytest.mark.anyio

GROUPS, PEOPLE, RECORDS = ("g", "h", "k"), ("p", "q", "r"), ("note", "visit")
HERE, AREAS = "A1", ("A1", "A1", "A2")
SEEDS = (0, 10, 36, 40, 57, 75, 109)
"""All but the first have found members that a group came back without, or who came back without their group."""
_DEEDS = ("group", "person", "add", "new", "remove", "end of group", "end of person", "nest", "record")
_OFTEN = (2, 2, 2, 1, 1, 2, 1, 1, 3)


class Device:
    """What a device holds that takes a history one event after the other."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.members: dict[str, set[str]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        guid, data = event["entityGuid"], event["data"]
        match event["type"]:
            case "delete-entity":
                self._drop(guid)
            case "add-member":
                self._add_members(guid, data, but=self.data.keys())
            case "remove-member":
                self.members.get(guid, set()).discard(data["memberId"])
            case type_ if event["userId"] == "system" and type_.startswith("create-"):
                self.data[guid] = _own(data)
                self.members.setdefault(guid, set()).update(member["guid"] for member in data.get("members", ()))
            case _:
                was_there = guid in set(_there(self.data))
                self.data.setdefault(guid, {}).update(_own(data))
                self._add_members(guid, data)
                if was_there and guid not in set(_there(self.data)):
                    self._drop(guid)
        for other in [guid for guid, held in self.data.items() if held.get("area_id", HERE) != HERE]:
            self._drop(other)

    def _add_members(self, group: str, data: Mapping[str, Any], *, but: Any = ()) -> None:
        for member in data.get("members", ()):
            guid, own = member["guid"], _own(member)
            self.members.setdefault(group, set()).add(guid)
            if own and guid not in but:
                self.data.setdefault(guid, {}).update(own)
            self._add_members(guid, member)

    def _drop(self, guid: str) -> None:
        self.data.pop(guid, None)
        self.members.pop(guid, None)
        for below in [one for one, held in self.data.items() if held.get("parentId") == guid]:
            self._drop(below)


def _own(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name in ("area_id", "parentId", "number")}


def _deed(chance: Random) -> dict[str, Any]:
    [deed] = chance.choices(_DEEDS, _OFTEN)
    group, person = chance.choice(GROUPS), chance.choice(PEOPLE)
    number = {"number": chance.randrange(1000)}
    area = {"area_id": chance.choice(AREAS)}
    placed = number | (area if chance.random() < 0.7 else {})
    match deed:
        case "group":
            return make_event("update-group", entity=group, data=placed)
        case "person":
            return make_event("update-individual", entity=person, data=placed)
        case "add":
            return make_event("add-member", entity=group, data={"members": [{"guid": chance.choice(PEOPLE + GROUPS)}]})
        case "new":
            member = {"guid": f"new-{chance.randrange(10**6)}", **number, **area}
            return make_event("add-member", entity=group, data={"members": [member]})
        case "remove":
            return make_event("remove-member", entity=group, data={"memberId": chance.choice(PEOPLE + GROUPS)})
        case "end of group" | "end of person":
            return make_event("delete-entity", entity=group if deed == "end of group" else person, data={"why": "left"})
        case "nest":
            member = {"guid": chance.choice(GROUPS), "type": "group", **number, **area}
            return make_event("update-group", entity=group, data=number | {"members": [member]})
        case _:
            parent = {"parentId": chance.choice(PEOPLE + GROUPS)} if chance.random() < 0.8 else {}
            return make_event("update-record", entity=chance.choice(RECORDS), data=number | parent)


def _there(held: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Of the area: who says so, and records whose parent does."""
    for guid, data in held.items():
        placed = held.get(data.get("parentId", ""), {}) if guid in RECORDS else data
        if placed.get("area_id") == HERE:
            yield guid


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_device_of_an_area_holds_what_the_hub_holds_there(
    admin: AsyncClient, client: AsyncClient, seed: int
) -> None:
    chance = Random(seed)
    agents, program = Agents(admin, client), await make_program(admin)
    agent = await agents.of(program, areaIds=[HERE])
    steps = chance.randrange(8, 22)
    first_pull = chance.choice((0, 0, steps // 2))
    first = [make_event("create-group", entity=guid, data={"area_id": chance.choice(AREAS)}) for guid in GROUPS]
    first += [make_event(entity=guid, data={"area_id": chance.choice(AREAS)}) for guid in PEOPLE]
    await push(admin, program, *first)
    for step in range(steps):
        if step == first_pull:
            await agents.pull_all(program, agent)
        deeds = [_deed(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
        assert (await push(admin, program, *deeds, atomic=False)).status_code in (200, 207)

    device = Device()
    for event in await agents.pull_all(program, agent, limit=1000):
        device.take(event)
    await _assert_holds_what_is_here(admin, program, device)


@pytest.mark.parametrize("seed", SEEDS)
async def test_so_does_one_that_may_have_everything_and_asks_for_the_area(
    admin: AsyncClient, client: AsyncClient, seed: int
) -> None:
    chance = Random(seed)
    agents, program, device = Agents(admin, client), await make_program(admin), Device()
    headers, since = {"Authorization": admin.headers["Authorization"]}, ""
    first = [make_event("create-group", entity=guid, data={"area_id": chance.choice(AREAS)}) for guid in GROUPS]
    first += [make_event(entity=guid, data={"area_id": chance.choice(AREAS)}) for guid in PEOPLE]
    await push(admin, program, *first)
    for _ in range(chance.randrange(8, 22)):
        if chance.random() < 0.5:
            for event in await agents.pull_all(program, headers, since, areaIds=HERE, limit=1000):
                device.take(event)
                since = f"{event['timestamp']}|{event['guid']}"
        deeds = [_deed(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
        assert (await push(admin, program, *deeds, atomic=False)).status_code in (200, 207)
    for event in await agents.pull_all(program, headers, since, areaIds=HERE, limit=1000):
        device.take(event)
    await _assert_holds_what_is_here(admin, program, device)


async def _assert_holds_what_is_here(admin: AsyncClient, program: str, device: Device) -> None:
    everybody = (await admin.get("/api/entities", params={"configId": program, "limit": "1000"})).json()
    on_hub = {one["guid"]: one["data"] for one in everybody}
    members = {one["guid"]: set(one.get("memberIds", ())) for one in everybody}
    here = set(_there(on_hub))
    assert set(_there(device.data)) == here
    assert {guid: device.data[guid] for guid in here} == {guid: _own(on_hub[guid]) for guid in here}
    in_groups = {guid: device.members.get(guid, set()) & here for guid in here.intersection(GROUPS)}
    assert in_groups == {guid: members[guid] & here for guid in in_groups}
