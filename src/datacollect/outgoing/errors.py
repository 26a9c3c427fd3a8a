"""What can go wrong with a request of ours to another system.

    UrlRefused 400 ──────────── the URL is not one the hub calls; nothing was sent
    └── InternalUrl
        └── NameUnresolved
    UpstreamUnavailable 502 ─── the other system cannot be reached, or breaks off
    ├── UpstreamRedirected      it answers with a redirect that is not followed
    ├── UpstreamTooLarge        its answer is longer than we take
    ├── UpstreamTooSlow 504
    └── UpstreamUnreadable      its answer is not what was asked for

None of them quotes the URL, what a name resolved to, or anything the other system said.
"""

from datacollect.kernel.errors import DataCollectError, InvalidRequest


class UrlRefused(InvalidRequest):
    """The URL is not valid"""

    code = "URL_REFUSED"
    help = "Send an absolute `http` or `https` URL without user name and password, as the message says."


class InternalUrl(UrlRefused):
    """URLs targeting private or internal networks are not allowed"""

    code = "URL_INTERNAL"
    help = (
        "Check the host name: one that does not resolve is refused like an internal one. An operator can allow hosts "
        "of the hub's own network with `ALLOWED_PRIVATE_HOSTS`."
    )


class NameUnresolved(InternalUrl):
    """URLs targeting private or internal networks are not allowed"""

    # Told apart inside the hub only: to callers the two are one, or anybody could ask which internal names exist.
    def __init__(self, *, temporary: bool) -> None:
        self.temporary = temporary
        super().__init__()


class UpstreamUnavailable(DataCollectError):
    """The other system could not be reached."""

    status, code = 502, "UPSTREAM_UNAVAILABLE"
    help = "Check the URL and that the other system is up, then try again."
    nothing_sent = False
    """Whether there was no connection yet: else the other system may have done what it was asked for."""


class UpstreamRedirected(UpstreamUnavailable):
    """The other system answered with a redirect that is not followed."""

    code = "UPSTREAM_REDIRECTED"
    help = "Enter the address it redirects to, with `https`."


class UpstreamTooLarge(UpstreamUnavailable):
    """The other system's answer is too large."""

    code = "UPSTREAM_TOO_LARGE"
    help = "Ask the other system for less at once."


class UpstreamTooSlow(UpstreamUnavailable):
    """The other system did not answer in time."""

    status, code = 504, "UPSTREAM_TOO_SLOW"
    help = "Try again later."


class UpstreamUnreadable(UpstreamUnavailable):
    """The other system's answer could not be read."""

    code = "UPSTREAM_UNREADABLE"
    help = "Check that the URL is that of the right system."
