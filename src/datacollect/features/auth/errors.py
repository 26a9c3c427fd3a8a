"""What signing in refuses."""

from datacollect.kernel.errors import Forbidden, NotFound, TooManyRequests, Unauthenticated, Unavailable


class HeaderMissing(Unauthenticated):
    """Authorization header missing"""

    code = "AUTHORIZATION_MISSING"
    help = "Send the access token as `Authorization: Bearer …`."


class SchemeUnknown(Unauthenticated):
    """Invalid authentication type"""

    code = "AUTHENTICATION_TYPE_UNKNOWN"
    help = "Put the word `Bearer` in front of a token of this hub; in front of a provider's, its type in the program."


class WrongCredentials(Unauthenticated):
    """Invalid email or password"""

    code = "WRONG_CREDENTIALS"
    help = "Check e-mail and password."


class SelfServiceForbidden(Forbidden):
    """Forbidden: self-service tokens cannot access this endpoint"""

    code = "SELF_SERVICE_FORBIDDEN"
    help = "Use a staff account here."


class RefreshTokenInvalid(Unauthenticated):
    """Invalid or expired refresh token"""

    code = "REFRESH_TOKEN_INVALID"
    help = "Sign in again."


class NotARefreshToken(Unauthenticated):
    """Invalid refresh token"""

    code = "REFRESH_TOKEN_INVALID"
    help = "Sign in again."


class AccessTokenInvalid(Unauthenticated):
    """Invalid or expired access token"""

    code = "ACCESS_TOKEN_INVALID"
    help = "Refresh the token, or sign in again."


class NoToken(Unauthenticated):
    """No token provided"""

    code = "TOKEN_MISSING"
    help = "Send the refresh token in the body."


class UserGone(Unauthenticated):
    """User no longer exists"""

    code = "USER_GONE"
    help = "Sign in with another account."


class TooManyLogins(TooManyRequests):
    """Too many login attempts, please try again later"""

    code = "TOO_MANY_LOGINS"
    help = "Wait as long as the header `Retry-After` says."


class TooManyRefreshes(TooManyRequests):
    """Too many requests, please try again later"""

    code = "TOO_MANY_REFRESHES"
    help = "Wait as long as the header `Retry-After` says."


class TooManyGuesses(TooManyRequests):
    """Too many attempts to change the password, please try again later"""

    code = "TOO_MANY_PASSWORD_CHANGES"
    help = "Wait as long as the header `Retry-After` says."


class SignInsBusy(Unavailable):
    """The hub is busy with other sign-ins just now. Try again in a moment."""

    code = "SIGN_INS_BUSY"
    help = "Wait as long as the header `Retry-After` says."


class SessionNotFound(NotFound):
    """Session not found"""

    code = "SESSION_NOT_FOUND"
    help = "Take the id from the list of your sessions; one that has ended is not in it any more."
