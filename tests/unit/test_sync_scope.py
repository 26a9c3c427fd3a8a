"""Effective sync scopes and their hashes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.features.entities.entity import Kind
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import (
    EVERYWHERE,
    KINDS_IN_PLACES,
    Box,
    Reach,
    RoleAssignment,
    SyncScope,
    effective_scope,
)

NOW = parse_timestamp("2026-01-31T00:00:00.000Z")
ROLLING_30 = {"type": "rolling", "days": 30}


def assignment(override: dict[str, Any] | None = None, *, area: str | None = None) -> RoleAssignment:
    return RoleAssignment(TenantId("p"), "enumerator", area, override)


def box(areas: str | None = None, kinds: str | None = None) -> Box:
    """`box("A B", "group")`: None is not limited, an empty text reaches nothing."""
    return Box(*(None if ids is None else frozenset(ids.split()) for ids in (areas, kinds)))


def limits(areas: str | None = None, kinds: str | None = None) -> dict[str, Any]:
    """The same as a `syncScopeOverride` has it."""
    return {name: ids.split() for name, ids in (("areaIds", areas), ("entityTypes", kinds)) if ids is not None}


@pytest.mark.parametrize(
    ("scope", "hash_hex"),
    [
        (SyncScope(), "002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f"),
        (SyncScope(Reach((box("A1"),))), "fef24de595b7f43bb71b848d7e36eb058c1d67671c3cc9aa5c4bc943d9813303"),
        (
            SyncScope(Reach((box("A1 A2", "group individual"),)), ROLLING_30),
            "36525c5b2c75d436f5da2657462befabc1dceb95b9b380df43bd7b1159b3f59c",
        ),
    ],
)
def test_the_hash_gives_the_contracts_vectors(scope: SyncScope, hash_hex: str) -> None:
    assert scope.hash == f"sha256:{hash_hex}"


@pytest.mark.parametrize(
    ("policy", "assignments", "areas", "types"),
    [
        (None, [], None, None),
        ({"areaIds": ["B", "A"]}, [], ("A", "B"), None),
        ({"areaIds": ["A", "B"]}, [assignment(area="B")], ("B",), None),
        (None, [assignment(area="B")], ("B",), None),
        ({"areaIds": ["A"]}, [assignment(area="B")], (), None),
        (None, [assignment(area="B"), assignment({"areaIds": ["A"]})], ("A", "B"), None),
        ({"areaIds": ["A"]}, [assignment(area="B"), assignment()], ("A",), None),
        ({"entityTypes": ["group", "individual"]}, [assignment({"entityTypes": ["group"]})], None, ("group",)),
        (None, [assignment({"areaIds": ["A"]}, area="B")], ("A",), None),
    ],
)
def test_assignments_are_united_and_then_narrow_the_policy(
    policy: dict[str, Any] | None,
    assignments: list[RoleAssignment],
    areas: tuple[str, ...] | None,
    types: tuple[str, ...] | None,
) -> None:
    scope = effective_scope(policy, assignments, now=NOW)
    told = scope.to_wire()
    assert (told["areaIds"], told["entityTypes"]) == tuple(None if ids is None else list(ids) for ids in (areas, types))


@pytest.mark.parametrize(
    ("windows", "narrower"),
    [
        ([ROLLING_30, {"type": "rolling", "days": 90}], ROLLING_30),
        ([{"type": "rolling", "days": 7}, ROLLING_30], {"type": "rolling", "days": 7}),
        ([ROLLING_30, {"type": "fixed", "floor": "2025-01-01T00:00:00.000Z"}], ROLLING_30),
        (
            [ROLLING_30, {"type": "fixed", "floor": "2026-01-20T00:00:00.000Z"}],
            {"type": "fixed", "floor": "2026-01-20T00:00:00.000Z"},
        ),
    ],
)
def test_the_narrower_time_window_wins_whoever_brings_it(
    windows: list[dict[str, Any]], narrower: dict[str, Any]
) -> None:
    for program, mine in (windows, windows[::-1]):
        scope = effective_scope({"timeWindow": program}, [assignment({"timeWindow": mine})], now=NOW)
        assert scope.time_window == narrower


def test_a_time_window_alone_is_not_a_limit_that_needs_a_device_id() -> None:
    assert not SyncScope(time_window=ROLLING_30).is_bounded
    assert SyncScope(Reach((box(""),))).is_bounded


# -- several assignments


@pytest.mark.parametrize(
    ("boxes", "united"),
    [
        ([box("A", "group"), box("B", "group")], [box("A B", "group")]),
        ([box("A", "group"), box("A", "individual")], [box("A", "group individual")]),
        ([box("A"), box("A", "individual")], [box("A")]),
        ([box("A B"), box("A", "group"), box("B")], [box("A B")]),
        ([box("A"), box(), box("B", "group")], [box()]),
        ([box("A", "group"), box("", "individual"), box("B", "")], [box("A", "group")]),
        ([box("A"), box("B", "")], [box("A")]),
        ([box("", "group"), box("", "individual")], [box("", "group individual")]),
        ([box("A", ""), box("", "group")], [box("", "")]),
        ([], [box("", "")]),
        ([box("A", "group"), box("B", "individual")], [box("A", "group"), box("B", "individual")]),
        ([box("B", "individual"), box("A", "group")], [box("A", "group"), box("B", "individual")]),
        ([box("A"), box("B", "individual")], [box("A", "group"), box("A B", "individual")]),
        ([box(None, "individual"), box("A")], [box("A", "group"), box(None, "individual")]),
        # An unlimited reach has also what is of no kind and nowhere, and is told of the whole program.
        ([box(None, "group individual"), box("A")], [box(None, "group individual")]),
        ([box(None, "group"), box(None, "individual"), box("A")], [box(None, "group individual")]),
    ],
)
def test_a_union_is_one_box_wherever_that_says_it(boxes: list[Box], united: list[Box]) -> None:
    assert list(Reach(tuple(boxes)).boxes) == united


# As they were when the sides of boxes were united each by itself: devices go by them, and pull afresh if they change.
@pytest.mark.parametrize(
    ("policy", "overrides", "hash_hex"),
    [
        (None, [limits("A1", "group")], "a62a02c5eba725ee649687382f653129d00abbd13b6335dd96d78dfa57ace499"),
        (
            None,
            [limits("A1", "group"), limits("A3", "group")],
            "13a335c15c95ad77cd1fbbbe993279146f3ea13bd1bc19d7d31e2410f469e5d8",
        ),
        (
            None,
            [limits("A1", "group"), limits("A1", "individual")],
            "19a11926d50f5c3ef879529c191a46994d5d37dec8330f5d2b7b37be87b15bb5",
        ),
        (None, [limits("A1"), limits("A2")], "2fd67cdda4a973d53adb1429c5785ea7773001ccb50168ff72575ad893fb76b8"),
        (
            None,
            [limits("A1 A2"), limits("A1", "group")],
            "2fd67cdda4a973d53adb1429c5785ea7773001ccb50168ff72575ad893fb76b8",
        ),
        (limits("A1"), [limits("A2")], "9d00bf01cb72b15461a72e0904a533860775da4f1703a7d2052d9e2c3ace3339"),
        (
            limits("A1"),
            [limits("A2"), limits("A3", "group")],
            "9d00bf01cb72b15461a72e0904a533860775da4f1703a7d2052d9e2c3ace3339",
        ),
        (
            limits("A1"),
            [limits("A1"), limits("A2", "group")],
            "fef24de595b7f43bb71b848d7e36eb058c1d67671c3cc9aa5c4bc943d9813303",
        ),
        (
            {"timeWindow": ROLLING_30},
            [limits(None, "individual")],
            "fd1b806f337ded5024886ca499bb61349379a23bbc2acde4662a49f36454a85d",
        ),
        (
            limits(None, "group individual"),
            [limits("A1"), limits()],
            "5a9d20756b473cab5621839d69fed24171148e7e6aaefd29351bd258fe794bbd",
        ),
    ],
)
def test_the_hash_of_one_box_is_what_it_has_always_been(
    policy: dict[str, Any] | None, overrides: list[dict[str, Any]], hash_hex: str
) -> None:
    assert effective_scope(policy, list(map(assignment, overrides)), now=NOW).hash == f"sha256:{hash_hex}"


def test_of_several_boxes_the_one_around_them_is_told_and_the_hash_is_of_all() -> None:
    mixed = effective_scope(None, [assignment(limits("A1", "group")), assignment(limits("A3", "individual"))], now=NOW)
    told = mixed.to_wire()
    assert (told["areaIds"], told["entityTypes"]) == (["A1", "A3"], ["group", "individual"])
    others = [
        [limits("A1", "individual"), limits("A3", "group")],
        [limits("A1 A3", "group individual")],
        [limits("A1"), limits("A3", "individual")],
    ]
    hashes = {effective_scope(None, list(map(assignment, other)), now=NOW).hash for other in others}
    assert len({mixed.hash, *hashes}) == 4
    turned = effective_scope(None, [assignment(limits("A3", "individual")), assignment(limits("A1", "group"))], now=NOW)
    assert turned == mixed
    assert turned.hash == mixed.hash


def test_who_reaches_some_of_every_kind_and_area_is_limited_all_the_same() -> None:
    scope = effective_scope(None, [assignment(limits(None, "individual")), assignment(area="A1")], now=NOW)
    assert scope.is_bounded
    assert scope.is_limited
    assert scope.to_wire()["areaIds"] is None
    assert scope.reach.describe() == "areas: A1; kinds: group, or kinds: individual"


def test_the_kinds_by_which_entities_are_reached_are_all_but_records() -> None:
    assert set(KINDS_IN_PLACES) == set(Kind) - {Kind.RECORD}


AREAS = ("A1", "A2", "A3")
_limits = st.fixed_dictionaries(
    {},
    optional={
        "areaIds": st.lists(st.sampled_from(AREAS), min_size=1, unique=True),
        "entityTypes": st.lists(st.sampled_from(KINDS_IN_PLACES), min_size=1, unique=True),
    },
)
_overrides = st.lists(_limits, max_size=4)


def lets_through(wire: dict[str, Any] | None, kind: str, area: str | None) -> bool:
    wire = wire or {}
    return kind in wire.get("entityTypes", KINDS_IN_PLACES) and ("areaIds" not in wire or area in wire["areaIds"])


@settings(max_examples=1000)
@given(policy=st.none() | _limits, overrides=_overrides, hint=st.lists(st.sampled_from(AREAS), min_size=1))
def test_what_is_reached_is_what_the_policy_and_one_of_the_assignments_let_through(
    policy: dict[str, Any] | None, overrides: list[dict[str, Any]], hint: list[str]
) -> None:
    scope = effective_scope(policy, list(map(assignment, overrides)), now=NOW)
    reach, told = scope.reach, scope.to_wire()
    hinted = reach.within(Box(area_ids=frozenset(hint)))
    for kind in KINDS_IN_PLACES:
        for area in (*AREAS, "elsewhere", None):
            is_let = any(lets_through(one, kind, area) for one in overrides or [{}])
            reached = lets_through(policy, kind, area) and is_let
            assert reach.includes(kind, area) == reached
            assert reach.includes_area(area, of=kind) or not reached
            assert hinted.includes(kind, area) == (reached and area in hint)
            assert not reached or lets_through({k: v for k, v in told.items() if v is not None}, kind, area)
    assert scope.is_bounded == (bool(policy) or (bool(overrides) and {} not in overrides))
    assert len(reach.boxes) == 1 or not frozenset.intersection(
        *(one.entity_types or frozenset() for one in reach.boxes)
    )
    assert effective_scope(policy, list(map(assignment, reversed(overrides))), now=NOW).hash == scope.hash


@settings(max_examples=1000)
@given(one=_overrides, other=_overrides)
def test_a_part_is_what_reaches_nothing_that_the_other_does_not(
    one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    mine, theirs = (effective_scope(None, list(map(assignment, these)), now=NOW).reach for these in (one, other))
    within = all(
        theirs.includes(kind, area)
        for kind in KINDS_IN_PLACES
        for area in (*AREAS, "elsewhere", None)
        if mine.includes(kind, area)
    )
    if mine.is_part_of(theirs):
        assert within
        assert mine.is_bounded or not theirs.is_bounded
    assert theirs.is_one_box or mine.is_part_of(theirs) == within
    assert mine.is_part_of(EVERYWHERE)
    assert mine.is_part_of(mine)
    if all(limit in other for limit in one) and one:
        assert mine.is_part_of(theirs), "what somebody has been assigned, they may give"
