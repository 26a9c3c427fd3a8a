"""Hashes over events: one module, so that what is proven and what is verified cannot drift apart.

`C(event)` is the canonical JSON of an event without its sync level. The content hash (SHA-256 of `C`) tells an echo of
a known event from another event under the same guid. The chain hash `H(n) = SHA-256(hex(H(n-1)) + C(n))`, `H(0)` being
the empty string, makes the log tamper-evident. Source: the contract's algorithm `v3`.
"""

import hashlib
from dataclasses import dataclass

from datacollect.eventstore.event import Event
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import format_timestamp

EMPTY_CHAIN = b""
"""`H(0)`: the chain of a log without events."""


@dataclass(frozen=True, slots=True)
class EventHash:
    """`C(event)` once computed, for both hashes."""

    canonical: bytes

    @property
    def content(self) -> bytes:
        return hashlib.sha256(self.canonical).digest()

    def chained_to(self, previous: bytes) -> bytes:
        digest = hashlib.sha256(previous.hex().encode())
        digest.update(self.canonical)  # not one behind the other: it may be large
        return digest.digest()


def hash_event(event: Event) -> EventHash:
    wire: dict[str, object] = {
        "guid": event.guid,
        "entityGuid": event.entity_guid,
        "type": event.type,
        "data": event.data,
        "timestamp": format_timestamp(event.occurred_at),
        "userId": event.user_id,
        "syncLevel": 0,
    }
    if event.schema_version is not None:
        wire["schemaVersion"] = event.schema_version
    return EventHash(canonical_json(wire))
