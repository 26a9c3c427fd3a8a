"""Small pushes to one program that wait for each other are appended as one batch, and nobody notices."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.eventstore.log import Share
from datacollect.eventstore.together import Kept, Together
from datacollect.http.hub import Hub
from datacollect.kernel.errors import StillLocked, Unavailable
from datacollect.kernel.identity import Action, Actor, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import Box, Reach
from datacollect.kernel.tenancy import Tenant
from tests.accounts import bearer, login, make_person
from tests.conftest import asgi_client
from tests.factories import make_event, make_program, new_id, pull_all, push
from tests.statements import hot

pytestmark = pytest.mark.anyio

Push = Sequence[dict[str, Any]]

AGE = {"type": "number", "key": "age"}


class AtWork:
    """Somebody whose append takes as long as the block, so that others wait for it."""

    def __init__(self, together: Together, scope: TenantScope) -> None:
        self._together = together
        self._key = (scope.tenant_id, scope.role)

    async def until_waited_for(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self._together._lines[self._key].waiting) < count:  # noqa: ASYNC110
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def somebody_at_work(together: Together, scope: TenantScope) -> AsyncIterator[AtWork]:
    async with (
        together.turn(Tenant(scope.tenant_id, "P"), Share(scope, (), (), None), weight=1) as kept,
        together._db.in_turn(scope, events=1),
    ):
        assert kept is None
        yield AtWork(together, scope)


def enumerators(program: str) -> TenantScope:
    member = Actor("user", "x", UserId(0), tenant_ids=frozenset([TenantId(program)]))
    return member.in_tenant(TenantId(program), Action.CREATE)


class Devices:
    """Of accounts of their own, which are members of one program."""

    def __init__(self, app: FastAPI, admin: AsyncClient, client: AsyncClient) -> None:
        self._app, self._admin, self._client = app, admin, client
        self.hub: Hub = app.state.hub
        self.accounts: list[int] = []
        self._headers: list[dict[str, str]] = []

    async def sign_in(self, count: int, *programs: str) -> None:
        for number in range(count):
            person = await make_person(self._admin, tenantIds=list(programs))
            self.accounts.append(person.id)
            self._headers.append(bearer((await login(self._client, person))["token"]) | {"X-Device-Id": f"d-{number}"})

    async def push(self, number: int, program: str, events: Push, **members: Any) -> tuple[int, Any]:
        async with asgi_client(self._app) as client:
            client.headers.update(self._headers[number])
            answer = await push(client, program, *events, **members)
            return answer.status_code, {name: value for name, value in answer.json().items() if name != "requestId"}

    async def push_together(self, program: str, pushes: Sequence[Push]) -> list[tuple[int, Any]]:
        """Each by a device, in this order, all of which wait until somebody else has ended."""
        async with somebody_at_work(self.hub.together, enumerators(program)) as working:
            pushing = []
            for at, events in enumerate(pushes):
                pushing.append(asyncio.create_task(self.push(at, program, events)))
                await working.until_waited_for(at + 1)
        return list(await asyncio.gather(*pushing))

    async def stored(self, program: str) -> list[tuple[str, str, str | None]]:
        """Guid, account and device of each event, in the order of the log."""
        scope = system_scope(TenantId(program))
        async with self.hub.db.reading(scope) as view:
            rows = await self.hub.log.read_rows(view, scope, after=0, limit=1000)
        return [(row.guid, row.actor, row.device_id) for row in rows]


@pytest.fixture(autouse=True)
def joining(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the disk under the test takes for a commit."""
    monkeypatch.setattr(type(hub.db), "appends_as_one", True)


@pytest.fixture
def devices(app: FastAPI, admin: AsyncClient, client: AsyncClient) -> Devices:
    return Devices(app, admin, client)


async def test_what_waits_is_one_batch_under_each_senders_own_name(admin: AsyncClient, devices: Devices) -> None:
    program = await make_program(admin)
    await devices.sign_in(6, program)
    pushes = [[make_event(), make_event()] for _ in range(6)]
    with devices.hub.db.statements.record() as statements:
        answers = await devices.push_together(program, pushes)
    assert answers == [(200, {"status": "success", "applied": 2, "failed": [], "errors": []})] * 6
    assert sorted(await devices.stored(program)) == sorted(
        (event["guid"], str(devices.accounts[at]), f"d-{at}") for at, events in enumerate(pushes) for event in events
    )
    assert batches_in(statements) == 1
    assert len(hot(statements)) <= 8, "what one push takes"


