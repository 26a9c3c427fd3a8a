"""What is kept of a device, and what its clock can be said to show. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.ids import TenantId

_SAMPLES = 8
_AGREEING = 3
_AGREEMENT_MILLIS = 60_000
_AHEAD_MILLIS = 2 * 60_000

ANYBODY = ""
"""In a revocation: whoever signs in on the device."""

Route = Literal["pull", "push"]


class DeviceKey(NamedTuple):
    """Whose device, in which program. `user_id` is empty for callers without an account here."""

    tenant_id: TenantId
    user_id: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Activity:
    """One call that was answered."""

    key: DeviceKey
    route: Route
    events: int
    scope_hash: str
    occurred_at: Millis


@dataclass(frozen=True, slots=True)
class ClockSamples:
    """What the last syncs told about a device's clock, in milliseconds before (-) or ahead of (+) the hub's.

    `newest` are the times of the newest new event of each push: an event cannot be made after it is pushed, so the
    clock is ahead by at least that much. How long the device waited before it pushed is not known, so one push bounds
    the clock from below only. But when three of the last eight bounds lie within a minute of each other at the top,
    those pushes followed right upon their events (waits for a network do not come in equal lengths), and the middle of
    the three is the estimate; otherwise nothing is claimed. An app that pushes by a strict timer, and not when it has
    something, can deceive this rule by the timer's length; so can events whose time was typed in.

    `told` are readings of the clock itself, by devices that send one; they decide alone when there are any, and are
    late by the time the request took.
    """

    newest: tuple[int, ...] = ()
    told: tuple[int, ...] = ()

    def with_more(self, newest: Sequence[int], told: Sequence[int]) -> "ClockSamples":
        return ClockSamples((*self.newest, *newest)[-_SAMPLES:], (*self.told, *told)[-_SAMPLES:])

    @property
    def skew_millis(self) -> int | None:
        """The estimate; None while nothing can be said."""
        if self.told:
            return round(statistics.median(self.told))
        top = sorted(self.newest)[-_AGREEING:]
        agree = len(top) == _AGREEING and top[-1] - top[0] <= _AGREEMENT_MILLIS
        return top[_AGREEING // 2] if agree else None


@dataclass(slots=True)
class Tally:
    """What one device did since the last flush."""

    first_at: Millis
    last_pull_at: Millis | None = None
    last_push_at: Millis | None = None
    pulled: int = 0
    pushed: int = 0
    scope_hash: str | None = None
    newest: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    @property
    def clock_ahead(self) -> bool:
        return any(sample > _AHEAD_MILLIS for sample in self.newest)

    def count(self, activity: Activity, *, newest: int | None, told: int | None) -> None:
        if activity.route == "pull":
            self.pulled += activity.events
            self.last_pull_at = activity.occurred_at
        else:
            self.pushed += activity.events
            self.last_push_at = activity.occurred_at
        self.scope_hash = activity.scope_hash
        if newest is not None:
            self.newest = _highest([*self.newest, newest])
        if told is not None:
            self.told = [*self.told, told][-_SAMPLES:]

    def continued_by(self, later: "Tally") -> "Tally":
        """Both together; this one was first."""
        return Tally(
            first_at=self.first_at,
            last_pull_at=later.last_pull_at or self.last_pull_at,
            last_push_at=later.last_push_at or self.last_push_at,
            pulled=self.pulled + later.pulled,
            pushed=self.pushed + later.pushed,
            scope_hash=later.scope_hash or self.scope_hash,
            newest=_highest([*self.newest, *later.newest]),
            told=[*self.told, *later.told][-_SAMPLES:],
        )


def _highest(bounds: list[int]) -> list[int]:
    """As many as are ever kept, without the lowest: those say least, and the highest may say "ahead"."""
    while len(bounds) > _SAMPLES:
        bounds.remove(min(bounds))
    return bounds


@dataclass(frozen=True, slots=True)
class Revocation:
    """Who shut a device out, and when."""

    device_id: str
    user_id: str
    revoked_at: Millis
    revoked_by: str


@dataclass(frozen=True, slots=True)
class Device:
    """One row of the list."""

    key: DeviceKey
    first_seen_at: Millis
    last_pull_at: Millis | None
    last_push_at: Millis | None
    total_pulled: int
    total_pushed: int
    last_scope_hash: str | None
    clock: ClockSamples
    clock_ahead: bool
    revocation: Revocation | None = None


def device_time(iso: str | None, http_date: str | None) -> Millis | None:
    """The device's clock as its request tells it (`X-Device-Time`, else `Date`); None when neither can be read."""
    try:
        if iso:
            return parse_timestamp(iso)
        if http_date:
            moment = parsedate_to_datetime(http_date)
            # A date whose zone is unknown says nothing about a clock.
            return None if moment.tzinfo is None else Millis(int(moment.astimezone(UTC).timestamp() * 1000))
    except (ValueError, OverflowError):
        pass
    return None
