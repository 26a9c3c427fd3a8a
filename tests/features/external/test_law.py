"""Whatever happens on either side and on the way, in the end both sides hold the same, and nobody twice."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from datacollect.adapters.errors import Failure
from tests.factories import make_event
from tests.features.conftest import Alone
from tests.features.external.by_hand import Runner
from tests.features.external.exchanging import Exchange, another_system, counts, make_exchange
from tests.features.external.remote import Twin

pytestmark = pytest.mark.anyio

PEOPLE = tuple(f"in-{n}" for n in range(4))
GROUPS = ("hh-0", "hh-1")
EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "6"))
"""More of them when somebody looks for a mistake."""
PHASES = (Phase.explicit, Phase.generate)
"""What fails is not made smaller: each try is a program with several runs."""
LONG_AGO = 1_700_000_000_000
FIELDS = ("phone", "village", "height")


# -- what may happen

person, group = st.sampled_from(PEOPLE), st.sampled_from(GROUPS)
name, value = st.sampled_from(FIELDS), st.integers(0, 5)

ACTIONS = st.one_of(
    st.tuples(st.just("save"), person, name, value),
    st.tuples(st.just("delete"), person),
    st.tuples(st.just("join"), group, person),
    st.tuples(st.just("leave"), group, person),
    st.tuples(st.just("enter"), value),
    st.tuples(st.just("change"), st.integers(0, 9), name, value, st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("restore"), st.integers(0, 9)),
    st.tuples(st.just("found"), st.lists(st.integers(0, 9), max_size=2)),
    st.tuples(st.just("move"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("refuse"), person, st.booleans()),
    st.tuples(st.just("take"), person),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("break"), st.integers(0, 4)),
    st.tuples(st.just("run"), st.lists(st.integers(0, 12), max_size=4)),
)


async def act(exchange: Exchange, action: tuple[Any, ...]) -> None:
    await act_here(exchange, action)
    act_there(exchange, action)
    match action:
        case ("refuse", guid, retryable):
            refusal = Failure(code="REFUSED", message="It is refused.", retryable=retryable)
            exchange.remote.refusals[guid] = refusal
        case ("take", guid):
            exchange.remote.refusals.pop(guid, None)
        case ("away", is_away):
            exchange.remote.is_away = is_away
        case ("break", count):
            exchange.remote.breaks_after = count
        case ("run", crashes):
            await Runner(exchange, list(crashes)).run()
            exchange.remote.breaks_after = None


async def act_here(exchange: Exchange, action: tuple[Any, ...]) -> None:
    match action:
        case ("save", guid, field_, value_):
            await exchange.save(guid, name=guid, **{field_: value_})
        case ("delete", guid):
            if await exchange.entity(guid) is not None:
                await exchange.push(make_event("delete-entity", entity=guid, data={"by": "us"}))
        case ("join", guid, member):
            if await exchange.entity(guid) is None:
                await exchange.save(guid, "group", name=guid)
            await exchange.save(member, name=member)
            listed = {"members": [{"guid": member, "name": member, "type": "individual"}]}
            await exchange.push(make_event("add-member", entity=guid, data=listed))
        case ("leave", guid, member):
            if await exchange.entity(guid) is not None:
                await exchange.push(make_event("remove-member", entity=guid, data={"memberId": member}))


def act_there(exchange: Exchange, action: tuple[Any, ...]) -> None:
    remote = exchange.remote
    twins = list(remote.twins.values())
    match action:
        case ("enter", value_):
            remote.make({"entityName": "individual", "name": f"There {len(twins)}", "height": value_})
        case ("change", number, field_, value_, is_old):
            if twins and not twins[number % len(twins)].is_gone:
                at = LONG_AGO if is_old else None
                remote.change(twins[number % len(twins)].key, **{field_: value_}, at=at)
        case ("found", numbers):
            remote.make(
                {"entityName": "group", "name": f"There {len(twins)}"},
                type="group",
                members=sorted({twin.key for twin in _people(twins, numbers)}),
            )
        case ("move", group_, number):
            groups = [twin for twin in twins if twin.type == "group" and not twin.is_gone]
            for chosen in groups[group_ % len(groups) :][:1] if groups else ():
                chosen.members = sorted(set(chosen.members or ()) ^ {twin.key for twin in _people(twins, [number])})
                remote.touch(chosen)
        case ("end" | "restore" as what, number):
            if twins and twins[number % len(twins)].is_gone == (what == "restore"):
                twins[number % len(twins)].is_gone = what == "end"
                remote.touch(twins[number % len(twins)])


def _people(twins: list[Twin], numbers: list[int]) -> list[Twin]:
    people = [twin for twin in twins if twin.type == "individual" and not twin.is_gone]
    return [people[number % len(people)] for number in numbers if people]


async def settle(exchange: Exchange) -> dict[str, Any]:
    """Everything is well again, and the operator has what failed tried once more."""
    remote = exchange.remote
    remote.refusals.clear()
    remote.is_away, remote.breaks_after = False, None
    await exchange.admin.post("/api/sync/failures/retry", params={"configId": exchange.program})
    for _ in range(5):
        job = await Runner(exchange).run()
        if counts(job) == (0, 0, 0, 0):
            break
    return job


async def sides(exchange: Exchange) -> tuple[list[Any], list[Any]]:
    """What each side holds, in one form: whom by name, with their fields and members."""
    entities = await exchange.entities()
    names = {entity["guid"]: entity["name"] for entity in entities}
    ours = [
        (
            entity["type"],
            entity["data"],
            sorted(names.get(guid, guid) for guid in entity["memberIds"]) if entity["type"] == "group" else None,
        )
        for entity in entities
    ]
    live = exchange.remote.live
    theirs = [
        (
            str(twin.type),
            twin.data,
            sorted(live[key].data["name"] for key in twin.members or () if key in live)
            if twin.type == "group"
            else None,
        )
        for twin in live.values()
    ]
    return _in_order(ours), _in_order(theirs)


def _in_order(side: list[Any]) -> list[Any]:
    told = [
        (kind, sorted((k, v) for k, v in data.items() if k != "externalId"), members) for kind, data, members in side
    ]
    return sorted(told, key=repr)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=PHASES, database=None)
@given(actions=st.lists(ACTIONS, min_size=4, max_size=14))
async def test_in_the_end_both_sides_hold_the_same(unattended: Alone, actions: list[tuple[Any, ...]]) -> None:
    admin = await unattended.admin()
    with another_system() as (url, remote):
        exchange = await make_exchange(admin, unattended.hub, url)
        for action in actions:
            await act(exchange, action)
        last = await settle(exchange)
        assert (last["status"], counts(last)) == ("success", (0, 0, 0, 0)), last
        ours, theirs = await sides(exchange)
        note(f"{actions}\nours {ours}\ntheirs {theirs}")
        assert ours == theirs
        guids = [twin.guid for twin in remote.live.values() if twin.guid]
        assert len(guids) == len(set(guids))
