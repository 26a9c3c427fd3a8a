"""How adapters say that something went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that did not work. `message` never quotes a secret, a body of the other system, or people's data."""

    code: str
    message: str
    retryable: bool
    guid: str | None = None
    external_id: str | None = None
    """Of a record that was pulled and could not be read: its key there, or else what names it each time it is told."""


class AdapterError(Exception):
    """Nothing can go on with the other system now: it is away, does not let us in, or does not speak its protocol."""

    def __init__(self, failure: Failure, *, retry_after_seconds: float | None = None) -> None:
        self.failure = failure
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{failure.code}: {failure.message}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where it is, and what is expected there. Never what stands there."""

    path: tuple[str | int, ...]
    """From `externalSync` on."""
    message: str

    @property
    def text(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.message}"


class Misconfigured(AdapterError):
    """The configuration cannot work as it is. Trying again does not help; changing it does."""

    def __init__(self, adapter: str, problems: Sequence[Problem]) -> None:
        self.adapter = adapter
        self.problems = tuple(problems)
        listed = "; ".join(problem.text for problem in problems)
        message = f"The adapter {adapter} cannot start. {listed}"
        super().__init__(Failure(code="NOT_INITIALIZED", message=message, retryable=False))


class UnknownAdapter(Misconfigured):
    """There is no adapter of that type."""

    def __init__(self, adapter: str, known: Sequence[str]) -> None:
        expected = f"there is no such adapter; known ones are {', '.join(known) or '(none)'}"
        super().__init__(adapter, [Problem(("type",), expected)])
