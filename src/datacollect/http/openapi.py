"""The OpenAPI document: generated from the routes, completed with what FastAPI cannot see.

That is: request bodies read by `json_body`, which guard a route has, the one shape of errors, and nulls in examples,
which it would leave out. A model's examples stand beside it, in the slice's `schemas.py`; a test sends and checks them.
"""

import http
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from datacollect.http.body import JsonBody
from datacollect.http.limits import Limited, class_of
from datacollect.http.policy import InProgram, Policy, calls_of
from datacollect.http.upload import JsonUpload
from datacollect.kernel.errors import IssueCode, Unauthenticated
from datacollect.kernel.permission import Callers

TITLE = "ID PASS DataCollect Backend API"
VERSION = "2.0.0"

_LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
_CONTACT = {"name": "Whoever runs this hub"}
_SERVERS = [{"url": "/", "description": "The hub that this description is of."}]

TAGS = [
    {"name": "Meta", "description": "Health of the hub and its machine-readable description."},
    {"name": "Authentication", "description": "Signing in and staying signed in."},
    {"name": "User Management", "description": "Accounts, their roles and their programs."},
    {"name": "App Configuration", "description": "Programs: forms, branding and onboarding files."},
    {"name": "Entities", "description": "Registered people and groups, and their history."},
    {"name": "Synchronization", "description": "Pull and push of events by devices."},
    {"name": "Integrity", "description": "Whether the log is as it was written."},
    {"name": "External Sync Jobs", "description": "Exchange with external registries."},
    {"name": "Attachments", "description": "Photos and documents of entities."},
    {"name": "Reviews", "description": "What was submitted, and waits until somebody decides about it."},
    {"name": "Self-Service", "description": "Citizens reading and correcting their own record."},
    {"name": "Potential Duplicates", "description": "Pairs of records that may be the same person."},
    {"name": "OpenSPP Fields", "description": "Field metadata of OpenSPP registries."},
]

_DESCRIPTION = """\
Offline-first registration: devices collect events, push them, and pull everybody else's.

Send `Authorization: Bearer <token>` from `POST /api/users/login`. Every answer carries `X-Request-Id`; every error \
also names it as `requestId`, beside `error`, `message` and a stable `code`. With `Accept: application/problem+json` \
errors are RFC 9457 documents. `help` says what to do. HEAD is answered wherever GET is.

Bodies may be compressed once, with `Content-Encoding: gzip` or `deflate`; pulls come compressed to who takes gzip. Every 429 and 503 says in `Retry-After` when \
to come back; answers that count against a rate tell what is left of it in `RateLimit`.
"""

_SECURITY_SCHEMES = {
    "BearerAuth": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Access token of a staff account, valid for one hour: `Authorization: Bearer <token>`.",
    },
    "ProviderAuth": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`<type> <token>`: an access token of an identity provider that the program has configured in "
        "`authConfigs` under that type. For routes of devices (sync and conflicts) only.",
    },
    "SelfServiceAuth": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Token of a citizen, for the self-service routes only.",
    },
}

_STAFF = [{"BearerAuth": list[str]()}]
_SECURITY = {
    Callers.ANYBODY: [],
    Callers.STAFF: _STAFF,
    Callers.ADMIN: _STAFF,
    Callers.SYNC: [*_STAFF, {"ProviderAuth": list[str]()}],
    Callers.CITIZEN: [{"SelfServiceAuth": list[str]()}],
}

