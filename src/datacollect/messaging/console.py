"""For development: messages are printed where the hub runs, and go nowhere."""

import sys

from datacollect.kernel.clock import format_timestamp
from datacollect.messaging.port import Message, Receipt


class ConsoleCourier:
    """Implements `Courier`. To standard output and not to the log: logs are kept, and sent elsewhere."""

    async def send(self, message: Message, *, seconds: float) -> Receipt:
        del seconds
        heading = f"--- {message.channel.value} to {message.address}, until {format_timestamp(message.expires_at)}"
        lines = [heading, *([message.subject] if message.subject else []), message.text, "---"]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        return Receipt()
