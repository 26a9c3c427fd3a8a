"""Calls are made again by what went wrong, and never so that something is done twice."""

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
import structlog

from datacollect.adapters.batches import push_each
from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Retrying
from datacollect.adapters.errors import AdapterError
from datacollect.adapters.kinds import Context
from datacollect.adapters.port import Failed, Outcome, Outgoing, Pushed
from datacollect.outgoing import InternalUrl, Rules
from datacollect.outgoing.client import GuardedClient
from datacollect.testing.remote import Answer, DropAfter, DropBefore, Fault, Instead, Late, RemoteSystem, Request
from tests.adapters.records import person


class Sleeps:
    """Time as a caller notices it: it sleeps without waiting."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return sum(self.slept)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
def counted() -> Counter[str]:
    """What the other system has done."""
    return Counter()


@pytest.fixture
def system(counted: Counter[str]) -> Any:
    def handle(request: Request) -> Answer:
        counted[request.method] += 1
        return Answer(200, {"done": counted[request.method], "query": request.query})

    with RemoteSystem(handle) as system:
        yield system


def api(system: RemoteSystem, context: Context, sleeps: Sleeps, **more: Any) -> JsonApi:
    return JsonApi(context.client, system.url, sleep=sleeps.sleep, monotonic=sleeps.monotonic, **more)


def _in_time(fault: Fault) -> float:
    return 0.4 if isinstance(fault, Late) else 10


TEMPORARY: list[Fault] = [DropBefore(), DropAfter(), Instead(500), Instead(502), Instead(504), Instead(408), Late(1)]


@pytest.mark.parametrize("fault", TEMPORARY)
async def test_what_may_be_repeated_is_made_again(
    system: RemoteSystem, context: Context, sleeps: Sleeps, fault: Fault
) -> None:
    system.faults.add(fault, times=2)
    patient = Retrying(tries=8)  # a busy machine may be late by itself
    reply = await api(system, context, sleeps, timeout_seconds=_in_time(fault), retrying=patient).call(
        "GET", "/things", what="read things"
    )
    assert reply.status == 200
    assert 0.25 <= sleeps.slept[0] <= 0.5 <= sleeps.slept[1] <= 1


@pytest.mark.parametrize("fault", TEMPORARY)
async def test_what_must_not_be_done_twice_is_made_once_when_it_may_have_arrived(
    system: RemoteSystem, context: Context, sleeps: Sleeps, counted: Counter[str], fault: Fault
) -> None:
    system.faults.add(fault)
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps, timeout_seconds=_in_time(fault)).call(
            "POST", "/things", what="make a thing", json={}
        )
    assert raised.value.may_have_arrived
    assert raised.value.retryable
    assert sleeps.slept == []
    assert counted["POST"] <= 1


@pytest.mark.parametrize("status", [429, 503, 425])
async def test_what_has_surely_not_been_done_is_made_again_whatever_it_is(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int
) -> None:
    system.faults.add(Instead(status, None, {"Retry-After": "7"}))
    reply = await api(system, context, sleeps).call("POST", "/things", what="make a thing", json={})
    assert reply.document["done"] == 1
    assert sleeps.slept == [7.0]


async def test_a_longer_pause_than_there_is_time_for_is_handed_on(
    system: RemoteSystem, context: Context, sleeps: Sleeps
) -> None:
    system.faults.add(Instead(429, None, {"Retry-After": "3600"}), times=None)
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps).call("GET", "/things", what="read things")
    assert raised.value.retry_after_seconds == 3600
    assert raised.value.error("PULL_FETCH_FAILED").retry_after_seconds == 3600
    assert system.asked == 1


async def test_a_pause_may_be_a_date(system: RemoteSystem, context: Context, sleeps: Sleeps) -> None:
    system.faults.add(Instead(503, None, {"Retry-After": formatdate(0, usegmt=True)}))
    system.faults.add(Instead(503, None, {"Retry-After": "in a while"}))
    await api(system, context, sleeps).call("GET", "/things", what="read things")
    assert sum(sleeps.slept) < 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, CallKind.REJECTED),
        (401, CallKind.AUTH),
        (403, CallKind.FORBIDDEN),
        (404, CallKind.NOT_FOUND),
        (409, CallKind.CONFLICT),
        (412, CallKind.PRECONDITION),
        (422, CallKind.REJECTED),
    ],
)
async def test_a_refusal_is_final(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int, kind: CallKind
) -> None:
    system.faults.add(Instead(status), times=None)
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps).call("GET", "/things", what="read things")
    assert (raised.value.kind, raised.value.status) == (kind, status)
    assert not raised.value.may_have_arrived
    assert system.asked == 1
    assert (await api(system, context, sleeps).call("GET", "/", what="x", accept=(status,))).status == status


@pytest.mark.parametrize("status", [402, 404, 405, 406, 410, 415, 428, 431, 451])
async def test_a_refusal_that_is_not_about_the_record_may_pass(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int
) -> None:
    """A gateway during a deployment, a closed workflow, a quota that is spent."""
    system.faults.add(Instead(status), times=None)
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps).call("POST", "/things", what="make a thing", json={})
    assert (raised.value.retryable, raised.value.may_have_arrived, system.asked) == (True, False, 1)


@pytest.mark.parametrize("status", [404, 410])
async def test_what_a_call_has_named_and_is_not_there_is_about_the_record(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int
) -> None:
    system.faults.add(Instead(status))
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps).call("PATCH", "/things/1", what="change a thing", json={})
    assert not raised.value.retryable


async def test_a_failure_names_fields_and_quotes_nothing(
    system: RemoteSystem, context: Context, sleeps: Sleeps
) -> None:
    shapes = [
        {"errors": [{"field": "birthDate", "code": "x", "message": "Lan"}, {"field": "Lan Tran is no name"}, 7]},
        {"detail": [{"loc": ["body", "name", 0], "msg": "Lan"}]},
        {"detail": "Lan"},
        ["Lan"],
    ]
    said = []
    for shape in shapes:
        system.faults.add(Instead(422, shape))
        with pytest.raises(CallFailed) as raised:
            await api(system, context, sleeps).call("POST", "/lan", what="make a person", json={"name": "Lan"})
        said.append(raised.value.failure("PUSH_FAILED").message)
    plain = "Could not make a person: it does not accept what was sent (422)"
    assert said == [f"{plain}: birthDate", f"{plain}: body.name.0", plain, plain]


async def test_an_answer_that_is_no_json_is_told(context: Context, sleeps: Sleeps) -> None:
    with RemoteSystem(lambda request: Answer(200, b"<html>")) as system:
        with pytest.raises(CallFailed) as raised:
            await api(system, context, sleeps).call("POST", "/", what="make a thing", json={})
    assert raised.value.kind is CallKind.UNREADABLE
    assert raised.value.may_have_arrived
    assert not raised.value.retryable


async def test_an_internal_address_is_refused_with_its_reason(sleeps: Sleeps, context: Context) -> None:
    client = GuardedClient(Rules())
    with pytest.raises(CallFailed) as raised:
        await JsonApi(client, "http://127.0.0.1:1", sleep=sleeps.sleep).call("GET", "/", what="read")
    assert raised.value.kind is CallKind.REFUSED
    assert isinstance(raised.value.__cause__, InternalUrl)
    assert not raised.value.retryable


async def test_a_query_is_escaped_and_leaves_out_what_is_not_there(
    system: RemoteSystem, context: Context, sleeps: Sleeps
) -> None:
    query = {"since": "2024-01-01T00:00:00+02:00", "q": "a&b=ü", "none": None, "limit": 5}
    reply = await api(system, context, sleeps).call("GET", "/", what="read", query=query)
    assert reply.document["query"] == {"since": "2024-01-01T00:00:00+02:00", "q": "a&b=ü", "limit": "5"}


class Session:
    def __init__(self) -> None:
        self.given = 0
        self.forgotten = 0

    async def headers(self) -> Mapping[str, str]:
        self.given += 1
        return {"authorization": f"Bearer {self.forgotten}"}

    def forget(self, used: Mapping[str, str]) -> None:
        self.forgotten += 1


async def test_a_session_that_ended_is_followed_by_one_new_sign_in(
    system: RemoteSystem, context: Context, sleeps: Sleeps
) -> None:
    session = Session()
    signed = api(system, context, sleeps, sign_in=session)
    system.faults.add(Instead(401))
    assert (await signed.call("POST", "/", what="make", json={})).document["done"] == 1
    assert system.log[-1].headers["authorization"] == "Bearer 1"
    system.faults.add(Instead(401), times=None)
    with pytest.raises(CallFailed) as raised:
        await signed.call("POST", "/", what="make", json={})
    assert raised.value.kind is CallKind.AUTH
    assert system.asked == 4
    assert session.forgotten == 2


async def test_all_tries_together_have_an_end(system: RemoteSystem, context: Context, sleeps: Sleeps) -> None:
    system.faults.add(Instead(500), times=None)
    retrying = Retrying(tries=100, first_pause_seconds=2, total_seconds=30)
    with pytest.raises(CallFailed):
        await api(system, context, sleeps, retrying=retrying).call("GET", "/", what="read")
    assert sum(sleeps.slept) <= 30
    assert max(sleeps.slept) <= 10


# --- batches


async def run(count: int, push_one: Any, **more: Any) -> list[Outcome]:
    return await push_each([person(f"in-{number}") for number in range(count)], push_one, **more)


def pushed() -> Pushed:
    return Pushed(link=None)


async def test_some_records_are_pushed_at_a_time_and_answered_in_order() -> None:
    active, most = 0, 0

    async def push_one(record: Outgoing) -> Outcome:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0)
        active -= 1
        return Pushed(link=None, state={"guid": record.guid})

    outcomes = await run(20, push_one, at_once=3)
    assert [one.state for one in outcomes if isinstance(one, Pushed)] == [{"guid": f"in-{n}"} for n in range(20)]
    assert most == 3


async def test_a_failed_record_is_uncertain_if_it_may_have_arrived() -> None:
    async def push_one(record: Outgoing) -> Outcome:
        raise {
            "in-0": CallFailed(CallKind.REJECTED, "create", status=422),
            "in-1": CallFailed(CallKind.TOO_SLOW, "create"),
            "in-2": CallFailed(CallKind.CONFLICT, "create", status=409),
        }[record.guid]

    outcomes = await run(3, push_one)
    told = [(one.failure.guid, one.failure.retryable, one.is_uncertain) for one in outcomes if isinstance(one, Failed)]
    assert told == [("in-0", False, False), ("in-1", True, True), ("in-2", False, False)]


async def test_the_log_tells_where_a_record_failed_and_nothing_of_what_it_holds() -> None:
    async def push_one(record: Outgoing) -> Outcome:
        raise ValueError(f"{record.data['firstName']} is no number")

    with structlog.testing.capture_logs() as lines:
        [outcome] = await run(1, push_one)
    [line] = [line for line in lines if line["event"] == "adapter.record_failed"]
    assert isinstance(outcome, Failed) and outcome.is_uncertain
    assert line["error"] == "ValueError"
    assert "push_one" in line["traceback"]
    assert "exc_info" not in line, "the text of an error is written out with it"
    assert "Lan" not in str(line)


async def test_a_system_that_goes_away_is_left_alone_and_what_arrived_is_not_forgotten() -> None:
    tried = []

    async def push_one(record: Outgoing) -> Outcome:
        tried.append(record.guid)
        if len(tried) <= 3:
            return pushed()
        raise CallFailed(CallKind.UNREACHABLE, "create")

    outcomes = await run(50, push_one, at_once=1)
    assert [type(one).__name__ for one in outcomes] == ["Pushed"] * 3 + ["Failed"] * 47
    assert len(tried) == 3 + 5
    untried = outcomes[-1]
    assert isinstance(untried, Failed)
    assert untried.failure.retryable
    assert not untried.is_uncertain


@pytest.mark.parametrize("status", [402, 404, 405, 406])
async def test_records_that_are_refused_for_no_reason_of_theirs_keep_nobody_back_and_come_again(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int
) -> None:
    system.faults.add(Instead(status), times=12)
    there = api(system, context, sleeps)

    async def push_one(record: Outgoing) -> Outcome:
        await there.call("POST", "/people", what="create a person", json={})
        return pushed()

    outcomes = await run(15, push_one, at_once=1)
    failed = [one for one in outcomes if isinstance(one, Failed)]
    assert [one.failure.retryable for one in failed] == [True] * 12
    assert [isinstance(one, Pushed) for one in outcomes[12:]] == [True] * 3


@pytest.mark.parametrize("kind", [CallKind.AUTH, CallKind.THROTTLED, CallKind.REFUSED])
async def test_what_would_end_every_call_ends_the_batch(kind: CallKind) -> None:
    async def push_one(record: Outgoing) -> Outcome:
        raise CallFailed(kind, "create", retry_after_seconds=9)

    with pytest.raises(AdapterError) as raised:
        await run(50, push_one, at_once=1)
    assert raised.value.retry_after_seconds == 9


async def test_a_single_record_that_reaches_nobody_ends_the_batch() -> None:
    async def push_one(record: Outgoing) -> Outcome:
        raise CallFailed(CallKind.UNREACHABLE, "create")

    with pytest.raises(AdapterError):
        await run(1, push_one)


async def test_a_record_that_the_adapter_stumbles_over_does_not_stop_the_others() -> None:
    async def push_one(record: Outgoing) -> Outcome:
        if record.guid == "in-1":
            raise KeyError("Lan Tran")
        return pushed()

    first, second, third = await run(3, push_one)
    assert isinstance(second, Failed)
    assert second.is_uncertain
    assert "Lan" not in second.failure.message
    assert isinstance(first, Pushed)
    assert isinstance(third, Pushed)


async def test_those_that_go_first_are_done_before_others_begin() -> None:
    order = []

    async def push_one(record: Outgoing) -> Outcome:
        await asyncio.sleep(0)
        order.append(record.guid)
        return pushed()

    await run(6, push_one, goes_first=lambda record: record.guid in ("in-4", "in-5"))
    assert set(order[:2]) == {"in-4", "in-5"}


@pytest.mark.parametrize("status", [300, 302, 304])
async def test_an_answer_that_leads_nowhere_is_no_success(
    system: RemoteSystem, context: Context, sleeps: Sleeps, status: int
) -> None:
    system.faults.add(Instead(status))
    with pytest.raises(CallFailed) as raised:
        await api(system, context, sleeps).call("POST", "/things", what="make a thing", json={})
    assert (raised.value.kind, raised.value.may_have_arrived) == (CallKind.UNREADABLE, True)


@pytest.mark.parametrize(("number", "passes"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
async def test_a_name_server_that_is_away_is_asked_again_later(sleeps: Sleeps, number: int, passes: bool) -> None:
    async def resolver(_: str) -> Any:
        raise socket.gaierror(number, "")

    with pytest.raises(CallFailed) as raised:
        await JsonApi(GuardedClient(resolver=resolver), "https://registry.example.org", sleep=sleeps.sleep).call(
            "GET", "/", what="read"
        )
    assert (raised.value.kind, raised.value.retryable) == (CallKind.REFUSED, passes)
