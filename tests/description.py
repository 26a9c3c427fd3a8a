"""The API description, read as a client would."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator


def json_schema_of(media: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = media.get("application/json", {}).get("schema", {})
    return schema


@dataclass
class Document:
    """The whole of it."""

    whole: dict[str, Any]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, item in self.whole["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def examples_of(self, schema: dict[str, Any]) -> list[Any]:
        """Those beside the schema, or of what it is made of."""
        if "examples" in schema or "example" in schema:
            return [*schema.get("examples", [schema.get("example")])]
        if "$ref" in schema:
            return self.examples_of(self.whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        if schema.get("type") == "array":
            return [[example] for example in self.examples_of(schema.get("items", {}))]
        return [example for inner in schema.get("anyOf", ()) for example in self.examples_of(inner)]

    def problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        validator = Draft202012Validator({"allOf": [schema], "components": self.whole["components"]})
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def schemas_with_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        waiting: list[tuple[str, Any]] = [("#", self.whole)]
        while waiting:
            place, node = waiting.pop()
            inner = node.items() if isinstance(node, dict) else enumerate(node)
            waiting += [(f"{place}/{key}", value) for key, value in inner if isinstance(value, dict | list)]
            if isinstance(node, dict) and isinstance(node.get("examples"), list):
                yield place, node
