"""Records to a workflow and changes from it, over a real socket and under faults."""

from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from datacollect.adapters.calling import Retrying
from datacollect.adapters.configured import read_external_sync
from datacollect.adapters.errors import AdapterError, Misconfigured
from datacollect.adapters.kinds import Context
from datacollect.adapters.openfn import KIND, OpenFnAdapter, OpenFnOptions
from datacollect.adapters.openfn.adapter import EXTRA_CALLS, PAGE_ITEMS
from datacollect.adapters.openfn.items import DELETION, KNOWN, as_item
from datacollect.adapters.openfn.marks import MOST_KNOWN, Mark, read_mark
from datacollect.adapters.port import Failed, Incoming, Member, Outgoing, Page, Pushed, RecordType
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.outgoing import GuardedClient, Rules
from datacollect.testing.clock import SetClock
from datacollect.testing.openfn import OpenFnWorkflow
from datacollect.testing.remote import DropAfter, DropBefore, Fault, Instead, Late, Request

pytestmark = pytest.mark.anyio

QUICKLY = Retrying(tries=3, first_pause_seconds=0.001, total_seconds=5)
NOON = parse_timestamp("2025-06-01T12:00:00.000Z")
SECRETS = ("openfn-key", "callback-token")


@pytest.fixture
def workflow() -> Iterator[OpenFnWorkflow]:
    with OpenFnWorkflow() as workflow:
        yield workflow


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    client = GuardedClient(Rules(networks=(ip_network("127.0.0.1"),)))
    clock = SetClock(Millis(NOON + 24 * 3600 * 1000))
    yield Context(client=client, clock=clock, form_types={"household": "group", "person": "individual"})
    await client.aclose()


def adapter_of(context: Context, workflow: OpenFnWorkflow, **options: Any) -> OpenFnAdapter:
    section = {"url": workflow.url, "apiKey": workflow.api_key, "callbackToken": workflow.callback_token} | options
    return OpenFnAdapter(OpenFnOptions.model_validate(section), context, retrying=QUICKLY)


def people(count: int, **changes: Any) -> list[Outgoing]:
    return [person(number, **changes) for number in range(count)]


def person(number: int, **changes: Any) -> Outgoing:
    values: dict[str, Any] = {
        "guid": f"p-{number}",
        "type": RecordType.INDIVIDUAL,
        "data": {"name": f"Ada {number}"},
        "version": 1,
        "key": f"key-{number}",
    }
    return Outgoing(**(values | changes))


def item(number: int, *, at: int = 0, **changes: Any) -> dict[str, Any]:
    """An event that happened `at` milliseconds after noon."""
    time = format_timestamp(Millis(NOON + at))
    return {
        "type": "update-individual",
        "entityGuid": f"p-{number}",
        "data": {"n": number},
        "timestamp": time,
    } | changes


async def pull_all(
    adapter: OpenFnAdapter, mark: str | None = None, *, most: int = 50
) -> tuple[list[Incoming], str, list[Page]]:
    pages: list[Page] = []
    while len(pages) < most:
        page = await adapter.pull(mark)
        pages.append(page)
        mark = page.mark
        if page.is_last:
            return [record for page in pages for record in page.records], mark, pages
    raise AssertionError("it never ends")


async def mark_after(context: Context, *items: Any) -> str:
    """The mark of a pull that has seen these."""
    with OpenFnWorkflow() as other:
        other.give(*items)
        return (await pull_all(adapter_of(context, other)))[1]


def bodies(workflow: OpenFnWorkflow) -> list[dict[str, Any]]:
    return [request.json() for request in workflow.log if request.method == "POST"]


def codes(outcomes: Sequence[object]) -> list[str]:
    return [outcome.failure.code if isinstance(outcome, Failed) else type(outcome).__name__ for outcome in outcomes]


# -- to the workflow


