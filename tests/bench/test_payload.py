from datetime import UTC, datetime

import msgspec

from bench.payload import EventMaker, create_bodies, push_body


def test_events_are_unique_and_their_timestamps_rise_by_a_millisecond() -> None:
    maker = EventMaker(start=datetime(2026, 1, 31, 23, 59, 59, 998_000, UTC))
    events = [maker.create() for _ in range(3)]
    assert len({event["guid"] for event in events}) == len({event["entityGuid"] for event in events}) == 3
    assert [event["timestamp"] for event in events] == [
        "2026-01-31T23:59:59.999Z",
        "2026-02-01T00:00:00.000Z",
        "2026-02-01T00:00:00.001Z",
    ]


def test_events_weigh_about_what_the_reference_was_measured_with() -> None:
    size = len(msgspec.json.encode(EventMaker().create()))
    assert 450 < size < 560
    assert len(EventMaker().create()["data"]) == 12


def test_bodies_hold_the_asked_number_of_events_in_all() -> None:
    bodies = list(create_bodies(EventMaker(), "p", total=25, batch=10))
    assert [body.events for body in bodies] == [10, 10, 5]
    assert [len(msgspec.json.decode(body.data)["events"]) for body in bodies] == [10, 10, 5]


def test_the_body_names_the_program_after_the_events_as_the_real_clients_do() -> None:
    decoded = msgspec.json.decode(push_body([EventMaker().update("e-1", {"a": 1})], "p").data)
    assert list(decoded) == ["events", "configId"]
    assert list(decoded["events"][0]) == ["guid", "entityGuid", "type", "data", "timestamp", "userId", "syncLevel"]
