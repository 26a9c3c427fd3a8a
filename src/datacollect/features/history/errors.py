"""What this slice refuses."""

from datacollect.kernel.errors import InvalidRequest


class InvalidHistoryQuery(InvalidRequest):
    """`limit` must be a whole number from 1 to 1000, and `cursor` as delivered."""

    code = "INVALID_HISTORY_QUERY"
    help = "Correct `limit`, and send `nextCursor` as it was delivered."
