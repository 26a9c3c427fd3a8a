"""From an uploaded document to the one that is stored: tolerances, then the schema, then what holds between its parts.

Source: the contract's programs, 3, and README decision 17: shapes real clients send are taken and brought into one
form. Unknown keys are dropped, and the answer names them: a typo must not go unnoticed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from datacollect.features.tenants.errors import InvalidConfig, InvalidConfigId
from datacollect.features.tenants.model import form_issues
from datacollect.features.tenants.published import is_secret_auth_field
from datacollect.features.tenants.schemas import ProgramConfig
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.ids import derived_guid, is_config_id
from datacollect.kernel.oidc import KNOWN_TYPES, is_scheme, provider_problems
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES

MOST_WARNINGS = 50

_REUPLOADED = frozenset({"artifactId", "archivedAt"})


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that may be stored, and what its uploader should know."""

    document: dict[str, Any]
    warnings: list[str]

    @property
    def config(self) -> dict[str, Any]:
        """The document without the two parts that are stored beside it."""
        return {key: value for key, value in self.document.items() if key not in {"entityData", "externalSync"}}

    @property
    def external_sync(self) -> dict[str, Any] | None:
        section: dict[str, Any] | None = self.document.get("externalSync")
        return section

    @property
    def entity_data(self) -> list[dict[str, Any]]:
        section: list[dict[str, Any]] = self.document.get("entityData", [])
        return section


def accept(sent: Any, *, https_only: bool = False) -> Accepted:
    """Raises `InvalidConfig` with every issue there is, and `InvalidConfigId`.

    With `https_only` identity providers must be at https addresses.
    """
    tolerated = _tolerate(sent) if isinstance(sent, dict) else sent
    try:
        config = ProgramConfig.model_validate(tolerated)
    except ValidationError as invalid:
        raise InvalidConfig(issues_with_paths(invalid)) from None
    if not is_config_id(config.id):
        raise InvalidConfigId()
    document = _document(config)
    issues = form_issues(document.get("entityForms", ())) + _seed_issues(document.get("entityData", ()))
    issues += _provider_issues(document.get("authConfigs", ()), https_only=https_only)
    if issues:
        raise InvalidConfig(issues)
    _identify_seeds(document)
    return Accepted(document, list(_warnings(tolerated, document)))


def issues_with_paths(invalid: ValidationError) -> list[Issue]:
    """Issues whose message begins with the place they are about; values stay out, they may be secrets."""
    found = invalid.errors(include_url=False, include_input=False, include_context=False)
    return [
        Issue(
            code=IssueCode(error["type"]), path=list(error["loc"]), message=f"{path_text(error['loc'])}: {error['msg']}"
        )
        for error in found
    ]


