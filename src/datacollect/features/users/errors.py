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


class InvalidUserQuery(InvalidRequest):
    """`limit` is 1-1000, `cursor` comes from the page before, `role` is a role."""

    code = "INVALID_USER_QUERY"
    help = "Leave the parameter out, or send a value as the message says."


class ProgramRequired(InvalidRequest):
    """The account must belong to a program. Name one, or delete the account if nobody needs it any more."""

    code = "PROGRAM_REQUIRED"
    help = "Name one of your programs in `tenantIds` or `roleAssignments`."


class AlreadyMember(Conflict):
    """The account belongs to the program already."""

    code = "ALREADY_MEMBER"
    help = "Change the account instead: `PUT /api/users/{idOrEmail}`."


class ForeignProgram(Forbidden):
    """You do not manage the users of this program."""

    code = "FOREIGN_PROGRAM"
    help = "Name only programs in which your own role is `program-admin` or higher."


class OwnAccount(Forbidden):
    """You cannot change your own account here."""

    code = "OWN_ACCOUNT"
    help = "Change your password with `POST /api/users/me/password`; for anything else ask an administrator."


class AccountOutranksYou(Forbidden):
    """The account may do more in your program than you."""

    code = "ACCOUNT_OUTRANKS_YOU"
    help = "Ask an administrator, or somebody whose role and scope there are not below those of the account."


class RoleAboveOwn(Forbidden):
    """The role is above your own in this program."""

    code = "ROLE_ABOVE_OWN"
    help = "Give a role that is not above yours."


class ScopeBeyondOwn(Forbidden):
    """The account would reach more of this program than you."""

    code = "SCOPE_BEYOND_OWN"
    help = "Limit the assignment, by `areaId` or `syncScopeOverride`, to what you reach yourself."


class AccountBelongsElsewhere(Forbidden):
    """The account also belongs to programs whose users you do not manage."""

    code = "ACCOUNT_BELONGS_ELSEWHERE"
    help = "Take it out of your programs with `PUT`; for its e-mail, password or deletion ask an administrator."


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
