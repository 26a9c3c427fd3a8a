"""What identity providers' callers are refused with."""

from collections.abc import Mapping
from enum import Enum

from datacollect.kernel.errors import DataCollectError, TooManyRequests, Unauthenticated


class Fault(Enum):
    """Why a provider cannot be asked."""

    AWAY = "it cannot be reached, or answers with an error"
    SLOW = "it does not answer in time"
    WRONG = "what it says of itself cannot be used"


class ProviderUnavailable(DataCollectError):
    """The identity provider cannot be reached just now. Try again in a moment."""

    # Not 401: apps take that for the end of a session, and would have people sign in at a provider that is away.
    status, code = 503, "IDENTITY_PROVIDER_UNAVAILABLE"
    help = "Send the same again after `Retry-After`; repeating is safe. If it lasts, see the hub's log for the reason."

    def __init__(self, *, headers: Mapping[str, str], fault: Fault = Fault.AWAY) -> None:
        super().__init__(headers=headers)
        self.fault = fault


class ProviderLoginRefused(Unauthenticated):
    """Sign-in by this provider was refused"""

    code = "PROVIDER_LOGIN_REFUSED"
    help = "Sign in at the provider again, with a verified e-mail that an account here has."


class TooManyProviderLogins(TooManyRequests):
    """Too many login attempts, please try again later"""

    code = "TOO_MANY_LOGINS"
    help = "Wait as long as the header `Retry-After` says."
