"""Which of the hub's routes a request is for, without asking more than a hundred of them."""

from functools import cached_property

from fastapi import APIRouter
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from datacollect.http.entity_paths import keep_written_slashes


class Crossroads:
    """In front of a router: asks, in their order, only routes that may begin as the path does, with its first two words.

    A path that begins as none of them goes to the router itself. Routes are added before the first request.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._ways: dict[str, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        beginning = ""
        if scope["type"] == "http":
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
