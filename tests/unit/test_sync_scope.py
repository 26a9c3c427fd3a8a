"""Effective sync scopes and their hashes."""

from typing import Any

import pytest

from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import RoleAssignment, SyncScope, effective_scope

NOW = parse_timestamp("2026-01-31T00:00:00.000Z")
ROLLING_30 = {"type": "rolling", "days": 30}


def assignment(override: dict[str, Any] | None = None, *, area: str | None = None) -> RoleAssignment:
    return RoleAssignment(TenantId("p"), "enumerator", area, override)


@pytest.mark.parametrize(
    ("scope", "hash_hex"),
    [
        (SyncScope(), "002c2ad434fe0c7bc2a82714efd7ce909c9c676f8329619f1613e8b4c100939f"),
        (SyncScope(("A1",)), "fef24de595b7f43bb71b848d7e36eb058c1d67671c3cc9aa5c4bc943d9813303"),
        (
            SyncScope(("A1", "A2"), ("group", "individual"), ROLLING_30),
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
    assert (scope.area_ids, scope.entity_types) == (areas, types)


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
    assert SyncScope(area_ids=()).is_bounded
