"""Which of the hub's routes a request is for, without asking more than a hundred of them."""

from functools import cached_property

from fastapi import APIRouter, Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from datacollect.http.direct import DirectRoute, Handler
from datacollect.http.entity_paths import keep_written_slashes


class Crossroads:
    """In front of a router: asks, in their order, only routes that may begin as the path does, with its first two words.

    A path that begins as none of them goes to the router itself. What a direct route is for goes to its handler: what the
    router and the route would do on the way is a twentieth of the CPU time of a small pull. Routes are added before the
    first request.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._ways: dict[str, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        beginning = ""
        if scope["type"] == "http":
            direct = self._direct.get((scope["method"], scope["path"]))
            if direct is not None and not scope.get("root_path"):  # which the router takes off the path
                scope["route"], handler = direct
                response = await handler(Request(scope, receive, send))
                await response(scope, receive, send)
                return
            keep_written_slashes(scope)
            beginning = _beginning(scope["path"])
        await (self._ways.get(beginning) or self._way(beginning))(scope, receive, send)

    def _way(self, beginning: str) -> ASGIApp:
        if beginning not in self._beginnings:
            return self._router.app
        way = APIRouter(default=self._router.default, redirect_slashes=self._router.redirect_slashes)
        way.routes.extend(route for route in self._router.routes if _may_begin(route, beginning))
        self._ways[beginning] = way.app
        return way.app

    @cached_property
    def _direct(self) -> dict[tuple[str, str], tuple[DirectRoute, Handler]]:
        found: dict[tuple[str, str], tuple[DirectRoute, Handler]] = {}
        for route in self._router.routes:
            if isinstance(route, DirectRoute) and route.handler is not None and "{" not in route.path:
                for method in route.methods or ():
                    if self._first(method, route.path) is route:
                        found[method, route.path] = (route, route.handler)
        return found

    def _first(self, method: str, path: str) -> BaseRoute | None:
        """The route that the router finds."""
        asked = {"type": "http", "method": method, "path": path}
        return next((route for route in self._router.routes if route.matches(asked)[0] is Match.FULL), None)

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(_beginning(_path(route)) for route in self._router.routes)


def _may_begin(route: BaseRoute, beginning: str) -> bool:
    own = _beginning(_path(route))
    literal, parameter, _ = own.partition("{")
    return beginning.startswith(literal) if parameter else beginning == own


def _beginning(path: str) -> str:
    return "/".join(path.split("/", 3)[:3])


def _path(route: BaseRoute) -> str:
    """What is no route of ours may be for any path."""
    path: str = getattr(route, "path", "{any}")
    return path
