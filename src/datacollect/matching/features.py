"""What of a record is compared: its fields by what they say, made comparable once."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from datacollect.matching.dates import Birth, birth_of_age, read_birth
from datacollect.matching.names import plain, tokens

_MOST_VALUES, _MOST_WORDS, _LONGEST_VALUE = 8, 16, 200
"""Of one role. What is longer is no name, and must not cost more than one."""
_PHONE_TAIL = 8
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
    copy: str = ""
    """A digest of everything that was entered, if that is more than one thing: forms are sent twice, and people copied."""
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
    by_role: dict[Role, list[tuple[str, Any]]] = {}
    for path, role in roles.items():
        value = _at(data, path)
        if _is_told(value):
            by_role.setdefault(role, []).append((path, value))

    def texts(role: Role) -> list[str]:
        return [str(value)[:_LONGEST_VALUE] for _, value in by_role.get(role, [])[:_MOST_VALUES]]

    def words(role: Role) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for text in texts(role) for word in tokens(text)))[:_MOST_WORDS]

    births = [read_birth(value) for _, value in by_role.get(Role.BIRTH_DATE, [])]
    ages = [birth_of_age(value, told_in=told_in) for _, value in by_role.get(Role.AGE, [])]
    given, family = (*words(Role.GIVEN_NAME), *words(Role.MIDDLE_NAME)), words(Role.FAMILY_NAME)
    return Features(
        given=given,
        family=family,
        whole=() if given and family else words(Role.FULL_NAME),
        birth=next((one for one in (*births, *ages) if one is not None), None),
        sex=_sex(texts(Role.SEX)),
        phones=frozenset(filter(None, (_tail(text) for text in texts(Role.PHONE)))),
        emails=frozenset(text.strip().casefold() for text in texts(Role.EMAIL) if "@" in text),
        documents={
            path: number
            for path, value in by_role.get(Role.DOCUMENT, [])[:_MOST_VALUES]
            if len(number := plain(str(value)[:_LONGEST_VALUE]).replace(" ", "")) >= 4
        },
        address=frozenset(plain(" ".join(texts(Role.ADDRESS))).split()[:_MOST_WORDS]),
        locality=tuple(plain(" ".join(texts(Role.LOCALITY))).split()[:_MOST_WORDS]),
        postcode=plain(" ".join(texts(Role.POSTCODE)[:1])).replace(" ", ""),
        area=area,
        copy=_copy_of(data),
        relatives=frozenset(
            name for name in (" ".join(sorted(tokens(one[:_LONGEST_VALUE]))) for one in relatives) if name
        ),
        groups=frozenset(groups),
    )


def name_in(data: Mapping[str, Any], roles: Mapping[str, Role]) -> str:
    """What somebody is called by the fields of a form, all words of it; empty if they tell no name."""
    told: dict[Role, list[str]] = {}
    for path, role in roles.items():
        if role in _NAMES and _is_told(value := _at(data, path)):
            told.setdefault(role, []).append(str(value)[:_LONGEST_VALUE])
    parts = [text for role in _NAMES[:3] for text in told.get(role, ())[:_MOST_VALUES]]
    return " ".join(parts or told.get(Role.FULL_NAME, ())[:1])


def _copy_of(data: Mapping[str, Any]) -> str:
    entered = {
        name: plain(str(value)[:_LONGEST_VALUE])
        for name, value in data.items()
        if name not in _TECHNICAL and not name.startswith("_") and isinstance(value, str | int | float)
    }
    told = sorted((name, value) for name, value in entered.items() if value)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:24] if len(told) > 1 else ""


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(name)
    return data


def _is_told(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return plain(str(value)[:_LONGEST_VALUE]) not in _PLACEHOLDERS


def _tail(phone: str) -> str:
    """The end of a number, which is the same with and without the country's code."""
    digits = "".join(c for c in phone if c.isdecimal())
    return digits[-_PHONE_TAIL:] if len(digits) >= 7 and len(set(digits)) > 2 else ""


def _sex(texts: list[str]) -> str:
    word = plain(texts[0]) if texts else ""
    if word in ("m", "male", "man", "boy", "1", "h", "homme", "hombre", "masculin", "masculino"):
        return "m"
    if word in ("f", "female", "woman", "girl", "2", "femme", "mujer", "feminin", "femenino", "w"):
        return "f"
    return ""
