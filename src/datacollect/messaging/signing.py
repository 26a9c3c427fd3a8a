"""Signatures of requests as https://www.standardwebhooks.com has them, so that receivers find a library that checks them.

`webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 over `<id>.<timestamp>.<body>`. A secret that begins with
`whsec_` is base64 behind it, any other is taken as it is written.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from datacollect.kernel.clock import Millis

_ENCODED = "whsec_"


def signature_headers(message_id: str, body: bytes, *, secret: str | None, now: Millis) -> Mapping[str, str]:
    """The time is when it is sent, so that receivers can refuse what somebody sends again later."""
    timestamp = str(now // 1000)
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp}
    if secret is not None:
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    if secret.startswith(_ENCODED):
        try:
            return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
