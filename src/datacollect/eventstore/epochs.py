"""The name of a log's history, and what is known of cursors that were given out in the history before it.

A log that was put back (a backup, an import) goes on differently from the one that devices have seen. What they hold
beyond may come back, for they send on what they were given, and then it stands in another place: behind events that those
who have it have never seen. So an event that the history before can have had tells nothing of where its holder stands,
unless the cursor was given out in this history. `docs/decisions/0003-cursor.md`.
"""

from hashlib import sha256

from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import new_guid

_PUT_BACK = "@"
_MARKS = 999_999

SKEW_MILLIS = 24 * 3600 * 1000
"""How far ahead the clocks of devices may have been that wrote into the history before: a wrong time zone, a wrong day."""


def epoch_put_back(now: Millis) -> str:
    """A name for the history of a log that is put back now."""
    return f"{new_guid()}{_PUT_BACK}{now}"


def put_back_at(epoch: str) -> Millis | None:
    """When the log was put back; None if it never was, or a hub did it that did not note when."""
    _, at, instant = epoch.rpartition(_PUT_BACK)
    return Millis(int(instant)) if at else None


def mark_of(epoch: str) -> int:
    """What cursors that are given out in this history are marked with; 0 if they need no mark."""
    if put_back_at(epoch) is None:
        return 0
    return int.from_bytes(sha256(epoch.encode()).digest()[:8]) % _MARKS + 1


def may_be_of_before(epoch: str, occurred_at: Millis, *, last_recorded_at: Millis) -> bool:
    """Whether the history before can have had an event of this time.

    Not if it was made after the log was put back. A time that has not come yet says nothing of when it was made.
    """
    put_back = put_back_at(epoch)
    return put_back is not None and not put_back + SKEW_MILLIS < occurred_at <= last_recorded_at
