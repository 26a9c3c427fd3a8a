"""From an uploaded document to the one that is stored. Source: the contract's programs, 3, and README decision 17."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from datacollect.features.tenants.errors import InvalidConfig, InvalidConfigId
from datacollect.features.tenants.findings import path_text
from datacollect.features.tenants.linting import Inspected, inspect, without_empty
from datacollect.features.tenants.reuploads import is_onboarding_file
from datacollect.http.decoding import issues_of
from datacollect.kernel.errors import Issue, IssueCode


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that may be stored, and what its uploader should know."""

    document: dict[str, Any]
    warnings: list[str]
    is_onboarding_file: bool = False
    """It lacks what such a file cannot have; see `reuploads`."""

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


def accept(sent: Any, *, https_only: bool = False, sends_codes: bool = True) -> Accepted:
    """Raises `InvalidConfig` with every issue there is, of each kind the first ones, and `InvalidConfigId`.

    With `https_only` identity providers must be at https addresses. Without `sends_codes` the hub has no way to send any.
    """
    inspected = inspect(sent, https_only=https_only, sends_codes=sends_codes)
    if inspected.document is None:
        # The contract has an answer of its own for it.
        if any(finding.code == IssueCode.INVALID_CONFIG_ID for finding in inspected.errors):
            raise InvalidConfigId()
        raise InvalidConfig([finding.as_issue() for finding in inspected.errors], _of_the_adapter(sent, inspected))
    warnings = [finding.text for finding in inspected.warnings]
    return Accepted(inspected.document, warnings, is_onboarding_file(sent))


_OF_THE_ADAPTER = (IssueCode.ADAPTER_OPTION_MISSING, IssueCode.INVALID_ADDRESS)


def _of_the_adapter(sent: Any, inspected: Inspected) -> str | None:
    """What the contract says if nothing else is wrong."""
    if any(one.path[:1] != ("externalSync",) or one.code not in _OF_THE_ADAPTER for one in inspected.errors):
        return None
    said = "; ".join(finding.text for finding in inspected.errors)
    return f'Invalid config for adapter "{sent["externalSync"]["type"]}": {said}'


def issues_with_paths(invalid: ValidationError) -> list[Issue]:
    """Issues whose message begins with the place they are about; values stay out, they may be secrets."""
    return [issue | {"message": f"{path_text(issue['path'])}: {issue['message']}"} for issue in issues_of(invalid)]


def dumped(section: BaseModel) -> dict[str, Any]:
    """A small section in the form it is stored in."""
    tidy: dict[str, Any] = without_empty(section.model_dump(by_alias=True))
    return tidy
