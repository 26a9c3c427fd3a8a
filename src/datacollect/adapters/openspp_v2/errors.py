"""What can come of a call to an OpenSPP registry, beside an answer.

    CallFailed
    ├── Unauthenticated    the client id or secret is not accepted, or the token of a fresh sign-in is not
    ├── NotPermitted       403: a scope or a consent is missing
    ├── Missing            404
    ├── Conflict           409
    │   └── Stale          412: the registry's version is another one than ours
    ├── Refused            400, 422 and whatever else will not change by asking again
    ├── TooLarge           the answer is longer than we take: asking for less may help
    ├── TooMany            429, or our own limit of sign-ins
    └── Away               no answer, or one that says that the registry is in trouble

None of them carries what the registry said: its texts may quote people's data. What is known of fields is their names.
"""

from typing import ClassVar


class CallFailed(Exception):
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        self.message = message
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class Unauthenticated(CallFailed):
    pass


class NotPermitted(CallFailed):
    pass


class Missing(CallFailed):
    pass


class Conflict(CallFailed):
    retryable = True


class Stale(Conflict):
    pass


class Refused(CallFailed):
    pass


class TooLarge(CallFailed):
    pass


class TooMany(CallFailed):
    retryable = True


class Away(CallFailed):
    """The call may have arrived nevertheless."""

    retryable = True
