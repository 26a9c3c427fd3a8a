"""What signing in refuses."""

from datacollect.kernel.errors import Forbidden, TooManyRequests, Unauthenticated


class HeaderMissing(Unauthenticated):
    """Authorization header missing"""

    code = "AUTHORIZATION_MISSING"


class SchemeUnknown(Unauthenticated):
    """Invalid authentication type"""

    code = "AUTHENTICATION_TYPE_UNKNOWN"


class WrongCredentials(Unauthenticated):
    """Invalid email or password"""

    code = "WRONG_CREDENTIALS"


class SelfServiceForbidden(Forbidden):
    """Forbidden: self-service tokens cannot access this endpoint"""

    code = "SELF_SERVICE_FORBIDDEN"


class RefreshTokenInvalid(Unauthenticated):
    """Invalid or expired refresh token"""

    code = "REFRESH_TOKEN_INVALID"


class NotARefreshToken(Unauthenticated):
    """Invalid refresh token"""

    code = "REFRESH_TOKEN_INVALID"


class AccessTokenInvalid(Unauthenticated):
    """Invalid or expired access token"""

    code = "ACCESS_TOKEN_INVALID"


class NoToken(Unauthenticated):
    """No token provided"""

    code = "TOKEN_MISSING"


class UserGone(Unauthenticated):
    """User no longer exists"""

    code = "USER_GONE"


class TooManyLogins(TooManyRequests):
    """Too many login attempts, please try again later"""

    code = "TOO_MANY_LOGINS"


class TooManyRefreshes(TooManyRequests):
    """Too many requests, please try again later"""

    code = "TOO_MANY_REFRESHES"


class TooManyGuesses(TooManyRequests):
    """Too many attempts to change the password, please try again later"""

    code = "TOO_MANY_PASSWORD_CHANGES"
