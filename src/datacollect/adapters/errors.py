"""How adapters say that something went wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that did not work. `message` never quotes a secret, a body of the other system, or people's data."""

    code: str
    message: str
    retryable: bool
    guid: str | None = None


class AdapterError(Exception):
    """Nothing can go on with the other system now: it is away, does not let us in, or does not speak its protocol."""

    def __init__(self, failure: Failure, *, retry_after_seconds: float | None = None) -> None:
        self.failure = failure
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{failure.code}: {failure.message}")
