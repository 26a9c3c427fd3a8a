"""Links that open one attachment for a short time, without a token: for plain `<a>` and `<img>`. Pure.

A link is signed, not stored. It names its program, its attachment and its end, and is good for nothing else.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId

SECONDS = 300
MOST_SECONDS = 3600
_PURPOSE = b"datacollect:attachment-link:v1"


def link_path(secrets: Sequence[bytes], tenant_id: TenantId, guid: str, expires_at: Millis) -> str:
    """Path and query. The first of the secrets signs."""
    signature = _signature(secrets[0], tenant_id, guid, expires_at)
    query = urlencode({"configId": tenant_id, "expires": expires_at, "signature": signature})
    return f"/api/attachments/{quote(guid, safe='')}/file?{query}"


def is_valid(
    secrets: Sequence[bytes], tenant_id: TenantId, guid: str, expires_at: Millis, signature: str, *, now: Millis
) -> bool:
    given = signature.encode("utf-8", "surrogatepass")
    signed = [_signature(secret, tenant_id, guid, expires_at).encode() for secret in secrets]
    # All are compared, so that nobody learns from the time it takes which secret is in use.
    matches = [hmac.compare_digest(given, one) for one in signed]
    return any(matches) and now < expires_at <= now + MOST_SECONDS * 1000


def _signature(secret: bytes, tenant_id: TenantId, guid: str, expires_at: Millis) -> str:
    # With their lengths, so that no two links have the same bytes; under a key of its own, so that nothing else that
    # the secret signs is a link.
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    said = b"".join(b"%d:%b" % (len(part), part) for part in (tenant_id.encode(), guid.encode(), b"%d" % expires_at))
    return base64.urlsafe_b64encode(hmac.digest(key, said, hashlib.sha256)).rstrip(b"=").decode()
