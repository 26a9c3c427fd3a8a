"""What the accounts' routes refuse."""

from collections.abc import Sequence

from datacollect.kernel.errors import Conflict, Forbidden, InvalidPayload, InvalidRequest, Issue, NotFound


class UserNotFound(NotFound):
    """User not found"""

    code = "USER_NOT_FOUND"


class UserExists(Conflict):
    """User already exists"""

    code = "USER_EXISTS"


class LastAdmin(Conflict):
    """The last administrator cannot be deleted or demoted. Make another one first."""

    code = "LAST_ADMIN"


class InvalidAccount(InvalidPayload):
    """The account cannot be stored as it is."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__(issues, ". ".join(issue["message"] for issue in issues))


class InvalidUserId(InvalidRequest):
    """Invalid user ID"""

    code = "INVALID_USER_ID"


class WrongPassword(Forbidden):
    """The current password is wrong."""

    code = "WRONG_PASSWORD"