async def test_records_arrive_in_batches_with_the_key_of_the_webhook(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    outcomes = await adapter_of(context, workflow, batchSize="2").push(people(5))
    assert outcomes == [Pushed(link=None)] * 5
    assert [len(body["entities"]) for body in bodies(workflow)] == [2, 2, 1]
    assert bodies(workflow)[0]["entities"][0] == {
        "guid": "p-0",
        "type": "individual",
        "data": {"name": "Ada 0"},
        "version": 1,
        "idempotencyKey": "key-0",
    }


async def test_an_empty_push_makes_no_call(workflow: OpenFnWorkflow, context: Context) -> None:
    assert await adapter_of(context, workflow).push([]) == []
    assert workflow.asked == 0


async def test_groups_tell_their_members_and_deleted_records_that_they_are(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    members = [Member(guid="p-1", type=RecordType.INDIVIDUAL, link=None)]
    group = person(0, type=RecordType.GROUP, members=members)
    survey = person(1, type=RecordType.RECORD)
    gone = person(2, is_deleted=True, data={})
    await adapter_of(context, workflow).push([group, survey, gone])
    assert workflow.records["p-0"]["members"] == [{"guid": "p-1"}]
    assert workflow.records["p-1"]["type"] == "record"
    assert workflow.deleted == {"p-2"}


async def test_a_batch_on_which_the_workflow_breaks_fails_whole_and_the_next_ones_are_sent(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.faults.add(Instead(500, b"Ada 2 is not nice"), times=None, matches=lambda request: b"p-2" in request.body)
    outcomes = await adapter_of(context, workflow, batchSize=2).push(people(5))
    assert codes(outcomes) == ["Pushed", "Pushed", "PUSH_BATCH_FAILED", "PUSH_BATCH_FAILED", "Pushed"]
    failed = outcomes[2]
    assert isinstance(failed, Failed) and failed.failure.retryable and failed.is_uncertain
    assert failed.failure.guid == "p-2" and "Ada" not in failed.failure.message and "500" in failed.failure.message


@pytest.mark.parametrize("status", [400, 409, 412, 413, 422])
async def test_a_record_that_is_refused_keeps_few_others_back(
    workflow: OpenFnWorkflow, context: Context, status: int
) -> None:
    workflow.faults.add(Instead(status), times=None, matches=lambda request: b'"p-37"' in request.body)
    outcomes = await adapter_of(context, workflow).push(people(100))
    assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Failed)] == [37]
    failed = outcomes[37]
    assert isinstance(failed, Failed) and not failed.failure.retryable and not failed.is_uncertain
    assert len(workflow.records) == 99


@pytest.mark.parametrize("status", [406, 415, 451])
async def test_records_that_a_firewall_refuses_keep_nobody_else_back_and_come_again(
    workflow: OpenFnWorkflow, context: Context, status: int
) -> None:
    workflow.faults.add(Instead(status), times=None, matches=lambda request: b"select" in request.body)
    bad = people(4, data={"name": "select"})
    good = [person(number) for number in range(4, 100)]
    adapter = adapter_of(context, workflow, batchSize=50)
    for records in ([*bad, *good], bad):
        outcomes = await adapter.push(records)
        failed = [one for one in outcomes if isinstance(one, Failed)]
        assert [one.failure.retryable for one in failed] == [True] * 4
        assert len(workflow.records) == 96


async def test_only_records_that_were_refused_alone_are_given_up(workflow: OpenFnWorkflow, context: Context) -> None:
    """More bad ones than calls to find them in: the others are looked for by the next runs."""
    bad = {f"p-{number}" for number in range(7, 100, 20)}
    workflow.faults.add(
        Instead(422),
        times=None,
        matches=lambda request: any(f'"{guid}"'.encode() in request.body for guid in bad),
    )
    left, given_up = people(100), set[str]()
    for _ in range(4):
        outcomes = await adapter_of(context, workflow).push(left)
        failed = [(record, one.failure) for record, one in zip(left, outcomes, strict=True) if isinstance(one, Failed)]
        given_up |= {record.guid for record, failure in failed if not failure.retryable}
        left = [record for record, failure in failed if failure.retryable]
    assert (given_up, left, len(workflow.records)) == (bad, [], 95)


async def test_a_workflow_that_refuses_everything_is_not_asked_for_each_record(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.faults.add(Instead(422), times=None)
    assert set(codes(await adapter_of(context, workflow).push(people(100)))) == {"PUSH_BATCH_FAILED"}
    assert workflow.asked <= EXTRA_CALLS + 1


@pytest.mark.parametrize(
    ("fault", "retryable", "calls"),
    [
        (Instead(401), True, 1),
        (Instead(403), True, 1),
        (Instead(404), True, 1),
        (Instead(402), True, 1),
        (Instead(405), True, 1),
        (Instead(302, None, {"Location": "http://127.0.0.1:1/"}), False, 1),
        (DropBefore(), True, 9),
        (Instead(503), True, 3),
    ],
)
async def test_a_workflow_that_is_away_or_closed_ends_the_push(
    workflow: OpenFnWorkflow, context: Context, fault: Fault, retryable: bool, calls: int
) -> None:
    workflow.faults.add(fault, times=None)
    with pytest.raises(AdapterError) as raised:
        await adapter_of(context, workflow, batchSize=1).push(people(3))
    assert (raised.value.failure.code, raised.value.failure.retryable) == ("PUSH_BATCH_FAILED", retryable)
    assert workflow.asked == calls, "a call that cannot succeed is not repeated, one that may is"


async def test_a_workflow_that_breaks_on_every_batch_is_taken_for_away(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.faults.add(Instead(500), times=None)
    with pytest.raises(AdapterError):
        await adapter_of(context, workflow, batchSize=1).push(people(50))
    assert workflow.asked == 9


async def test_how_long_to_wait_is_handed_on(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.faults.add(Instead(429, None, {"Retry-After": "120"}), times=None)
    with pytest.raises(AdapterError) as raised:
        await adapter_of(context, workflow).push(people(1))
    assert raised.value.retry_after_seconds == 120 and workflow.asked == 1


@pytest.mark.parametrize("fault", [DropAfter(), Instead(500), Instead(429, None, {"Retry-After": "0"})])
async def test_a_batch_whose_answer_is_lost_is_sent_again_under_its_key(
    workflow: OpenFnWorkflow, context: Context, fault: Fault
) -> None:
    workflow.faults.add(fault)
    assert await adapter_of(context, workflow).push(people(3)) == [Pushed(link=None)] * 3
    keys = {request.headers["idempotency-key"] for request in workflow.log}
    assert (workflow.asked, len(keys), len(workflow.records), workflow.doubled) == (2, 1, 3, [])


async def test_the_same_batch_has_the_same_key_whoever_sends_it(workflow: OpenFnWorkflow, context: Context) -> None:
    for _ in range(2):
        await adapter_of(context, workflow).push(people(3))
    await adapter_of(context, workflow).push([person(0), person(1), person(2, key="key-of-an-edit", version=2)])
    keys = [request.headers["idempotency-key"] for request in workflow.log]
    assert keys[0] == keys[1] != keys[2]


async def test_after_a_crash_records_in_other_batches_keep_their_keys(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    await adapter_of(context, workflow, batchSize=3).push(people(4))
    again = people(5, is_uncertain=True)
    assert codes(await adapter_of(context, workflow, batchSize=2).push(again)) == ["Pushed"] * 5
    assert (len(workflow.records), workflow.repeated, workflow.doubled) == (5, 4, [])


async def test_what_a_webhook_answers_need_not_be_json(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.faults.add(Instead(202, b"<p>Thank you</p>"))
    assert codes(await adapter_of(context, workflow).push(people(1))) == ["Pushed"]


# -- from the workflow


async def test_events_are_pulled_with_their_fields_and_not_nested_twice(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.give(item(1, guid="e-1", data={"name": "Ada", "_internal": 1}, userId="root", syncLevel=9))
    (record,), mark, _ = await pull_all(adapter_of(context, workflow))
    assert record == Incoming(
        external_id="p-1",
        guid="p-1",
        type=RecordType.INDIVIDUAL,
        data={"name": "Ada"},
        occurred_at=NOON,
        version="2025-06-01T12:00:00.000Z",
        event_type="update-individual",
        event_guid="e-1",
    )
    assert read_mark(mark).newest == NOON


@pytest.mark.parametrize(
    ("raw", "external_id", "type_", "data"),
    [
        ({"id": 7, "name": "Ada"}, "7", None, {"name": "Ada"}),
        ({"id": "7", "type": "external-pull", "name": "Ada"}, "7", None, {"name": "Ada"}),
        ({"id": "7", "entityName": "household"}, "7", RecordType.GROUP, {"entityName": "household"}),
        ({"id": "7", "data": {"entityName": "person"}}, "7", RecordType.INDIVIDUAL, {"entityName": "person"}),
        ({"guid": "g", "type": "individual", "data": {"a": 1}, "version": 3}, "g", RecordType.INDIVIDUAL, {"a": 1}),
        ({"entityGuid": "e", "id": "7", "type": "create-group", "data": {}}, "e", RecordType.GROUP, {}),
    ],
)
async def test_items_of_other_shapes_become_updates_of_their_record(
    workflow: OpenFnWorkflow,
    context: Context,
    raw: dict[str, Any],
    external_id: str,
    type_: RecordType | None,
    data: dict[str, Any],
) -> None:
    workflow.give(raw)
    (record,), mark, _ = await pull_all(adapter_of(context, workflow))
    assert record.event_guid is None, "without a time it may be as it was once before, and yet be news"
    assert (record.external_id, record.type, record.data, record.is_deleted) == (external_id, type_, data, False)
    assert read_mark(mark) == Mark(), "without times there is nothing to go on from"


@pytest.mark.parametrize(
    "raw",
    [
        "text",
        None,
        [],
        {"type": "update-individual", "data": {"phone": "5551234"}},
        item(1, type="resolve-conflict"),
        item(1, type=DELETION),
        item(1, type=7),
        item(1, data=[1]),
        item(1, timestamp="yesterday"),
        item(1, timestamp=5),
        item(1, timestamp="+99999-01-01T00:00:00Z"),
        {"entityGuid": " ", "id": True},
    ],
)
async def test_an_item_that_cannot_be_read_is_named_and_the_others_are_not_lost(
    workflow: OpenFnWorkflow, context: Context, raw: Any
) -> None:
    workflow.give(item(0), raw, item(2))
    records, _, pages = await pull_all(adapter_of(context, workflow))
    (failure,) = [failure for page in pages for failure in page.failures]
    assert [record.external_id for record in records] == ["p-0", "p-2"]
    assert (failure.code, failure.retryable) == ("PULL_APPLY_FAILED", False)
    assert failure.external_id == as_item(raw).digest, "the same item has the same name however often it is told"
    assert "5551234" not in failure.message and "p-1" not in failure.message and "yesterday" not in failure.message


async def test_an_item_nested_too_deeply_is_named(workflow: OpenFnWorkflow, context: Context) -> None:
    deep = b'{"id":1,"data":{"a":' + b"[" * 700 + b"]" * 700 + b"}}"
    workflow.faults.add(Instead(200, b"[" + deep + b"]"))
    page = await adapter_of(context, workflow).pull(None)
    assert (len(page.records), len(page.failures)) == (0, 1)


def written(*items: dict[str, Any], value: str, **more: Any) -> Instead:
    """An answer in which `"?"` is something that no strict reader reads."""
    document = {"events": items, **more}
    return Instead(200, msgspec.json.encode(document).replace(b'"?"', value.encode("utf-8", "surrogateescape")))


UNSOUND = ['"Ana \\ud83d"', '"\udcff"', "1e999", "NaN", "1" * 4400, '{"\\ud83d": [1]}']


@pytest.mark.parametrize("value", UNSOUND)
async def test_an_item_with_a_value_that_nobody_reads_keeps_no_other_back(
    workflow: OpenFnWorkflow, context: Context, value: str
) -> None:
    items = [item(0, data={"height": 1.5, "name": "Ada 🙂"}), item(1, data={"name": "?"}), item(2, at=5)]
    for _ in range(2):
        workflow.faults.add(written(*items, value=value))
    records, mark, pages = await pull_all(adapter_of(context, workflow))
    [failure] = [failure for page in pages for failure in page.failures]
    assert [record.external_id for record in records] == ["p-0", "p-2"]
    assert records[0].data == {"height": 1.5, "name": "Ada 🙂"}
    assert read_mark(mark).newest == NOON + 5
    assert (failure.code, failure.retryable) == ("PULL_APPLY_FAILED", False)
    assert "Ana" not in failure.message
    [again] = (await adapter_of(context, workflow).pull(None)).failures
    assert again.external_id == failure.external_id, "the same item has the same name however often it is told"


async def test_an_item_beside_one_that_nobody_reads_is_the_same_one_as_without(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.give(item(1, data={"height": 1.0, "count": 10**15, "name": "é"}))
    alone, _, _ = await pull_all(adapter_of(context, workflow))
    workflow.give(item(2))
    workflow.faults.add(written(*workflow.outbox, item(3, data={"name": "?"}), value="1e999"))
    beside, _, _ = await pull_all(adapter_of(context, workflow))
    assert beside[0] == alone[0]


@pytest.mark.parametrize("value", UNSOUND)
async def test_a_next_page_that_nobody_reads_is_not_taken_for_the_end(
    workflow: OpenFnWorkflow, context: Context, value: str
) -> None:
    workflow.faults.add(written(item(1), value=value, nextCursor="?"))
    with pytest.raises(AdapterError):
        await adapter_of(context, workflow).pull(None)


async def test_deletions_are_believed_only_where_the_program_says_so(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.give(item(1, type=DELETION, data={}), {"guid": "p-2", "type": "group", "data": {}, "deleted": True})
    records, _, pages = await pull_all(adapter_of(context, workflow))
    assert (records, len(pages[0].failures)) == ([], 2)
    records, _, _ = await pull_all(adapter_of(context, workflow, eventTypes=", ".join(KNOWN)))
    assert sorted((record.external_id, record.is_deleted) for record in records) == [("p-1", True), ("p-2", True)]


async def test_the_same_item_is_the_same_event_and_another_is_another(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    workflow.give(item(1), item(1, at=1), item(1, data={"n": 2}), item(2, guid="e"), item(2, guid="e", data={"n": 3}))
    once, _, _ = await pull_all(adapter_of(context, workflow))
    again, _, _ = await pull_all(adapter_of(context, workflow))
    guids = [record.event_guid for record in once]
    assert guids == [record.event_guid for record in again] and None not in guids
    assert len(set(guids)) == 4, "an item that names its event is known by that name"


@pytest.mark.parametrize("zone", ["2025-06-01T14:00:00+02:00", "2025-06-01T12:00:00", "2025-06-01T12:00:00.000Z"])
async def test_times_are_instants_whatever_their_zone(workflow: OpenFnWorkflow, context: Context, zone: str) -> None:
    workflow.give(item(1, timestamp=zone))
    (record,), _, _ = await pull_all(adapter_of(context, workflow))
    assert record.occurred_at == NOON


@pytest.mark.parametrize("is_inclusive", [True, False])
async def test_items_of_the_boundarys_moment_that_come_later_are_not_missed(
    context: Context, is_inclusive: bool
) -> None:
    with OpenFnWorkflow(is_inclusive=is_inclusive) as workflow:
        workflow.give(item(1), item(2))
        _, mark, _ = await pull_all(adapter_of(context, workflow))
        workflow.give(item(3), item(4, at=1))
        records, mark, _ = await pull_all(adapter_of(context, workflow), mark)
        assert [record.external_id for record in records] == ["p-3", "p-4"], "what is known is not told again"
        workflow.give(item(5, at=5000))
        records, mark, _ = await pull_all(adapter_of(context, workflow), mark)
        assert [record.external_id for record in records] == ["p-5"]
        assert (await pull_all(adapter_of(context, workflow), mark))[:2] == ([], mark)
        since = [request.query.get("since") for request in workflow.log]
    assert since[:3] == [None, "2025-06-01T11:59:59.000Z", "2025-06-01T11:59:59.001Z"]


@pytest.mark.parametrize("paging", ["cursor", "next", "link", "more"])
async def test_all_pages_are_read_whatever_tells_of_them(context: Context, paging: Any) -> None:
    with OpenFnWorkflow(paging=paging, page_size=10) as workflow:
        workflow.give(*(item(number, at=number // 3) for number in range(35)))
        records, mark, pages = await pull_all(adapter_of(context, workflow))
    assert {record.external_id for record in records} == {f"p-{number}" for number in range(35)}
    assert len(pages) >= 4 and read_mark(mark).newest == NOON + 11


@pytest.mark.parametrize("paging", ["none", "cursor", "more"])
async def test_each_page_may_be_asked_for_by_another_process(context: Context, paging: Any) -> None:
    count = 2 * PAGE_ITEMS + 50
    with OpenFnWorkflow(paging=paging, page_size=300) as workflow:
        workflow.give(*(item(number, at=number // 100) for number in range(count)))
        seen: list[str] = []
        mark: str | None = None
        for _ in range(20):
            page = await adapter_of(context, workflow).pull(mark)
            assert len(page.records) <= PAGE_ITEMS
            seen += [record.external_id for record in page.records]
            mark = page.mark
            if page.is_last:
                break
        else:
            raise AssertionError("it never ends")
    assert len(seen) == count and set(seen) == {f"p-{number}" for number in range(count)}


async def test_an_answer_of_many_items_is_fetched_once(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.give(*(item(number) for number in range(3 * PAGE_ITEMS)))
    records, _, pages = await pull_all(adapter_of(context, workflow))
    assert (len(records), len(pages), workflow.asked) == (3 * PAGE_ITEMS, 3, 1)


async def test_the_mark_does_not_pass_a_page_that_could_not_be_fetched(context: Context) -> None:
    with OpenFnWorkflow(paging="cursor", page_size=10) as workflow:
        workflow.give(*(item(number, at=number) for number in range(30)))
        adapter = adapter_of(context, workflow)
        first = await adapter.pull(None)
        workflow.faults.add(Instead(500), times=None)
        with pytest.raises(AdapterError) as raised:
            await adapter.pull(first.mark)
        workflow.faults.clear()
        rest, _, _ = await pull_all(adapter_of(context, workflow), first.mark)
    assert (raised.value.failure.code, raised.value.failure.retryable) == ("PULL_FETCH_FAILED", True)
    assert [record.external_id for record in rest] == [f"p-{number}" for number in range(10, 30)]


async def test_no_more_is_remembered_than_a_mark_can_hold(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.give(*(item(number) for number in range(MOST_KNOWN + 10)))
    _, mark, _ = await pull_all(adapter_of(context, workflow))
    again, _, _ = await pull_all(adapter_of(context, workflow), mark)
    assert len(again) == 10 and len(mark) < 60 * MOST_KNOWN


async def test_a_cursor_that_is_forgotten_begins_anew_once(context: Context) -> None:
    def with_cursor(request: Request) -> bool:
        return "cursor" in request.query

    with OpenFnWorkflow(paging="cursor", page_size=10) as workflow:
        workflow.give(*(item(number, at=number) for number in range(20)))
        first = await adapter_of(context, workflow).pull(None)
        workflow.faults.add(Instead(410), matches=with_cursor)
        rest, _, _ = await pull_all(adapter_of(context, workflow), first.mark)
        assert {record.external_id for record in [*first.records, *rest]} == {f"p-{number}" for number in range(20)}
        workflow.faults.add(Instead(410), times=None, matches=with_cursor)
        mark: str | None = None
        with pytest.raises(AdapterError):
            for _ in range(5):
                mark = (await adapter_of(context, workflow).pull(mark)).mark


@pytest.mark.parametrize(
    "answer",
    [
        {"events": [], "nextCursor": "again"},
        {"events": [], "next": "/i/0b0a5f3e?page=2"},
        {"events": [item(1)], "hasMore": True},
    ],
)
async def test_a_workflow_that_never_comes_to_an_end_is_told_so(
    workflow: OpenFnWorkflow, context: Context, answer: Any
) -> None:
    workflow.faults.add(Instead(200, answer), times=None)
    with pytest.raises(AdapterError) as raised:
        await pull_all(adapter_of(context, workflow))
    assert raised.value.failure.code == "PULL_FETCH_FAILED" and workflow.asked <= 3


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:9/i/x", "//evil.example/i", "https://[", "http://127.0.0.1:"])
async def test_the_keys_do_not_follow_to_another_address(
    workflow: OpenFnWorkflow, context: Context, elsewhere: str
) -> None:
    workflow.faults.add(Instead(200, {"events": [item(1)], "next": elsewhere}))
    with pytest.raises(AdapterError):
        await adapter_of(context, workflow).pull(None)


async def test_a_time_in_the_future_hides_nothing(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.give(item(1, timestamp="9999-12-31T23:59:59.999Z"), item(2, timestamp="0001-01-01T00:00:00Z"))
    _, mark, _ = await pull_all(adapter_of(context, workflow))
    assert read_mark(mark).newest == context.clock.now()


async def test_what_changes_after_the_clock_was_set_back_is_not_left_out(
    workflow: OpenFnWorkflow, context: Context
) -> None:
    assert isinstance(context.clock, SetClock)
    week = 7 * 24 * 3600 * 1000
    context.clock.turn(week)
    workflow.give(item(1, timestamp=format_timestamp(context.clock.now())))
    _, mark, _ = await pull_all(adapter_of(context, workflow))
    context.clock.turn(-week)
    workflow.give(item(2, timestamp=format_timestamp(context.clock.now())))
    records, _, _ = await pull_all(adapter_of(context, workflow), mark)
    assert "p-2" in {record.external_id for record in records}


@pytest.mark.parametrize("answer", [Instead(200), Instead(204), Instead(405), Instead(200, {"status": "ok"})])
async def test_a_workflow_that_gives_nothing_leaves_the_mark(
    workflow: OpenFnWorkflow, context: Context, answer: Fault
) -> None:
    workflow.faults.add(answer)
    mark = await mark_after(context, item(1))
    page = await adapter_of(context, workflow).pull(mark)
    assert (page.records, page.mark, page.is_last) == ([], mark, True)


async def test_a_page_for_people_is_not_taken_for_no_events(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.faults.add(Instead(200, b"<h1>Sign in</h1>"))
    with pytest.raises(AdapterError):
        await adapter_of(context, workflow).pull(None)


@pytest.mark.parametrize("mark", ["{", '{"since":"x"}', "yesterday", '{"after":[1]}'])
async def test_a_mark_that_cannot_be_read_means_all_of_it(
    workflow: OpenFnWorkflow, context: Context, mark: str
) -> None:
    workflow.give(item(1))
    records, _, _ = await pull_all(adapter_of(context, workflow), mark)
    assert len(records) == 1


async def test_the_callback_token_is_asked_for_and_sent(context: Context) -> None:
    with OpenFnWorkflow(callback_token="callback-token") as workflow:
        workflow.give(item(1))
        assert len((await adapter_of(context, workflow).pull(None)).records) == 1
        with pytest.raises(AdapterError):
            await adapter_of(context, workflow, callbackToken="other").pull(None)
        await adapter_of(context, workflow).push(people(1))
        assert "x-callback-token" not in workflow.log[-1].headers


# -- is it there?


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_a_workflow_that_refuses_is_not_healthy(workflow: OpenFnWorkflow, context: Context, status: int) -> None:
    workflow.faults.add(Instead(status, b"openfn-key"), times=None)
    health = await adapter_of(context, workflow).check()
    assert not health.is_healthy and health.message and str(status) in health.message
    assert not any(secret in health.message for secret in SECRETS)


async def test_a_workflow_that_would_give_is_healthy(workflow: OpenFnWorkflow, context: Context) -> None:
    health = await adapter_of(context, workflow).check()
    assert (health.is_healthy, health.message) == (True, None) and health.latency_ms is not None
    assert workflow.log[0].query.keys() == {"since"}, "it is asked for as little as possible"


async def test_a_workflow_that_only_takes_is_healthy_and_says_so(context: Context) -> None:
    with OpenFnWorkflow(gives=False) as workflow:
        health = await adapter_of(context, workflow).check()
    assert health.is_healthy and health.message and "none to give" in health.message


async def test_a_workflow_that_is_away_is_not_healthy(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.stop()
    assert not (await adapter_of(context, workflow).check()).is_healthy


# -- its settings


@pytest.mark.parametrize("type_", ["openfn-adapter", "openfn"])
def test_settings_are_read_from_both_places(type_: str) -> None:
    older = [{"name": "apiKey", "value": "old"}, {"name": "batchSize", "value": "7"}]
    section = {"type": type_, "url": "https://flow.example.org/i/1?team=a", "adapterConfig": {"apiKey": "new"}}
    configured = read_external_sync({**section, "extraFields": older})
    assert configured and configured.kind is KIND
    options = configured.options
    assert isinstance(options, OpenFnOptions)
    assert (options.api_key.get_secret_value(), options.batch_size) == ("new", 7)
    assert "new" not in repr(options) and "flow.example" not in repr(options)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "adapterConfig.apiKey"),
        ({"apiKey": "k", "batchSize": "many"}, "adapterConfig.batchSize"),
        ({"apiKey": "k", "eventTypes": "resolve-conflict"}, "adapterConfig.eventTypes"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], path: str) -> None:
    section = {"type": "openfn-adapter", "url": "https://flow.example.org", "adapterConfig": settings}
    with pytest.raises(Misconfigured, match=path):
        read_external_sync(section)


async def test_a_webhooks_own_query_stays(workflow: OpenFnWorkflow, context: Context) -> None:
    adapter = adapter_of(context, workflow, url=f"{workflow.url}?since=1&team=a%20b#x")
    with pytest.raises(AdapterError):  # the fake knows no `team`
        await adapter.pull(await mark_after(context, item(1)))
    assert workflow.log[0].query == {"team": "a b", "since": "2025-06-01T11:59:59.000Z"}


async def test_a_workflow_that_hangs_is_given_up_after_a_while(workflow: OpenFnWorkflow, context: Context) -> None:
    workflow.faults.add(Late(5), times=None)
    options = OpenFnOptions.model_validate({"url": workflow.url, "apiKey": workflow.api_key})
    adapter = OpenFnAdapter(options, context, retrying=Retrying(tries=1, total_seconds=0.3))
    (outcome,) = await adapter.push(people(1))
    assert isinstance(outcome, Failed) and outcome.is_uncertain and outcome.failure.retryable
