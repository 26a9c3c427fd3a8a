"""Simulated real clients against the hub: nothing that one of them uploads is lost to another, and nothing comes twice
into a log. Every hub here is a real one; only the devices are simulated."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datacollect.app import create_app
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.pages import Pages
from datacollect.kernel.clock import format_timestamp
from datacollect.testing.devices import Device, Generation, SyncFailed
from datacollect.testing.simulation.rules import TimestampOrdered
from datacollect.testing.wire import asgi_wire
from tests.conformance.fleet import CutWire, Fleet, later
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, ENGINES, asgi_client, database_url, make_settings
from tests.factories import make_program

pytestmark = pytest.mark.anyio

V1, V2 = Generation.V1, Generation.V2
PAIRS = [(V1, V1), (V2, V2), (V1, V2), (V2, V1)]
PAIR_NAMES = ["v1+v1", "v2+v2", "v1+v2", "v2+v1"]
PAGE = 10
YEAR_2999_MS = int((2999 - 2025) * 365.25 * 86_400_000)


@pytest.fixture
async def fleet(app: FastAPI, admin_token: str) -> Fleet:
    return await _new_fleet(app, admin_token)


async def _new_fleet(app: FastAPI, token: str) -> Fleet:
    async with asgi_client(app, token) as admin:
        program = await make_program(admin)
    return Fleet(asgi_wire(app), program, token)


# -- scenarios: each ends with everybody having synced twice more


async def late_push(fleet: Fleet, one: Generation, other: Generation) -> None:
    """B makes a newer event and syncs while A's older one is still on A."""
    a, b = fleet.device(one), fleet.device(other)
    a.create(timestamp=format_timestamp(later(10)), made_by="A")
    b.create(timestamp=format_timestamp(later(9000)), made_by="B")
    await b.sync()
    await b.sync()
    await a.sync()
    await fleet.settle()


async def future_timestamps(fleet: Fleet, one: Generation, other: Generation) -> None:
    """A's clock is in the year 2999; B takes over A's events, then others make ordinary ones."""
    a, b = fleet.device(one, skew_ms=YEAR_2999_MS), fleet.device(other)
    for _ in range(3):
        a.create(made_by="A")
    await a.sync()
    await b.sync()
    c = fleet.device(one)
    for _ in range(15):
        c.create(made_by="C")
    await c.sync()
    await fleet.settle()


async def equal_timestamps(fleet: Fleet, one: Generation, other: Generation) -> None:
    """25 events of one timestamp, so that page boundaries fall between them, in two goes."""
    moment = format_timestamp(later(60))
    a, b = fleet.device(one), fleet.device(other)
    for _ in range(12):
        a.create(timestamp=moment, made_by="A")
    await a.sync()
    await b.sync()
    c = fleet.device(one)
    for _ in range(13):
        c.create(timestamp=moment, made_by="C")
    await c.sync()
    await fleet.settle()


Scenario = Callable[[Fleet, Generation, Generation], Awaitable[None]]
SCENARIOS = [late_push, future_timestamps, equal_timestamps]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=PAIR_NAMES)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_late_equal_and_future_timestamps_reach_everybody(
    fleet: Fleet, scenario: Scenario, one: Generation, other: Generation
) -> None:
    await scenario(fleet, one, other)
    assert await fleet.divergence() == []
    assert await fleet.contradictions() == []


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=PAIR_NAMES)
@pytest.mark.parametrize("order", ["AB", "BA", "AAB", "BAB", "ABBA"])
async def test_two_devices_that_edit_offline_end_with_the_same_events_and_entities(
    fleet: Fleet, one: Generation, other: Generation, order: str
) -> None:
    a, b = fleet.device(one), fleet.device(other)
    households = [a.create(village="North", index=index) for index in range(13)]
    persons = [b.create(index=index, tags=["Zoë", "O'Brien"], home={"row": [1, 2]}) for index in range(7)]
    for name in order:
        await {"A": a, "B": b}[name].sync()
    for index, guid in enumerate(households):
        a.edit(guid, {"visited": index})
    for index, guid in enumerate(persons):
        b.edit(guid, {"weight": index + 0.5})
    for name in reversed(order):
        await {"A": a, "B": b}[name].sync()
    await fleet.settle()
    assert len(a.events) == 40
    assert await fleet.divergence() == []
    assert await fleet.contradictions() == []


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=PAIR_NAMES)
async def test_edits_of_different_fields_of_one_entity_are_all_on_the_hub(
    fleet: Fleet, one: Generation, other: Generation
) -> None:
    a, b = (fleet.device(generation, applies_older=True) for generation in (one, other))
    guid = a.create()
    await a.sync()
    await b.sync()
    for index in range(11):
        (a if index % 2 else b).edit(guid, {f"field{index}": index})
    await fleet.settle()
    assert await fleet.divergence() == []
    assert await fleet.contradictions() == []
    data = (await fleet.entities())[guid]
    assert {f"field{index}": index for index in range(11)}.items() <= data.items()


