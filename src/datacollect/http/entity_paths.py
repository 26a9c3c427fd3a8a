"""Guids of entities in paths. They may be any text, so also one with slashes, which clients write as `%2F`.

A server decodes the path before it is compared with routes, where a slash ends a parameter.
"""

import re
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

_BEGINNINGS = ("/api/entities/", "/api/attachments/entity/")
_WRITTEN_SLASH = re.compile("%2f", re.IGNORECASE)
_SLASH = "\ue000"
"""Stands for it meanwhile: a letter for private use."""


class _EntityGuid(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/")

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("entity", _EntityGuid())


def any_text(name: str) -> str:
    """A parameter in the path of a route that may hold slashes."""
    return f"{{{name}:entity}}"


def keep_written_slashes(scope: Scope) -> None:
    """Have slashes that a client wrote as `%2F` end no parameter."""
    if not scope["path"].startswith(_BEGINNINGS):
        return
    written = (scope.get("raw_path") or b"").decode("latin-1")
    if _WRITTEN_SLASH.search(written):
        scope["path"] = unquote(_WRITTEN_SLASH.sub(_SLASH, written))
