"""What the list of messages refuses."""

from datacollect.kernel.errors import InvalidRequest


class InvalidMessagesQuery(InvalidRequest):
    """`limit` must be 1-500, `status` one of the documented, and `cursor` one that a list gave."""

    code = "INVALID_MESSAGES_QUERY"
    help = "Send a `limit` from 1 to 500, a documented `status`, and as `cursor` only what a list gave."
