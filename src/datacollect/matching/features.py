"""What of a record is compared: its fields by what they say, made comparable once."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from datacollect.matching.dates import Birth, birth_of_age, read_birth
from datacollect.matching.names import plain, tokens

_MOST_VALUES, _MOST_WORDS, _LONGEST_VALUE = 8, 16, 200
"""Of one role. What is longer is no name, and must not cost more than one."""
_PLAIN = (str, int, float)
_PHONE_TAIL = 8
_NO_DIGITS = re.compile(r"\D+")
_TECHNICAL = frozenset({"entityName", "type", "externalId", "identifierType", "parentId", "parentGuid", "area_id"})
_PLACEHOLDERS = frozenset({"", "na", "n a", "none", "null", "unknown", "nil", "x", "xx", "xxx", "test", "no", "0"})


class Role(StrEnum):
    """What a field says of whom the record is about."""

    FULL_NAME = "fullName"
    GIVEN_NAME = "givenName"
    FAMILY_NAME = "familyName"
    MIDDLE_NAME = "middleName"
    BIRTH_DATE = "birthDate"
    AGE = "age"
    SEX = "sex"
    PHONE = "phone"
    EMAIL = "email"
    DOCUMENT = "document"
    ADDRESS = "address"
    LOCALITY = "locality"
    POSTCODE = "postcode"


_NAMES = (Role.GIVEN_NAME, Role.MIDDLE_NAME, Role.FAMILY_NAME, Role.FULL_NAME)


class Entered:
    """Everything that was entered. Most of those who are compared differ in the first thing that is looked at, so a digest
    of all of it is made only of whom it is asked."""

    __slots__ = ("_data", "_digest")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._digest: str | None = None

    @property
    def digest(self) -> str:
        """Empty unless it is more than one thing."""
        if self._digest is None:
            told = sorted((name, text) for name in self._data if (text := self._told(name)))
            self._digest = hashlib.sha256(repr(told).encode()).hexdigest()[:24] if len(told) > 1 else ""
        return self._digest

    def is_the_same(self, other: "Entered") -> bool:
        for name in self._data:
            if (text := self._told(name)) and text != other._told(name):
                return False
        return self.digest != "" and self.digest == other.digest

    def _told(self, name: str) -> str:
        value = self._data.get(name)
        if not isinstance(value, _PLAIN) or name in _TECHNICAL or name.startswith("_"):
            return ""
        return plain(str(value)[:_LONGEST_VALUE])


_NOTHING = Entered({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Everything is plain (see `names.plain`); what the record does not tell is empty."""

    given: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    """Words of a name of which nobody says which is which."""
    birth: Birth | None = None
    sex: str = ""
    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    documents: Mapping[str, str] = field(default_factory=dict)
    """By the field that holds it."""
    address: frozenset[str] = frozenset()
    locality: tuple[str, ...] = ()
    postcode: str = ""
    area: str = ""
    entered: Entered = field(default=_NOTHING, compare=False)
    """Forms are sent twice, and people copied."""
    relatives: frozenset[str] = frozenset()
    """Of a person: plain names of those of its household. Of a household: those of its members."""
    groups: frozenset[str] = frozenset()
    """Of a person: the guids of the groups it is in."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.given, *self.family, *self.whole)


def features_of(
    data: Mapping[str, Any],
    roles: Mapping[str, Role],
    *,
    told_in: int,
    area: str = "",
    relatives: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> Features:
    """Read a record. `roles` are by path; `told_in` is the year in which an age was told. Never raises."""
    told: dict[Role, list[tuple[str, Any, str]]] = {}
    for path, role in roles.items():
        value = data.get(path) if "." not in path else _at(data, path)
        if value is not None and (text := _told(value)) is not None:
            told.setdefault(role, []).append((path, value, text))

    def texts(role: Role) -> list[str]:
        return [text for _, _, text in told[role][:_MOST_VALUES]] if role in told else []

    def words(role: Role) -> tuple[str, ...]:
        if role not in told:
            return ()
        return tuple(dict.fromkeys(word for text in texts(role) for word in tokens(text)))[:_MOST_WORDS]

    births = [read_birth(value) for _, value, _ in told.get(Role.BIRTH_DATE, ())]
    ages = [birth_of_age(value, told_in=told_in) for _, value, _ in told.get(Role.AGE, ())]
    given, family = (*words(Role.GIVEN_NAME), *words(Role.MIDDLE_NAME)), words(Role.FAMILY_NAME)
    return Features(
        given=given,
        family=family,
        whole=() if given and family else words(Role.FULL_NAME),
        birth=next((one for one in (*births, *ages) if one is not None), None),
        sex=_sex(texts(Role.SEX)),
        phones=frozenset(filter(None, map(_tail, texts(Role.PHONE)))),
        emails=frozenset(text.strip().casefold() for text in texts(Role.EMAIL) if "@" in text),
        documents={
            path: number
            for path, _, text in told.get(Role.DOCUMENT, ())[:_MOST_VALUES]
            if len(number := plain(text).replace(" ", "")) >= 4
        },
        address=frozenset(plain(" ".join(texts(Role.ADDRESS))).split()[:_MOST_WORDS]),
        locality=tuple(plain(" ".join(texts(Role.LOCALITY))).split()[:_MOST_WORDS]),
        postcode=plain(" ".join(texts(Role.POSTCODE)[:1])).replace(" ", ""),
        area=area,
        entered=Entered(data),
        relatives=frozenset(
            name for name in (" ".join(sorted(tokens(one[:_LONGEST_VALUE]))) for one in relatives) if name
        ),
        groups=frozenset(groups),
    )


def name_in(data: Mapping[str, Any], roles: Mapping[str, Role]) -> str:
    """What somebody is called by the fields of a form, all words of it; empty if they tell no name."""
    told: dict[Role, list[str]] = {}
    for path, role in roles.items():
        if role in _NAMES and (text := _told(_at(data, path))) is not None:
            told.setdefault(role, []).append(text)
    parts = [text for role in _NAMES[:3] for text in told.get(role, ())[:_MOST_VALUES]]
    return " ".join(parts or told.get(Role.FULL_NAME, ())[:1])


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(name)
    return data


def _told(value: Any) -> str | None:
    """As text, if it is more than a placeholder."""
    if isinstance(value, bool) or not isinstance(value, _PLAIN):
        return None
    text = str(value)[:_LONGEST_VALUE]
    return None if plain(text) in _PLACEHOLDERS else text


def _tail(phone: str) -> str:
    """The end of a number, which is the same with and without the country's code."""
    digits = _NO_DIGITS.sub("", phone)
    return digits[-_PHONE_TAIL:] if len(digits) >= 7 and len(set(digits)) > 2 else ""


def _sex(texts: list[str]) -> str:
    word = plain(texts[0]) if texts else ""
    if word in ("m", "male", "man", "boy", "1", "h", "homme", "hombre", "masculin", "masculino"):
        return "m"
    if word in ("f", "female", "woman", "girl", "2", "femme", "mujer", "feminin", "femenino", "w"):
        return "f"
    return ""
