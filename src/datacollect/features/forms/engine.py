"""The engine that holds data against JSON Schemas. Imported when the first form is translated: it is 2.9 MiB."""

from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

__all__ = ["Draft202012Validator", "ValidationError", "validator"]

_PATTERN_OPTIONS = RegexOptions(size_limit=400_000, dfa_size_limit=400_000)
"""The engine without backtracking: its time grows with the text only. Larger patterns are not checked."""


def validator(schema: Any) -> Draft202012Validator:
    """Raises whatever the library does for a schema that it cannot read."""
    return Draft202012Validator(schema, pattern_options=_PATTERN_OPTIONS, validate_formats=False, offline=True)
