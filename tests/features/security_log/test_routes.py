"""`GET /api/security-log`: who may read it, what a page holds, and how the log forgets."""

from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select

from datacollect.features.security_log import service
from datacollect.features.security_log.service import SecurityAction
from datacollect.features.security_log.tables import security_log
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.source import Source
from tests.accounts import assert_refused, bearer, login, make_person
from tests.features.conftest import Alone

pytestmark = pytest.mark.anyio

NOBODY = 900_000_000
"""Accounts beyond this do not exist in these tests, so that their entries are the test's own."""


async def note(hub: Hub, action: SecurityAction, *, now: Millis | None = None, **told: Any) -> None:
    async with hub.db.transaction() as tx:
        await service.record(
            tx, action, source=Source("192.0.2.7", "r-1"), now=hub.clock.now() if now is None else now, **told
        )


async def entries(admin: AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await admin.get("/api/security-log", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_an_entry_is_told_as_it_was_noted(hub: Hub, admin: AsyncClient) -> None:
    subject, actor = UserId(NOBODY + 1), UserId(NOBODY + 2)
    now = hub.clock.now()
    await note(
        hub,
        SecurityAction.USER_CHANGED,
        now=now,
        actor=actor,
        subject=subject,
        hint="abc",
        tenant_id=TenantId("a"),
        details={"changed": ["role"]},
    )
    [entry] = await entries(admin, userId=subject)
    assert entry.pop("id") > 0
    assert entry == {
        "recordedAt": format_timestamp(now),
        "action": "user.changed",
        "actorUserId": actor,
        "userId": subject,
        "hint": "abc",
        "tenantId": "a",
        "origin": "192.0.2.7",
        "requestId": "r-1",
        "details": {"changed": ["role"]},
    }


async def test_pages_follow_each_other_from_the_newest_on_without_gap(hub: Hub, admin: AsyncClient) -> None:
    subject = UserId(NOBODY + 3)
    for number in range(5):
        await note(hub, SecurityAction.LOGOUT, subject=subject, details={"n": number})
    seen: list[int] = []
    query: dict[str, Any] = {"userId": subject, "limit": 2}
    while True:
        page = (await admin.get("/api/security-log", params=query)).json()
        seen += [entry["details"]["n"] for entry in page["entries"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == [4, 3, 2, 1, 0]


async def test_filters_narrow_and_combine(hub: Hub, admin: AsyncClient, admin_token: str) -> None:
    subject, actor, tenant = UserId(NOBODY + 4), UserId(NOBODY + 5), TenantId("security-log-filters")
    now = hub.clock.now()
    await note(hub, SecurityAction.LOGOUT, subject=subject, actor=actor, now=now)
    await note(hub, SecurityAction.USER_CHANGED, subject=subject, tenant_id=tenant, now=Millis(now + 1))
    await note(hub, SecurityAction.USER_CHANGED, subject=UserId(NOBODY + 6), actor=actor, now=Millis(now + 2))

    async def found(**query: Any) -> list[tuple[str, int]]:
        return [(entry["action"], entry["userId"] - NOBODY) for entry in await entries(admin, **query)]

    assert await found(userId=subject) == [("user.changed", 4), ("logout", 4)]
    assert await found(userId=subject, action="logout") == [("logout", 4)]
    assert await found(actorId=actor) == [("user.changed", 6), ("logout", 4)]
    assert await found(actorId=actor, since=format_timestamp(Millis(now + 1))) == [("user.changed", 6)]
    assert await found(actorId=actor, until=format_timestamp(Millis(now + 2))) == [("logout", 4)]
    assert await found(tenantId=tenant) == [("user.changed", 4)]
    assert await found(tenantId="nowhere") == []


async def test_times_are_asked_for_exactly_whatever_the_clocks_said(alone: Alone) -> None:
    """Processes disagree, and one clock was a year ahead and another a year behind when they noted something."""
    admin, now = await alone.admin(), alone.clock.now()
    year = 525_600
    minutes = [0, 5, 1, year, 6, 2, -year, 7, 3, 40, 35, 41]
    for minute in minutes:
        at = Millis(now + minute * 60_000)
        await note(alone.hub, SecurityAction.LOGOUT, now=at, subject=UserId(NOBODY), details={"m": minute})

    async def found(**query: int) -> list[int]:
        times = {name: format_timestamp(Millis(now + minute * 60_000)) for name, minute in query.items()}
        seen: list[int] = []
        asked: dict[str, Any] = {"userId": NOBODY, "limit": 5, **times}
        while True:
            page = (await admin.get("/api/security-log", params=asked)).json()
            seen += [entry["details"]["m"] for entry in page["entries"]]
            if page["nextCursor"] is None:
                return seen
            asked["cursor"] = page["nextCursor"]

    newest_first = sorted(minutes, reverse=True)
    assert await found() == newest_first
    for instant in range(0, 42, 3):
        assert await found(since=instant) == [minute for minute in newest_first if minute >= instant]
        assert await found(until=instant) == [minute for minute in newest_first if minute < instant]
        inside = [minute for minute in newest_first if instant <= minute < instant + 5]
        assert await found(since=instant, until=instant + 5) == inside
    assert await found(since=2 * year) == await found(until=-2 * year) == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "many"},
        {"cursor": "abc"},
        {"cursor": "-1"},
        {"cursor": "4711"},
        {"userId": "me"},
        {"actorId": "9" * 30},
        {"action": "login"},
        {"since": "yesterday"},
        {"until": "2026-11-16"},
    ],
    ids=str,
)
async def test_a_question_that_cannot_be_read_is_refused(admin: AsyncClient, query: dict[str, str]) -> None:
    answer = await admin.get("/api/security-log", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SECURITY_LOG_QUERY")


async def test_only_administrators_read_it(client: AsyncClient, admin: AsyncClient) -> None:
    assert_refused(await client.get("/api/security-log"), 401, "Authorization header missing")
    for role in ("program-admin", "system-admin"):
        delegate = await make_person(admin, roleAssignments=[{"tenantId": "a", "role": role}])
        headers = bearer((await login(client, delegate))["token"])
        refused = await client.get("/api/security-log", params={"tenantId": "a"}, headers=headers)
        assert_refused(refused, 403, "Forbidden: Admin access required")


async def test_what_is_undone_was_never_noted(hub: Hub, admin: AsyncClient) -> None:
    subject = UserId(NOBODY + 7)
    with pytest.raises(ZeroDivisionError):
        async with hub.db.transaction() as tx:
            await service.record(tx, SecurityAction.LOGOUT, source=None, now=hub.clock.now(), subject=subject)
            raise ZeroDivisionError
    assert await entries(admin, userId=subject) == []


async def test_what_has_expired_is_forgotten_a_hundred_at_a_time(alone: Alone) -> None:
    hub, day = alone.hub, 86_400_000
    now = hub.clock.now()
    async with hub.db.transaction() as tx:
        for number in range(130):
            await service.record(
                tx,
                SecurityAction.LOGOUT,
                source=None,
                now=Millis(now - 30 * day - 130 + number),
                subject=UserId(NOBODY),
            )
        await service.record(tx, SecurityAction.LOGOUT, source=None, now=Millis(now - 29 * day), subject=UserId(NOBODY))

    async def left() -> int:
        async with hub.db.reading() as view:
            mine = select(func.count()).where(security_log.c.subject_user_id == NOBODY)
            return int((await view.execute(mine)).scalar_one())

    counts = []
    for _ in range(3):
        async with hub.db.transaction() as tx:
            await service.forget_expired(tx, days=30, now=now)
        counts.append(await left())
    assert counts == [31, 1, 1]
