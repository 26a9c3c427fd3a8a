"""The rules of citizens' sign-ins. Pure; nothing that people type is kept in the clear."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacollect.features.entities.indexing.values import value_at
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.tenancy import IDENTIFIERS, OTP_FACTORS
from datacollect.messaging.addresses import dialled

NATIONAL_ID_TYPE = "national-id"
"""`type` of an item of `identifiers` that holds a national id."""


def plain(text: str) -> str:
    """A phone number or an e-mail for comparing: without regard to case, of ASCII letters only.

    Folding other letters makes one of two: a letter that only looks like the one on the record.
    """
    return "".join(letter.lower() if letter.isascii() else letter for letter in text.strip())


def number_of(text: str) -> str | None:
    """A phone number for comparing, however its digits are grouped, with `+` for a leading `00`; None for what is none."""
    number = dialled(text)
    return f"+{number[2:]}" if number is not None and number.startswith("00") else number


def comparable(text: str) -> str:
    """Of a phone number or an e-mail: what is the same number or address is the same text."""
    return number_of(plain(text)) or plain(text)


def normal(field: str, value: str) -> str:
    """A factor's value as it is compared."""
    return plain(value) if field in OTP_FACTORS else value


def values_of(data: Mapping[str, Any], field: str) -> Iterator[str]:
    """What a record holds in a login factor, as it is compared."""
    held = value_at(data, field)
    if field == IDENTIFIERS and isinstance(held, list):
        for item in held:
            if isinstance(item, dict) and item.get("type") == NATIONAL_ID_TYPE:
                yield from _text(item.get("value"))
    else:
        yield from (normal(field, text) for text in _text(held))


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


Factors = Mapping[str, str]
"""What somebody has shown: field and value, as it is compared."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose record holds what was shown."""

    guid: str
    factors: Factors
    address: str = ""
    """Phone number or e-mail as the record has it: what was typed may only look like it."""


def factor_hashes(peppers: Peppers, tenant_id: TenantId, factors: Factors) -> dict[str, str]:
    return {
        field: peppers.hash("citizens-factor", tenant_id, field, value).hex()
        for field, value in sorted(factors.items())
    }


def still_holds(
    peppers: Peppers, tenant_id: TenantId, factor_hashes: Mapping[str, str], data: Mapping[str, Any]
) -> bool:
    """Whether the record still says what its owner has shown."""
    return all(
        any(
            peppers.matches(bytes.fromhex(digest), "citizens-factor", tenant_id, field, value)
            for value in values_of(data, field)
        )
        for field, digest in factor_hashes.items()
    )


# -- one-time codes

CODE_SECONDS = 300
TRIES = 3
"""Wrong ones that a code stands, from where it was asked for; and as many from elsewhere, so that strangers cannot use
its owner's up."""
KEPT_CODES = 3
"""Of one identifier, the latest so many are good: a code that somebody else has asked for does not end the owner's."""
REQUEST_BUCKET = "citizen-request"
"""What an address has asked for."""
REQUESTS = 5
"""Codes of one identifier in 15 minutes."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code that has neither been used nor run out."""

    id: str
    hash: bytes
    entity_guid: str | None
    origin: str
    own_tries: int
    other_tries: int
    created_at: Millis
    expires_at: Millis

    def is_open_to(self, origin: str) -> bool:
        return (self.own_tries if origin == self.origin else self.other_tries) < TRIES

    def tried_from(self, origin: str) -> "Code":
        """After a wrong try."""
        if origin == self.origin:
            return replace(self, own_tries=self.own_tries + 1)
        return replace(self, other_tries=self.other_tries + 1)


# -- locks

FORGOTTEN_MILLIS = 24 * 3_600_000
"""After so long without a wrong try there was none."""


@dataclass(frozen=True, slots=True)
class LockRule:
    """After so many wrong tries in a row it is locked, each time for twice as long as the time before.

    A try counts once for each code that it was held against: it had as many chances to be right.
    """

    tries: int
    first_millis: int
    most_millis: int


OTP_LOCK = LockRule(10, 15 * 60_000, 4 * 3_600_000)
"""More than `KEPT_CODES` stand from where they were asked for: nobody locks themselves out with their own."""
ID_LOCK = LockRule(5, 15 * 60_000, 24 * 3_600_000)
"""Longer, because a date of birth is soon guessed: 30,000 cover a lifetime."""


_NEVER = Millis(0)


@dataclass(frozen=True, slots=True)
class Lock:
    """Wrong tries of one identifier or national id."""

    wrong: int = 0
    """Since the last lock."""
    level: int = 0
    """Locks in a row."""
    locked_until: Millis = _NEVER
    changed_at: Millis = _NEVER

    def at(self, now: Millis, rule: LockRule) -> "Lock":
        """As it is now: wrong tries of long ago do not count, nor what only a clock gone wrong explains."""
        latest = max(self.changed_at, self.locked_until)
        if now - latest > FORGOTTEN_MILLIS or latest - now > rule.most_millis:
            return Lock(changed_at=now)
        return self

    def seconds_left(self, now: Millis) -> int:
        return max(0, -(-(self.locked_until - now) // 1000))

    def after_wrong(self, now: Millis, rule: LockRule, *, chances: int = 1) -> "Lock":
        """What is tried while it is locked counts towards the next lock: no try makes one longer."""
        wrong = self.wrong + chances
        if wrong < rule.tries or self.seconds_left(now):
            return replace(self, wrong=wrong, changed_at=now)
        millis = min(rule.first_millis << min(self.level, 16), rule.most_millis)
        return Lock(0, self.level + 1, Millis(now + millis), now)
