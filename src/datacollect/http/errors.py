"""The one renderer of everything the hub refuses.

Two representations of the same error: the reference's JSON body by default, the RFC 9457 document when the caller
accepts `application/problem+json`. Both carry `error`, `message`, `code`, `requestId`, and in `help` what to do.
"""

import http
import re
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from datacollect.http.heads import methods_at
from datacollect.kernel.errors import DataCollectError, InvalidPayload, Issue, IssueCode, NotFound, Unavailable

_log = structlog.get_logger(component="http")

_LATER = {429: "1", 503: "2"}
"""When to come back, in seconds, unless the error says so itself."""

PROBLEM_JSON = "application/problem+json"
_NOT_AT_ALL = re.compile(r"q=0(\.0{0,3})?")


class UnexpectedError(DataCollectError):
    """Something went wrong on our side. Quote the requestId when you report it."""

    members: ClassVar[Mapping[str, Any]] = {"success": False}


def install_error_handlers(app: FastAPI) -> None:
    """Everything but crashes, which `guard.RequestGuard` answers, so that they too pass the middleware."""
    app.add_exception_handler(DataCollectError, _render_known)
    app.add_exception_handler(HTTPException, _render_framework)
    app.add_exception_handler(RequestValidationError, _render_validation)


def render(scope: Scope, error: DataCollectError) -> Response:
    """The answer for `error`, in the representation the caller accepts."""
    body: dict[str, Any] = {"error": error.message, "message": error.message, "code": error.code}
    body |= error.extra
    if isinstance(error, InvalidPayload):
        body.setdefault("details", error.issues)
    if scope.get("state", {}).get("development") and body.get("success") is False:
        body = {"stack": "".join(traceback.format_exception(error))} | body | {"status": error.status}
    body.setdefault("help", error.help)
    body["requestId"] = request_id(scope)
    media_type = "application/json"
    if _accepts_problem(scope):
        media_type = PROBLEM_JSON
        body = _as_problem(error, body)
    headers = error.headers
    if error.status in _LATER:
        headers = {"Retry-After": _LATER[error.status], **headers}
    return Response(msgspec.json.encode(body), error.status, headers, media_type)


def request_id(scope: Scope) -> str:
    """The id this request has in logs and answers; empty outside the middleware."""
    identifier: str = scope.get("state", {}).get("request_id", "")
    return identifier


def _as_problem(error: DataCollectError, body: Mapping[str, Any]) -> dict[str, Any]:
    extensions = {key: value for key, value in body.items() if key != "status"}
    return {
        "type": "about:blank",
        "title": http.HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        **extensions,
    }


def _accepts_problem(scope: Scope) -> bool:
    accepted = (value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"accept")
    return any(_names_problem(one) for value in accepted for one in value.split(","))


def _names_problem(accepted: str) -> bool:
    media_type, *parameters = (part.strip() for part in accepted.split(";"))
    return media_type == PROBLEM_JSON and not any(_NOT_AT_ALL.fullmatch(one) for one in parameters)


async def _render_known(request: Request, error: Exception) -> Response:
    assert isinstance(error, DataCollectError)
    if error.status >= 500:
        cause = error.__cause__
        _log.warning(
            "request.refused", code=error.code, exc_info=error if cause and isinstance(error, Unavailable) else cause
        )
    return render(request.scope, error)


class RouteNotFound(NotFound):
    """Not Found - <path>"""


class MethodNotAllowed(DataCollectError):
    """Method Not Allowed"""

    status, code = 405, "METHOD_NOT_ALLOWED"
    help = "Use a method that the route has; the header `Allow` lists them."


class _FrameworkError(DataCollectError):
    """The framework refused the request for a reason of its own."""

    help = "Change the request as the message says."

    def __init__(self, refused: HTTPException) -> None:
        super().__init__(str(refused.detail), headers=refused.headers, success=False)
        # Here both are the framework's, not the class's.
        self.status = refused.status_code  # type: ignore[misc]
        self.code = http.HTTPStatus(refused.status_code).name  # type: ignore[misc]


async def _render_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = _known_framework_error(request.scope, error)
    if isinstance(known, MethodNotAllowed):
        # The framework names those of the first route alone.
        allowed = methods_at(request.scope, request.app.router)
        known.headers["Allow"] = ", ".join(sorted(allowed))
    return render(request.scope, known)


def _known_framework_error(scope: Scope, refused: HTTPException) -> DataCollectError:
    if refused.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(str(refused.detail), headers=refused.headers, success=False)
    if refused.status_code == RouteNotFound.status:
        unnamed = refused.detail == http.HTTPStatus.NOT_FOUND.phrase
        message = f"Not Found - {_original_url(scope)}" if unnamed else str(refused.detail)
        return RouteNotFound(message, headers=refused.headers, success=False)
    return _FrameworkError(refused)


def _original_url(scope: Scope) -> str:
    """Path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _render_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    issues = [
        Issue(code=IssueCode(found["type"]), path=list(found["loc"]), message=found["msg"]) for found in error.errors()
    ]
    return render(request.scope, InvalidPayload(issues, "Invalid request parameters"))


def render_unexpected(scope: Scope, error: Exception) -> Response:
    """The answer to a crash: nothing of its inside, except for developers."""
    unexpected = UnexpectedError()
    unexpected.__cause__ = error
    return render(scope, unexpected)
