"""What the accounts' routes refuse."""

from collections.abc import Sequence

from datacollect.kernel.errors import Conflict, Forbidden, InvalidPayload, InvalidRequest, Issue, NotFound


class UserNotFound(NotFound):
    """User not found"""

    code = "USER_NOT_FOUND"
    help = "List the accounts to find the right id."


class UserExists(Conflict):
    """User already exists"""

    code = "USER_EXISTS"
    help = "Use another e-mail, or change the account that has it."


class LastAdmin(Conflict):
    """The last administrator cannot be deleted or demoted. Make another one first."""

    code = "LAST_ADMIN"
    help = "Give another account the role ADMIN first."


class InvalidAccount(InvalidPayload):
    """The account cannot be stored as it is."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__(issues, ". ".join(issue["message"] for issue in issues))


class InvalidUserId(InvalidRequest):
    """Invalid user ID"""

    code = "INVALID_USER_ID"
    help = "Send the account's number or its e-mail."


class WrongPassword(Forbidden):
    """The current password is wrong."""

    code = "WRONG_PASSWORD"
    help = "Send your present password as `currentPassword`."
