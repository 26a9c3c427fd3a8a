"""People as field teams register them, made up: households that share names, phones and villages, twins, dates nobody
knows, and some who are registered a second time, each with one known difficulty. The same seed gives the same people.

The names are common ones of four regions, by frequencies that fall like those of real names; how they are spelt otherwise
is a list of its own, not the rules by which the hub compares them.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from random import Random
from typing import Any

from datacollect.testing.spellings import REGIONS, SPELLINGS, Region

TOLD_IN = 2025
"""The year in which everybody is registered, and ages are told."""

_PEOPLE_PER_AREA = 900
_MOST_AREAS = 5_000
_REMEMBERED = 4_000
"""Households of which somebody may be registered again."""


class Kind(StrEnum):
    """How a registration differs from the one before of the same person."""

    FIRST = "registered once"
    COPY = "the same form twice"
    TYPING = "typing errors in a name"
    SPELLING = "another spelling of the names"
    NO_FAMILY_NAME = "family name left out"
    SWAPPED = "given and family name swapped"
    DATE_SLIP = "a slip in the birth date"
    FIRST_OF_JANUARY = "born on 1 January, of the year or the next"
    AGE_ONLY = "an age instead of a birth date"
    MOVED = "another area and another phone"
    MOVED_AND_SPELLING = "another area and another spelling"
    SEVERAL = "three of these at once"


AGAIN = tuple(kind for kind in Kind if kind is not Kind.FIRST)


class Between(StrEnum):
    """What two registrations have to do with each other."""

    SAME = "the same person"
    TWINS = "twins"
    HOUSEHOLD = "of one household"
    OTHERS = "strangers"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, as they are."""

    number: int
    home: int
    """Of the household they were born into: two of one home are relatives."""
    given: str
    family: str
    female: bool
    born: date
    knows: str
    """What is known of the birth: `date`, `year` or `age`."""
    document: str


@dataclass(frozen=True, slots=True)
class Registration:
    """What was entered of a person. `data` is of one form; names are in parts."""

    guid: str
    person: Person
    kind: Kind
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Household:
    """People registered together, by one agent."""

    guid: str
    area: str
    name: str
    village: str
    phone: str
    members: Sequence[Registration]

    def events(self, *, whole_names: bool = False) -> Iterator[dict[str, Any]]:
        """As a device would tell it: type, guid and data. The people first, then the group, then who is in it."""
        for member in self.members:
            data = in_one_name(member.data) if whole_names else member.data
            yield {"type": "create-individual", "entityGuid": member.guid, "data": dict(data)}
        group = {"entityName": "household", "name": self.name, "village": self.village, "area_id": self.area}
        yield {"type": "create-group", "entityGuid": self.guid, "data": group}
        members = [{"guid": member.guid} for member in self.members]
        yield {"type": "add-member", "entityGuid": self.guid, "data": {"members": members}}


def between(one: Registration, other: Registration) -> Between:
    if one.person == other.person:
        return Between.SAME
    if one.person.home != other.person.home:
        return Between.OTHERS
    return Between.TWINS if one.person.born == other.person.born else Between.HOUSEHOLD


