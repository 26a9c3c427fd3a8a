"""Two programs, four areas, twelve devices: whatever moves and whoever is reassigned, each device holds what it may.

Devices apply what they get as real clients do, and restart when the hash of their scope changes. Beside them runs a
model that knows from the whole log where every entity was before and after each event.
"""

import os
import random
from collections.abc import Mapping
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.accounts import Person, bearer, login, make_person
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

AREAS = ("north", "east", "south", "west")
STEPS = 120


class Copy:
    """Entities as somebody holds them who applies events one after the other."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.members: dict[str, set[str]] = {}

    def apply(self, event: Mapping[str, Any]) -> None:
        guid, data = event["entityGuid"], dict(event["data"])
        if event["type"] == "delete-entity":
            self.delete(guid)
            return
        if event["type"] == "add-member":
            self._take(
                guid, [one if one["guid"] not in self.data else {"guid": one["guid"]} for one in data["members"]]
            )
            return
        members = data.pop("members", [])
        self.data.setdefault(guid, {}).update(data)
        self._take(guid, members)

    def _take(self, group: str, members: list[Any]) -> None:
        for member in members:
            data = {key: value for key, value in member.items() if key != "guid"}
            if data and not (set(data) == {"type"} and member["guid"] in self.data):
                self.data.setdefault(member["guid"], {}).update(data)
            self.members.setdefault(group, set()).add(member["guid"])

    def delete(self, guid: str) -> None:
        for member in self.members.pop(guid, set()):
            if not any(member in others for others in self.members.values()):
                self.delete(member)
        for others in self.members.values():
            others.discard(guid)
        self.data.pop(guid, None)

    def area(self, guid: str | None) -> str | None:
        """Where an entity is: a record where its parent is."""
        held = self.data.get(guid or "")
        if held is None:
            return None
        return self.area(held["parentId"]) if "parentId" in held else held.get("area_id")


class Device:
    def __init__(self, client: AsyncClient, program: str, person: Person, name: str) -> None:
        self.client = client
        self.program = program
        self.person = person
        self.name = name
        self.areas: set[str] = set()
        self.copy = Copy()
        self.received: list[Any] = []
        self.hash: str | None = None
        self.cursor = ""

    async def assign(self, admin: AsyncClient, areas: set[str]) -> None:
        self.areas = areas
        override = {"areaIds": sorted(areas)}
        assignment = {"tenantId": self.program, "role": "enumerator", "syncScopeOverride": override}
        account = {
            "email": self.person.email,
            "role": "USER",
            "tenantIds": [self.program],
            "roleAssignments": [assignment],
        }
        assert (await admin.put(f"/api/users/{self.person.id}", json=account)).status_code == 200

    async def sync(self, headers: Mapping[str, str], limit: int) -> None:
        """Pull to the end; begin anew, with nothing, if the scope has become another one."""
        cursor: str | None = self.cursor
        while cursor is not None:
            parameters = {"configId": self.program, "since": cursor, "limit": limit}
            answer = await self.client.get(
                "/api/sync/pull", params=parameters, headers={"X-Device-Id": self.name, **headers}
            )
            assert answer.status_code == 200, answer.text
            page = answer.json()
            if page["scope"]["hash"] != self.hash:
                self.hash = page["scope"]["hash"]
                self.copy, self.received, cursor = Copy(), [], ""
                continue
            for event in page["events"]:
                if event["guid"] not in {known["guid"] for known in self.received}:
                    self.received.append(event)
                    self.copy.apply(event)
                    self._drop_what_left(event["entityGuid"])
            if page["events"]:
                last = max(page["events"], key=lambda event: event["timestamp"])
                self.cursor = f"{last['timestamp']}|{last['guid']}"
            cursor = page["nextCursor"]

    def _drop_what_left(self, guid: str) -> None:
        """What has left the scope is not kept, nor the records of it: nobody tells of their end elsewhere."""
        if guid in self.copy.data and self.copy.area(guid) not in (*self.areas, None):
            del self.copy.data[guid]
            for record in [key for key, data in self.copy.data.items() if data.get("parentId") == guid]:
                self._drop_record(record)

    def _drop_record(self, guid: str) -> None:
        for record in [key for key, data in self.copy.data.items() if data.get("parentId") == guid]:
            self._drop_record(record)
        del self.copy.data[guid]


class Program:
    """What happens in one program: people, households, visits; moves, joins, ends."""

    def __init__(self, admin: AsyncClient, program: str, dice: random.Random) -> None:
        self.admin = admin
        self.id = program
        self._dice = dice
        self._made = 0

    async def happen(self) -> None:
        copy = Copy()
        for event in await pull_all(self.admin, self.id, limit=5000):
            copy.apply(event)
        alive = sorted(copy.data)
        people = [guid for guid in alive if guid.startswith("p")]
        groups = [guid for guid in alive if guid.startswith("g")]
        placed = people + groups
        kind = self._dice.choice(["person", "household", "visit", "move", "move", "edit", "join", "end"])
        if kind == "person" or not placed:
            await self._push("create-individual", self._new("p"), {"name": "P", "area_id": self._area()})
        elif kind == "household":
            members = [
                {"guid": self._new("p"), "name": "M", "area_id": self._area()} for _ in range(self._dice.randint(0, 2))
            ]
            await self._push("create-group", self._new("g"), {"name": "G", "area_id": self._area(), "members": members})
        elif kind == "visit":
            await self._push("create-record", self._new("r"), {"parentId": self._dice.choice(placed), "n": self._made})
        elif kind == "move":
            guid = self._dice.choice(placed)
            verb = "update-group" if guid.startswith("g") else "update-individual"
            await self._push(verb, guid, {"area_id": self._area()})
        elif kind == "edit":
            guid = self._dice.choice(alive)
            verb = {"g": "update-group", "p": "update-individual", "r": "update-record"}[guid[0]]
            await self._push(verb, guid, {f"field-{self._dice.randint(1, 3)}": self._made})
        elif kind == "join" and groups and people:
            # An app may send along what it has of them, which may be old.
            object = self._dice.choice([{}, {"name": "P"}, {"name": "P", "area_id": self._area()}])
            member = {"guid": self._dice.choice(people)} | object
            await self._push("add-member", self._dice.choice(groups), {"members": [member]})
        else:
            await self._push("delete-entity", self._dice.choice(alive), {"reason": "x"})
        self._made += 1

    async def _push(self, type: str, entity: str, data: dict[str, Any]) -> None:
        answer = await push(self.admin, self.id, make_event(type, entity=entity, data=data))
        assert answer.status_code == 200, answer.text

    def _new(self, letter: str) -> str:
        self._made += 1
        return f"{letter}-{self._made}"

    def _area(self) -> str:
        return self._dice.choice(AREAS)


async def check(device: Device, admin: AsyncClient) -> int:
    """Compare what a device that has just synced got and holds with what the whole log says."""
    whole = await pull_all(admin, device.program, limit=5000)
    places: dict[str, set[str | None]] = {}
    truth = Copy()
    for event in whole:
        guid = event["entityGuid"]
        before = truth.area(guid)
        truth.apply(event)
        places[event["guid"]] = {before, truth.area(guid)}
        if event["userId"] == "system" and event["type"] in ("delete-entity", "update-individual"):
            # Told to those who held what a group's delete took along, or were told of somebody else's as a member.
            places[event["guid"]] |= set(AREAS)
    for event in device.received:
        assert places[event["guid"]] & device.areas, ("received without being in scope before or after", event)
    mine = {guid for guid in truth.data if truth.area(guid) in device.areas}
    for guid in mine:
        assert device.copy.data.get(guid) == truth.data[guid], ("in scope, and not complete", guid)
    for guid in device.copy.data:
        held_to_be_mine = device.copy.area(guid) in device.areas
        assert not held_to_be_mine or guid in mine, ("deleted or moved away, and not told", guid)
    return len(mine)


@pytest.mark.parametrize("seed", range(int(os.environ.get("HUB_MOVES_SEEDS", "2"))))
async def test_every_device_holds_what_it_may_and_nothing_else(
    admin: AsyncClient, client: AsyncClient, seed: int, measured: Any
) -> None:
    dice = random.Random(seed)
    programs = [Program(admin, await make_program(admin), dice) for _ in range(2)]
    devices, headers = [], {}
    for index in range(12):
        program = programs[index % 2]
        device = Device(client, program.id, await make_person(admin), f"tablet-{index}")
        await device.assign(admin, set(dice.sample(AREAS, dice.randint(1, 3))))
        headers[device.name] = bearer((await login(client, device.person))["token"])
        devices.append(device)
    held = 0
    for _ in range(STEPS):
        await dice.choice(programs).happen()
        if dice.random() < 0.3:
            device = dice.choice(devices)
            if dice.random() < 0.2:
                await device.assign(admin, set(dice.sample(AREAS, dice.randint(1, 3))))
            await device.sync(headers[device.name], limit=dice.choice([1, 3, 10, 100]))
            held = max(held, await check(device, admin))
    for device in devices:
        await device.sync(headers[device.name], limit=100)
        held = max(held, await check(device, admin))
    assert held > 3
    measured("events received by twelve devices", sum(len(device.received) for device in devices))