async def test_what_the_client_library_itself_does_not_apply_is_on_the_hub(fleet: Fleet) -> None:
    """A pulled event that is older than the device's own last change is kept but not applied: recorded of the real
    library, and out of the hub's reach. The hub has both edits."""
    a, b = fleet.device(V1), fleet.device(V1)
    guid = a.create()
    await a.sync()
    await b.sync()
    b.edit(guid, {"of_b": 1}, timestamp=format_timestamp(later(100)))
    a.edit(guid, {"of_a": 2}, timestamp=format_timestamp(later(200)))
    await fleet.settle()
    assert await fleet.divergence() == []
    assert "of_b" not in a.data()[guid]
    assert (await fleet.entities())[guid].items() >= {"of_a": 2, "of_b": 1}.items()


async def test_a_device_that_has_only_downloaded_uploads_all_of_it_again_and_changes_nothing(fleet: Fleet) -> None:
    a, b = fleet.device(V1), fleet.device(V1)
    for index in range(26):
        a.create(index=index)
    await a.sync()
    first = await b.sync()
    assert (first.push_requests, first.new) == (0, 26)
    log, entities = await fleet.log(), await fleet.entities()
    for index in range(3):
        b.create(index=index)
    second = await b.sync()
    # As recorded of the real client: 3 own events, 26 echoes, 3 requests.
    assert (second.uploaded, second.echoes, second.push_requests) == (29, 26, 3)
    assert (await fleet.log())[:26] == log
    assert entities.items() <= (await fleet.entities()).items()
    await fleet.settle()
    assert await fleet.divergence() == []


async def test_a_chunk_whose_answer_got_lost_is_sent_again_and_stored_once(fleet: Fleet) -> None:
    wire = CutWire(fleet.wire)
    a = fleet.device(V2, wire=wire)
    for index in range(25):
        a.create(index=index)
    wire.lose_answer(2)
    report = await a.sync()
    assert (report.uploaded, report.push_requests) == (25, 4)
    for nth in (1, 2, 3):
        wire.lose_answer(nth)
    a.create()
    with pytest.raises(SyncFailed):
        await a.sync()
    await fleet.settle()
    assert len(await fleet.log()) == 26
    assert await fleet.divergence() == []


# -- how much comes again


@pytest.mark.parametrize("generation", [V1, V2], ids=["v1", "v2"])
async def test_each_sync_delivers_again_at_most_a_page_and_what_the_device_has_sent(
    fleet: Fleet, generation: Generation, measured: Callable[[str, object], None]
) -> None:
    """Clocks that agree to a minute, each event a time of its own: the common case.

    The kept mark names an event of the last page. So what follows it of that page comes again (v2: nine at most; v1:
    that event itself too), and then what is new to the log since: the device's own uploads, and what others sent.
    """
    inclusive = 1 if generation is V1 else 0
    a, b = fleet.device(generation), fleet.device(generation, skew_ms=45_000)
    seen = []
    for turn in range(8):
        for _ in range(1 + turn):
            a.create(turn=turn)
            b.create(turn=turn)
        for device in (a, b):
            own_before = len(device.uploaded)
            log_before = len(await fleet.log())
            report = await device.sync()
            own = len(await fleet.log()) - log_before
            assert len(device.uploaded) >= own_before
            assert report.redelivered <= PAGE - 1 + inclusive + own, (device.name, turn)
            seen.append(report.redelivered - own)
    idle = [(await device.sync()).redelivered for device in (a, b) for _ in range(3)]
    assert max(idle) <= PAGE - 1 + inclusive
    measured("delivered again per sync, beside the device's own uploads", str(seen))
    measured("delivered again per idle sync", str(idle))


