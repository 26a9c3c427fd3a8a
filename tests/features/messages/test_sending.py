"""Sending what is in the outbox: once, in time, and without leaving anything behind."""

import asyncio
import contextlib

import pytest
from sqlalchemy import func, select, text

from datacollect.db.metadata import metadata
from datacollect.features.messages import queries
from datacollect.features.messages.model import Status
from datacollect.features.messages.service import KIND
from datacollect.features.messages.tables import message_days, messages
from datacollect.jobs import JobNotRetryable, JobState, find_latest
from datacollect.kernel.clock import Millis
from datacollect.messaging import Channel
from datacollect.testing.remote import Answer, DropAfter, Instead, Late
from tests.features.messages.outbox import CODE, MAIL, MINUTES_5, PHONE, Box, Post
from tests.jobs.elsewhere import until

pytestmark = pytest.mark.anyio

DAY_SECONDS = 86_400


async def job_state(box: Box, message_id: str) -> JobState:
    async with box.hub.db.reading(box.scope) as view:
        job = await find_latest(view, box.scope, KIND, key=message_id)
    assert job is not None
    return job.state


async def test_a_text_message_goes_through_the_gateway_and_is_forgotten(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, message.attempts, content) == (Status.DELIVERED, None, 1, None)
    assert post.gateway.ids == [message_id]
    assert post.gateway.taken[0].json() == {"to": PHONE, "text": f"{CODE} is your code.", "id": message_id}
    assert await job_state(box, message_id) is JobState.COMPLETED


async def test_a_mail_goes_through_the_mail_server(post: Post) -> None:
    box = await post.box()
    message_id = await box.put(channel=Channel.MAIL, address=MAIL, subject="Your code")
    await post.deliver()
    (mail,) = post.mail.mails
    assert (mail["To"], mail["Subject"], mail["Message-ID"]) == (MAIL, "Your code", f"<{message_id}@hub.test>")
    assert (await box.look(message_id))[0].status is Status.DELIVERED


async def test_a_webhook_goes_to_the_programs_own_system(post: Post) -> None:
    box = await post.box()
    await box.put(channel=Channel.WEBHOOK, address=f"{post.system.url}/news", text='{"news":1}', secret="s3cret")
    await post.deliver()
    (request,) = post.gateway.taken
    assert (request.path, request.json()) == ("/news", {"news": 1})
    assert request.headers["webhook-signature"].startswith("v1,")


async def test_nothing_is_sent_to_whom_nobody_knows(post: Post) -> None:
    box = await post.box()
    message_id = await box.put(deliverable=False)
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.DROPPED, "NOBODY_TO_TELL", None)
    assert post.gateway.taken == []


async def test_what_is_dropped_is_not_sent(post: Post) -> None:
    box = await post.box(messagesPerDay=0)
    await box.put()
    await post.deliver()
    assert post.gateway.taken == []


async def test_a_budget_begins_anew_with_the_day(post: Post) -> None:
    box = await post.box(messagesPerDay=1)
    await box.put()
    assert (await box.look(await box.put()))[0].status is Status.DROPPED
    post.clock.turn(seconds=DAY_SECONDS)
    assert (await box.look(await box.put()))[0].status is Status.WAITING
    await post.deliver()


async def test_a_gateway_that_is_away_is_tried_again_until_it_is_there(post: Post) -> None:
    box = await post.box()
    post.system.faults.add(Instead(503), times=2)
    message_id = await box.put()
    for _ in range(3):
        await post.deliver()
        message, content = await box.look(message_id)
        if message.status is Status.DELIVERED:
            break
        assert (message.status, message.code) == (Status.WAITING, "GATEWAY_BUSY")
        assert content is not None
        post.clock.turn(seconds=10)
    assert (message.status, message.attempts) == (Status.DELIVERED, 3)
    assert post.gateway.ids == [message_id]


async def test_a_pause_that_the_gateway_asks_for_is_kept_to(post: Post) -> None:
    box = await post.box()
    post.system.faults.add(Instead(429, headers={"retry-after": "100"}))
    message_id = await box.put()
    await post.deliver()
    post.clock.turn(seconds=90)
    await post.deliver()
    assert post.gateway.taken == []
    post.clock.turn(seconds=25)
    await post.deliver()
    assert post.gateway.ids == [message_id]


