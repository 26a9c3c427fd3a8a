"""The OpenAPI document in the words of 3.0.3, as the reference has it: tools of its time read nothing newer."""

from collections.abc import Mapping
from typing import Any

_NULL = {"type": "null"}
_DATA = frozenset({"default", "enum", "example", "examples"})
"""Members that hold values, whatever these look like."""


def in_words_of_3_0(document: Mapping[str, Any]) -> dict[str, Any]:
    """All that `describe` writes; nothing of what else 3.1 knows is looked for."""
    rewritten: dict[str, Any] = _rewritten(dict(document))
    license_ = {key: value for key, value in document["info"]["license"].items() if key != "identifier"}
    return rewritten | {"openapi": "3.0.3", "info": document["info"] | {"license": license_}}


def _rewritten(node: Any) -> Any:
    if isinstance(node, list):
        return [_rewritten(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    node = {key: value if key in _DATA else _member(key, value) for key, value in node.items()}
    if isinstance(node.get("examples"), list):
        node["example"] = node.pop("examples")[0]
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "exclusiveMinimum" in node:
        node |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if isinstance(node.get("type"), list):
        node["anyOf"] = [{"type": name} for name in node.pop("type")]
    return _nullable(node) if _NULL in node.get("anyOf", ()) else node


def _member(key: str, value: Any) -> Any:
    # What an object's members are called says nothing.
    return {name: _rewritten(inner) for name, inner in value.items()} if key == "properties" else _rewritten(value)


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in node.pop("anyOf") if kind != _NULL]
    if len(kinds) > 1:
        node["anyOf"] = kinds
    elif "$ref" in kinds[0]:
        node["allOf"] = kinds
    else:
        node = kinds[0] | node
    if "enum" in node:
        node["enum"] = [*node["enum"], None]
    return node | {"nullable": True}
