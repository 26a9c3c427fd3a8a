"""What attachments are stored in: bytes under the hash of their content, in a folder for each program.

Knows no feature and no database. A body is first received into a file of the spool (`spool`), and only when it is whole
and its hash is known it is put into the store (`local`, `s3`, `memory`), under a name that is never used again. What keeps
them in S3 is not named here: its library takes 4.6 MiB, and most hubs use a folder.
"""

from datacollect.objects.errors import ObjectDamaged, ObjectMissing, SpoolTooLarge, StorageFull, StorageUnavailable
from datacollect.objects.in_turns import InTurns
from datacollect.objects.local import LocalStore
from datacollect.objects.memory import MemoryStore
from datacollect.objects.names import ObjectKey, new_key, tenant_folder
from datacollect.objects.port import Listed, ObjectStore, Spooled
from datacollect.objects.reading import PIECE_BYTES, Opened
from datacollect.objects.spool import Incoming, Spool

__all__ = [
    "PIECE_BYTES",
    "InTurns",
    "Incoming",
    "Listed",
    "LocalStore",
    "MemoryStore",
    "ObjectDamaged",
    "ObjectKey",
    "ObjectMissing",
    "ObjectStore",
    "Opened",
    "Spool",
    "SpoolTooLarge",
    "Spooled",
    "StorageFull",
    "StorageUnavailable",
    "new_key",
    "tenant_folder",
]
