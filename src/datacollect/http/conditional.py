"""Conditional requests: what the caller has already is not sent again. Source: RFC 9110, 13.1.2."""

from starlette.requests import Request


def holds(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names the tag. Weak ones count: proxies that compress an answer make its tag one."""
    named = [tag.strip().removeprefix("W/") for tag in ",".join(request.headers.getlist("if-none-match")).split(",")]
    return "*" in named or etag in named