async def test_a_greylisted_mail_arrives_later(post: Post) -> None:
    box = await post.box()
    post.mail.replies["RCPT"] = ["450 greylisted"]
    message_id = await box.put(channel=Channel.MAIL, address=MAIL)
    await post.deliver()
    assert (await box.look(message_id))[0].code == "SMTP_TRY_LATER"
    post.clock.turn(seconds=5)
    await post.deliver()
    assert len(post.mail.mails) == 1


async def test_what_is_refused_for_good_is_given_up_and_forgotten(post: Post) -> None:
    box = await post.box()
    post.system.faults.add(Instead(400, {"error": PHONE}))
    message_id = await box.put()
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.REFUSED, "GATEWAY_REFUSED", None)
    post.clock.turn(seconds=60)
    await post.deliver()
    assert post.gateway.taken == []


async def test_a_code_is_never_sent_late(post: Post) -> None:
    box = await post.box()
    post.system.faults.add(Instead(503), times=None)
    message_id = await box.put()
    await post.deliver()
    post.clock.turn(seconds=MINUTES_5 / 1000)
    post.system.faults.clear()
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.EXPIRED, "GATEWAY_BUSY", None)
    assert post.gateway.taken == []


async def test_a_code_that_nobody_came_to_send_expires(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    post.clock.turn(seconds=MINUTES_5 / 1000)
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.EXPIRED, "EXPIRED", None)
    assert post.gateway.taken == []


async def test_what_may_have_arrived_twice_is_not_sent_a_third_time(post: Post) -> None:
    box = await post.box()
    post.system.faults.add(DropAfter(), times=None)
    message_id = await box.put()
    await post.deliver()
    post.clock.turn(seconds=20)
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.REFUSED, "OUTCOME_UNKNOWN", None)
    post.clock.turn(seconds=60)
    await post.deliver()
    # Under one id, so that the gateway can tell.
    assert post.gateway.ids == [message_id] * 2