def path_text(path: Sequence[str | int]) -> str:
    """`entityForms[0].name`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "config"


def without_empty(section: Any) -> Any:
    """A section as it is stored: optional keys that are null or empty texts are left out, at every level."""
    if isinstance(section, dict):
        return {key: without_empty(value) for key, value in section.items() if value is not None and value != ""}
    if isinstance(section, list):
        return [without_empty(item) for item in section]
    return section


def dumped(section: BaseModel) -> dict[str, Any]:
    """A small section in the form it is stored in."""
    tidy: dict[str, Any] = without_empty(section.model_dump(by_alias=True))
    return tidy


def _tolerate(sent: dict[str, Any]) -> dict[str, Any]:
    document = dict(sent)
    if isinstance(forms := sent.get("entityForms"), list):
        document["entityForms"] = [_with_id(form) for form in forms]
    if isinstance(groups := sent.get("entityData"), list):
        document["entityData"] = [_with_v2_items(group) for group in groups]
    external = sent.get("externalSync")
    if isinstance(external, dict) and isinstance(fields := external.get("extraFields"), dict):
        pairs = [{"name": name, "value": value} for name, value in fields.items()]
        document["externalSync"] = {**external, "extraFields": pairs}
    return document


def _with_id(form: Any) -> Any:
    """Published v1 samples have forms without `id`; the name is unique among forms, so it serves."""
    if isinstance(form, dict) and not form.get("id") and isinstance(form.get("name"), str):
        return {**form, "id": form["name"]}
    return form


def _with_v2_items(group: Any) -> Any:
    """Published v1 samples write `ID` and `Name`, and one `parentId` for all items of a form."""
    if not isinstance(group, dict) or not isinstance(group.get("data"), list):
        return group
    return {**group, "data": [_v2_item(item, group.get("parentId")) for item in group["data"]]}


def _v2_item(item: Any, parent_id: Any) -> Any:
    if not isinstance(item, dict):
        return item
    added = {new: item[old] for new, old in (("id", "ID"), ("name", "Name")) if new not in item and old in item}
    if parent_id and "parentId" not in item:
        added["parentId"] = parent_id
    return {**item, **added}


def _document(config: ProgramConfig) -> dict[str, Any]:
    """What is stored: the keys that were sent and are known, without those that are null."""
    document = config.model_dump(by_alias=True, exclude_unset=True)
    document = {key: value for key, value in document.items() if value is not None}
    for key in ("syncScope", "programs", "inji"):
        if key in document:
            document[key] = without_empty(document[key])
    if config.claim169 is not None:
        document["claim169"] = dumped(config.claim169)
    return document


def _provider_issues(providers: Sequence[Mapping[str, Any]], *, https_only: bool) -> list[Issue]:
    issues = []
    for index, provider in enumerate(providers):
        for field, problem in provider_problems(provider["fields"], https_only=https_only):
            path: list[str | int] = ["authConfigs", index, "fields", field]
            issues.append(
                Issue(code=IssueCode.INVALID_STRING, path=path, message=f"{path_text(path)}: {problem}"),
            )
    return issues


def _seed_issues(groups: Sequence[Mapping[str, Any]]) -> list[Issue]:
    issues = []
    seen: set[str] = set()
    for place, item in _items(groups):
        for key in ("id", "name"):
            if not isinstance(item.get(key), str):
                issues.append(_seed_issue(IssueCode.STRING_TYPE, [*place, key], "must be a text"))
        if not isinstance(item.get("parentId"), str | None):
            issues.append(_seed_issue(IssueCode.STRING_TYPE, [*place, "parentId"], "must be a text"))
        identifier = item.get("id")
        if identifier and isinstance(identifier, str):
            if identifier in seen:
                issues.append(_seed_issue(IssueCode.DUPLICATE_SEED, [*place, "id"], f'id "{identifier}" is used twice'))
            seen.add(identifier)
    return issues


def _seed_issue(code: IssueCode, path: list[str | int], message: str) -> Issue:
    return Issue(code=code, path=path, message=f"{path_text(path)}: {message}")


def _items(groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[str | int], dict[str, Any]]]:
    for group_index, group in enumerate(groups):
        for index, item in enumerate(group["data"]):
            yield ["entityData", group_index, "data", index], item


def _identify_seeds(document: dict[str, Any]) -> None:
    """Give items with an empty `id` one that is the same whenever the same config is uploaded again."""
    alike: dict[bytes, int] = {}
    for group in document.get("entityData", ()):
        for item in group["data"]:
            if not item["id"]:
                content = canonical_json([group["name"], item])
                alike[content] = alike.get(content, -1) + 1
                item["id"] = derived_guid(document["id"], f"seed-{alike[content]}", content.decode())


def _warnings(sent: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    unknown = list(_dropped(sent, document, []))
    for path in unknown[:MOST_WARNINGS]:
        yield f"Unknown key ignored: {path_text(path)}"
    if len(unknown) > MOST_WARNINGS:
        yield f"Unknown keys ignored: {len(unknown) - MOST_WARNINGS} more"
    forms = document.get("entityForms", [])
    names = {form["name"] for form in forms}
    for index, group in enumerate(document.get("entityData", ())):
        if group["name"] not in names:
            yield f'entityData[{index}]: there is no form "{group["name"]}"; its items are seeded as individuals'
    known = names | {form["id"] for form in forms}
    for index, name in enumerate(document.get("selfService", {}).get("allowedForms", ())):
        if name not in known:
            yield f'selfService.allowedForms[{index}]: there is no form "{name}"'
    for index, provider in enumerate(document.get("authConfigs", ())):
        yield from _provider_warnings(f"authConfigs[{index}]", provider)
    for name in document.get("customEventTypes", ()):
        if name not in CUSTOM_EVENT_TYPES:
            yield f"customEventTypes: there is no event type {name}; there are {', '.join(sorted(CUSTOM_EVENT_TYPES))}"


def _provider_warnings(place: str, provider: Mapping[str, Any]) -> Iterator[str]:
    for key in provider["fields"]:
        if is_secret_auth_field(key):
            yield f"{place}.fields.{key} is kept secret: devices do not get it"
    type_, fields = provider["type"], provider["fields"]
    if not fields.get("authority"):
        if type_.lower() in KNOWN_TYPES:
            yield f"{place}: without fields.authority no token of this provider is accepted"
    elif not is_scheme(type_):
        yield f'{place}: "{type_}" cannot stand in front of a token; no token of this provider is accepted'
    elif not (fields.get("audience") or fields.get("client_id")):
        yield f"{place}: without fields.audience or fields.client_id no token of this provider is accepted"


def _dropped(sent: Any, kept: Any, path: list[str | int]) -> Iterator[list[str | int]]:
    """The paths of keys that were sent and did not survive; null ones count as left out."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            if key in kept:
                yield from _dropped(value, kept[key], [*path, key])
            elif value is not None and value != "" and not (key in _REUPLOADED and not path):
                yield [*path, key]
    elif isinstance(sent, list) and isinstance(kept, list):
        for index, (before, after) in enumerate(zip(sent, kept, strict=False)):
            yield from _dropped(before, after, [*path, index])
