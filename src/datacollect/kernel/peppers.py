"""Keyed hashes of what people type, from the operator's secrets: of a short text an unkeyed one can be turned back."""

import hashlib
import hmac
from collections.abc import Sequence


class Peppers:
    """Hashes with the first secret, and recognises what any of them has hashed."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets

    def hash(self, purpose: str, *parts: str) -> bytes:
        """`purpose` keeps hashes of the same parts apart that are for different things."""
        return _keyed(self._secrets[0], purpose, parts)

    def matches(self, digest: bytes, purpose: str, *parts: str) -> bool:
        # All are tried, so that time tells nothing.
        found = [hmac.compare_digest(digest, _keyed(secret, purpose, parts)) for secret in self._secrets]
        return any(found)


def _keyed(secret: bytes, purpose: str, parts: Sequence[str]) -> bytes:
    # With their lengths, so that no two lists of parts are one text.
    told = b"".join(len(raw).to_bytes(4) + raw for raw in (part.encode("utf-8", "surrogatepass") for part in parts))
    return hmac.new(secret, f"datacollect-hub:{purpose}:".encode() + told, hashlib.sha256).digest()