async def test_after_a_crash_in_the_middle_it_is_sent_once_more_under_the_same_id(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    for crash in range(2):
        await _crash_while_sending(post, crash + 1)
        assert (await box.look(message_id))[0].status is Status.SENDING
        post.clock.turn(seconds=31)  # the lease ends
    post.system.faults.clear()
    await post.deliver()
    message, content = await box.look(message_id)
    assert (message.status, message.code, message.attempts) == (Status.REFUSED, "OUTCOME_UNKNOWN", 2)
    assert content is None
    assert post.gateway.ids == [message_id] * 2


async def test_a_crash_that_is_survived_leads_to_a_delivered_message(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    await _crash_while_sending(post, 1)
    post.system.faults.clear()
    post.clock.turn(seconds=31)
    await post.deliver()
    message, _ = await box.look(message_id)
    assert (message.status, message.attempts) == (Status.DELIVERED, 2)


async def _crash_while_sending(post: Post, requests: int) -> None:
    """End the process's work on it once the gateway has it, before anything else is written down."""
    post.system.faults.clear()
    post.system.faults.add(Late(60), times=None)
    sending = asyncio.create_task(post.deliver())

    async def has_arrived() -> bool:
        return len(post.gateway.taken) == requests

    await until(has_arrived)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending


async def test_a_message_that_is_called_off_is_dropped(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    async with post.hub.db.transaction(box.scope) as tx:
        job = await find_latest(tx, box.scope, KIND, key=message_id)
        assert job is not None
        await post.hub.jobs.cancel(tx, box.scope, job.id)
    message, content = await box.look(message_id)
    assert (message.status, message.code, content) == (Status.DROPPED, "CALLED_OFF", None)
    await post.deliver()
    assert post.gateway.taken == []


async def test_what_has_expired_is_not_sent_by_trying_its_job_again(post: Post) -> None:
    box = await post.box()
    message_id = await box.put()
    post.clock.turn(seconds=MINUTES_5 / 1000)
    await post.deliver()
    async with post.hub.db.transaction(box.scope) as tx:
        job = await find_latest(tx, box.scope, KIND, key=message_id)
        assert job is not None and job.state is JobState.DISCARDED
        with pytest.raises(JobNotRetryable):
            await post.hub.jobs.retry(tx, box.scope, job.id)


async def test_one_that_is_stuck_holds_up_no_other(post: Post) -> None:
    box = await post.box()
    stuck = await box.put()
    post.system.faults.add(Instead(503), times=None, matches=lambda request: request.headers["webhook-id"] == stuck)
    await post.deliver()
    behind = await box.put()
    await post.deliver()
    assert post.gateway.ids == [behind]


async def test_each_message_of_many_is_sent_once(post: Post) -> None:
    box = await post.box()
    ids = [await box.put() for _ in range(20)]
    await asyncio.gather(post.deliver(), post.deliver(), post.deliver())
    assert sorted(post.gateway.ids) == sorted(ids)


async def test_messages_are_forgotten_after_a_month(post: Post) -> None:
    box = await post.box()
    await box.put()
    await post.deliver()
    post.clock.turn(seconds=31 * DAY_SECONDS)
    kept = await box.put()
    await post.deliver()
    async with post.hub.db.reading(box.scope) as view:
        found = await view.execute(select(messages.c.id).where(messages.c.tenant_id == box.program))
        days = await view.execute(select(func.count()).where(message_days.c.tenant_id == box.program))
        assert [row.id for row in found] == [kept]
        assert days.scalar_one() == 1


async def test_a_mistake_of_ours_is_told_without_what_it_was_about(
    post: Post, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = await post.box()

    def breaks(*_: object, **__: object) -> Answer:
        raise ValueError(f"{PHONE} {CODE}")

    # Nothing of ours raises this; what a library may do one day is what this is about.
    monkeypatch.setattr(post.hub.urgent, "request", breaks)
    message_id = await box.put()
    await post.deliver()
    message, _ = await box.look(message_id)
    assert (message.status, message.code, message.unsure) == (Status.WAITING, "COURIER_FAILED", 1)
    told = capsys.readouterr().out
    assert "courier.failed" in told and "ValueError" in told
    assert PHONE not in told and CODE not in told


async def test_codes_and_addresses_are_nowhere_in_the_database_and_the_log(
    post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    box = await post.box()
    secrets = [CODE, PHONE, PHONE[1:], MAIL, "s3cret"]
    await box.put()
    await box.put(channel=Channel.MAIL, address=MAIL, subject=f"{CODE}")
    await box.put(channel=Channel.WEBHOOK, address=f"{post.system.url}/{CODE.replace(' ', '-')}", secret="s3cret")
    post.system.faults.add(Instead(503, {"error": f"{PHONE} {CODE}"}))
    post.mail.replies["RCPT"] = [f"450 {MAIL} greylisted"]
    for _ in range(2):
        held = await _everything_in(post)
        assert not any(secret in held for secret in secrets)
        await post.deliver()
        post.clock.turn(seconds=10)
    held = await _everything_in(post)
    told = capsys.readouterr()
    assert len(post.gateway.taken) == 2 and len(post.mail.mails) == 1
    for secret in secrets:
        assert secret not in held
        assert secret not in told.out + told.err
    async with post.hub.db.reading(box.scope) as view:
        kept = await view.execute(select(func.count()).where(messages.c.content.is_not(None)).select_from(messages))
        assert kept.scalar_one() == 0


async def _everything_in(post: Post) -> str:
    """All files of the database, or all rows where it has none here."""
    if post.hub.db.dialect == "sqlite":
        files = [file for file in post.hub.settings.data_dir.iterdir() if file.is_file()]
        assert any(file.name.endswith("-wal") for file in files)
        return "".join(file.read_bytes().decode("latin-1") for file in files)
    async with post.hub.db.transaction() as tx:
        await tx.execute(text("SET LOCAL datacollect.every_tenant = 'on'"))
        tables = [await tx.execute(select(table)) for table in metadata.sorted_tables]
        return repr([rows.all() for rows in tables])


async def test_forgetting_waits_for_nobody(post: Post) -> None:
    """Two jobs that delete the same old messages at the same time, in another order each, would end in a deadlock."""
    if post.hub.db.dialect == "sqlite":
        pytest.skip("there is one writer at a time")
    box = await post.box()
    kept, gone = await box.put(), await box.put()
    soon = Millis(post.hub.clock.now() + 1)
    async with post.hub.db.transaction(box.scope) as holding:
        message, _ = await box.look(kept)
        await queries.store_outcome(holding, box.scope, message, keep_content=True)
        async with asyncio.timeout(10), post.hub.db.transaction(box.scope) as tx:
            await queries.forget(tx, box.scope, before=soon, day="9999", most=100)
    async with post.hub.db.reading(box.scope) as view:
        assert await queries.find(view, box.scope, kept) is not None
        assert await queries.find(view, box.scope, gone) is None
