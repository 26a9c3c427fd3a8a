"""How stored objects are called: the same in every store, and safe on every file system."""

import hashlib
import re
import secrets
from dataclasses import dataclass

from datacollect.kernel.ids import TenantId

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_FOLDER = re.compile(r"[a-z0-9!][a-z0-9_!-]{0,199}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_GENERATION = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """One writing of one content. Written again, after it was deleted or found damaged, it has another generation:

    so a deletion that is late never meets bytes that somebody counts on.
    """

    folder: str
    digest: str
    """SHA-256 of the content, as lower-case hex."""
    generation: str

    def __post_init__(self) -> None:
        if not (
            _FOLDER.fullmatch(self.folder) and _DIGEST.fullmatch(self.digest) and _GENERATION.fullmatch(self.generation)
        ):
            raise ValueError("not the name of an object")

    @classmethod
    def of(cls, tenant_id: TenantId, digest: str, generation: str) -> "ObjectKey":
        return cls(tenant_folder(tenant_id), digest, generation)

    @property
    def name(self) -> str:
        """Within its folder. Two letters of the hash spread the files over folders that can be listed."""
        return f"{self.digest[:2]}/{self.digest}-{self.generation}"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


def new_key(tenant_id: TenantId, digest: str) -> ObjectKey:
    """A name that was never used before."""
    return ObjectKey.of(tenant_id, digest, secrets.token_hex(8))


def read_name(folder: str, name: str) -> ObjectKey | None:
    """The key of what has this name in a folder; None for what is no object."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != found[2][:2]:
        return None
    return ObjectKey(folder, found[2], found[3])


def is_folder(name: str) -> bool:
    return _FOLDER.fullmatch(name) is not None


def tenant_folder(tenant_id: TenantId) -> str:
    """Upper-case letters are marked, for not every file system tells `A` from `a`; what is long or unusual is hashed."""
    if not _PLAIN.fullmatch(tenant_id):
        return f"!!{hashlib.sha256(tenant_id.encode()).hexdigest()[:40]}"
    return "".join(f"!{letter.lower()}" if letter.isupper() else letter for letter in tenant_id)
