"""Putting a message in the outbox: what is kept, what it costs, and what nobody can tell."""

import pytest

from datacollect.features.messages.model import Status
from datacollect.features.messages.service import used_today
from datacollect.messaging import Channel
from tests.features.messages.outbox import CODE, MAIL, PHONE, Post

pytestmark = pytest.mark.anyio


async def test_the_address_is_masked_and_the_content_sealed(post: Post) -> None:
    box = await post.box()
    message, content = await box.look(await box.put())
    assert (message.masked, message.status, message.purpose) == ("+49…12", Status.WAITING, "otp")
    assert content is not None and CODE not in content and PHONE not in content
    mail, _ = await box.look(await box.put(channel=Channel.MAIL, address=MAIL))
    assert mail.masked == "a…@…"


@pytest.mark.parametrize(
    "address", ["", "@", "\0", "\0@\0", "\ud800@people.test", "+49\ud800", "x" * 5000, "'; --", "٣" * 12]
)
async def test_whatever_is_typed_as_an_address_is_taken_and_then_refused(post: Post, address: str) -> None:
    box = await post.box()
    for channel in (Channel.SMS, Channel.MAIL):
        message_id = await box.put(channel=channel, address=address, text=f"{CODE} \ud800", subject="\0")
        await post.deliver()
        message, content = await box.look(message_id)
        assert (message.status, message.code, content) == (Status.REFUSED, "ADDRESS_INVALID", None)


async def test_decoys_dropped_ones_and_others_take_the_same_statements(post: Post) -> None:
    box = await post.box(messagesPerDay=1)
    taken = []
    for deliverable in (True, False, True, False):
        with post.hub.db.statements.record() as statements:
            await box.put(deliverable=deliverable)
        taken.append(statements)
    # Whatever holds the program in the directory's memory.
    kinds = [[one for one in statements if "FROM programs" not in one] for statements in taken]
    assert all(each == kinds[0] for each in kinds[1:])
    assert sum("INTO" in one for one in kinds[0]) == 3


async def test_beyond_the_budget_messages_are_dropped_without_their_content(post: Post) -> None:
    box = await post.box(messagesPerDay=2)
    found = [await box.look(await box.put()) for _ in range(3)]
    assert [message.status for message, _ in found] == [Status.WAITING, Status.WAITING, Status.DROPPED]
    dropped, content = found[2]
    assert (dropped.code, content) == ("MESSAGE_BUDGET_USED", None)


async def test_decoys_and_webhooks_use_nothing_of_the_budget(post: Post) -> None:
    box = await post.box(messagesPerDay=1)
    for _ in range(3):
        await box.put(deliverable=False)
        await box.put(channel=Channel.WEBHOOK, address="https://system.test/news")
    message, _ = await box.look(await box.put())
    assert message.status is Status.WAITING
    async with post.hub.db.reading(box.scope) as view:
        assert await used_today(view, box.scope, now=post.hub.clock.now()) == 1


async def test_without_a_number_of_its_own_the_hubs_budget_holds(post: Post) -> None:
    box = await post.box()
    tenant = await post.hub.tenants.find(box.scope.tenant_id)
    assert tenant is not None and post.hub.messages.most_per_day(tenant) == post.hub.settings.messages_per_day
    none = await post.box(messagesPerDay=0)
    message, _ = await none.look(await none.put())
    assert message.status is Status.DROPPED
