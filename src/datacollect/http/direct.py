"""Routes that are asked so often that it matters who gathers their arguments, and who comes in between.

FastAPI goes through the parameters of a route and of everything it depends on, for each request anew: a third of the CPU
time of a small pull. A direct route is declared, described and guarded as any other; its function is called by one of ours,
and if its path is written out, `Crossroads` calls that at once.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_F = TypeVar("_F", bound=Callable[..., Any])

_handlers: dict[Callable[..., Any], Handler] = {}


def directly(handler: Handler) -> Callable[[_F], _F]:
    """Have the route's requests handled by `handler`, which calls the function with what its signature says."""

    def note(function: _F) -> _F:
        _handlers[function] = handler
        return function

    return note


class DirectRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        return self.handler or super().get_route_handler()

    @property
    def handler(self) -> Handler | None:
        """What handles the route's requests in place of FastAPI, if anything does."""
        return _handlers.get(self.endpoint)
