"""Pushes that are cut off, and commits that fail: all or nothing, an honest answer, and a hub that goes on."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.testing.wire import asgi_wire
from tests.factories import make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio


async def _position(hub: Hub, program: str) -> int:
    async with hub.db.reading(EVERY_TENANT) as view:
        head = await hub.log.head(view, system_scope(TenantId(program)))
    assert head is not None
    return head.position


async def _count(admin: AsyncClient, program: str) -> int:
    count: int = (await admin.get("/api/entities/count", params={"configId": program})).json()["count"]
    return count


async def _turns_of_the_loop(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(3))
async def test_a_cancelled_push_is_stored_whole_or_not_at_all_and_the_hub_goes_on(
    app: FastAPI, hub: Hub, admin: AsyncClient, admin_token: str, seed: int
) -> None:
    """Requests are cancelled after a random number of turns of the event loop: while they wait for their turn, inside
    their transaction, during the commit they share with others, and after it."""
    program, wire, chance = await make_program(admin), asgi_wire(app), random.Random(seed)
    batches = [[make_event() for _ in range(chance.randint(1, 6))] for _ in range(60)]
    outcomes: dict[int, int] = {}

    async def send(index: int) -> None:
        body = msgspec.json.encode({"events": batches[index], "configId": program})
        answer = await wire("POST", "/api/sync/push", headers={"authorization": f"Bearer {admin_token}"}, body=body)
        outcomes[index] = answer.status

    async def send_and_cancel(index: int) -> None:
        task = asyncio.create_task(send(index))
        if index % 3:
            await _turns_of_the_loop(chance.randint(0, 1500))
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async with asyncio.timeout(60):
        await asyncio.gather(*(send_and_cancel(index) for index in range(len(batches))))
        stored = {event["guid"] for event in await pull_all(admin, program, limit=1000)}
        again = await asyncio.gather(*(push(admin, program, *batch) for batch in batches))

    for index, batch in enumerate(batches):
        here = sum(event["guid"] in stored for event in batch)
        assert here in (0, len(batch)), "half a push is stored"
        if outcomes.get(index) == 200:
            assert here == len(batch), "answered, but not stored"
    assert {answer.status_code for answer in again} == {200}
    delivered = await pull_all(admin, program, limit=1000)
    assert sorted(e["guid"] for e in delivered) == sorted(e["guid"] for batch in batches for e in batch)
    assert await _position(hub, program) == len(delivered) == await _count(admin, program)


@contextlib.asynccontextmanager
async def _schema(hub: Hub, make: list[str], drop: list[str]) -> AsyncIterator[None]:
    async with hub.db.transaction(EVERY_TENANT) as tx:
        for statement in make:
            await tx.run(statement)
    try:
        yield
    finally:
        async with hub.db.transaction(EVERY_TENANT) as tx:
            for statement in drop:
                await tx.run(statement)


def refusing_commits(hub: Hub, program: str) -> contextlib.AbstractAsyncContextManager[None]:
    """The database takes every statement that writes this program's events, and refuses the COMMIT: a constraint that
    is checked at the end of the transaction."""
    if hub.db.dialect == "sqlite":
        return _schema(
            hub,
            [
                "CREATE TABLE trap_parents (id INTEGER PRIMARY KEY)",
                "CREATE TABLE traps (parent INTEGER REFERENCES trap_parents (id) DEFERRABLE INITIALLY DEFERRED)",
                f"CREATE TRIGGER trap AFTER INSERT ON events WHEN new.tenant_id = '{program}' "
                "BEGIN INSERT INTO traps VALUES (1); END",
            ],
            ["DROP TRIGGER trap", "DROP TABLE traps", "DROP TABLE trap_parents"],
        )
    return _deferred_trigger(hub, program, "RAISE EXCEPTION 'refused at commit'")


def _deferred_trigger(hub: Hub, program: str, action: str) -> contextlib.AbstractAsyncContextManager[None]:
    return _schema(
        hub,
        [
            f"CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            f"WHEN (NEW.tenant_id = '{program}') EXECUTE FUNCTION trap()",
        ],
        ["DROP TRIGGER trap ON events", "DROP FUNCTION trap"],
    )


def _assert_error(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"] == code
    assert body["error"] and body["message"] and body["requestId"]
    assert "constraint" not in answer.text.lower() and "refused at commit" not in answer.text


async def test_a_push_whose_commit_fails_is_answered_with_an_error_and_leaves_nothing(
    hub: Hub, admin: AsyncClient
) -> None:
    program = await make_program(admin)
    batch = [make_event() for _ in range(3)]
    async with refusing_commits(hub, program):
        _assert_error(await push(admin, program, *batch), 500, "INTERNAL_ERROR")
        assert await _position(hub, program) == 0
    assert await pull_all(admin, program) == []
    assert await _count(admin, program) == 0
    assert (await push(admin, program, *batch)).json()["applied"] == 3
    assert await _position(hub, program) == 3


async def test_pushes_that_share_a_failing_commit_are_each_answered_for_what_became_of_them(
    hub: Hub, admin: AsyncClient
) -> None:
    """One program's commits are refused. Another's may share the commit; then it fails with it, and says so."""
    good, bad = await make_program(admin), await make_program(admin)
    batches = [(program, make_event()) for _ in range(12) for program in (good, bad)]
    async with refusing_commits(hub, bad):
        answers = await asyncio.gather(*(push(admin, program, event) for program, event in batches))
    stored = {e["guid"] for program in (good, bad) for e in await pull_all(admin, program)}
    for (program, event), answer in zip(batches, answers, strict=True):
        assert (event["guid"] in stored) == (answer.status_code == 200)
        assert answer.status_code == 200 or answer.status_code >= 500
        assert program == good or answer.status_code >= 500
    again = await asyncio.gather(*(push(admin, program, event) for program, event in batches))
    assert {answer.status_code for answer in again} == {200}
    assert await _position(hub, good) == await _position(hub, bad) == 12


async def test_a_full_disk_or_a_lost_connection_at_commit_is_answered_as_unavailable(
    hub: Hub, admin: AsyncClient
) -> None:
    program = await make_program(admin)
    batch = [make_event(data={"name": "Ana", "photo": "x" * 20_000}) for _ in range(20)]
    async with _out_of_order(hub, program):
        _assert_error(await push(admin, program, *batch), 503, "DATABASE_UNAVAILABLE")
    assert await pull_all(admin, program) == []
    assert (await push(admin, program, *batch)).json()["applied"] == 20
    assert await _count(admin, program) == 20


@contextlib.asynccontextmanager
async def _out_of_order(hub: Hub, program: str) -> AsyncIterator[None]:
    if hub.db.dialect == "sqlite":
        async with hub.db.transaction(EVERY_TENANT) as tx:
            # What other tests have left free is taken first.
            await tx.run("CREATE TABLE IF NOT EXISTS filling (pages BLOB)")
            while (await tx.fetch("PRAGMA freelist_count"))[0][0]:
                await tx.run("INSERT INTO filling VALUES (zeroblob(100000))")
            pages = (await tx.fetch("PRAGMA page_count"))[0][0]
            await tx.fetch(f"PRAGMA max_page_count = {pages}")
        try:
            yield
        finally:
            async with hub.db.transaction(EVERY_TENANT) as tx:
                await tx.fetch("PRAGMA max_page_count = 1073741823")
                await tx.run("DROP TABLE filling")
        return
    async with _deferred_trigger(hub, program, "PERFORM pg_terminate_backend(pg_backend_pid())"):
        yield
