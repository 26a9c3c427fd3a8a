"""What happens in a simulation: the devices, and the steps they go through. All of it follows from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from datacollect.kernel.sync_scope import EVERYWHERE, Reach
from datacollect.testing.devices import Generation

SECOND_MS = 1000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS

NAMES = "ABCDE"


class Do(StrEnum):
    """The kinds of steps. What `number` means is told with each."""

    CREATE = "create"
    """Fill in `number` forms."""
    BURST = "burst"
    """Fill in `number` forms that all bear the next full hour, as others' bursts do: equal timestamps."""
    EDIT = "edit"
    """Change a field of the entity that `number` picks; of few fields, so that devices meet."""
    GROUP = "group"
    """Make a group of what `number` picks."""
    MEMBER = "member"
    """Put somebody into a group the hub knows, or out of it."""
    DELETE = "delete"
    """Delete the individual that `number` picks."""
    SYNC = "sync"
    """Begin a sync, or go on with the one under way, to its end."""
    ADVANCE = "advance"
    """The same, but stop at the `number`th point from here: other devices come in between."""
    CUT = "cut"
    """The same, and break the request off there: what is not committed is undone, what is committed not answered."""
    RESTART = "restart"
    """The hub's processes end and start again on the same database; every request under way is broken off."""
    PASS = "pass"
    """`number` milliseconds go by for everybody."""
    SKEW = "skew"
    """Set the device's clock wrong by `number` milliseconds."""
    ECHO = "echo"
    """Lose the local mark: the next sync uploads all the device holds, whoever made it."""
    FORGET = "forget"
    """Lose the remote mark: the next sync downloads from the beginning."""


@dataclass(frozen=True, slots=True)
class Step:
    """`device` counts from 0; it is -1 in the steps that are nobody's."""

    do: Do
    device: int = -1
    number: int = 0

    def __str__(self) -> str:
        who = NAMES[self.device] if self.device >= 0 else ""
        return _SENTENCES[self.do].format(who=who, n=self.number, time=_duration(self.number))


_SENTENCES = {
    Do.CREATE: "{who} fills in {n} form(s)",
    Do.BURST: "{who} fills in {n} form(s) that all bear the next full hour",
    Do.EDIT: "{who} edits the entity picked by {n}",
    Do.GROUP: "{who} makes a group of what {n} picks",
    Do.MEMBER: "{who} changes the members of the group picked by {n}",
    Do.DELETE: "{who} deletes the individual picked by {n}",
    Do.SYNC: "{who} syncs to the end",
    Do.ADVANCE: "{who} syncs on for {n} point(s), and is left there",
    Do.CUT: "{who} syncs on for {n} point(s), where its request is broken off",
    Do.RESTART: "the hub restarts",
    Do.PASS: "{time} go by",
    Do.SKEW: "{who}'s clock is set wrong by {time}",
    Do.ECHO: "{who} loses its local mark: it will upload all it holds",
    Do.FORGET: "{who} loses its remote mark: it will download everything",
}


def _duration(milliseconds: int) -> str:
    for unit, size in (("year(s)", YEAR_MS), ("day(s)", DAY_MS), ("hour(s)", HOUR_MS), ("second(s)", SECOND_MS)):
        if abs(milliseconds) >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds} ms"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    generation: Generation
    page_size: int | None = None
    skew_ms: int = 0
    hub: int = 0
    """Which of the hub's two processes it speaks to."""
    reach: Reach = EVERYWHERE
    """The part of the program it is to hold. The scheduler and the laws go by it; today all are unlimited."""

    def __str__(self) -> str:
        parts = [f"{self.generation.name.lower()} client"]
        if self.page_size is not None:
            parts.append(f"pages of {self.page_size}")
        if self.skew_ms:
            parts.append(f"clock wrong by {_duration(self.skew_ms)}")
        if self.hub:
            parts.append("speaks to the hub's second process")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    devices: Sequence[DeviceSpec]
    steps: Sequence[Step]
    calm: bool = False
    """Clocks agree to a minute and no two events bear the same time: how it mostly is. Here re-delivery is bounded."""


def make_schedule(seed: int) -> Schedule:
    random = Random(seed)
    calm = random.random() < 0.2
    count = random.choices((2, 3, 4, 5), (6, 3, 1, 1))[0]
    devices = tuple(_device(random, calm=calm) for _ in range(count))
    length = random.choices((random.randint(5, 12), random.randint(13, 24), random.randint(25, 40)), (5, 4, 1))[0]
    kinds, weights = zip(*(_CALM_WEIGHTS if calm else _WEIGHTS).items(), strict=True)
    steps = [_step(random, do, count) for do in random.choices(kinds, weights, k=length)]
    if random.random() < _ACQUAINTED:
        steps[:0] = [Step(Do.CREATE, 0, random.randint(1, 2)), *(Step(Do.SYNC, device) for device in range(count))]
    return Schedule(seed, devices, tuple(steps), calm)


_PAGE_SIZES = (None, None, None, None, 1, 2, 3, 5, 11, 100, 1000)
_SKEWS = (
    0,
    0,
    0,
    1,
    -1,
    SECOND_MS,
    -SECOND_MS,
    -HOUR_MS,
    DAY_MS,
    -10 * DAY_MS,
    30 * YEAR_MS,
    -5 * YEAR_MS,
    900 * YEAR_MS,
)
_CALM_WEIGHTS = {
    Do.CREATE: 4,
    Do.EDIT: 3,
    Do.GROUP: 1,
    Do.MEMBER: 1,
    Do.DELETE: 1,
    Do.SYNC: 4,
    Do.ADVANCE: 6,
    Do.PASS: 1,
}
_WEIGHTS = _CALM_WEIGHTS | {Do.BURST: 2, Do.CUT: 2, Do.RESTART: 1, Do.SKEW: 1, Do.ECHO: 1, Do.FORGET: 1}
_ACQUAINTED = 0.6
"""How often all devices begin with the same entities, over which they can meet."""
_NOBODYS = frozenset({Do.RESTART, Do.PASS})


def _device(random: Random, *, calm: bool) -> DeviceSpec:
    return DeviceSpec(
        random.choice((Generation.V1, Generation.V2)),
        random.choice(_PAGE_SIZES),
        random.randint(-60, 60) * SECOND_MS if calm else random.choice(_SKEWS),
        random.randint(0, 1),
    )


def _step(random: Random, do: Do, count: int) -> Step:
    return Step(do, -1 if do in _NOBODYS else random.randrange(count), _number(random, do))


def _number(random: Random, do: Do) -> int:
    match do:
        case Do.CREATE | Do.BURST:
            return random.choices((1, 2, 3, 11), (6, 3, 2, 1))[0]
        case Do.EDIT | Do.GROUP | Do.MEMBER | Do.DELETE:
            return random.randrange(12)
        case Do.ADVANCE | Do.CUT:
            return random.randint(1, 5)
        case Do.PASS:
            return random.choice((SECOND_MS, HOUR_MS, 7 * DAY_MS))
        case Do.SKEW:
            return random.choice(_SKEWS)
        case _:
            return 0
