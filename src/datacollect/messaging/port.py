"""What a courier is: one way by which messages leave the hub."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from datacollect.kernel.clock import Millis


class Channel(StrEnum):
    SMS = "sms"
    MAIL = "mail"
    WEBHOOK = "webhook"
    """To a program's own system, signed: for notices to people whom that system knows how to reach."""


def channel_of(address: str) -> Channel:
    """The way to whom a citizen names as a phone number or an e-mail address."""
    return Channel.MAIL if "@" in address else Channel.SMS


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told to whom. Never printed as a whole: addresses, texts and secrets are people's."""

    id: str
    """The same each time it is sent, so that whoever receives it twice can tell."""
    channel: Channel
    address: str = field(repr=False)
    text: str = field(repr=False)
    subject: str = field(repr=False)
    expires_at: Millis
    """From then on it is worth nothing."""
    secret: str | None = field(default=None, repr=False)
    """What a webhook is signed with."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Somebody outside of the hub has taken the message over. Whether it reaches a person they alone know."""


class NotSent(Exception):
    """The message was not taken over, as far as anybody can tell. Nothing of it, and nothing others said, is in here."""

    def __init__(
        self, code: str, *, retryable: bool, unsure: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        """`code` is UPPER_SNAKE and one of the courier's own. `unsure`: it may have been taken over all the same."""
        self.code = code
        self.retryable = retryable
        self.unsure = unsure
        self.retry_after_seconds = retry_after_seconds
        super().__init__(code)


class Courier(Protocol):
    """One way out, shared by everything that sends. Opened once per process."""

    async def send(self, message: Message, *, seconds: float) -> Receipt:
        """Hand the message over, within so many seconds. Raises `NotSent`, and for what is wrong outside nothing else.

        It may be cut off by a `CancelledError`; then nobody knows whether it was taken over.
        """
