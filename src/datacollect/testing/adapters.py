"""The contract every adapter keeps, as a suite: subclass it and provide `subject`.

    class TestMyAdapter(AdapterContract):
        @pytest.fixture
        def subject(self):
            fake = MyFake()
            with RemoteSystem(fake.handle) as system:
                yield Subject(
                    kind=KIND,
                    section={"type": "my-adapter", "url": system.url, "adapterConfig": {"apiKey": "k"}},
                    invalid=[{"type": "my-adapter", "url": system.url, "adapterConfig": {}}],
                    system=system,
                    made=lambda: len(fake.records),
                )

The tests run with the pytest plugin that `anyio` brings; nothing else is needed. They are the seven conformance tests of the
API that the hub is compatible with, in the words of our port (the number is in each docstring), and what the port promises
beyond those: that a lost answer makes nothing twice, that nothing is quoted, that a system which is away is an
`AdapterError` and nothing else.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from datacollect.adapters.configured import Configured, read_external_sync
from datacollect.adapters.errors import AdapterError, Failure, Misconfigured
from datacollect.adapters.kinds import AdapterKind, Capability, Context
from datacollect.adapters.options import form_fields
from datacollect.adapters.port import (
    Adapter,
    Failed,
    Health,
    Incoming,
    Outcome,
    Outgoing,
    Page,
    Pushed,
    RecordType,
    Skipped,
)
from datacollect.adapters.registry import AdapterRegistry
from datacollect.kernel.clock import SystemClock
from datacollect.outgoing import GuardedClient, Rules
from datacollect.testing.remote import DropAfter, RemoteSystem, Request

_CODE = re.compile(r"[A-Z][A-Z0-9_]+")
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An adapter, and the fake of its system that is running."""

    kind: AdapterKind
    section: Mapping[str, Any]
    """An `externalSync` with which it works against the fake."""
    invalid: Sequence[Mapping[str, Any]]
    """Some with which it cannot."""
    system: RemoteSystem
    made: Callable[[], int] | None = None
    """How many records were made there; None if the system keeps none (webhooks)."""
    data: Mapping[str, Any] = field(
        default_factory=lambda: {"entityName": "individual", "firstName": "Lan", "lastName": "Tran", "name": "Lan Tran"}
    )
    """Of an individual that the system takes."""
    form_types: Mapping[str, str] = field(default_factory=lambda: {"individual": "individual", "household": "group"})
    creates: Callable[[Request], bool] = lambda request: request.method in ("POST", "PUT")
    """Which requests make a record. The first one's answer is lost in one of the tests."""

    def configured(self) -> Configured:
        configured = read_external_sync(self.section, self.registry)
        assert configured
        return configured

    @property
    def registry(self) -> AdapterRegistry:
        return AdapterRegistry([self.kind])

    def individual(self, **changes: Any) -> Outgoing:
        values: dict[str, Any] = {
            "guid": "conformance-1",
            "type": RecordType.INDIVIDUAL,
            "data": self.data,
            "version": 1,
            "key": "c-1",
        }
        return Outgoing(**(values | changes))

    @property
    def secrets(self) -> list[str]:
        """What must not be told to anybody."""
        names = {one.name for one in form_fields(self.kind.options) if one.type == "password"}
        given = self.section.get("adapterConfig", {})
        return [str(given[name]) for name in names if name in given]


