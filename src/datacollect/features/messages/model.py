"""What a message is while the hub has it, and what can become of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

import msgspec

from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.messaging import Channel

MessageId = NewType("MessageId", str)

DAY_MILLIS = 86_400_000
LONGEST_TEXT = 4000
LONGEST_ADDRESS = 2048


class Purpose(StrEnum):
    """Why a message is sent. A name never changes its meaning; others may be added."""

    OTP = "otp"
    REVIEW_DECIDED = "review-decided"
    REVIEW_DUE = "review-due"
    REVIEW_WAITING = "review-waiting"
    TEST = "test"


class Status(StrEnum):
    WAITING = "waiting"
    """To be sent, or to be sent again."""
    SENDING = "sending"
    """On its way out. One that stays so was on its way when a process ended."""
    DELIVERED = "delivered"
    """Taken over by the mail server, the gateway or the other system."""
    REFUSED = "refused"
    """It was not taken over, and trying again would not help, or not any more. The code says why."""
    EXPIRED = "expired"
    """It could not be sent while it was worth something."""
    DROPPED = "dropped"
    """It was never to be sent: the day's budget is used, or nobody has that address. The code says which."""

    @property
    def is_open(self) -> bool:
        return self in (Status.WAITING, Status.SENDING)


class Code(StrEnum):
    """What the outbox itself says of a message; couriers have codes of their own."""

    MESSAGE_BUDGET_USED = "MESSAGE_BUDGET_USED"
    """The program has sent as many messages today as it may."""
    NOBODY_TO_TELL = "NOBODY_TO_TELL"
    """Somebody asked for a code for an address that is on no record. They were answered as everybody is."""
    NO_COURIER = "NO_COURIER"
    """The hub has no way to send on that channel: see `SMTP_URL` and `SMS_GATEWAY_URL`."""
    SECRETS_LOCKED = "SECRETS_LOCKED"
    """None of the hub's keys opens it: SECRETS_KEY was changed while it waited."""
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """It was sent twice, and neither time did anybody say whether it was taken over."""
    COURIER_FAILED = "COURIER_FAILED"
    """The hub made a mistake. The log has it."""
    CALLED_OFF = "CALLED_OFF"
    """An operator has called its job off."""
    EXPIRED = "EXPIRED"
    """Nobody came to send it in time."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What is to be told to whom, until when."""

    channel: Channel
    address: str = field(repr=False)
    purpose: Purpose
    text: str = field(repr=False)
    expires_at: Millis
    """Sent before that or not at all."""
    subject: str = field(default="", repr=False)
    deliverable: bool = True
    """False: a decoy. All is done that is done for others, but to send it: for addresses that nobody has."""
    secret: str | None = field(default=None, repr=False)
    """What a webhook is signed with."""


class Content(msgspec.Struct, frozen=True):
    """What of a message is sealed, as it is stored."""

    address: str
    text: str
    subject: str
    deliverable: bool
    secret: str | None = None

    def __repr__(self) -> str:
        return "Content(…)"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the outbox, without what is sealed."""

    id: MessageId
    purpose: str
    channel: Channel
    masked: str
    status: Status
    code: str | None
    attempts: int
    unsure: int
    created_at: Millis
    expires_at: Millis
    updated_at: Millis


def day_of(instant: Millis) -> str:
    """In UTC: the same for all processes, wherever the program is."""
    return format_timestamp(instant)[:10]


def place_of(message_id: MessageId) -> str:
    """Where a sealed content belongs."""
    return f"message/{message_id}"
