"""The reference page of the adapters that come with the hub, made from their models."""

from collections.abc import Iterator, Mapping
from typing import Any

from datacollect.adapters.builtin import BUILT_IN
from datacollect.adapters.codes import FAILURE_CODES
from datacollect.adapters.kinds import AdapterKind
from datacollect.adapters.options import FormField, form_fields
from datacollect.adapters.registry import AdapterRegistry

_INTRO = """\
# Adapters

What `externalSync` of a program may name as its `type`, and the options of each. Made by `datacollect reference adapters`. Other adapters come as
packages: [write an adapter](../how-to/write-an-adapter.md). How they are found, and what they may and may not do:
[decision 40](../decisions/0040-adapters.md). Which addresses the hub calls: [calls to other systems](outgoing-calls.md).

```json
{"externalSync": {"type": "mock", "url": "https://registry.example.org",
                  "adapterConfig": {"clientId": "hub", "clientSecret": "…"},
                  "fieldMappings": [{"formField": "born", "opensppField": "birthdate",
                                     "transformer": {"type": "date", "options": {"inputFormat": "DD/MM/YYYY"}}}]}}
```

Options belong into `adapterConfig`. Those of the older form `extraFields` (an array of `name` and `value`, or an object) count where
`adapterConfig` does not have them; numbers and booleans may be texts there. `fieldMappings` may be JSON in an option of that name. A program whose
`type` or `url` is empty exchanges with nothing. A program that names an adapter as the headings below do is
refused with 400 if a required option is missing, or `url` leads nowhere. What else is wrong is told when the program is uploaded (as a
warning; see [configs](program-config.md)), when the connection is tested, and as `NOT_INITIALIZED` when a run starts.
"""

_TRANSFORMERS = """\
## Transformers

What becomes of a value between a form's field and the other system's. An unknown `type` does what `text` does.

| type | to the other system | back into the form | options |
|---|---|---|---|
| `text` | its text; an object's label; a list joined with commas | the same | |
| `date` | a day in `outputFormat`; nothing for what is none | a day in `inputFormat` if that is named | `inputFormat` and `outputFormat`: `YYYY-MM-DD`, `MM/DD/YYYY`, `DD/MM/YYYY`, and `auto` for input: with slashes the month comes first, unless only the other way round is a day |
| `id` | a whole number: itself, an object's `id`, a text's leading digits | the `id` of an object or of `[id, label]` | |
| `multiselect` | what was chosen, joined | a list, also of one | `delimiter` (`,`); `formValue`: `array`, `text` for the plain value where there is one only, `object` for boxes that are ticked |
| `boolean` | true or false; the words for no are false (`no`, `off`, `0`, …) | the same | `truthyValue` (`true`), `falsyValue` (`false`): words that count before all others |
"""


_CODES = """\
## What adapters say went wrong

Codes in `errors` of a run and of records that did not arrive, beside those of the hub itself ([errors](errors.md)). Messages name what was to be done and how it ended,
never what the other system said.

| code | what to do |
|---|---|"""


def lines() -> Iterator[str]:
    registry = AdapterRegistry(BUILT_IN)
    yield _INTRO
    for kind in BUILT_IN:
        yield from _section(kind, registry.describe(kind.name).schema)
    yield _TRANSFORMERS
    yield _CODES
    yield from (f"| `{code}` | {help} |" for code, help in FAILURE_CODES.items())


def _section(kind: AdapterKind, schema: Mapping[str, Any]) -> Iterator[str]:
    does = " and ".join(word for word in ("push", "pull") if word in kind.capabilities)
    also = f" Also called {', '.join(f'`{alias}`' for alias in kind.aliases)}." if kind.aliases else ""
    yield f"## `{kind.name}`: {kind.label}"
    yield ""
    yield f"Version {kind.version}; can {does}.{also}"
    yield ""
    yield "| option | input | default | meaning |"
    yield "|---|---|---|---|"
    asked = {field.name: field for field in form_fields(kind.options)}
    required = set(schema.get("required", ()))
    for name, described in schema["properties"].items():
        yield _row(name, described, asked.get(name), is_required=name in required)
    yield ""


def _row(name: str, described: Mapping[str, Any], field: FormField | None, *, is_required: bool) -> str:
    input = field.type if field else "`externalSync.url`" if name == "url" else "not in forms"
    default = field.default if field else described.get("default")
    words = ["required"] if is_required else []
    if default not in (None, "", {}):
        words.append(f"forms begin with `{default}`" if is_required else f"`{default}`")
    meaning = ". ".join(filter(None, (field.label if field else None, described.get("description"))))
    return f"| `{name}` | {input} | {'; '.join(words) or '–'} | {meaning or '–'} |"