class AdapterContract:
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def adapter(self, subject: Subject) -> AsyncIterator[Adapter]:
        client = GuardedClient(Rules(allow_private=True))
        adapter = _made(subject, client)
        yield adapter
        await adapter.close()
        await client.aclose()

    def test_it_describes_itself(self, subject: Subject) -> None:
        """1."""
        described = subject.registry.describe(subject.kind.name).as_json()
        assert isinstance(described["type"], str)
        assert described["type"]
        assert isinstance(described["version"], str)
        assert described["version"]
        assert described["capabilities"]
        assert set(described["capabilities"]) <= set(Capability)
        assert described["configSchema"]["properties"]["url"]
        json.dumps(described)

    def test_its_form_asks_for_all_that_is_required_and_fills_no_secret_in(self, subject: Subject) -> None:
        fields = {one.name: one for one in form_fields(subject.kind.options)}
        required = set(subject.registry.describe(subject.kind.name).schema.get("required", ())) - {"url"}
        assert {name for name, one in fields.items() if one.required} == required
        for one in fields.values():
            assert one.label
            assert one.type in ("text", "password", "number", "url", "select")
            assert one.default is None or one.type != "password"
            assert (one.type == "select") == (one.options is not None)

    def test_valid_settings_are_enough_and_invalid_ones_are_named(self, subject: Subject) -> None:
        """2."""
        assert subject.configured().kind is subject.kind
        for section in subject.invalid:
            with pytest.raises(Misconfigured) as raised:
                read_external_sync(section, subject.registry)
            assert raised.value.problems
            assert raised.value.adapter == subject.kind.name
            assert not raised.value.failure.retryable
            _assert_tells_nothing(subject, str(raised.value))

    def test_making_one_makes_no_call(self, subject: Subject) -> None:
        _made(subject, GuardedClient(Rules(allow_private=True)))
        assert subject.system.asked == 0

    async def test_health_is_told(self, subject: Subject, adapter: Adapter) -> None:
        """3."""
        _assert_health(subject, await adapter.check(), is_healthy=True)

    async def test_health_of_a_system_that_is_away_is_told_without_an_error(
        self, subject: Subject, adapter: Adapter
    ) -> None:
        """3. A check that makes no call would not know."""
        subject.system.stop()
        _assert_health(subject, await adapter.check(), is_healthy=False)

    async def test_a_record_is_pushed(self, subject: Subject, adapter: Adapter) -> None:
        """4."""
        if Capability.PUSH not in subject.kind.capabilities:
            pytest.skip("does not push")
        [outcome] = await adapter.push([subject.individual()])
        _assert_outcome(subject, outcome)
        assert isinstance(outcome, Pushed), outcome
        assert subject.made is None or subject.made() == 1

    async def test_a_record_that_finds_nobody_is_failed_or_ends_the_push(
        self, subject: Subject, adapter: Adapter
    ) -> None:
        """4., "even when the remote is unreachable"."""
        if Capability.PUSH not in subject.kind.capabilities:
            pytest.skip("does not push")
        subject.system.stop()
        try:
            [outcome] = await adapter.push([subject.individual()])
        except AdapterError as error:
            failure = error.failure
        else:
            assert isinstance(outcome, Failed)
            failure = outcome.failure
        _assert_failure(subject, failure)
        assert failure.retryable

    async def test_an_empty_push_makes_no_call(self, subject: Subject, adapter: Adapter) -> None:
        """5."""
        assert list(await adapter.push([])) == []
        assert subject.system.asked == 0

    async def test_outcomes_come_in_the_order_of_records(self, subject: Subject, adapter: Adapter) -> None:
        if Capability.PUSH not in subject.kind.capabilities:
            pytest.skip("does not push")
        records = [subject.individual(guid=f"conformance-{number}", key=f"c-{number}") for number in range(5)]
        records[2] = subject.individual(guid="conformance-2", type=RecordType.RECORD, data={"entityName": "note"})
        outcomes = await adapter.push(records)
        assert len(outcomes) == len(records)
        for record, outcome in zip(records, outcomes, strict=True):
            _assert_outcome(subject, outcome)
            if isinstance(outcome, Failed):
                assert outcome.failure.guid in (None, record.guid)
        links = [one.link.external_id for one in outcomes if isinstance(one, Pushed) and one.link]
        assert len(links) == len(set(links))

    async def test_a_record_whose_answer_is_lost_is_made_once(self, subject: Subject, adapter: Adapter) -> None:
        if Capability.PUSH not in subject.kind.capabilities or subject.made is None:
            pytest.skip("keeps no records")
        subject.system.faults.add(DropAfter(), matches=subject.creates)
        outcome: Outcome | None = None
        with contextlib.suppress(AdapterError):
            [outcome] = await adapter.push([subject.individual()])
        subject.system.faults.clear()
        if not isinstance(outcome, Pushed):
            [outcome] = await adapter.push([subject.individual(is_uncertain=True)])
        assert isinstance(outcome, Pushed), outcome
        assert subject.system.faults.happened == 1
        assert subject.made() == 1

    async def test_a_record_that_may_have_arrived_is_looked_for(self, subject: Subject, adapter: Adapter) -> None:
        """As after a crash of the hub: another process tells the same record again."""
        if Capability.PUSH not in subject.kind.capabilities or subject.made is None:
            pytest.skip("keeps no records")
        [first] = await adapter.push([subject.individual()])
        [again] = await adapter.push([subject.individual(is_uncertain=True)])
        assert isinstance(first, Pushed)
        assert isinstance(again, Pushed)
        assert subject.made() == 1
        assert (first.link and first.link.external_id) == (again.link and again.link.external_id)

    @pytest.mark.parametrize("mark", [None, "2024-01-01T00:00:00.000Z"])
    async def test_a_pull_ends(self, subject: Subject, adapter: Adapter, mark: str | None) -> None:
        """6. A mark that it has not made may come from another version of it: it begins anew, or goes on from there."""
        if Capability.PULL not in subject.kind.capabilities:
            pytest.skip("does not pull")
        for _ in range(_MOST_PAGES):
            page = await adapter.pull(mark)
            _assert_page(subject, page)
            mark = page.mark
            if page.is_last:
                break
        assert page.is_last
        assert isinstance(await adapter.pull(mark), Page)

    async def test_a_pull_from_a_system_that_is_away_raises_the_one_error(
        self, subject: Subject, adapter: Adapter
    ) -> None:
        if Capability.PULL not in subject.kind.capabilities:
            pytest.skip("does not pull")
        subject.system.stop()
        with pytest.raises(AdapterError) as raised:
            await adapter.pull(None)
        _assert_failure(subject, raised.value.failure)

    async def test_it_can_be_closed_at_any_time(self, subject: Subject, adapter: Adapter) -> None:
        """7."""
        await adapter.close()
        await adapter.close()
        await adapter.check()
        await adapter.close()