_ERROR = {
    "type": "object",
    "title": "Error",
    "description": "Why a request was refused. Routes may add members of their own.",
    "required": ["error", "message", "code", "requestId"],
    "additionalProperties": True,
    "properties": {
        "error": {"type": "string", "description": "What went wrong, for people."},
        "message": {"type": "string", "description": "The same text as `error`."},
        "code": {"type": "string", "description": "What went wrong, for programs.", "pattern": "^[A-Z][A-Z0-9_]*$"},
        "requestId": {"type": "string", "description": "Names this request in the hub's log."},
        "help": {"type": "string", "description": "What to do about it."},
        "details": {
            "type": "array",
            "description": "Every issue of an invalid payload.",
            "items": {"$ref": "#/components/schemas/Issue"},
        },
        "failed": {
            "type": "array",
            "description": "Of a push or a replay: the events that stood in its way, each with its `code` and `message`.",
            "items": {"type": "object", "additionalProperties": True},
        },
    },
    "example": {
        "error": "Invalid token",
        "message": "Invalid token",
        "code": "UNAUTHENTICATED",
        "help": Unauthenticated.help,
        "requestId": "0b0f5f3e-6f0e-4a53-8f4e-0a9d4f8a5a11",
    },
}

_ISSUE = {
    "type": "object",
    "title": "Issue",
    "required": ["code", "path", "message"],
    "additionalProperties": True,
    "properties": {
        "code": {"type": "string", "enum": [code.value for code in IssueCode]},
        "path": {"type": "array", "items": {"type": ["string", "integer"]}},
        "message": {"type": "string"},
    },
}

_PROBLEM = {
    "title": "Problem",
    "description": "The same error as an RFC 9457 document.",
    "allOf": [
        {"$ref": "#/components/schemas/Error"},
        {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "const": "about:blank"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            },
        },
    ],
}

_ERROR_TEXTS = {
    400: "The request cannot be read or breaks a documented rule.",
    401: "The caller is not known: no token, or one that is not valid any more.",
    403: "The caller is known but not allowed to do this.",
    404: "There is no such thing.",
    409: "The request conflicts with the current state.",
    408: "The body did not arrive in time.",
    413: "The body is too large, as sent or decompressed.",
    415: "The media type or the `Content-Encoding` of the body is not supported.",
    422: "The request was understood but cannot be carried out.",
    429: "Too many requests; `Retry-After` says when to come back.",
    502: "The other system cannot be reached, does not let the hub in, or answers what the hub does not understand.",
    500: "Something went wrong in the hub. The log has the details under this `requestId`.",
    503: "The hub cannot do this just now: its database or the caller's identity provider is away, or it has too much to do.",
}

_RETRY_AFTER = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer", "minimum": 0}}
_RATE_LIMIT = {
    "RateLimit-Policy": {
        "description": "The limit: its name, `q` its quota, `w` its window in seconds (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string", "examples": ['"public";q=60;w=900']},
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests in the next `t` seconds.",
        "schema": {"type": "string", "examples": ['"public";r=0;t=411']},
    },
}
_HEADERS: dict[int, dict[str, Any]] = {
    429: {"Retry-After": _RETRY_AFTER, **_RATE_LIMIT},
    503: {"Retry-After": _RETRY_AFTER},
}

_REF = "#/components/schemas/{model}"


