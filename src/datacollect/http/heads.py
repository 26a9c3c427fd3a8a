"""HEAD, wherever GET is. Source: RFC 9110, 9.3.2."""

from collections.abc import Iterable
from functools import cached_property

from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

_OF_PARTS = frozenset((b"range", b"if-range"))
"""Of GET alone."""


class HeadAsGet:
    """In front of what finds a request's route: HEAD goes to the route for GET, unless there is one for HEAD.

    The route makes the whole answer, and the server keeps its body: it has its own scope, and all but the route see that.
    """

    def __init__(self, app: ASGIApp, router: Router) -> None:
        self._app = app
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._has_own(scope):
            await self._app(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if header[0] not in _OF_PARTS]
        asked = {**scope, "method": "GET", "headers": headers}
        try:
            await self._app(asked, receive, send)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]  # the log names it

    def _has_own(self, scope: Scope) -> bool:
        own = _first(self._own, scope)
        if own is None:
            return False
        # Of that very path, and not of all that look like it: GET may have one that is written out.
        of_get = _first(self._router.routes, {**scope, "method": "GET"})
        return of_get is None or getattr(of_get, "path", None) == getattr(own, "path", None)

    @cached_property
    def _own(self) -> list[BaseRoute]:
        """Routes are added before the first request."""
        return [route for route in self._router.routes if isinstance(route, Route) and "HEAD" in (route.methods or ())]


def _first(routes: Iterable[BaseRoute], scope: Scope) -> BaseRoute | None:
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)


def methods_at(scope: Scope, router: Router) -> frozenset[str]:
    """Those that the path can be asked by, whichever routes they are of."""
    found = {
        method
        for route in router.routes
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return frozenset(found | {"HEAD"} if "GET" in found else found)
