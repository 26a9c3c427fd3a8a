"""What is told of contents."""

from dataclasses import dataclass

from datacollect.kernel.ids import TenantId
from datacollect.objects import ObjectKey

GRACE_MILLIS = 60 * 60 * 1000
"""How long bytes that nothing refers to are left alone: longer than any upload takes from its first byte in the store
to its commit, and than any reader that has just been told where they are."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that attachments may have."""

    digest: str
    generation: str
    size_bytes: int

    def key(self, tenant_id: TenantId) -> ObjectKey:
        return ObjectKey.of(tenant_id, self.digest, self.generation)


@dataclass(frozen=True, slots=True)
class Secured:
    """A content whose bytes are in the store, and will be for a while: to be taken in the upload's own transaction."""

    content: Content
    is_written: bool
    """Whether this upload has written it; else it was there."""
    replaces: str | None = None
    """The generation that was found damaged or gone."""
    leaves_bytes: bool = False
    """Whether that one was found damaged. What was not found is not to be deleted: another store may have been asked."""


@dataclass(frozen=True, slots=True)
class Loose:
    digest: str
    generation: str

    def key(self, tenant_id: TenantId) -> ObjectKey:
        return ObjectKey.of(tenant_id, self.digest, self.generation)
