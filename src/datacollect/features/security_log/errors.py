"""What the security log's route refuses."""

from datacollect.kernel.errors import InvalidRequest


class InvalidSecurityLogQuery(InvalidRequest):
    """`limit` must be 1-500, `userId` and `actorId` numbers, `since` and `until` timestamps ending in `Z`, `action` one \
of the documented, and `cursor` one that a list gave."""

    code = "INVALID_SECURITY_LOG_QUERY"
    help = "Send a `limit` from 1 to 500, filters in the documented form, and as `cursor` only what a list gave."
