"""What keeps a record, or a run, from its way: the codes of this slice. Adapters add their own.

They are no errors of requests: they stand in runs and in the lists of records that did not arrive.
"""

from enum import StrEnum
from typing import Self


class Trouble(StrEnum):
    """All codes, each with what to do. A code never changes its meaning."""

    help: str

    def __new__(cls, code: str, help: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.help = help
        return member

    # Of runs.
    SYNC_ERROR = "SYNC_ERROR", "See `cause`: it says what stopped the run."
    NOT_CONFIGURED = "NOT_CONFIGURED", "Name a system in the program's `externalSync`."
    PROGRAM_STOPPED = "PROGRAM_STOPPED", "Restore the program, and start the exchange again."
    SECRETS_LOCKED = "SECRETS_LOCKED", "Set `SECRETS_KEY_PREVIOUS`, or enter the settings of the other system again."
    SETTINGS_CHANGED = "SETTINGS_CHANGED", "Start the exchange again: the next run is with the system named now."
    ADAPTER_FAILED = "ADAPTER_FAILED", "Report it to the adapter's author; the log has `adapter.failed`."
    # Of records on their way there.
    LINK_TAKEN = "LINK_TAKEN", "Look for two entities that are one person, and merge or delete one of them."
    # Of records on their way here.
    INVALID_EXTERNAL_ID = "INVALID_EXTERNAL_ID", "Report it to the adapter's author: keys have 1 to 512 bytes."
    RECORD_UNREADABLE = "RECORD_UNREADABLE", "Correct or shorten the record in the other system."
    EVENT_TYPE_NOT_ALLOWED = "EVENT_TYPE_NOT_ALLOWED", "Have the other system send records, or events that make them."
    LINK_CONFLICT = "LINK_CONFLICT", "Two records there name one entity here: merge them there."
    TYPE_CONFLICT = "TYPE_CONFLICT", "Correct the record's type in the other system."
    MEMBER_UNKNOWN = "MEMBER_UNKNOWN", "Nothing: each run checks it again, and it joins once it is here."
    # What a test of a connection finds.
    UNHEALTHY = "UNHEALTHY", "See the message, and the settings of the other system."
