"""What holds whatever the events are: the order of arrival does not matter, and stored states are the states."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.eventstore.event import Event
from datacollect.eventstore.projection import Context
from datacollect.features.entities.entity import Entity, Kind
from datacollect.features.entities.model import apply
from datacollect.features.entities.states import Changes, States
from datacollect.kernel.clock import Millis

LATER = Millis(1_000_000)

values = st.sampled_from(["", "x", "Ana", "Eva", 0, 1, None, True, [1], {"a": 1}])
fields = st.dictionaries(st.sampled_from(["name", "_displayName", "age", "entityName", "n"]), values, min_size=1)
writes = st.tuples(st.sampled_from(["create", "update"]), fields)
steps = st.lists(st.one_of(writes, writes, writes, st.just(("delete", {"x": 1}))), min_size=1, max_size=8)
kinds = st.sampled_from(list(Kind))


def events_of(kind: Kind, made: Sequence[tuple[str, dict[str, Any]]]) -> list[Event]:
    return [
        Event(
            f"event-{time}", "e", "delete-entity" if verb == "delete" else f"{verb}-{kind}", data, Millis(time), "agent"
        )
        for time, (verb, data) in enumerate(made, 1)
    ]


def arrive(events: Sequence[Event]) -> tuple[Entity, list[Changes]]:
    states, log = States(), []
    for position, event in enumerate(events, 1):
        log.append(apply(states, event, Context(position, LATER)))
        states.accept(log[-1])
    return states.entities["e"], log


@given(kind=kinds, made=steps, data=st.data())
@settings(max_examples=500, deadline=None)
def test_the_order_of_arrival_does_not_matter(kind: Kind, made: Any, data: st.DataObject) -> None:
    events = events_of(kind, made)
    in_order, _ = arrive(events)
    shuffled, _ = arrive(data.draw(st.permutations(events)))
    assert shuffled.is_live == in_order.is_live
    assert shuffled.data == in_order.data
    assert shuffled.name == in_order.name


@given(kind=kinds, made=steps, data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_value_is_kept_overwritten_or_reported_lost(kind: Kind, made: Any, data: st.DataObject) -> None:
    events = data.draw(st.permutations(events_of(kind, made)))
    states = States()
    for position, event in enumerate(events, 1):
        changes = apply(states, event, Context(position, LATER))
        states.accept(changes)
        entity = states.entities["e"]
        if event.type == "delete-entity":
            continue
        lost = {loss.field for loss in changes.lost}
        for field, value in event.data.items():
            named_by_group = kind is Kind.GROUP and field == "name"
            assert named_by_group or field in lost or entity.data[field] == value


people, groups = st.sampled_from(["a", "b", "c"]), st.sampled_from(["g", "h"])
# Who is added by an event of its own is never deleted here: such an event writes only who is not there when it arrives.
guests = st.lists(st.fixed_dictionaries({"guid": st.just("d")}), min_size=1, max_size=1)
member_objects = st.fixed_dictionaries({"guid": people, "age": st.integers(0, 3)})
happenings = st.one_of(
    st.tuples(st.just("update-individual"), people, st.fixed_dictionaries({"age": st.integers(0, 3)})),
    st.tuples(st.just("update-group"), groups, st.fixed_dictionaries({"size": st.integers(0, 3)})),
    st.tuples(
        st.just("update-group"), groups, st.fixed_dictionaries({"members": st.lists(member_objects, max_size=2)})
    ),
    st.tuples(st.just("add-member"), groups, st.fixed_dictionaries({"members": guests})),
    st.tuples(st.just("remove-member"), groups, st.fixed_dictionaries({"memberId": people | st.just("d")})),
    st.tuples(st.just("delete-entity"), people, st.just({"x": 1})),
)


@given(done=st.lists(happenings, min_size=2, max_size=8), data=st.data())
@settings(max_examples=500)
def test_two_hubs_that_hear_the_same_in_another_order_end_the_same(done: Any, data: st.DataObject) -> None:
    """Two households and four people that are known, then whatever may happen to them; both hubs end with one state."""
    made = [Event(f"made-{guid}", guid, "create-group", {"name": guid}, Millis(1), "agent") for guid in "gh"]
    made += [Event(f"made-{guid}", guid, "create-individual", {"name": guid}, Millis(1), "agent") for guid in "abcd"]
    events = [
        Event(f"event-{time}", entity, type, fields, Millis(time), "agent")
        for time, (type, entity, fields) in enumerate(done, 2)
    ]
    assert state_after([*made, *data.draw(st.permutations(events))]) == state_after([*made, *events])


some_fields = st.fixed_dictionaries({"size": st.integers(0, 3)})
around_the_dead = st.one_of(
    st.tuples(st.just("delete-entity"), groups | people, st.just({"x": 1})),
    st.tuples(st.just("update-group"), groups, some_fields),
    st.tuples(st.just("update-individual"), people, some_fields),
    st.tuples(
        st.just("add-member"),
        groups,
        st.fixed_dictionaries({"members": st.lists(st.fixed_dictionaries({"guid": people}), min_size=1, max_size=2)}),
    ),
    st.tuples(st.just("add-member"), groups, st.just({"members": [{"guid": "new", "age": 1}]})),
    st.tuples(st.just("remove-member"), groups, st.fixed_dictionaries({"memberId": people})),
    st.tuples(
        st.just("record-attendance"), st.just("e"), st.just({"sessionId": "s", "date": "2026-01-01", "status": "late"})
    ),
)


@given(done=st.lists(around_the_dead, min_size=2, max_size=8), data=st.data())
@settings(max_examples=200)
def test_nothing_that_is_made_around_a_delete_is_refused_and_its_order_does_not_matter(
    done: Any, data: st.DataObject
) -> None:
    """What a delete takes along is decided when it arrives: the people are in a household that is left alone, too. Who comes
    with an `add-member` is one of their own each time, and comes to no household that is deleted twice: the second delete
    takes along nobody whom it finds in it, and buries who comes later. Of somebody who does not come back nothing is counted."""
    ends = Counter(entity for type, entity, _ in done if type == "delete-entity")
    events = [Event("end", "e", "delete-entity", {"x": 1}, Millis(data.draw(st.integers(2, 9))), "agent")]
    for time, (type, entity, fields) in enumerate(done, 2):
        if fields.get("members") == [{"guid": "new", "age": 1}]:
            if ends[entity] > 1:
                continue
            fields = {"members": [{"guid": f"new-{time}", "age": 1}]}
        events.append(Event(f"event-{time}", entity, type, fields, Millis(time), "agent"))
    made = [Event(f"made-{guid}", guid, "create-group", {"name": guid}, Millis(1), "agent") for guid in "ghk"]
    made += [Event(f"made-{guid}", guid, "create-individual", {"name": guid}, Millis(1), "agent") for guid in "abce"]
    held = {"members": [{"guid": guid} for guid in "abc"]}
    made.append(Event("held", "k", "add-member", held, Millis(1), "agent"))
    assert state_after([*made, *data.draw(st.permutations(events))]) == state_after([*made, *events])


def state_after(events: Sequence[Event]) -> Any:
    """What people see of all entities: data, names, and who is in which household."""
    states = States()
    for position, event in enumerate(events, 1):
        states.accept(apply(states, event, Context(position, LATER)))
    entities = {guid: (one.is_live, one.data, one.name) for guid, one in states.entities.items()}
    return entities, {(held.group_guid, held.member_guid) for held in states.memberships() if held.present}
