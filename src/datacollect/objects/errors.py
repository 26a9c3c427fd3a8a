"""What can go wrong with stored bytes.

    StorageUnavailable 503 ── the store does not answer, or refuses
    StorageFull 507 ───────── there is no room for more
    ObjectMissing 500 ─────── bytes that were stored are not there
    └── ObjectDamaged         they are there, but not as they were stored
    SpoolTooLarge 413 ─────── more was sent than may be

None of them quotes what another system said.
"""

from datacollect.kernel.errors import DataCollectError, PayloadTooLarge, Unavailable


class StorageUnavailable(Unavailable):
    """The hub cannot reach the storage of attachments just now. Try again in a moment."""

    code = "STORAGE_UNAVAILABLE"
    help = "Send the same again later; repeating is safe. An operator checks `ATTACHMENTS_STORE` and what it names."
    answered: int | None = None
    """The status that a bucket has answered, if it has; for operators."""


class StorageFull(DataCollectError):
    """There is no room left for attachments."""

    status, code = 507, "STORAGE_FULL"
    help = "Keep the file and send it again later; an operator has to make room."


class ObjectMissing(DataCollectError):
    """The bytes of this attachment are missing."""

    code = "OBJECT_MISSING"
    help = "Upload the file again; an operator runs `datacollect attachments check` and looks into the backups."


class ObjectDamaged(ObjectMissing):
    """The bytes of this attachment are not those that were uploaded."""

    code = "OBJECT_DAMAGED"
    help = "Have an operator run `datacollect attachments check --deep` and look into the backups."


class SpoolTooLarge(PayloadTooLarge):
    """File too large"""

    code = "FILE_TOO_LARGE"
    help = "Send a smaller file."
