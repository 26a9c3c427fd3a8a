"""What citizens are refused with. Nothing here tells whether anybody has a record."""

from datacollect.kernel.errors import DataCollectError, Forbidden, InvalidRequest, TooManyRequests, Unauthenticated


class SelfServiceDisabled(Forbidden):
    """Self-service is not enabled for this tenant"""

    # The same for a program that is not there, that is archived, and that offers other ways to sign in.
    code = "SELF_SERVICE_DISABLED"
    help = "Ask the program how to sign in; an administrator can set `selfService` in its config."


class WrongCode(Unauthenticated):
    """Invalid OTP"""

    code = "OTP_INVALID"
    help = "Check the code, or ask for a new one: a code is good for five minutes, once, and for three tries."


class VerificationFailed(Unauthenticated):
    """Verification failed"""

    code = "VERIFICATION_FAILED"
    help = "Check the national ID and the date of birth (`YYYY-MM-DD`), or ask the program's staff."


class AuthenticationFailed(Unauthenticated):
    """Authentication failed"""

    code = "AUTHENTICATION_FAILED"
    help = "Ask the program's staff whether your record says who you are at the identity provider, and only yours."


class TooManyCodes(TooManyRequests):
    """Too many OTP requests, please try again later"""

    code = "TOO_MANY_OTP_REQUESTS"
    help = "Wait as long as the header `Retry-After` says."


class TooManyCodesForIdentifier(TooManyRequests):
    """Too many OTP requests for this identifier, please try again later"""

    code = "TOO_MANY_OTP_REQUESTS_FOR_IDENTIFIER"
    help = "Use the code that was sent last, or wait as long as the header `Retry-After` says."


class TooManyVerifications(TooManyRequests):
    """Too many verification attempts, please try again later"""

    code = "TOO_MANY_VERIFICATIONS"
    help = "Wait as long as the header `Retry-After` says."


class SignInLocked(TooManyRequests):
    """Too many wrong attempts, please try again later"""

    code = "SIGN_IN_LOCKED"
    help = "Wait as long as the header `Retry-After` says. Tries meanwhile change nothing."


class OidcNotConfigured(InvalidRequest):
    """OIDC not configured for this tenant"""

    code = "OIDC_NOT_CONFIGURED"
    help = "An administrator can set `selfService.oidcConfig` in the program's config."


class CodesNotRedeemed(InvalidRequest):
    """This tenant does not redeem authorization codes"""

    code = "OIDC_WITHOUT_KEY"
    help = "Send the ID token. An administrator can set `selfService.oidcConfig.privateKey` in the program's config."


class WrongRedirect(InvalidRequest):
    """Redirect URI does not match tenant configuration"""

    code = "OIDC_REDIRECT_URI"
    help = "Send the `redirectUri` that the program's config has, and that the code was asked for with."


class AccessTokenMissing(InvalidRequest):
    """Access token missing"""

    code = "ACCESS_TOKEN_MISSING"
    help = "Send the access token that came with the ID token: the program's provider tells who it is only for that."


class IdTokenFormat(InvalidRequest):
    """Invalid ID token format"""

    code = "ID_TOKEN_FORMAT"
    help = "Send the ID token as the identity provider gave it: three parts with dots between them."


class IdTokenPayload(InvalidRequest):
    """Invalid ID token payload"""

    code = "ID_TOKEN_PAYLOAD"
    help = "Send the ID token as the identity provider gave it."


class IdTokenWithoutIssuer(InvalidRequest):
    """ID token missing issuer claim"""

    code = "ID_TOKEN_WITHOUT_ISSUER"
    help = "Send the ID token as the identity provider gave it."


class IdTokenWithoutSubject(InvalidRequest):
    """ID token missing subject claim"""

    code = "ID_TOKEN_WITHOUT_SUBJECT"
    help = "Send the ID token as the identity provider gave it."


class ForeignIssuer(Unauthenticated):
    """Token issuer does not match tenant configuration"""

    code = "ID_TOKEN_ISSUER"
    help = "Sign in at the identity provider that the program names."


class IdTokenRefused(Unauthenticated):
    """Invalid or expired OIDC token"""

    code = "ID_TOKEN_INVALID"
    help = "Sign in at the identity provider again: an ID token is good for ten minutes, and once."


class WrongNonce(Unauthenticated):
    """Invalid nonce"""

    code = "ID_TOKEN_NONCE"
    help = "Send the nonce that the ID token was asked for with; one of the hub's is good for ten minutes, and once."


class DiscoveryFailed(DataCollectError):
    """Failed to fetch OIDC discovery document"""

    status, code = 502, "OIDC_PROVIDER_UNAVAILABLE"
    help = "Send the same again after `Retry-After`. If it lasts, see the hub's log for the reason."


class DiscoveryTooSlow(DataCollectError):
    """The identity provider did not answer in time"""

    status, code = 504, "OIDC_PROVIDER_TOO_SLOW"
    help = "Send the same again after `Retry-After`."


class ProviderMisconfigured(DataCollectError):
    """OIDC provider configuration error"""

    status, code = 502, "OIDC_PROVIDER_MISCONFIGURED"
    help = "Compare the provider's discovery document with `selfService.oidcConfig`; the hub's log has the reason."