def in_one_name(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same, of a form that asks for the name in one field."""
    whole = " ".join(str(data[part]) for part in ("givenName", "familyName") if data.get(part))
    return {"name": whole, **{name: value for name, value in data.items() if name not in ("givenName", "familyName")}}


def form(*, whole_names: bool = False) -> dict[str, Any]:
    """The form that these people are registered with, as a program's config has it."""
    names = ("name",) if whole_names else ("givenName", "familyName")
    keys = (*names, "birthDate", "age", "sex", "nationalId", "village")
    components = [{"type": "textfield", "key": key, "input": True} for key in keys]
    components.append({"type": "phoneNumber", "key": "phone", "input": True})
    return {"id": "f-individual", "name": "individual", "title": "Person", "formio": {"components": components}}


@dataclass(slots=True)
class FieldTeams:
    """Registers households for ever; about one in eight people was registered before."""

    seed: int = 1
    people: int = 10_000
    """How many registrations are wanted in all: there are more areas for more people, of the same size."""
    _dice: Random = field(init=False)
    _known: list[Household] = field(init=False, default_factory=list)
    _numbers: Iterator[int] = field(init=False, default_factory=itertools.count)
    _homes: Iterator[int] = field(init=False, default_factory=itertools.count)
    _areas: int = field(init=False)

    def __post_init__(self) -> None:
        self._dice = Random(self.seed)
        self._areas = max(3, min(_MOST_AREAS, self.people // _PEOPLE_PER_AREA))

    def households(self) -> Iterator[Household]:
        """At least as many as it takes to have registered `people`."""
        registered = 0
        while registered < self.people:
            again = len(self._known) > 20 and self._dice.random() < 0.22
            household = self._again(self._known.pop(self._dice.randrange(len(self._known)))) if again else self._new()
            if not again:
                self._remember(household)
            registered += len(household.members)
            yield household

    def _remember(self, household: Household) -> None:
        if len(self._known) < _REMEMBERED:
            self._known.append(household)
        else:
            self._known[self._dice.randrange(_REMEMBERED)] = household

    # -- who there is

    def _new(self) -> Household:
        dice, home = self._dice, next(self._homes)
        area = dice.randrange(self._areas)
        region = REGIONS[area % len(REGIONS)]
        family, phone = self._drawn(region.families, region.rare), self._phone(region)
        people = list(self._parents(region, home, family))
        while dice.random() < 0.72 and len(people) < 9:
            child = self._child(region, home, family, people)
            people.extend(self._twins(region, child) if dice.random() < 0.04 else (child,))
        village = f"{dice.choice(region.villages)} {1 + area % 7}"
        area_id = f"area-{area}"
        members = [self._entered(person, region, area_id, village, phone) for person in people]
        return Household(self._guid(), area_id, family, village, phone, members)

    def _parents(self, region: Region, home: int, family: str) -> Iterator[Person]:
        for female in self._dice.choice(((True, False), (True, False), (True,), (False,))):
            own = family
            if female and not region.wives_take_the_name:
                own = self._drawn(region.families, region.rare)
            yield self._person(region, home, own, female, self._born(18, 75))

    def _child(self, region: Region, home: int, family: str, there: Sequence[Person]) -> Person:
        child = self._person(region, home, family, self._dice.random() < 0.5, self._born(0, 17))
        # Nobody calls two children the same.
        taken = {each.given for each in there}
        while child.given in taken:
            child = replace(child, given=self._given(region, child.female))
        return child

    def _twins(self, region: Region, child: Person) -> Sequence[Person]:
        """Some have names that go together, and sound so."""
        female = child.female if self._dice.random() < 0.6 else not child.female
        other = replace(self._person(region, child.home, child.family, female, child.born), knows=child.knows)
        if female == child.female and self._dice.random() < 0.4:
            one, two = self._dice.choice(region.twins)[0 if female else 1]
            return replace(child, given=one), replace(other, given=two)
        while other.given == child.given:
            other = replace(other, given=self._given(region, female))
        return child, other

    def _person(self, region: Region, home: int, family: str, female: bool, born: date) -> Person:
        dice = self._dice
        knows = dice.choices(("date", "year", "age"), (65, 22, 13))[0]
        document = ""
        if born.year <= TOLD_IN - 16 and dice.random() < 0.35:
            document = f"{dice.choice('ABCDEFGH')}{dice.randrange(10**8):08}"
        given = self._given(region, female)
        return Person(next(self._numbers), home, given, family, female, born, knows, document)

    def _given(self, region: Region, female: bool) -> str:
        return self._drawn(region.women if female else region.men, region.rare)

    def _drawn(self, names: Sequence[str], rare: Callable[[Random], str]) -> str:
        """Frequencies fall as 1/n does from the third on; every seventh name is one that few have."""
        if self._dice.random() < 0.15:
            return rare(self._dice)
        drawn = 3 * ((len(names) + 3) / 3) ** self._dice.random() - 3
        return names[min(int(drawn), len(names) - 1)]

    def _born(self, youngest: int, oldest: int) -> date:
        return date(TOLD_IN - youngest, 1, 1) - timedelta(days=self._dice.randrange(1 + 365 * (oldest - youngest)))

    def _phone(self, region: Region) -> str:
        return f"{region.prefix}{self._dice.randrange(10**7):07}" if self._dice.random() < 0.8 else ""

    def _guid(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    # -- what is entered

    def _entered(
        self, person: Person, region: Region, area: str, village: str, phone: str, kind: Kind = Kind.FIRST
    ) -> Registration:
        dice = self._dice
        data: dict[str, Any] = {"entityName": "individual", "givenName": person.given, "familyName": person.family}
        data["sex"] = "female" if person.female else "male"
        if person.knows == "date":
            data["birthDate"] = person.born.isoformat()
        elif person.knows == "year":
            data["birthDate"] = f"{person.born.year}-01-01"
        else:
            data["age"] = self._age(person)
        if person.document and (kind is Kind.FIRST or dice.random() < 0.5):
            data["nationalId"] = person.document
        # One phone for all, told with most of them.
        if phone and dice.random() < (0.9 if person.born.year <= TOLD_IN - 18 else 0.4):
            data["phone"] = phone if dice.random() < 0.7 else f"+{region.country}{phone[1:]}"
        return Registration(self._guid(), person, kind, data | {"village": village, "area_id": area})

    def _age(self, person: Person) -> int:
        age = TOLD_IN - person.born.year
        return 5 * round(age / 5) if age >= 20 and self._dice.random() < 0.5 else age

    def _again(self, before: Household) -> Household:
        """Some of a household once more, where they were or somewhere else."""
        dice = self._dice
        fitting = _AWAY if dice.random() < 0.25 else _HERE
        kinds = [dice.choice(fitting) for _ in range(dice.randint(1, len(before.members)))]
        chosen = dice.sample(list(before.members), len(kinds))
        area, village, phone = before.area, before.village, before.phone
        region = REGIONS[int(area.removeprefix("area-")) % len(REGIONS)]
        if fitting is _AWAY:
            there = dice.randrange(self._areas)
            # Among those who speak as they do.
            there += int(area.removeprefix("area-")) % len(REGIONS) - there % len(REGIONS)
            area, village = f"area-{there % self._areas}", f"{dice.choice(region.villages)} {1 + there % 7}"
            phone = self._phone(region)
        members = [
            self._registered_again(first, kind, region, area, village, phone)
            for first, kind in zip(chosen, kinds, strict=True)
        ]
        return Household(self._guid(), area, before.name, village, phone, members)

    def _registered_again(
        self, first: Registration, kind: Kind, region: Region, area: str, village: str, phone: str
    ) -> Registration:
        if kind is Kind.COPY:
            return Registration(self._guid(), first.person, kind, first.data)
        entered = self._entered(first.person, region, area, village, phone, kind)
        data = dict(entered.data)
        steps = _STEPS[kind]
        if kind is Kind.SEVERAL:
            steps = tuple(_STEPS[each][0] for each in self._dice.sample(_SINGLE, 3))
        for step in steps:
            step(data, first.person, self._dice)
        return replace(entered, data=data)


# -- what goes wrong

Step = Callable[[dict[str, Any], Person, Random], None]


def _mistype(data: dict[str, Any], person: Person, dice: Random) -> None:
    part = dice.choice(("givenName", "familyName"))
    if data.get(part):
        data[part] = mistyped(data[part], dice)


def mistyped(name: str, dice: Random) -> str:
    """One letter doubled, left out, beside its neighbour or for its neighbour; never the first one of a short name."""
    at = dice.randrange(1, len(name)) if len(name) > 2 else len(name) - 1
    drawn = dice.randrange(4)
    if drawn == 0:
        return name[:at] + name[at] + name[at:]
    if drawn == 1 and len(name) > 3:
        return name[:at] + name[at + 1 :]
    if drawn == 2 and at + 1 < len(name):
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + dice.choice(_BESIDE.get(name[at], "aeio")) + name[at + 1 :]


def _respell(data: dict[str, Any], person: Person, dice: Random) -> None:
    for part in ("givenName", "familyName"):
        if name := data.get(part):
            data[part] = respelt(name, dice)


def respelt(name: str, dice: Random) -> str:
    """As another clerk writes what they hear."""
    if others := [each for each in SPELLINGS.get(name, ()) if each != name]:
        return dice.choice(others)
    fitting = [(old, new) for old, new in _HEARD if old in name[1:]]
    if not fitting:
        return name
    old, new = dice.choice(fitting)
    return name[0] + name[1:].replace(old, new, 1)


def _leave_out_family(data: dict[str, Any], person: Person, dice: Random) -> None:
    data.pop("familyName", None)


def _swap(data: dict[str, Any], person: Person, dice: Random) -> None:
    if "familyName" in data:
        data["givenName"], data["familyName"] = data["familyName"], data["givenName"]


def _slip_in_date(data: dict[str, Any], person: Person, dice: Random) -> None:
    data.pop("age", None)
    born = person.born
    if born.day <= 12 and born.day != born.month and dice.random() < 0.5:
        data["birthDate"] = f"{born.year}-{born.day:02}-{born.month:02}"
    elif dice.random() < 0.5:
        data["birthDate"] = f"{born.year + dice.choice((-10, -1, 1))}-{born.month:02}-{born.day:02}"
    else:
        other = 1 + (born.day + dice.choice((0, 9, 18))) % 28
        data["birthDate"] = f"{born.year}-{born.month:02}-{other:02}"


def _first_of_january(data: dict[str, Any], person: Person, dice: Random) -> None:
    data.pop("age", None)
    data["birthDate"] = f"{person.born.year + dice.choice((0, 0, 0, 1))}-01-01"


def _only_age(data: dict[str, Any], person: Person, dice: Random) -> None:
    data.pop("birthDate", None)
    age = TOLD_IN - person.born.year
    data["age"] = 5 * round(age / 5) if age >= 20 and dice.random() < 0.6 else max(0, age - dice.choice((0, 0, 1)))


_STEPS: Mapping[Kind, tuple[Step, ...]] = {
    Kind.TYPING: (_mistype,),
    Kind.SPELLING: (_respell,),
    Kind.NO_FAMILY_NAME: (_leave_out_family,),
    Kind.SWAPPED: (_swap,),
    Kind.DATE_SLIP: (_slip_in_date,),
    Kind.FIRST_OF_JANUARY: (_first_of_january,),
    Kind.AGE_ONLY: (_only_age,),
    Kind.MOVED: (),
    Kind.MOVED_AND_SPELLING: (_respell,),
    Kind.SEVERAL: (),
}
_SINGLE = (Kind.TYPING, Kind.SPELLING, Kind.DATE_SLIP, Kind.FIRST_OF_JANUARY, Kind.AGE_ONLY, Kind.SWAPPED)
_AWAY = (Kind.MOVED, Kind.MOVED_AND_SPELLING)
_HERE = tuple(kind for kind in AGAIN if kind not in _AWAY)
_BESIDE = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "rw", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "mb", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
_HEARD = (
    ("ou", "u"), ("oo", "u"), ("ee", "i"), ("aa", "a"), ("kh", "h"), ("th", "t"), ("dh", "d"), ("sh", "ch"), ("ph", "f"),
    ("y", "i"), ("j", "dj"), ("z", "s"), ("v", "b"), ("c", "k"), ("ss", "s"), ("ll", "l"), ("mm", "m"), ("w", "ou"),
    ("e", "i"), ("o", "u"),
)  # fmt: skip
"""Pairs of what is heard as one."""
