"""Identifiers as types, so that one kind can never be passed for another."""

import re
import secrets
import uuid
from typing import NewType

TenantId = NewType("TenantId", str)
"""A program's `configId`: the boundary of all data."""

EventGuid = NewType("EventGuid", str)
UserId = NewType("UserId", int)

DEFAULT_TENANT = TenantId("default")
"""The tenant of a request that names none."""

LONGEST_GUID_BYTES = 512
"""Of an entity's guid. With a program's longest id, another guid, a place or what is searched for beside it, a key stays
below the 2,704 bytes that PostgreSQL's indexes take."""

_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
LONGEST_CONFIG_ID = 512
_CONFIG_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_CONFIG_ID - 1}}}")
_DEVICE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_guid() -> str:
    return str(uuid.uuid4())


def new_artifact_id() -> str:
    """32 hex characters nobody can guess: whoever knows it may read the program's onboarding file."""
    return secrets.token_hex(16)


def derived_guid(source: str, purpose: str, entity: str) -> EventGuid:
    """The guid of an event the hub derives from another: the same inputs give the same guid on every replica."""
    return EventGuid(str(uuid.uuid5(uuid.NAMESPACE_URL, f"datacollect:{purpose}:{source}:{entity}")))


def is_uuid_text(value: str) -> bool:
    """Whether the text has the 8-4-4-4-12 form; letter case and version are the producer's business."""
    return _UUID_TEXT.fullmatch(value) is not None


def has_guids_length(value: str) -> bool:
    """Whether an entity may be named so; the empty text is the caller's business."""
    if 4 * len(value) <= LONGEST_GUID_BYTES:
        return True
    return len(value) <= LONGEST_GUID_BYTES and len(value.encode(errors="surrogatepass")) <= LONGEST_GUID_BYTES


def is_config_id(value: str) -> bool:
    """The form of the id a program may be given.

    The contract sets no length; PostgreSQL does: a longer id does not fit into the keys of the tables beside guids.
    """
    return _CONFIG_ID.fullmatch(value) is not None


def is_device_id(value: str) -> bool:
    """The form a device may give itself in `X-Device-Id`."""
    return _DEVICE_ID.fullmatch(value) is not None
