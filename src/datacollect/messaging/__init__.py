"""Messages to people: what one is, and the ways out of the hub. Whoever wants to send one puts it in the outbox."""

from datacollect.messaging.addresses import dialled, is_mailbox
from datacollect.messaging.masking import masked
from datacollect.messaging.port import Channel, Courier, Message, NotSent, Receipt, channel_of

__all__ = ["Channel", "Courier", "Message", "NotSent", "Receipt", "channel_of", "dialled", "is_mailbox", "masked"]
