"""Everything that is found in a config: what an upload refuses and warns of, and what `datacollect program lint` prints.

One way through a document: shapes of published configs are brought into one form, the schema looks at it, then what
holds between its parts is checked. Pure; takes time in proportion to the document. `docs/reference/program-config.md`
has all findings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from datacollect.features.tenants.config_schemas import ProgramConfig
from datacollect.features.tenants.findings import Finding, Findings, Path
from datacollect.features.tenants.form_checks import check_forms
from datacollect.features.tenants.repairs import identify_seeds, tolerated
from datacollect.features.tenants.rules import INVALID_CONFIG_ID, UNKNOWN_KEY
from datacollect.features.tenants.section_checks import check_sections
from datacollect.features.tenants.seed_checks import check_items, check_seeds
from datacollect.http.wire import place_in_body
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.ids import is_config_id

_OF_THE_HUB = frozenset(
    {"artifactId", "archivedAt", "createdAt", "updatedAt", "revision", "lockedSecrets", "status", "seeding"}
)
"""Members of a program as the hub gives it, so that what was downloaded can be uploaded again."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A document, looked through. `document` is what would be stored; None if there are errors."""

    document: dict[str, Any] | None
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_error]

    @property
    def warnings(self) -> list[Finding]:
        """Repairs, too."""
        return [finding for finding in self.findings if not finding.is_error]


def lint(document: Any, *, https_only: bool = False, sends_codes: bool = True) -> list[Finding]:
    """All findings of a config, as decoded from JSON. Of each kind the first ones, and how many more there are.

    With `https_only` identity providers must be at https addresses, as on a hub in production. Without
    `sends_codes` it is for a hub that has no way to send any.
    """
    return inspect(document, https_only=https_only, sends_codes=sends_codes).findings


def lint_section(key: str, section: Any) -> list[Finding]:
    """What a section in its stored form is warned of when it is edited by itself; None is a section that is cleared."""
    found = Findings()
    if section is not None:
        check_sections({key: section}, found, https_only=False)
    return found.all()


def inspect(sent: Any, *, https_only: bool = False, sends_codes: bool = True) -> Inspected:
    """`lint`, and the document that would be stored."""
    found = Findings()
    tolerable = tolerated(sent, found) if isinstance(sent, dict) else sent
    try:
        config = ProgramConfig.model_validate(tolerable)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False, include_context=False):
            found.add_issue(IssueCode(error["type"]), place_in_body(error["loc"]), error["msg"])
        return Inspected(None, found.all())
    if not is_config_id(config.id):
        found.add(INVALID_CONFIG_ID, ("id",), "must have letters, digits, hyphens and underscores only")
    document = stored_form(config)
    _check(tolerable, document, found)
    check_sections(document, found, https_only=https_only, sends_codes=sends_codes)
    if found.has_errors:
        return Inspected(None, found.all())
    identify_seeds(document, found)
    return Inspected(document, found.all())


def _check(sent: Mapping[str, Any], document: Mapping[str, Any], found: Findings) -> None:
    for path in _dropped(sent, document, ()):
        found.add(UNKNOWN_KEY, path, "there is no such key; it is ignored")
    forms, groups = document.get("entityForms", ()), document.get("entityData", ())
    check_forms(forms, document.get("customEventTypes", ()), found)
    check_items(groups, found)
    if not found.has_errors:
        check_seeds(groups, forms, found)


def stored_form(config: ProgramConfig) -> dict[str, Any]:
    """What is stored: the keys that were sent and are known, without those that are null."""
    document = config.model_dump(by_alias=True, exclude_unset=True)
    document = {key: value for key, value in document.items() if value is not None}
    for key in ("syncScope", "programs", "inji"):
        if key in document:
            document[key] = without_empty(document[key])
    if config.claim169 is not None:
        document["claim169"] = without_empty(config.claim169.model_dump(by_alias=True))
    return document


def without_empty(section: Any) -> Any:
    """A section as it is stored: optional keys that are null or empty texts are left out, at every level."""
    if isinstance(section, dict):
        return {key: without_empty(value) for key, value in section.items() if value is not None and value != ""}
    if isinstance(section, list):
        return [without_empty(item) for item in section]
    return section


def _dropped(sent: Any, kept: Any, path: Path) -> Iterator[Path]:
    """The paths of keys that were sent and did not survive; null ones count as left out."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key, value in sent.items():
            if key in kept:
                if key not in _FREE:
                    yield from _dropped(value, kept[key], (*path, key))
            elif value is not None and value != "" and not (key in _OF_THE_HUB and not path):
                yield (*path, key)
    elif isinstance(sent, list) and isinstance(kept, list):
        for index, (before, after) in enumerate(zip(sent, kept, strict=False)):
            yield from _dropped(before, after, (*path, index))


_FREE = frozenset({"formio", "data", "externalSync", "fields"})
"""Sections that are kept as they are."""
