"""Random histories of a few entities, so that they meet: in groups of groups, late, deleted, created anew."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from datacollect.eventstore.event import Event, Origin
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import new_guid

GUIDS = [f"e-{number}" for number in range(9)]
FORMS = ["household", "person", "", None, "größe"]

_AHEAD = 10**14
"""A device's clock that is far ahead of the hub's."""


def event(type: str, entity: str, data: dict[str, Any], at: int = 1_000) -> Event:
    return Event(new_guid(), entity, type, data, Millis(at), "agent")


class Chance:
    """Makes the events of one history."""

    def __init__(self, seed: int | str, guids: Sequence[str] = GUIDS) -> None:
        self._random = random.Random(seed)
        self._guids = guids

    def batch(self) -> list[Event]:
        return [self.event() for _ in range(self._random.randint(1, 6))]

    def origin(self) -> Origin:
        return self._random.choice([Origin.CLIENT] * 8 + [Origin.SEED, Origin.DERIVED])

    def event(self) -> Event:
        pick = self._random.choice
        event_type, data = pick([self._write, self._write, self._group, self._add, self._remove, self._delete])()
        return event(event_type, pick(self._guids), data, self._time())

    def _time(self) -> int:
        """Few enough times that some are equal; now and then one in the future."""
        return _AHEAD if self._random.random() < 0.02 else self._random.randint(1, 300)

    def _fields(self) -> dict[str, Any]:
        some = {
            "name": self._random.choice(["Ana", "Eva", "", None]),
            "entityName": self._random.choice(FORMS),
            "age": self._random.choice([1, 2.5, 2**60, 1.0, "x"]),
            "address": {"zip": "0", "a": [1, {"b": None}]},
        }
        return {key: some[key] for key in self._random.sample(list(some), self._random.randint(1, 4))}

    def _write(self) -> tuple[str, dict[str, Any]]:
        return self._random.choice(["create-individual", "update-record", "update-group"]), self._fields()

    def _member(self, depth: int = 0) -> dict[str, Any]:
        member = {"guid": self._random.choice(self._guids), "n": depth}
        if depth < 2 and self._random.random() < 0.5:
            member |= {"type": "group", "members": [self._member(depth + 1) for _ in range(2)]}
        return member

    def _group(self) -> tuple[str, dict[str, Any]]:
        return "create-group", {"name": "G", "members": [self._member() for _ in range(self._random.randint(0, 2))]}

    def _add(self) -> tuple[str, dict[str, Any]]:
        return "add-member", {"members": [self._member() for _ in range(self._random.randint(1, 2))]}

    def _remove(self) -> tuple[str, dict[str, Any]]:
        return "remove-member", {"memberId": self._random.choice(self._guids)}

    def _delete(self) -> tuple[str, dict[str, Any]]:
        if self._random.random() < 0.5:
            return "resolve-duplicate", {"shouldDelete": self._random.random() < 0.5}
        return "delete-entity", {"reason": "x"}


class ChanceOfAll(Chance):
    """With the events that count and enrol as well, from every source, and with guids named over and over."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._redeemed: list[str] = []

    def origin(self) -> Origin:
        return self._random.choice([Origin.CLIENT] * 9 + [Origin.SEED, Origin.DERIVED, Origin.EXTERNAL])

    def event(self) -> Event:
        if self._random.random() < 0.75:
            return super().event()
        event_type, data = self._random.choice([self._enrol, self._attend, self._grant, self._redeem, self._void])()
        made = event(event_type, self._random.choice(GUIDS), data, self._random.randint(1, 300))
        if event_type == "redeem-entitlement":
            self._redeemed.append(made.guid)
        return made

    def _write(self) -> tuple[str, dict[str, Any]]:
        verb, kind = self._random.choice(["create", "update"]), self._random.choice(["individual", "group", "record"])
        return f"{verb}-{kind}", self._fields()

    def _enrol(self) -> tuple[str, dict[str, Any]]:
        name = self._random.choice(["enrol-in-program", "program-enrolment-applied", "program-enrolment-rejected"])
        return name, {"programId": self._random.choice([1, 2, "3"]), "crId": self._random.choice([7, 8])}

    def _attend(self) -> tuple[str, dict[str, Any]]:
        status = self._random.choice(["present", "late", "absent"])
        return "record-attendance", {"sessionId": self._random.choice("ab"), "date": "2025-01-01", "status": status}

    def _grant(self) -> tuple[str, dict[str, Any]]:
        return "grant-entitlement", {"entitlements": [{"id": self._random.choice("xy"), "allocated": 9}]}

    def _redeem(self) -> tuple[str, dict[str, Any]]:
        return "redeem-entitlement", {"entitlementId": self._random.choice("xy"), "quantity": 2}

    def _void(self) -> tuple[str, dict[str, Any]]:
        original = self._random.choice(self._redeemed or [""])
        data = {"supervisorVerified": True, "entitlementId": self._random.choice("xy")}
        return "void-redemption", data | {"originalRedemptionGuid": original}


def guids_in(members: Sequence[Any]) -> Iterator[str]:
    """Of members at any depth, as often as they are named."""
    for member in members:
        yield member["guid"]
        yield from guids_in(member.get("members", ()))
