"""Texts that only a hub with the right key can read: AES-256 in GCM, with keys made from the operator's secrets.

A sealed text is `v1.<key id>.<base64url of nonce and ciphertext>`. The key id names the key and tells nothing of it, so
that what an older key has sealed can be found without trying keys. Where a text belongs is authenticated with it: copied
to another place, it opens no more. Nonces are random; one key may seal some 2^32 texts.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from datacollect.kernel.errors import StartupError

_VERSION = "v1"
_NONCE_BYTES = 12
_SEALED = re.compile(r"v1\.([0-9a-f]{12})\.([A-Za-z0-9_-]+={0,2})")


class CannotOpen(Exception):
    """None of the keys opens it, or it is not what was sealed there."""


class Key:
    """One key, derived from a secret, which may be used for something else as well."""

    def __init__(self, secret: str) -> None:
        self.id = _derived(secret, "key-id", 6).hex()
        self.cipher = AESGCM(_derived(secret, "key", 32))


class Seals:
    """Seals with the first key and opens with all of them."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys}
        self._first = next(iter(self._keys.values()), None)

    @property
    def prefixes(self) -> frozenset[str]:
        """What everything begins with that one of the keys has sealed."""
        return frozenset(_prefix(key_id) for key_id in self._keys)

    @property
    def prefix(self) -> str:
        """What everything begins with that the first key has sealed. Raises `StartupError` without a key."""
        return _prefix(self._sealing_key.id)

    def seal(self, text: str, place: str) -> str:
        """Raises `StartupError` when there is no key."""
        nonce = os.urandom(_NONCE_BYTES)
        hidden = self._sealing_key.cipher.encrypt(nonce, text.encode(), place.encode())
        return self.prefix + base64.urlsafe_b64encode(nonce + hidden).decode()

    def open(self, sealed: str, place: str) -> str:
        """Raises `CannotOpen`."""
        found = _SEALED.fullmatch(sealed)
        key = None if found is None else self._keys.get(found[1])
        if found is None or key is None:
            raise CannotOpen
        try:
            content = base64.urlsafe_b64decode(found[2])
            return key.cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as refused:
            raise CannotOpen from refused

    @property
    def _sealing_key(self) -> Key:
        if self._first is None:
            raise StartupError("There is no key to seal secrets with: set SECRETS_KEY or JWT_SECRET.")
        return self._first


def is_sealed(text: str) -> bool:
    return _SEALED.fullmatch(text) is not None


def _prefix(key_id: str) -> str:
    return f"{_VERSION}.{key_id}."


def _derived(secret: str, purpose: str, length: int) -> bytes:
    info = f"datacollect-hub:sealing:{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret.encode())