async def test_what_a_batch_has_waited_for_in_vain_nobody_of_it_waits_for_once_more(
    admin: AsyncClient, devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await make_program(admin)
    await devices.sign_in(4, program)

    async def hold(*_: object) -> None:
        raise StillLocked

    with monkeypatch.context() as patch:
        patch.setattr(devices.hub.log, "append_together", hold)
        with devices.hub.db.statements.record() as statements:
            answers = await devices.push_together(program, [[make_event()] for _ in range(4)])
    assert [(status, body["code"]) for status, body in answers] == [(503, "STILL_LOCKED")] * 4
    assert batches_in(statements) == 0
    assert await devices.stored(program) == []
    assert (await devices.push(0, program, [make_event()]))[0] == 200


def batches_in(statements: Sequence[str]) -> int:
    return len([sql for sql in statements if "INSERT INTO events" in sql])


async def test_what_is_wrong_with_one_is_told_to_that_one_only(admin: AsyncClient, devices: Devices) -> None:
    program = await make_program(admin)
    await devices.sign_in(5, program)
    wrong = make_event("nonsense")
    pushes = [[make_event()], [make_event(), wrong], [make_event()], [make_event("nonsense")], [make_event()]]
    answers = await devices.push_together(program, pushes)
    assert [status for status, _ in answers] == [200, 422, 200, 422, 200]
    assert [body["failed"][0]["eventGuid"] for status, body in answers if status == 422] == [
        wrong["guid"],
        pushes[3][0]["guid"],
    ]
    assert {guid for guid, _, _ in await devices.stored(program)} == {pushes[at][0]["guid"] for at in (0, 2, 4)}


async def test_what_a_form_refuses_is_refused_whoever_is_at_work(admin: AsyncClient, devices: Devices) -> None:
    form = {"id": "f1", "name": "individual", "title": "Person", "formio": {"components": [AGE]}}
    program = await make_program(admin, entityForms=[form], formValidation="reject")
    await devices.sign_in(2, program)
    bad, good = (make_event(data={"entityName": "individual", "name": "Ana", "age": age}) for age in ("seven", 7))
    async with somebody_at_work(devices.hub.together, enumerators(program)) as working:
        pushing = [asyncio.create_task(devices.push(at, program, [event])) for at, event in enumerate((bad, good))]
        await working.until_waited_for(1)
    (refused, told), (taken, _) = await asyncio.gather(*pushing)
    assert (refused, told["code"], taken) == (422, "PUSH_REJECTED", 200)
    assert [guid for guid, _, _ in await devices.stored(program)] == [good["guid"]]


@pytest.mark.parametrize("wrong", range(4))
async def test_the_others_are_one_batch_all_the_same(admin: AsyncClient, devices: Devices, wrong: int) -> None:
    program = await make_program(admin)
    await devices.sign_in(4, program)
    pushes = [[make_event(), make_event("nonsense")] if at == wrong else [make_event()] for at in range(4)]
    with devices.hub.db.statements.record() as statements:
        answers = await devices.push_together(program, pushes)
    assert [status for status, _ in answers] == [422 if at == wrong else 200 for at in range(4)]
    assert batches_in(statements) == 1


async def test_however_many_have_something_wrong_the_others_are_stored_in_the_same_turn(
    admin: AsyncClient, devices: Devices
) -> None:
    """Each was found by a try of its own, which lined up again behind all who had come meanwhile; after four nobody was
    left in the batch."""
    program = await make_program(admin)
    await devices.sign_in(12, program)
    pushes = [[make_event(), make_event("nonsense")] if at % 2 else [make_event()] for at in range(12)]
    with devices.hub.db.statements.record() as statements:
        answers = await devices.push_together(program, pushes)
    assert [status for status, _ in answers] == [422 if at % 2 else 200 for at in range(12)]
    assert batches_in(statements) == 1
    assert {device for _, _, device in await devices.stored(program)} == {f"d-{at}" for at in range(0, 12, 2)}


@pytest.mark.parametrize(("chain", "batches"), [(1, 1), (2, 4)])
async def test_who_cannot_do_without_somebody_left_out_meets_their_own_answer(
    admin: AsyncClient, devices: Devices, chain: int, batches: int
) -> None:
    """Each of the chain puts somebody into a group that the one before makes, whose push is refused. Found one after the
    other: too many of them, and all go alone."""
    program = await make_program(admin)
    await devices.sign_in(chain + 5, program)
    pushes = [[_group(0), make_event("nonsense")]]
    pushes += [[_join(at), _group(at + 1)] for at in range(chain)]
    pushes += [[make_event()] for _ in range(4)]
    with devices.hub.db.statements.record() as statements:
        answers = await devices.push_together(program, pushes)
    assert [status for status, _ in answers] == [422] * (chain + 1) + [200] * 4
    assert {device for _, _, device in await devices.stored(program)} == {f"d-{chain + 1 + at}" for at in range(4)}
    assert batches_in(statements) == batches


def _group(number: int) -> dict[str, Any]:
    return make_event("create-group", entity=f"g-{number}", data={"name": "G"})


def _join(number: int) -> dict[str, Any]:
    return make_event("add-member", entity=f"g-{number}", data={"members": [{"guid": f"m-{number}", "name": "M"}]})


async def test_two_devices_that_send_the_same_events_at_once_are_both_told_that_they_are_there(
    admin: AsyncClient, devices: Devices
) -> None:
    program = await make_program(admin)
    await devices.sign_in(4, program)
    events = [make_event(), make_event()]
    answers = await devices.push_together(program, [events, events, [make_event()], events[::-1]])
    assert [(status, body["applied"]) for status, body in answers] == [(200, 2), (200, 2), (200, 1), (200, 2)]
    first = {device for guid, _, device in await devices.stored(program) if guid != events[0]["guid"]}
    assert len(await pull_all(admin, program)) == 3
    assert "d-2" in first and len(first) == 2, "they are of whoever came first"


async def test_who_uses_a_guid_again_is_told_so(admin: AsyncClient, devices: Devices) -> None:
    program = await make_program(admin)
    await devices.sign_in(3, program)
    held = make_event()
    await push(admin, program, held)
    other = held | {"data": {"name": "another", "entityName": "individual"}}
    answers = await devices.push_together(program, [[make_event()], [make_event(), other], [make_event()]])
    assert [(status, body["applied"]) for status, body in answers] == [(200, 1), (200, 2), (200, 1)]
    assert [[one["code"] for one in body.get("warnings", ())] for _, body in answers] == [[], ["GUID_REUSED"], []]
    kept = (await admin.get("/api/sync/quarantine", params={"configId": program})).json()
    assert [one["eventGuid"] for one in kept["quarantined"]] == [held["guid"]]


@pytest.mark.parametrize("seed", range(6))
async def test_each_is_answered_as_it_would_be_alone(admin: AsyncClient, devices: Devices, seed: int) -> None:
    """Pushes of every kind at once to one program, and one by one to another that holds the same."""
    dice = random.Random(seed)
    together, alone = [await make_program(admin, customEventTypes=["visit"]) for _ in range(2)]
    await devices.sign_in(5, together, alone)
    held = [make_event() for _ in range(8)]
    for program in (together, alone):
        assert (await push(admin, program, *held)).status_code == 200
    pushes = [a_push(dice, held[at], number_of_events=dice.randrange(1, 4)) for at in range(5)]
    at_once = await devices.push_together(together, pushes)
    one_by_one = [await devices.push(at, alone, events) for at, events in enumerate(pushes)]
    assert at_once == one_by_one
    assert sorted(await devices.stored(together)) == sorted(await devices.stored(alone))
    names = [
        {entity["guid"]: entity["data"] for entity in await entities(admin, program)} for program in (together, alone)
    ]
    assert names[0] == names[1]


def a_push(dice: random.Random, held: dict[str, Any], *, number_of_events: int) -> Push:
    """About nobody whom other pushes are about: the order does not matter."""
    kinds = [
        lambda: make_event(),
        lambda: make_event("update-individual", entity=held["entityGuid"], data={"name": f"B{dice.random()}"}),
        lambda: make_event("update-individual"),
        lambda: make_event("visit", entity=held["entityGuid"], data={"at": "home"}),
        lambda: held,
        lambda: held | {"data": {"name": "another", "entityName": "individual"}},
        lambda: make_event(data={"name": "Eva", "entityName": "individual", "externalId": "x", "memberIds": ["y"]}),
        lambda: make_event("create-group", data={"name": "G", "members": [{"guid": new_id("m"), "name": "M"}]}),
        lambda: make_event("nonsense"),
    ]
    return [dice.choice(kinds)() for _ in range(number_of_events)]


async def entities(admin: AsyncClient, program: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await admin.get("/api/entities", params={"configId": program, "limit": 1000})).json()
    return found


async def test_who_leaves_while_waiting_takes_nobody_along(admin: AsyncClient, devices: Devices) -> None:
    program = await make_program(admin)
    await devices.sign_in(3, program)
    async with somebody_at_work(devices.hub.together, enumerators(program)) as working:
        events = [make_event() for _ in range(3)]
        pushing = [asyncio.create_task(devices.push(at, program, [event])) for at, event in enumerate(events)]
        await working.until_waited_for(3)
        pushing[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pushing[0]
    answers = await asyncio.gather(*pushing[1:])
    assert [status for status, _ in answers] == [200, 200]
    assert {guid for guid, _, _ in await devices.stored(program)} == {events[1]["guid"], events[2]["guid"]}
    assert not devices.hub.together._lines


async def test_more_than_one_batch_holds_comes_in_the_next(admin: AsyncClient, devices: Devices) -> None:
    program = await make_program(admin)
    most = devices.hub.db.most_events_as_one
    size = next(size for size in range(15, 0, -1) if devices.hub.together.is_small(size))
    count = most // size + 2
    await devices.sign_in(count, program)
    with devices.hub.db.statements.record() as statements:
        answers = await devices.push_together(program, [[make_event() for _ in range(size)] for _ in range(count)])
    assert [(status, body["applied"]) for status, body in answers] == [(200, size)] * count
    assert batches_in(statements) == 2
    assert len(await devices.stored(program)) == count * size
    assert not devices.hub.together.is_small(16)
    assert not devices.hub.together.is_small(0)


async def test_who_comes_later_goes_with_whoever_was_in_line_before_somebody_large(
    admin: AsyncClient, devices: Devices
) -> None:
    program = await make_program(admin)
    await devices.sign_in(3, program)
    scope, found = enumerators(program), list[int]()

    async def large() -> None:
        async with devices.hub.db.in_turn(scope, events=1000) as tx:
            head = await devices.hub.log.head(tx, scope)
            found.append(head.position if head else -1)

    async with somebody_at_work(devices.hub.together, scope) as working:
        pushing = [asyncio.create_task(devices.push(0, program, [make_event()]))]
        await working.until_waited_for(1)
        await asyncio.sleep(0)
        others = asyncio.create_task(large())
        await asyncio.sleep(0)
        pushing += [asyncio.create_task(devices.push(at, program, [make_event()])) for at in (1, 2)]
        await working.until_waited_for(3)
    assert [status for status, _ in await asyncio.gather(*pushing)] == [200] * 3
    await others
    assert found == [3]


async def test_a_changed_config_begins_a_batch_of_its_own(hub: Hub, admin: AsyncClient) -> None:
    program = TenantId(await make_program(admin))
    scope, tenants = enumerators(program), [Tenant(program, "P", version=version) for version in "112"]

    async def wait(tenant: Tenant) -> Kept | None:
        async with hub.together.turn(tenant, Share(scope, (), (), None), weight=1) as kept:
            return kept

    with hub.db.statements.record() as statements:
        async with somebody_at_work(hub.together, scope) as working:
            waiting = [asyncio.create_task(wait(tenant)) for tenant in tenants]
            await working.until_waited_for(3)
        assert await asyncio.gather(*waiting) == [Kept(None)] * 3
    assert len([sql for sql in statements if "log_heads" in sql]) == 2, "the log is locked twice"


async def test_shares_of_one_batch_are_of_callers_who_may_do_the_same(hub: Hub, admin: AsyncClient) -> None:
    program, other = [TenantId(await make_program(admin)) for _ in range(2)]
    scope = enumerators(program)
    limited = scope.limited_to(Reach((Box(frozenset(["a"])),)))
    for stranger in (limited, enumerators(other), system_scope(program)):
        shares = [Share(one, (), (), None) for one in (scope, stranger)]
        with pytest.raises(ValueError, match="shares of one batch"):
            async with hub.db.transaction(scope) as tx:
                await hub.log.append_together(tx, Tenant(program, "P"), shares)


async def test_without_the_database_each_finds_out_alone(hub: Hub, admin: AsyncClient) -> None:
    program = TenantId(await make_program(admin))
    scope, tenant = enumerators(program), Tenant(program, "P")
    unknown = enumerators(TenantId("nowhere"))
    together = Together(hub.db, hub.log)

    async def wait(scope: TenantScope, tenant: Tenant) -> Kept | None:
        async with together.turn(tenant, Share(scope, (), (), None), weight=1) as kept:
            return kept

    for who, where, expected in ((scope, tenant, Kept(None)), (unknown, Tenant(TenantId("nowhere"), "N"), None)):
        async with somebody_at_work(together, who) as working:
            waiting = [asyncio.create_task(wait(who, where)) for _ in range(3)]
            await working.until_waited_for(3)
        assert await asyncio.gather(*waiting) == [expected] * 3
        assert not together._lines


async def test_a_batch_whose_turn_never_comes_leaves_nobody_waiting(
    hub: Hub, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = TenantId(await make_program(admin))
    scope, tenant = enumerators(program), Tenant(program, "P")
    together = Together(hub.db, hub.log)

    async def wait() -> Kept | None:
        async with together.turn(tenant, Share(scope, (), (), None), weight=1) as kept:
            return kept

    def away(*_: object, **__: object) -> None:
        raise Unavailable

    async with asyncio.timeout(20), somebody_at_work(together, scope):
        with monkeypatch.context() as patch:
            patch.setattr(hub.db, "in_turn", away)
            assert await asyncio.gather(*(wait() for _ in range(3))) == [None] * 3
    assert not together._lines
