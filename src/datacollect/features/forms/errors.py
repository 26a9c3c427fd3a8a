"""What this slice refuses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.eventstore.event import EventRejected
from datacollect.kernel.errors import InvalidRequest


class FormMismatch(EventRejected):
    """The event's data does not match the program's form."""

    code = "FORM_MISMATCH"
    help = "Correct the value at `path`, or the form if the value is right, and push the event again."


class InvalidFindingsQuery(InvalidRequest):
    """`limit` must be a whole number from 1 to 1000, and `cursor` one that was delivered."""

    code = "INVALID_FINDINGS_QUERY"
    help = "Correct `limit`, or leave `cursor` out to begin with the newest."
    members: ClassVar[Mapping[str, Any]] = {"status": "error"}
