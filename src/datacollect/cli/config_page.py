"""The page `docs/reference/program-config.md`: a config's members from its schema, and what is found in one."""

from collections.abc import Iterator, Mapping
from typing import Any

from datacollect.features.tenants.config_schemas import ProgramConfig
from datacollect.features.tenants.findings import MOST_OF_A_KIND
from datacollect.features.tenants.rules import RULES, Severity
from datacollect.kernel.errors import IssueCode

_SEVERITIES = {
    Severity.ERROR: "the config is refused: 400, each in `details`",
    Severity.REPAIR: "it is stored with what the hub has written in its place: told in `warnings`",
    Severity.WARNING: "it is stored as it is: told in `warnings`",
}


_BEGIN = """\
# Program configs

What a config may hold, and what is found in one: by an upload (`POST /api/apps`, `PUT /api/apps/{id}`), and by
`datacollect program lint FILE` before it. Made by `datacollect reference program-config`; reasons are in
[decision 33](../decisions/0033-linting-configs.md).

## Members

`null` is the same as leaving a member out, unless it must be there. Members that are not in this table are dropped, and
the answer names them; `formio`, items of `entityData[].data` and `externalSync` are kept whatever they hold. Limits of
sizes and numbers are in [limits](limits.md).

| member | type | must be there | meaning |
|---|---|---|---|"""

_SHAPES = f"""
A document as the hub gives it (`GET /api/apps/{{id}}`, or an onboarding file) can be uploaded again: `artifactId`,
`archivedAt`, `createdAt`, `updatedAt`, `revision`, `status`, `seeding` and `lockedSecrets` are passed over.

## Shapes that are brought into one form

| sent | stored |
|---|---|
| a form without `id` | with its name as id |
| items with `ID` and `Name` | beside them `id` and `name` of the same value |
| `parentId` of a group of `entityData` | the `parentId` of each item that has none |
| `"externalSync": {{"extraFields": {{"a": "b"}}}}` | `[{{"name": "a", "value": "b"}}]` |

## Findings

Each has a place (`entityForms[0].name`) and a message, and one of these codes. Codes never change their meaning; texts may
be reworded. Of each code the first {MOST_OF_A_KIND} are told, and how many more there are.

| severity | what it means |
|---|---|"""

_END = f"""\
| `{IssueCode.MASKED_SECRET}` | error | told by an upload: `********` stands where nothing is stored | {IssueCode.MASKED_SECRET.help} |
| any other | error | a member of another type or form than above; all are [issues](errors.md#issues) | as the page of issues says |

What is no JSON, or not JSON that means the same to every reader, is refused with an [error](errors.md) of its own, such as
`INVALID_JSON`, `DUPLICATE_KEY`, `NUL_CHARACTER` or `JSON_TOO_DEEP`; the linter shows the line.

## Uploading an onboarding file

The file that devices load (`/artifacts/{{artifactId}}.json`) looks like a config, and can be uploaded as one. It was made
without secrets, without seeds, and with the hub's own address where the program has none. So an upload that has all
members of such a file, and nothing that it cannot have, keeps what is stored of

- `entityData`;
- `externalSync`, as long as its `type` is the same: every member but `type`, `auth` and `fieldMappings`, and members of
  `fieldMappings` that are called like a secret if nothing else in it has changed;
- the fields of a provider of the same `type` and `authority` that devices do not get;
- a missing `syncServerUrl`, if the file's is this hub's address.

Each is told as `kept_from_stored`. Uploaded unchanged, such a file changes nothing but the program's revision. Any other
upload replaces the whole config, and says what it removes (`secrets_removed`, `seeds_removed`)."""


def lines() -> Iterator[str]:
    yield _BEGIN
    yield from _members()
    yield _SHAPES
    for severity, meaning in _SEVERITIES.items():
        yield f"| {severity} | {meaning} |"
    yield "\n| code | severity | what is found | what to do |\n|---|---|---|---|"
    for rule in RULES.values():
        yield f"| `{rule.code}` | {rule.severity} | {_cell(rule.about)} | {_cell(rule.help)} |"
    yield _END


def _members() -> Iterator[str]:
    schema = ProgramConfig.model_json_schema(by_alias=True)
    yield from _of(schema, "", schema["$defs"])


def _of(schema: Mapping[str, Any], prefix: str, models: Mapping[str, Any]) -> Iterator[str]:
    for name, member in schema["properties"].items():
        choices = [_resolved(choice, models) for choice in member.get("anyOf", [member])]
        choices = [choice for choice in choices if choice.get("type") != "null"]
        needed = "yes" if name in schema.get("required", ()) else ""
        place = f"{prefix}{name}"
        meaning = _cell(member.get("description", "")) or _cell(_title(choices))
        yield f"| `{place}` | {' or '.join(_type(choice, models) for choice in choices) or 'anything'} | {needed} | {meaning} |"
        for choice in choices:
            yield from _inside(choice, place, models)


def _inside(choice: Mapping[str, Any], place: str, models: Mapping[str, Any]) -> Iterator[str]:
    if "items" in choice:
        choice, place = _resolved(choice["items"], models), f"{place}[]"
    for option in choice.get("oneOf", [choice]):
        option = _resolved(option, models)
        if "properties" in option:
            yield from _of(option, f"{place}.", models)


def _type(choice: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    if "const" in choice:
        return f"`{str(choice['const']).lower() if isinstance(choice['const'], bool) else choice['const']}`"
    if "enum" in choice:
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in choice["enum"])
    if choice.get("type") == "array":
        return f"list of {_type(_resolved(choice['items'], models), models)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "object": "object",
    }
    return words.get(choice.get("type", ""), "object" if "oneOf" in choice else "anything")


def _title(choices: list[Mapping[str, Any]]) -> str:
    return next((choice["description"].splitlines()[0] for choice in choices if "description" in choice), "")


def _resolved(schema: Mapping[str, Any], models: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return models[reference.rpartition("/")[2]] if reference else schema


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
