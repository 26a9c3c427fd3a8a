"""What this slice refuses. What a registry said is never passed on: it may tell of its inside, or of people."""

from collections.abc import Mapping
from typing import Any, ClassVar

from datacollect.adapters.errors import Failure
from datacollect.kernel.errors import DataCollectError, InvalidPayload, InvalidRequest

_FAILED: Mapping[str, Any] = {"success": False}


class InvalidDiscover(InvalidPayload):
    """Invalid discover payload"""

    code = "INVALID_DISCOVER"
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


class _RegistryFailed(DataCollectError):
    """The registry could not be asked."""

    status = 502
    code = "REGISTRY_FAILED"
    help = "See `reason`: whether the URL, the credentials or the registry is to blame."
    members: ClassVar[Mapping[str, Any]] = _FAILED


class OdooFetchFailed(_RegistryFailed):
    """Failed to fetch fields from Odoo API"""

    code = "ODOO_FETCH_FAILED"

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"Failed to fetch fields from Odoo API: {failure.message}", reason=failure.code)


class StudioFieldsFailed(_RegistryFailed):
    """Failed to fetch fields from OpenSPP"""

    code = "OPENSPP_FIELDS_FAILED"

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"Failed to fetch fields from OpenSPP: {failure.message}", reason=failure.code)


class SignInFailed(_RegistryFailed):
    """The registry does not let the hub in"""

    code = "OPENSPP_AUTH_FAILED"

    def __init__(self, failure: Failure) -> None:
        detail = failure.message
        super().__init__(detail, error="openspp_auth_failed", detail=detail, reason=failure.code)


class ProgramsFailed(_RegistryFailed):
    """The registry does not tell its programs"""

    code = "OPENSPP_LISTPROGRAMS_FAILED"

    def __init__(self, failure: Failure) -> None:
        detail = failure.message
        super().__init__(detail, error="openspp_listprograms_failed", detail=detail, reason=failure.code)