def _made(subject: Subject, client: GuardedClient) -> Adapter:
    configured = subject.configured()
    context = Context(client=client, clock=SystemClock(), mappings=configured.mappings, form_types=subject.form_types)
    return subject.kind.create(configured.options, context)


def _assert_health(subject: Subject, health: Health, *, is_healthy: bool) -> None:
    assert health.is_healthy is is_healthy
    assert health.latency_ms is None or health.latency_ms >= 0
    assert health.message or is_healthy
    _assert_tells_nothing(subject, health.message or "")


def _assert_outcome(subject: Subject, outcome: Outcome) -> None:
    match outcome:
        case Pushed():
            assert outcome.link is None or outcome.link.external_id
            json.dumps(dict(outcome.link.state if outcome.link else {}))
            json.dumps(dict(outcome.state or {}))
            for warning in outcome.warnings:
                _assert_failure(subject, warning)
        case Skipped():
            assert _CODE.fullmatch(outcome.reason)
        case Failed():
            _assert_failure(subject, outcome.failure)


def _assert_failure(subject: Subject, failure: Failure) -> None:
    assert _CODE.fullmatch(failure.code)
    assert failure.message
    _assert_tells_nothing(subject, failure.message)
    for value in subject.data.values():
        assert not (isinstance(value, str) and len(value) > 3 and value != "individual" and value in failure.message)


def _assert_tells_nothing(subject: Subject, text: str) -> None:
    for secret in subject.secrets:
        assert secret not in text
    assert subject.system.url not in text


def _assert_page(subject: Subject, page: Page) -> None:
    assert isinstance(page.mark, str)
    assert isinstance(page.is_last, bool)
    assert page.skipped >= 0
    for failure in page.failures:
        _assert_failure(subject, failure)
    for record in page.records:
        assert isinstance(record, Incoming)
        assert record.external_id
        assert not {"externalId", "identifierType"} & record.data.keys()
        assert not [name for name in record.data if name.startswith("_")]
        json.dumps([dict(record.data), dict(record.state)])
