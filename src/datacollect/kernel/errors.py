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
    │   ├── StillLocked            what somebody else holds was not let go of in time
    │   └── DatabaseDamaged        what was stored cannot be read
    ├── TookTooLong 504 ─────── a question that could not be answered in the time it may take
    └── StartupError ────────── the process refuses to start, with one line that says why

A class's docstring is its default message, and `help` says what to do about it. Each code belongs to a class, none is
given where an error is raised, so that `docs/reference/errors.md` is complete. `members` are the extra members the route's contract names
(`status`, `success`, `details`, …); they are merged into the answer beside `error`, `message`, `code`
and `requestId`. Features subclass these next to the rule they enforce; nobody below the edge knows HTTP bodies.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Self, TypedDict


class IssueCode(StrEnum):
    """All codes an issue can have, each with what to do. A code never changes its meaning."""

    help: str

    def __new__(cls, code: str, help: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.help = help
        return member

    # Ours.
    INVALID_TYPE = "invalid_type", "Send the type that the message names; `Required` means that the member is missing."
    INVALID_STRING = "invalid_string", "Write the text in the form that the message names."
    TOO_SMALL = "too_small", "Send a longer text."
    TOO_BIG = "too_big", "Send a shorter text."
    UNREADABLE = "unreadable", "Write the event without what the message names."
    WEAK_PASSWORD = "weak_password", "Choose a password that keeps the rule in the message."
    INVALID_EMAIL = "invalid_email", "Send an e-mail address."
    UNKNOWN_PROGRAM = "unknown_program", "Name a program that exists; an archived one counts."
    DUPLICATE_FORM = "duplicate_form", "Give every form a name of its own."
    UNKNOWN_FORM = "unknown_form", "Name a form of this config, or leave `dependsOn` out."
    DUPLICATE_FORM_ID = "duplicate_form_id", "Give every form an id of its own."
    CIRCULAR_FORM = "circular_form", "Let one of the forms depend on none."
    DUPLICATE_SEED = "duplicate_seed", "Give every item of `entityData` an id of its own."
    UNKNOWN_PARENT = "unknown_parent", "Add the parent to `entityData`, or correct `parentId`."
    PARENT_NO_GROUP = "parent_no_group", "Name a group as `parentId`, or leave it out."
    INVALID_ADDRESS = "invalid_address", "Write an address in the form that the message names."
    INVALID_CONFIG_ID = "invalid_config_id", "Choose another `id`."
    ADAPTER_OPTION_MISSING = "adapter_option_missing", "Add the option; `docs/reference/adapters.md` has all of them."
    MASKED_SECRET = (
        "masked_secret",
        "Send the secret itself: none is stored for this address that the mask could stand for.",
    )
    UNKNOWN_FIELD = "unknown_field", "Leave it out: the form does not ask for it."
    FORM_MISMATCH = "form_mismatch", "Correct the value as the message says."
    LOGIN_FACTOR = "login_factor", "Leave it as it is: citizens cannot change what they sign in with. Staff can."
    NOT_WRITABLE = "not_writable", "Leave it out: citizens cannot set it."
    # Of the schemas behind the routes. Their library has more; what is not listed here is told as `invalid_value`.
    MISSING = "missing", "Send the member."
    STRING_TYPE = "string_type", "Send a text."
    INT_TYPE = "int_type", "Send a whole number."
    FLOAT_TYPE = "float_type", "Send a number."
    BOOL_TYPE = "bool_type", "Send `true` or `false`."
    LIST_TYPE = "list_type", "Send an array."
    DICT_TYPE = "dict_type", "Send an object."
    MODEL_TYPE = "model_type", "Send an object."
    MODEL_ATTRIBUTES_TYPE = "model_attributes_type", "Send an object."
    INT_PARSING = "int_parsing", "Send a whole number."
    INT_FROM_FLOAT = "int_from_float", "Send a whole number."
    BOOL_PARSING = "bool_parsing", "Send `true` or `false`."
    LITERAL_ERROR = "literal_error", "Send one of the values in the message."
    ENUM = "enum", "Send one of the values in the message."
    STRING_TOO_SHORT = "string_too_short", "Send a longer text."
    STRING_TOO_LONG = "string_too_long", "Send a shorter text."
    STRING_PATTERN_MISMATCH = "string_pattern_mismatch", "Write the text in the form that the message names."
    TOO_SHORT = "too_short", "Send more items."
    TOO_LONG = "too_long", "Send fewer items."
    GREATER_THAN = "greater_than", "Send a larger number."
    GREATER_THAN_EQUAL = "greater_than_equal", "Send a larger number."
    LESS_THAN = "less_than", "Send a smaller number."
    LESS_THAN_EQUAL = "less_than_equal", "Send a smaller number."
    UNION_TAG_INVALID = "union_tag_invalid", "Send one of the types in the message."
    UNION_TAG_NOT_FOUND = "union_tag_not_found", "Send the member `type`."
    EXTRA_FORBIDDEN = "extra_forbidden", "Leave the member out."
    VALUE_ERROR = "value_error", "Send a value as the message describes it."
    INVALID_VALUE = "invalid_value", "Send a value as the message describes it."

    @classmethod
    def _missing_(cls, _code: object) -> "IssueCode":
        """Whatever else a schema finds: the catalogue stays closed when the library behind them learns new codes."""
        return cls.INVALID_VALUE


class Issue(TypedDict):
    """One thing wrong with a payload: a stable code, where it is, and what to do."""

    code: IssueCode
    path: list[str | int]
    message: str


class DataCollectError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    help: ClassVar[str] = "Send the same again later; if it fails again, report the `requestId`."
    members: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        message: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.headers = dict(headers or {})
        self.extra = {**type(self).members, **members}
        super().__init__(self.message)


class InvalidRequest(DataCollectError):
    """The request breaks a rule of this route."""

    status, code = 400, "INVALID_REQUEST"
    help = "Change the request as the message says."


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""

    code = "INVALID_JSON"
    help = "Send one JSON document in UTF-8; the message names the place where reading stopped."
    members: ClassVar[Mapping[str, Any]] = {"success": False}


class InvalidPayload(InvalidRequest):
    """Invalid payload"""

    code = "INVALID_PAYLOAD"
    help = "Correct every issue in `details`: each names its place, and what is expected there."

    def __init__(self, issues: Sequence[Issue], message: str | None = None, **members: Any) -> None:
        self.issues = list(issues)
        super().__init__(message, **members)


class TenantMismatch(InvalidRequest):
    """The request names more than one configId. Send one, or the same everywhere."""

    code = "TENANT_MISMATCH"
    help = "Name the program once, or the same in the query and the body."


class TenantUnknown(InvalidRequest):
    """App instance not found"""

    code = "TENANT_UNKNOWN"
    help = "Check `configId`; without one it is `default`. A program that is archived must be restored first."

    def __init__(self, tenant_id: str | None = None) -> None:
        super().__init__()
        if tenant_id is not None:
            self.extra["configId"] = tenant_id


class Unauthenticated(DataCollectError):
    """Invalid token"""

    status, code = 401, "UNAUTHENTICATED"
    help = (
        "Send the access token as `Authorization: Bearer …`. It is good for an hour: refresh it with "
        "`POST /api/users/refresh`, or sign in again."
    )


class Forbidden(DataCollectError):
    """Forbidden"""

    status, code = 403, "FORBIDDEN"
    help = "Ask an administrator for the right to do this."


class TenantAccessDenied(Forbidden):
    """Forbidden: No access to this tenant"""

    code = "TENANT_ACCESS_DENIED"
    help = "Ask an administrator to add your account to the program."


class InsufficientRole(Forbidden):
    """Forbidden: Insufficient permission"""

    code = "INSUFFICIENT_PERMISSION"
    help = "Ask an administrator for a higher role in this program."


class BeyondReach(Forbidden):
    """This is about the whole program, and your access is limited to a part of it."""

    code = "BEYOND_REACH"
    help = "Ask somebody whose access is not limited to areas or kinds of entities."


class SelfServiceOnly(Forbidden):
    """Forbidden: self-service scope required"""

    code = "SELF_SERVICE_ONLY"
    help = "These routes are for citizens: sign in with a code, a national ID or an identity provider."


class NotOwnRecord(Forbidden):
    """Forbidden: cannot access other entities"""

    code = "NOT_OWN_RECORD"
    help = "A self-service token is for one record. Leave `entityGuid` out, or name the one in the token."


class AdminRequired(Forbidden):
    """Forbidden: Admin access required"""

    code = "ADMIN_REQUIRED"
    help = "Use an account with the role ADMIN."


class PasswordChangeRequired(Forbidden):
    """Change your password first."""

    code = "PASSWORD_CHANGE_REQUIRED"
    help = "Send `POST /api/users/me/password`, and sign in again with the new one."


class NotFound(DataCollectError):
    """Not found"""

    status, code = 404, "NOT_FOUND"
    help = "Check the address, also for a slash at its end; `/openapi.json` lists all routes."


class TenantNotFound(NotFound):
    """Tenant not found"""

    code = "TENANT_NOT_FOUND"
    help = "Check `configId`; without one it is `default`. A program that is archived must be restored first."

    def __init__(self, tenant_id: str) -> None:
        super().__init__(configId=tenant_id)


class Conflict(DataCollectError):
    """The request conflicts with the current state."""

    status, code = 409, "CONFLICT"
    help = "Read the current state and decide again."


class PayloadTooLarge(DataCollectError):
    """request entity too large"""

    status, code = 413, "PAYLOAD_TOO_LARGE"
    help = "Send less at once, at most `maxBytes`: a push can be split into several."
    members: ClassVar[Mapping[str, Any]] = {"success": False}

    def __init__(self, message: str | None = None, *, most_bytes: int | None = None) -> None:
        """`most_bytes` is what the route takes, as sent and as decompressed."""
        super().__init__(message)
        if most_bytes is not None:
            self.extra["maxBytes"] = most_bytes


class UnsupportedMedia(DataCollectError):
    """The media type of the body is not supported here."""

    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"
    help = "Send `application/json`, or the file in a multipart form."


class Unprocessable(DataCollectError):
    """The request was understood but cannot be carried out."""

    status, code = 422, "UNPROCESSABLE"
    help = "Correct what the message names and send it again."


class TooManyRequests(DataCollectError):
    """Too many requests, please try again later"""

    status, code = 429, "TOO_MANY_REQUESTS"
    help = "Wait as long as the header `Retry-After` says."


class Unavailable(DataCollectError):
    """The hub cannot reach its database just now. Try again in a moment."""

    status, code = 503, "DATABASE_UNAVAILABLE"
    help = "Send the same again later; repeating is safe."


class StillLocked(Unavailable):
    """Somebody else has been writing there for too long. Try again in a moment."""

    code = "STILL_LOCKED"
    help = "Send the same again after `Retry-After`; repeating is safe."


class DatabaseDamaged(Unavailable):
    """A part of the database cannot be read."""

    code = "DATABASE_DAMAGED"
    help = "Whoever runs the hub finds in its log what to do. Send the same again later; repeating is safe."


class TookTooLong(DataCollectError):
    """Answering this took longer than it may."""

    status, code = 504, "QUERY_TOO_SLOW"
    help = "Ask for less: add a filter or an indexed field, or read page by page with `cursor`."


class StartupError(DataCollectError):
    """The hub cannot start."""

    code = "STARTUP_FAILED"
    help = "Correct the setting that the line names."
