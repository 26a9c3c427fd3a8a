"""`/api/users` for somebody who manages the users of some programs, on both engines."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.features.users import service
from datacollect.http.hub import Hub
from datacollect.kernel.errors import AdminRequired, Unauthenticated
from datacollect.kernel.identity import AccountRole, Actor
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import RoleAssignment
from tests.accounts import PASSWORD, Person, assert_refused, bearer, find_account, login, make_person
from tests.conftest import ADMIN_EMAIL, asgi_client
from tests.factories import make_program, new_id

pytestmark = pytest.mark.anyio


def assignment(program: str, role: str, **limits: Any) -> dict[str, Any]:
    return {"tenantId": program, "role": role} | limits


@dataclass
class Scene:
    """A program with a delegate, and another program."""

    admin: AsyncClient
    delegate: AsyncClient
    me: Person
    mine: str
    other: str

    async def person(self, *assignments: dict[str, Any], **changes: Any) -> Person:
        return await make_person(self.admin, roleAssignments=list(assignments), **changes)

    async def stored(self, person: Person) -> dict[str, Any]:
        answer = await self.admin.get(f"/api/users/{person.id}")
        shown: dict[str, Any] = answer.json()
        return shown

    async def create(self, **changes: Any) -> Any:
        account = {"email": f"{new_id('u')}@hub.test", "password": PASSWORD, "role": "USER"}
        return await self.delegate.post("/api/users", json=account | changes)

    async def change(self, person: Person, **changes: Any) -> Any:
        body = {"email": person.email, "role": "USER"} | changes
        return await self.delegate.put(f"/api/users/{person.id}", json=body)

    async def admit(self, email: str, **lists: Any) -> Any:
        return await self.delegate.post("/api/users/memberships", json={"email": email} | lists)


async def _signed_in(app: FastAPI, person: Person) -> AsyncClient:
    async with asgi_client(app) as client:
        return asgi_client(app, (await login(client, person))["token"])


@pytest.fixture
async def scene(app: FastAPI, admin: AsyncClient) -> AsyncIterator[Scene]:
    mine, other = await make_program(admin), await make_program(admin)
    me = await make_person(admin, roleAssignments=[assignment(mine, "program-admin"), assignment(other, "supervisor")])
    async with await _signed_in(app, me) as delegate:
        yield Scene(admin, delegate, me, mine, other)


# -- seeing


async def test_a_delegate_sees_the_members_of_their_programs_and_nothing_of_them_elsewhere(scene: Scene) -> None:
    here = await scene.person(assignment(scene.mine, "viewer"), assignment(scene.other, "supervisor"))
    await scene.person(assignment(scene.other, "viewer"))
    await scene.person(assignment(scene.mine, "viewer"), role="ADMIN")
    answer = await scene.delegate.get("/api/users")
    assert [one["id"] for one in answer.json()] == [scene.me.id, here.id]
    assert answer.headers["x-total-count"] == "2"
    seen = {"tenantIds": [scene.mine], "roleAssignments": [assignment(scene.mine, "viewer")]}
    for one in (answer.json()[1], (await scene.delegate.get(f"/api/users/{here.email}")).json()):
        assert {name: one[name] for name in seen} == seen
    assert scene.other not in answer.text.replace(scene.mine, "")


@pytest.mark.parametrize("by", ["id", "email"])
async def test_accounts_elsewhere_administrators_and_nobody_look_alike(scene: Scene, by: str) -> None:
    elsewhere = await scene.person(assignment(scene.other, "viewer"))
    boss = await scene.person(assignment(scene.mine, "viewer"), role="ADMIN")
    nobody = Person(999_999_999, "nobody@hub.test")
    for person in (elsewhere, boss, nobody):
        key = person.id if by == "id" else person.email
        body = {"email": person.email, "role": "USER", "password": "Another-Horse-9"}
        answers = [
            await scene.delegate.get(f"/api/users/{key}"),
            await scene.delegate.put(f"/api/users/{key}", json=body),
            await scene.delegate.delete(f"/api/users/{key}"),
        ]
        for answer in answers:
            assert_refused(answer, 404, "User not found", "USER_NOT_FOUND")
            assert set(answer.json()) == {"error", "message", "code", "help", "requestId"}
    assert (await scene.stored(boss))["role"] == "ADMIN"


async def test_a_list_cannot_be_asked_about_other_programs(scene: Scene) -> None:
    for program in (scene.other, "no-such-program"):
        answer = await scene.delegate.get("/api/users", params={"tenantId": program})
        assert_refused(answer, 403, "You do not manage the users of this program.", "FOREIGN_PROGRAM")
    assert (await scene.delegate.get("/api/users", params={"role": "ADMIN"})).json() == []
    assert (await scene.delegate.get("/api/users", params={"search": ADMIN_EMAIL})).json() == []
    assert (await scene.delegate.get("/api/users", params={"role": "supervisor"})).json() == []


async def test_a_list_shows_what_an_account_is_not_what_an_older_release_left_behind(hub: Hub, scene: Scene) -> None:
    person = await scene.person(assignment(scene.mine, "viewer"))
    async with hub.db.transaction() as tx:
        await tx.run(f"UPDATE users SET tenant_ids = '[]', role_assignments = '[]' WHERE id = {person.id}")
    assert [one["id"] for one in (await scene.delegate.get("/api/users")).json()] == [scene.me.id]


@pytest.mark.parametrize("role", [None, "viewer", "enumerator", "supervisor"])
async def test_lower_roles_manage_nobody(app: FastAPI, scene: Scene, role: str | None) -> None:
    lists = {"roleAssignments": [assignment(scene.mine, role)]} if role else {"tenantIds": [scene.mine]}
    async with await _signed_in(app, await make_person(scene.admin, **lists)) as client:
        for method, path in (
            ("GET", "/api/users"),
            ("POST", "/api/users"),
            ("POST", "/api/users/memberships"),
            ("GET", "/api/users/1"),
            ("PUT", "/api/users/1"),
            ("DELETE", "/api/users/1"),
        ):
            answer = await client.request(method, path, content=b"{")
            assert_refused(answer, 403, "Forbidden: Admin access required", "ADMIN_REQUIRED")


# -- creating


async def test_a_delegate_creates_accounts_in_their_programs(client: AsyncClient, scene: Scene) -> None:
    email = f"{new_id('u')}@hub.test"
    answer = await scene.create(email=email, roleAssignments=[assignment(scene.mine, "program-admin")])
    assert (answer.status_code, answer.json()) == (201, {"message": "User created successfully"})
    assert await login(client, Person(0, email))
    assert (await find_account(scene.admin, email))["tenantIds"] == [scene.mine]


async def test_and_nothing_beyond_their_own_rights(scene: Scene) -> None:
    me, mine, other = scene.me, scene.mine, scene.other
    before = (await scene.admin.get("/api/users")).headers["x-total-count"]
    for changes, status, code in (
        ({"role": "ADMIN", "tenantIds": [mine]}, 403, "ADMIN_REQUIRED"),
        ({}, 400, "PROGRAM_REQUIRED"),
        ({"roleAssignments": [assignment(mine, "system-admin")]}, 403, "ROLE_ABOVE_OWN"),
        ({"tenantIds": [mine, other]}, 403, "FOREIGN_PROGRAM"),
        ({"roleAssignments": [assignment(other, "viewer")]}, 403, "FOREIGN_PROGRAM"),
        ({"tenantIds": [mine, "no-such-program"]}, 403, "FOREIGN_PROGRAM"),
        ({"tenantIds": [mine], "email": me.email}, 409, "USER_EXISTS"),
    ):
        answer = await scene.create(**changes)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await scene.admin.get("/api/users")).headers["x-total-count"] == before


async def test_whoever_is_limited_to_an_area_gives_rights_in_that_area(app: FastAPI, scene: Scene) -> None:
    north = await scene.person(assignment(scene.mine, "program-admin", areaId="north"))
    async with await _signed_in(app, north) as scene.delegate:
        allowed = await scene.create(roleAssignments=[assignment(scene.mine, "enumerator", areaId="north")])
        assert allowed.status_code == 201
        for wide in (
            {"roleAssignments": [assignment(scene.mine, "viewer")]},
            {"roleAssignments": [assignment(scene.mine, "viewer", areaId="south")]},
            {"tenantIds": [scene.mine]},
        ):
            assert (await scene.create(**wide)).json()["code"] == "SCOPE_BEYOND_OWN"


# -- changing


async def test_a_change_leaves_everything_elsewhere_as_it_is(scene: Scene) -> None:
    elsewhere = assignment(scene.other, "supervisor", areaId="A1")
    person = await scene.person(assignment(scene.mine, "viewer"), elsewhere, tenantIds=["default"])
    for lists, expected in (
        ({"roleAssignments": [assignment(scene.mine, "supervisor")]}, [assignment(scene.mine, "supervisor")]),
        ({"tenantIds": [scene.mine]}, [assignment(scene.mine, "supervisor")]),
        ({"tenantIds": [scene.mine], "roleAssignments": []}, []),
        ({"tenantIds": []}, []),
    ):
        answer = await scene.change(person, **lists)
        assert answer.status_code == 200, answer.text
        stored = await scene.stored(person)
        assert stored["roleAssignments"] == [elsewhere, *expected]
        assert {"default", scene.other} <= set(stored["tenantIds"])
    assert set(stored["tenantIds"]) == {"default", scene.other}
    assert (await scene.change(person)).status_code == 404


async def test_an_account_that_is_only_theirs_they_may_rename_and_give_a_password(
    client: AsyncClient, scene: Scene
) -> None:
    person = await scene.person(assignment(scene.mine, "program-admin"))
    token = (await login(client, person))["token"]
    renamed = Person(person.id, f"{new_id('u')}@hub.test", "Another-Horse-9")
    answer = await scene.change(person, email=renamed.email, password=renamed.password)
    assert answer.status_code == 200, answer.text
    assert (await client.get("/api/users/me", headers=bearer(token))).status_code == 401
    assert await login(client, renamed)
    assert (await scene.delegate.delete(f"/api/users/{renamed.email}")).status_code == 200


async def test_an_account_that_is_elsewhere_too_cannot_be_taken_over(client: AsyncClient, scene: Scene) -> None:
    person = await scene.person(assignment(scene.mine, "viewer"), assignment(scene.other, "viewer"))
    for changes in (
        {"password": "Another-Horse-9"},
        {"email": f"{new_id('u')}@hub.test"},
        {"mustChangePassword": True},
    ):
        assert (await scene.change(person, **changes)).json()["code"] == "ACCOUNT_BELONGS_ELSEWHERE"
    answer = await scene.delegate.delete(f"/api/users/{person.id}")
    text = "The account also belongs to programs whose users you do not manage."
    assert_refused(answer, 403, text, "ACCOUNT_BELONGS_ELSEWHERE")
    assert await login(client, person)


async def test_whoever_may_more_there_is_left_alone(client: AsyncClient, scene: Scene) -> None:
    higher = await scene.person(assignment(scene.mine, "system-admin"))
    answers = [
        await scene.change(higher, roleAssignments=[assignment(scene.mine, "viewer")]),
        await scene.change(higher, password="Another-Horse-9"),
        await scene.delegate.delete(f"/api/users/{higher.id}"),
    ]
    assert [answer.json()["code"] for answer in answers] == ["ACCOUNT_OUTRANKS_YOU"] * 3
    assert await login(client, higher)


async def test_nobody_changes_their_own_account_here(scene: Scene) -> None:
    for changes in (
        {"roleAssignments": [assignment(scene.mine, "system-admin")]},
        {"roleAssignments": [assignment(scene.mine, "viewer")]},
        {"password": "Another-Horse-9"},
        {"email": f"{new_id('u')}@hub.test"},
    ):
        assert (await scene.change(scene.me, **changes)).json()["code"] == "OWN_ACCOUNT"
    assert (await scene.change(scene.me, role="ADMIN")).json()["code"] == "ADMIN_REQUIRED"
    assert (await scene.delegate.delete(f"/api/users/{scene.me.id}")).json()["code"] == "OWN_ACCOUNT"


# -- adding an account that exists


async def test_an_account_of_another_program_is_added_by_its_email(app: FastAPI, scene: Scene) -> None:
    person = await scene.person(assignment(scene.other, "supervisor"))
    given = [assignment(scene.mine, "enumerator", areaId="A1")]
    answer = await scene.admit(person.email.upper(), roleAssignments=given)
    assert (answer.status_code, answer.json()) == (200, {"message": "User added successfully"})
    assert (await scene.stored(person))["roleAssignments"] == [assignment(scene.other, "supervisor"), *given]
    again = await scene.admit(person.email, tenantIds=[scene.mine])
    assert_refused(again, 409, "The account belongs to the program already.", "ALREADY_MEMBER")
    assert (await scene.change(person, password="Another-Horse-9")).json()["code"] == "ACCOUNT_BELONGS_ELSEWHERE"


async def test_who_is_nobodys_and_who_is_an_administrator_look_like_nobody(scene: Scene) -> None:
    unplaced, boss = await scene.person(), await scene.person(assignment(scene.mine, "viewer"), role="ADMIN")
    for email in (unplaced.email, boss.email, ADMIN_EMAIL, "nobody@hub.test"):
        answer = await scene.admit(email, tenantIds=[scene.mine])
        assert_refused(answer, 404, "User not found", "USER_NOT_FOUND")
        assert (await scene.admit(email, tenantIds=[scene.other])).json()["code"] == "FOREIGN_PROGRAM"
        assert (await scene.admit(email)).json()["code"] == "PROGRAM_REQUIRED"
    added = {"email": unplaced.email, "tenantIds": [scene.mine]}
    assert (await scene.admin.post("/api/users/memberships", json=added)).status_code == 200


async def test_nobody_is_added_elsewhere_or_above(scene: Scene) -> None:
    person = await scene.person(assignment(scene.other, "viewer"))
    for lists, code in (
        ({"tenantIds": [scene.other]}, "FOREIGN_PROGRAM"),
        ({"tenantIds": [scene.mine, "no-such-program"]}, "FOREIGN_PROGRAM"),
        ({"roleAssignments": [assignment(scene.mine, "system-admin")]}, "ROLE_ABOVE_OWN"),
        ({}, "PROGRAM_REQUIRED"),
    ):
        assert (await scene.admit(person.email, **lists)).json()["code"] == code
    assert (await scene.admit(scene.me.email, tenantIds=[scene.mine])).json()["code"] == "OWN_ACCOUNT"


# -- at once


async def test_a_right_that_is_gone_is_gone_in_the_middle_of_a_request(hub: Hub, scene: Scene) -> None:
    """The guards may be a second behind in another process; what is written never is."""
    remembered = Actor(
        "user",
        scene.me.email,
        UserId(scene.me.id),
        tenant_ids=frozenset({TenantId(scene.mine)}),
        assignments=(RoleAssignment(TenantId(scene.mine), "program-admin"),),
    )
    body = {"email": scene.me.email, "role": "USER", "roleAssignments": [assignment(scene.mine, "supervisor")]}
    await scene.admin.put(f"/api/users/{scene.me.id}", json=body)
    account = service.Account(f"{new_id('u')}@hub.test", AccountRole.USER, "hash", [scene.mine])
    person = await scene.person(assignment(scene.mine, "viewer"))
    with pytest.raises(AdminRequired):
        async with hub.db.transaction() as tx:
            await service.create_user(tx, remembered, account, source=None, now=hub.clock.now())
    with pytest.raises(AdminRequired):
        async with hub.db.transaction() as tx:
            await service.delete_user(tx, remembered, person.email, source=None, now=hub.clock.now())
    await scene.admin.delete(f"/api/users/{scene.me.id}")
    with pytest.raises(Unauthenticated):
        async with hub.db.transaction() as tx:
            await service.delete_user(tx, remembered, person.email, source=None, now=hub.clock.now())


async def test_delegates_who_remove_each_other_at_once_do_not_wait_in_a_circle(app: FastAPI, scene: Scene) -> None:
    people = [scene.me, *[await scene.person(assignment(scene.mine, "program-admin")) for _ in range(3)]]
    clients = [await _signed_in(app, person) for person in people]
    deletions = [
        client.delete(f"/api/users/{person.id}")
        for client, me in zip(clients, people, strict=True)
        for person in people
        if person is not me
    ]
    statuses = [answer.status_code for answer in await asyncio.gather(*deletions)]
    assert set(statuses) <= {200, 401, 403, 404}
    left = [one["id"] for one in (await scene.admin.get("/api/users", params={"tenantId": scene.mine})).json()]
    assert len(left) == 4 - statuses.count(200)


# -- what is noted


async def test_every_change_is_in_the_security_log_with_who_did_what(scene: Scene) -> None:
    email = f"{new_id('u')}@hub.test"
    await scene.create(email=email, tenantIds=[scene.mine])
    person = Person((await find_account(scene.admin, email))["id"], email)
    await scene.change(person, roleAssignments=[assignment(scene.mine, "viewer")], password="Another-Horse-9")
    await scene.delegate.delete(f"/api/users/{person.id}")
    log = await scene.admin.get("/api/security-log", params={"userId": person.id, "actorId": scene.me.id})
    assert [(entry["action"], entry["tenantId"], entry["details"]) for entry in log.json()["entries"]] == [
        ("user.deleted", scene.mine, _told([], scene.mine, "viewer", None, role={"from": "USER", "to": None})),
        ("user.changed", scene.mine, _told(["password"], scene.mine, "enumerator", "viewer")),
        ("user.created", scene.mine, _told([], scene.mine, None, "enumerator", role={"from": None, "to": "USER"})),
    ]
    assert email not in log.text and PASSWORD not in log.text


def _told(changed: list[str], program: str, before: str | None, after: str | None, **more: Any) -> dict[str, Any]:
    return {"changed": changed, "programs": {program: {"from": before, "to": after}}, **more}


async def test_what_is_refused_leaves_no_entry(scene: Scene) -> None:
    await scene.create(role="ADMIN", tenantIds=[scene.mine])
    log = await scene.admin.get("/api/security-log", params={"actorId": scene.me.id, "action": "user.created"})
    assert log.json()["entries"] == []


# -- whatever is tried


LEVEL = {"viewer": 1, "enumerator": 2, "supervisor": 3, "program-admin": 4, "system-admin": 5}


async def test_random_requests_of_a_delegate_raise_nobody_above_them(client: AsyncClient, scene: Scene) -> None:
    dice = random.Random(22)
    people = [
        await scene.person(*(assignment(program, dice.choice([*LEVEL])) for program in programs), role=role)
        for programs in ([scene.mine], [scene.other], [scene.mine, scene.other])
        for role in ("USER", "USER", "ADMIN")
    ]
    people.append(scene.me)
    before = {person.id: await scene.stored(person) for person in people}
    allowed = 0
    for _ in range(60):
        person = dice.choice(people)
        given = [
            assignment(dice.choice([scene.mine, scene.mine, scene.other]), dice.choice([*LEVEL])) for _ in range(2)
        ]
        match dice.randrange(4):
            case 0:
                answer = await scene.admit(person.email, roleAssignments=given[:1])
            case 1:
                answer = await scene.change(person, password="Another-Horse-9", role=dice.choice(["USER", "ADMIN"]))
            case _:
                answer = await scene.change(person, roleAssignments=given[: dice.randrange(3)])
        assert answer.status_code in (200, 400, 403, 404, 409), answer.text
        allowed += answer.status_code == 200
    assert allowed
    for person in people:
        was, now = before[person.id], await scene.stored(person)
        assert now["role"] == was["role"]
        assert _in(scene.other, now) == _in(scene.other, was)
        assert _in(scene.mine, now) == _in(scene.mine, was) or max(_levels(scene.mine, now), default=0) <= 4
        assert person is not scene.me or now == was
        if was["role"] == "ADMIN" or scene.other in was["tenantIds"]:
            assert await login(client, person)


def _in(program: str, account: dict[str, Any]) -> Any:
    assigned = [one for one in account["roleAssignments"] if one["tenantId"] == program]
    return program in account["tenantIds"], assigned


def _levels(program: str, account: dict[str, Any]) -> list[int]:
    return [LEVEL[one["role"]] for one in _in(program, account)[1]]
