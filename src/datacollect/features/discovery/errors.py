"""What this slice refuses. What a registry said is never passed on: it may tell of its inside, or of people."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.adapters.errors import Failure
from datacollect.kernel.errors import DataCollectError, InvalidPayload, InvalidRequest, TooManyRequests

MOST_PARTS = 10_000
"""Of a sample record: more would keep all others waiting."""

_FAILED: Mapping[str, Any] = {"success": False}


class InvalidDiscover(InvalidPayload):
    """Invalid discover payload"""

    code = "INVALID_DISCOVER"
    help = "Send `url`, `clientId` and `clientSecret`, and a `filter` as described; `details` names what is wrong."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class InvalidConnection(InvalidPayload):
    """URL, client id and client secret are required"""

    code = "INVALID_CONNECTION"
    help = "Send `baseUrl`, `clientId` and `clientSecret` as texts that are not empty."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class InvalidOdooConnection(InvalidPayload):
    """URL, database, username, and password are required"""

    code = "INVALID_ODOO_CONNECTION"
    help = "Send `url`, `database`, `username` and `password` as texts that are not empty."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class InvalidFetch(InvalidPayload):
    """Invalid fetch payload"""

    code = "INVALID_FETCH"
    help = "Correct what `details` names: `model`, `fields` and `attributes` hold names."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class NoSample(InvalidRequest):
    """No payload provided"""

    code = "NO_PAYLOAD"
    help = "Send a record of the registry as JSON, or an array that begins with one."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class NotOneRecord(InvalidRequest):
    """Invalid payload: expected a single object"""

    code = "NOT_ONE_RECORD"
    help = "Send a record of the registry as JSON, or an array that begins with one."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class LargeSample(InvalidRequest):
    """Invalid payload: too many fields and choices"""

    code = "LARGE_SAMPLE"
    help = f"Send one record: its fields and the items of their lists are {MOST_PARTS:,} at most."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class NoFieldFile(InvalidRequest):
    """No JSON file uploaded"""

    code = "NO_FIELD_FILE"
    help = "Send the file in a multipart form, as `payload`."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class NotAFieldFile(InvalidRequest):
    """Only JSON files are allowed"""

    # The reference has 400 here, and 415 for configs.
    code = "NOT_A_JSON_FILE"
    help = "Send a file of the type `application/json`, or with a name that ends in `.json`."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class UnreadableFieldFile(InvalidRequest):
    """Invalid JSON file"""

    code = "INVALID_JSON_FILE"
    help = "Send one JSON document in UTF-8."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class RegistryThrottled(TooManyRequests):
    """The registry has been asked too often. Try again later."""

    code = "REGISTRY_THROTTLED"
    help = "Wait as long as the header `Retry-After` says: OpenSPP V2 takes five sign-ins in a minute."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class OdooFetchFailed(DataCollectError):
    """Failed to fetch fields from Odoo API"""

    status, code = 502, "ODOO_FETCH_FAILED"
    help = "See `reason`: whether the URL, the credentials or the Odoo is to blame."
    members: ClassVar[Mapping[str, Any]] = _FAILED

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"Failed to fetch fields from Odoo API: {failure.message}", reason=failure.code)


class StudioFieldsFailed(DataCollectError):
    """Failed to fetch fields from OpenSPP"""

    status, code = 502, "OPENSPP_FIELDS_FAILED"
    help = "See `reason`: whether the URL, the credentials or the registry is to blame."
    members: ClassVar[Mapping[str, Any]] = _FAILED

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"Failed to fetch fields from OpenSPP: {failure.message}", reason=failure.code)


class SignInFailed(DataCollectError):
    """The registry does not let the hub in"""

    status, code = 502, "OPENSPP_AUTH_FAILED"
    help = "Check URL, client id and client secret; `reason` says more."
    members: ClassVar[Mapping[str, Any]] = _FAILED

    def __init__(self, failure: Failure) -> None:
        detail = failure.message
        super().__init__(detail, error="openspp_auth_failed", detail=detail, reason=failure.code)


class ProgramsFailed(DataCollectError):
    """The registry does not tell its programs"""

    status, code = 502, "OPENSPP_LISTPROGRAMS_FAILED"
    help = "Give the client the right to read programs; `reason` says more."
    members: ClassVar[Mapping[str, Any]] = _FAILED

    def __init__(self, failure: Failure) -> None:
        detail = failure.message
        super().__init__(detail, error="openspp_listprograms_failed", detail=detail, reason=failure.code)
