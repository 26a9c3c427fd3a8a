"""Everything the hub refuses, and how it says so.

    DataCollectError
    ├── InvalidRequest 400 ──── a request that cannot be read or breaks a documented rule
    │   ├── InvalidJson            bytes that are not the JSON we accept
    │   ├── InvalidPayload         JSON of the wrong shape; carries every issue found
    │   ├── TenantMismatch         two different `configId`s in one request
    │   └── TenantUnknown          no running program of that id (sync routes; 404 elsewhere)
    ├── Unauthenticated 401
    ├── Forbidden 403
    │   └── TenantAccessDenied
    ├── NotFound 404
    ├── Conflict 409
    ├── PayloadTooLarge 413
    ├── UnsupportedMedia 415
    ├── Unprocessable 422 ───── understood, but the event cannot be applied
    ├── TooManyRequests 429
    ├── Unavailable 503 ─────── the database is away; try again
    └── StartupError ────────── the process refuses to start, with one line that says why

A class's docstring is its default message. `members` are the extra members the route's contract names
(`status`, `success`, `details`, …); they are merged into the answer beside `error`, `message`, `code`
and `requestId`. Features subclass these next to the rule they enforce; nobody below the edge knows HTTP bodies.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict


class Issue(TypedDict):
    """One thing wrong with a payload: a stable code, where it is, and what to do."""

    code: str
    path: list[str | int]
    message: str


class DataCollectError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    members: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.error_code = code or type(self).code
        self.headers = dict(headers or {})
        self.extra = {**type(self).members, **members}
        super().__init__(self.message)


class InvalidRequest(DataCollectError):
    """The request breaks a rule of this route."""

    status, code = 400, "INVALID_REQUEST"


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""

    code = "INVALID_JSON"
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class InvalidPayload(InvalidRequest):
    """Invalid payload"""

    code = "INVALID_PAYLOAD"

    def __init__(self, issues: Sequence[Issue], message: str | None = None, **members: Any) -> None:
        self.issues = list(issues)
        super().__init__(message, **members)


class TenantMismatch(InvalidRequest):
    """The request names more than one configId. Send one, or the same everywhere."""

    code = "TENANT_MISMATCH"


class TenantUnknown(InvalidRequest):
    """App instance not found"""

    code = "TENANT_UNKNOWN"


class Unauthenticated(DataCollectError):
    """Invalid token"""

    status, code = 401, "UNAUTHENTICATED"


class Forbidden(DataCollectError):
    """Forbidden"""

    status, code = 403, "FORBIDDEN"


class TenantAccessDenied(Forbidden):
    """Forbidden: No access to this tenant"""

    code = "TENANT_ACCESS_DENIED"


class InsufficientRole(Forbidden):
    """Forbidden: Insufficient permission"""

    code = "INSUFFICIENT_PERMISSION"


class AdminRequired(Forbidden):
    """Forbidden: Admin access required"""

    code = "ADMIN_REQUIRED"


class NotFound(DataCollectError):
    """Not found"""

    status, code = 404, "NOT_FOUND"


class Conflict(DataCollectError):
    """The request conflicts with the current state."""

    status, code = 409, "CONFLICT"


class PayloadTooLarge(DataCollectError):
    """request entity too large"""

    status, code = 413, "PAYLOAD_TOO_LARGE"
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class UnsupportedMedia(DataCollectError):
    """The media type of the body is not supported here."""

    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"


class Unprocessable(DataCollectError):
    """The request was understood but cannot be carried out."""

    status, code = 422, "UNPROCESSABLE"


class TooManyRequests(DataCollectError):
    """Too many requests, please try again later"""

    status, code = 429, "TOO_MANY_REQUESTS"


class Unavailable(DataCollectError):
    """The hub cannot reach its database just now. Try again in a moment."""

    status, code = 503, "DATABASE_UNAVAILABLE"


class StartupError(DataCollectError):
    """The hub cannot start."""

    code = "STARTUP_FAILED"