def errors(*statuses: int, texts: Mapping[int, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the errors it answers with, all in the one shape.

    `errors(400, 404, texts={409: "The e-mail is taken."})`: `texts` adds statuses or says what they mean here. What
    every guarded route (401, 403), every body (400, 408, 413, 415), every limited route (429, 503) and every route
    (500) answers is added by itself.
    """
    described = {status: _ERROR_TEXTS[status] for status in statuses} | dict(texts or {})
    return {status: _error_response(status, text) for status, text in sorted(described.items())}


def _error_response(status: int, description: str) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Error"}},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole document. Takes a moment; the caller keeps it."""
    document = get_openapi(
        title=TITLE,
        version=VERSION,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        openapi_version="3.1.0",
        license_info=_LICENSE,
        contact=_CONTACT,
        servers=_SERVERS,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    schemas.update(Error=_ERROR, Issue=_ISSUE, Problem=_PROBLEM)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    used: set[str] = set()
    operations = list(_operations(app, document))
    for _, _, route in operations:
        for model in _answers(route):
            _define(model, "serialization", schemas)
    for path, operation, route in operations:
        # What generated clients call it: routes' functions have names of their own.
        operation["operationId"] = route.operation_id or to_camel(route.name or "")
        _complete(path, operation, route.dependant, schemas)
        used.update(operation.get("tags", ()))
    document["tags"] = [tag for tag in TAGS if tag["name"] in used]
    components["schemas"] = dict(sorted(schemas.items()))
    return document


def _operations(app: FastAPI, document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], RouteContext]]:
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            for method in context.methods or ():
                path = str(context.path_format)
                yield path, document["paths"][path][method.lower()], context


def _answers(route: RouteContext) -> Iterator[Any]:
    """The models of a route's answers."""
    models = [route.response_model, *(response.get("model") for response in (route.responses or {}).values())]
    return (model for model in models if model is not None)


def _define(model: Any, mode: Literal["serialization", "validation"], schemas: dict[str, Any]) -> None:
    """Add the schemas of a model and of what it holds."""
    schema = _without_null_defaults(TypeAdapter(model).json_schema(mode=mode, ref_template=_REF))
    schemas.update(schema.pop("$defs", {}))
    if "title" in schema and isinstance(model, type):
        schemas[model.__name__] = schema


def _complete(path: str, operation: dict[str, Any], dependant: Dependant, schemas: dict[str, Any]) -> None:
    calls = list(calls_of(dependant))
    responses = operation["responses"]
    # FastAPI announces its own 422 for any parameter; here that is a 400.
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
        responses.setdefault("400", _error_response(400, _ERROR_TEXTS[400]))
    needed = [500]
    if class_of(path).limited is not Limited.NOT:
        needed += [429, 503]
    policy = next((call for call in calls if isinstance(call, Policy)), None)
    callers = Callers.ANYBODY if policy is None else policy.permission.callers
    for parameter in operation.get("parameters", ()):
        if policy is not None and parameter["name"] == policy.must_name:
            parameter |= {"required": True, "schema": {"type": "string", "minLength": 1}}
    operation.setdefault("security", _SECURITY[callers])
    if callers is not Callers.ANYBODY:
        needed += [401, 403]
    for body in _bodies(calls):
        operation["requestBody"] = _request_body(body, schemas)
        needed += [400, 408, 413, 415]
    for status in needed:
        responses.setdefault(str(status), _error_response(status, _ERROR_TEXTS[status]))
    operation["responses"] = {status: _described(status, responses[status]) for status in sorted(responses)}


def _bodies(calls: Iterable[Any]) -> Iterator[JsonBody]:
    for call in calls:
        if isinstance(call, JsonBody):
            yield call
        elif isinstance(call, InProgram) and call.body is not None:
            yield call.body


def _request_body(body: JsonBody, schemas: dict[str, Any]) -> dict[str, Any]:
    model = body.model
    _define(model, "validation", schemas)
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    if isinstance(body, JsonUpload):
        file = {"type": "string", "format": "binary", "description": "The document as a file, `application/json`."}
        content["multipart/form-data"] = {
            "schema": {"type": "object", "required": [body.field], "properties": {body.field: file}},
            "encoding": {body.field: {"contentType": "application/json"}},
        }
    return {"required": body.required, "content": content}


def _described(status: str, response: dict[str, Any]) -> dict[str, Any]:
    if response.get("description") == "Successful Response":
        response["description"] = http.HTTPStatus(int(status)).phrase
    if status >= "400" and "content" not in response:
        response = _error_response(int(status), response["description"])
    return response


def _without_null_defaults(schema: Any) -> Any:
    """A default of null says "may be left out", which `required` says already; and it contradicts a type without null."""
    if isinstance(schema, list):
        return [_without_null_defaults(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_null_defaults(inner) for key, inner in schema.items() if not (key == "default" and inner is None)
    }
