"""Whose record holds what somebody has shown: one person or group of the program, by what it says now, or nobody.

Source: the contract's self-service area, weak points R7 and R9.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from datacollect.features.citizens.model import (
    NATIONAL_ID_TYPE,
    Holder,
    comparable,
    number_of,
    plain,
    values_of,
)
from datacollect.features.entities.finding.holding import Found, Registers, Sought, may_hold
from datacollect.features.entities.indexing.terms import WORDS
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import BIRTH_DATES, IDENTIFIERS, NATIONAL_ID, OIDC_SUBJECT, OTP_FACTORS, OidcRules

_VERIFIED_BY = {"email": "email_verified", "phone_number": "phone_number_verified"}
"""Claims that providers let people write, and those by which they say that they have looked."""

_SHORTEST_WORD = 7
"""Digits of a number that is looked for among words: fewer stand in many texts."""


async def by_identifier(registers: Registers, scope: TenantScope, identifier: str) -> Holder | None:
    """Of a phone number or an e-mail."""
    typed = comparable(identifier)
    found = await may_hold(registers, scope, _all_sought(identifier, OTP_FACTORS))
    held = [(one, factors) for one in found if (factors := _factors_of(one, typed, OTP_FACTORS))]
    if len(held) != 1:
        return None
    one, factors = held[0]
    field, value = factors[0]
    return Holder(one.guid, {field: value}, address=str(one.data[field]).strip())


def _all_sought(identifier: str, fields: Sequence[str]) -> list[Sought]:
    """Also a number in the other ways in which it is written; in groups of digits it is a word."""
    forms, words = {plain(identifier): None}, []
    if number := number_of(plain(identifier)):
        forms[number] = None
        words = [number.removeprefix("+")]
        if number.startswith("+"):
            forms["00" + number[1:]] = None
            words.append("00" + number[1:])
    sought = [Sought(field, form) for form in forms for field in fields]
    return sought + [Sought(WORDS, word) for word in words if len(word) >= _SHORTEST_WORD]


def _factors_of(one: Found, typed: str, fields: Sequence[str]) -> list[tuple[str, str]]:
    """The fields of a record that hold what was typed, and how."""
    return [(field, held) for field in fields for held in values_of(one.data, field) if comparable(held) == typed]


async def by_national_id(registers: Registers, scope: TenantScope, national_id: str, birth_date: str) -> Holder | None:
    """Of a national id, whose record has that date of birth as well."""
    sought = [Sought(NATIONAL_ID, national_id), Sought(IDENTIFIERS, national_id, NATIONAL_ID_TYPE)]
    found = await may_hold(registers, scope, sought)
    held = [holder for one in found if (holder := _born_then(one, national_id, birth_date)) is not None]
    return held[0] if len(held) == 1 else None


def _born_then(one: Found, national_id: str, birth_date: str) -> Holder | None:
    factors = {}
    for fields, value in (((NATIONAL_ID, IDENTIFIERS), national_id), (BIRTH_DATES, birth_date)):
        field = next((field for field in fields if value in values_of(one.data, field)), None)
        if field is None:
            return None
        factors[field] = value
    return Holder(one.guid, factors)


async def by_claims(
    registers: Registers,
    scope: TenantScope,
    rules: OidcRules,
    claims: Mapping[str, Any],
    *,
    factors: Collection[str],
) -> Holder | None:
    """Of the first of the mapped claims that anybody's record holds; then of the subject. `factors` are all fields that
    the program looks people up by."""
    pairs = [(field, value) for claim, field in rules.mapping if (value := _claim(claims, claim))]
    pairs.append((OIDC_SUBJECT, str(claims["sub"])))
    addresses = [field for field in OTP_FACTORS if field in factors]
    sought = [one for field, value in pairs for one in _sought(field, value, addresses)]
    found = await may_hold(registers, scope, sought)
    for field, value in pairs:
        held = _holding(found, field, value, addresses)
        if any(field in by_field for _, by_field in held):
            guid, by_field = held[0]
            return Holder(guid, {field: by_field[field]}) if len(held) == 1 else None
    return None


def _claim(claims: Mapping[str, Any], name: str) -> str | None:
    """The text of a claim; None for one that whoever signs in may have written themselves."""
    vouched_by = _VERIFIED_BY.get(name)
    value = claims.get(name)
    if vouched_by is not None and claims.get(vouched_by) is not True:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _sought(field: str, value: str, addresses: Sequence[str]) -> list[Sought]:
    if field in addresses:
        return _all_sought(value, addresses)
    return [Sought(field, value, NATIONAL_ID_TYPE if field == IDENTIFIERS else "")]


def _holding(
    found: Sequence[Found], field: str, value: str, addresses: Sequence[str]
) -> list[tuple[str, Mapping[str, str]]]:
    """Who holds it, and how by field. Of a phone number or an e-mail also who has it in the other field: it is no more
    theirs than the others'."""
    if field not in addresses:
        return [(one.guid, {field: value}) for one in found if value in values_of(one.data, field)]
    typed = comparable(value)
    return [(one.guid, dict(factors)) for one in found if (factors := _factors_of(one, typed, addresses))]
