"""What operators see of a program's messages."""

from typing import Any

import pytest

from datacollect.messaging import Channel
from tests.accounts import bearer, login, make_person
from tests.features.messages.outbox import CODE, MAIL, PHONE, Box, Post

pytestmark = pytest.mark.anyio


async def listed(post: Post, box: Box, **query: Any) -> dict[str, Any]:
    answer = await post.admin.get("/api/messages", params={"configId": box.program} | query)
    assert answer.status_code == 200, answer.text
    assert not any(secret in answer.text for secret in (CODE, PHONE, MAIL))
    told: dict[str, Any] = answer.json()
    return told


async def test_messages_are_listed_with_masked_addresses_the_youngest_first(post: Post) -> None:
    box = await post.box(messagesPerDay=2)
    ids = [await box.put(), await box.put(channel=Channel.MAIL, address=MAIL), await box.put()]
    await post.deliver()
    told = await listed(post, box)
    assert {message["id"] for message in told["messages"]} == set(ids)
    found = {message["id"]: message for message in told["messages"]}
    sms, mail, dropped = (found[one] for one in ids)
    assert (sms["to"], sms["channel"], sms["status"], sms["attempts"]) == ("+49…12", "sms", "delivered", 1)
    assert (mail["to"], mail["channel"], mail["status"], mail["purpose"]) == ("a…@…", "mail", "delivered", "otp")
    assert (dropped["status"], dropped["code"]) == ("dropped", "MESSAGE_BUDGET_USED")
    assert told["today"]["used"] == 3 and told["today"]["most"] == 2
    assert told["channels"] == {"sms": "gateway", "mail": "smtp", "webhook": "http"}
    times = [message["createdAt"] for message in told["messages"]]
    assert times == sorted(times, reverse=True)


async def test_pages_hold_each_message_once(post: Post) -> None:
    box = await post.box()
    ids = [await box.put() for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        told = await listed(post, box, **query)
        seen += [message["id"] for message in told["messages"]]
        if told["nextCursor"] is None:
            break
        query["cursor"] = told["nextCursor"]
    assert sorted(seen) == sorted(ids) and len(seen) == 5


async def test_messages_in_one_state_can_be_asked_for(post: Post) -> None:
    box = await post.box()
    await box.put(deliverable=False)
    waiting = await box.put(address="no number")
    await post.deliver()
    told = await listed(post, box, status="refused")
    assert [(message["id"], message["code"]) for message in told["messages"]] == [(waiting, "ADDRESS_INVALID")]
    assert (await listed(post, box, status="waiting"))["messages"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "x"},
        {"status": "lost"},
        {"cursor": "%00"},
        {"cursor": "WzEsMl0"},
        {"cursor": "W3RydWUsIngiXQ"},
        {"cursor": "WzEsIlx1MDAwMCJd"},
        {"cursor": "WzFd"},
    ],
)
async def test_a_question_that_nobody_can_answer_is_refused(post: Post, query: dict[str, str]) -> None:
    box = await post.box()
    answer = await post.admin.get("/api/messages", params={"configId": box.program} | query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_MESSAGES_QUERY")


async def test_other_programs_are_not_listed(post: Post) -> None:
    box, other = await post.box(), await post.box()
    await box.put()
    assert (await listed(post, other))["messages"] == []


@pytest.mark.parametrize(("role", "status"), [("supervisor", 403), ("program-admin", 200)])
async def test_it_takes_a_program_administrator(post: Post, role: str, status: int) -> None:
    box = await post.box()
    assignments = [{"tenantId": box.program, "role": role}]
    person = await make_person(post.admin, tenantIds=[box.program], roleAssignments=assignments)
    tokens = await login(post.admin, person)
    answer = await post.admin.get("/api/messages", params={"configId": box.program}, headers=bearer(tokens["token"]))
    assert answer.status_code == status, answer.text


async def test_a_program_may_leave_its_own_words_out_by_null(post: Post) -> None:
    words = {"otp": {}, "reviewDecided": {"FR": "Du nouveau"}, "reviewDue": None, "reviewWaiting": None}
    box = await post.box(messageTexts=words, languages=None, fields=None, accessLog=None, messagesPerDay=None)
    assert (await listed(post, box))["messages"] == []
