"""The rules of citizens' sign-ins. Pure; nothing that people type is kept in the clear."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.features.entities.indexing.values import value_at
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import IDENTIFIERS, OTP_FACTORS, login_factors

__all__ = ["Factors", "Holder", "Peppers", "login_factors"]

NATIONAL_ID_TYPE = "national-id"
"""`type` of an item of `identifiers` that holds a national id."""


class Peppers:
    """Keys of hashes, from the operator's secrets: the present one, and the one before it while it is accepted."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets

    def hash(self, purpose: str, *parts: str) -> bytes:
        return _keyed(self._secrets[0], purpose, parts)

    def matches(self, digest: bytes, purpose: str, *parts: str) -> bool:
        found = [hmac.compare_digest(digest, _keyed(secret, purpose, parts)) for secret in self._secrets]
        return any(found)


def _keyed(secret: bytes, purpose: str, parts: Sequence[str]) -> bytes:
    # With their lengths, so that no two lists of parts are one text.
    told = b"".join(len(raw).to_bytes(4) + raw for raw in (part.encode("utf-8", "surrogatepass") for part in parts))
    return hmac.new(secret, f"datacollect-hub:citizens:{purpose}:".encode() + told, hashlib.sha256).digest()


def plain(text: str) -> str:
    """A phone number or an e-mail for comparing: without regard to case, of ASCII letters only.

    Folding other letters makes one of two: a letter that only looks like the one on the record.
    """
    return "".join(letter.lower() if letter.isascii() else letter for letter in text.strip())


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


def factor_hashes(peppers: Peppers, tenant_id: TenantId, factors: Factors) -> dict[str, str]:
    return {field: peppers.hash("factor", tenant_id, field, value).hex() for field, value in sorted(factors.items())}


def still_holds(
    peppers: Peppers, tenant_id: TenantId, factor_hashes: Mapping[str, str], data: Mapping[str, Any]
) -> bool:
    """Whether the record still says what its owner has shown."""
    return all(
        any(
            peppers.matches(bytes.fromhex(digest), "factor", tenant_id, field, value)
            for value in values_of(data, field)
        )
        for field, digest in factor_hashes.items()
    )