async def test_a_v1_mark_on_a_shared_timestamp_returns_to_its_first_event(
    fleet: Fleet, measured: Callable[[str, object], None]
) -> None:
    """The one costly case: the whole run from the first event of that time on comes again, and no more than it."""
    moment = format_timestamp(later(60))
    a, b = fleet.device(V1), fleet.device(V1)
    for _ in range(5):
        a.create()
    for _ in range(45):
        a.create(timestamp=moment)
    await a.sync()
    await b.sync()
    log = await fleet.log()
    first = next(index for index, guid in enumerate(log) if a.events[guid]["timestamp"] == moment)
    again = (await b.sync()).redelivered
    measured("events delivered again with 45 of one timestamp", again)
    assert again == len(log) - first == 45


# -- any schedule


@dataclass(frozen=True)
class Step:
    """One thing that happens to one device."""

    device: int
    what: str
    number: int


_NUMBERS = {
    "create": st.integers(1, 12),
    "edit": st.integers(0, 30),
    "sync": st.just(0),
    "cut": st.integers(1, 6),
    "skew": st.sampled_from([0, 1, -1, 1000, -1000, 86_400_000, -10 * 86_400_000, YEAR_2999_MS]),
}
STEPS = st.sampled_from(["create", "edit", "edit", "sync", "sync", "cut", "skew"]).flatmap(
    lambda what: st.builds(Step, st.integers(0, 1), st.just(what), _NUMBERS[what])
)


@given(generations=st.tuples(*[st.sampled_from([V1, V2])] * 2), steps=st.lists(STEPS, max_size=24))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_any_schedule_converges_once_everybody_has_synced_twice(
    app: FastAPI, admin_token: str, generations: tuple[Generation, Generation], steps: Sequence[Step]
) -> None:
    fleet = await _new_fleet(app, admin_token)
    wires = [CutWire(fleet.wire) for _ in generations]
    devices = [
        fleet.device(generation, applies_older=True, wire=wire)
        for generation, wire in zip(generations, wires, strict=True)
    ]
    for number, step in enumerate(steps):
        await _do(step, devices[step.device], wires[step.device], number)
    for wire in wires:
        wire.heal()
    await fleet.settle()
    assert await fleet.divergence() == []
    assert await fleet.contradictions() == []


async def _do(step: Step, device: Device, wire: CutWire, number: int) -> None:
    match step.what:
        case "create":
            for _ in range(step.number):
                device.create(number=number)
        case "edit" if device.entities:
            # Each edit has a field of its own, so that no field is edited on both sides.
            guids = sorted(device.entities)
            device.edit(guids[step.number % len(guids)], {f"field{number}": number})
        case "sync":
            try:
                await device.sync()
            except SyncFailed:
                assert wire.has_cut, "only a lost answer may end a sync"
        case "cut":
            wire.lose_answer(step.number)
        case "skew":
            device.clock.skew_ms = step.number


# -- the harness can fail


@pytest.fixture(params=ENGINES)
async def reference_fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose hub orders events as the reference does."""
    async with database_url(request.param, request) as url:
        app = create_app(make_settings(tmp_path, url))
        hub = app.state.hub
        store = TimestampOrdered(hub.log._store)
        log = EventLog(store, hub.log._projections, hub.clock)
        app.state.hub = replace(hub, log=log, pages=Pages(store, hub.sealer))
        async with app.router.lifespan_context(app), asgi_client(app) as client:
            answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            yield await _new_fleet(app, answer.json()["token"])


@pytest.mark.parametrize(
    ("scenario", "generation"),
    [(late_push, V1), (late_push, V2), (future_timestamps, V1), (future_timestamps, V2), (equal_timestamps, V1)],
)
async def test_the_references_timestamp_rule_is_caught(
    reference_fleet: Fleet, scenario: Scenario, generation: Generation
) -> None:
    """The same scenarios that end well above, so what they prove is the hub's order and not their own mildness."""
    await scenario(reference_fleet, generation, generation)
    reasons = await reference_fleet.divergence()
    assert any(" lacks " in reason for reason in reasons), reasons
