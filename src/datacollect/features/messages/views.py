"""Messages in wire form."""

from typing import Any

from datacollect.features.messages.model import Stored
from datacollect.kernel.clock import format_timestamp


def message_document(message: Stored) -> dict[str, Any]:
    return {
        "id": message.id,
        "purpose": message.purpose,
        "channel": message.channel.value,
        "to": message.masked,
        "status": message.status.value,
        "code": message.code,
        "attempts": message.attempts,
        "createdAt": format_timestamp(message.created_at),
        "updatedAt": format_timestamp(message.updated_at),
        "expiresAt": format_timestamp(message.expires_at),
    }
