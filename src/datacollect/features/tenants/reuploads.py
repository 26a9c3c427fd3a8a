"""Uploads that have less than what is stored: what is kept, and what is told.

A replacement is strict: what is left out is gone. The onboarding file is the one exception. It looks like a config and
people upload it as one, but it was made without secrets, seeds and the program's missing `syncServerUrl`; taken at its
word it would wipe them. So what such a file cannot have is kept, and the answer says so. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datacollect.features.tenants.findings import Finding, Findings, Path
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import (
    OIDC_KEY,
    is_published,
    is_secret,
    same_provider,
    stored_client,
    without_secrets,
)
from datacollect.features.tenants.rules import (
    KEPT_FROM_STORED,
    OTHER_SYNC_SERVER,
    SECRETS_REMOVED,
    SEEDS_NOT_SEEDED,
    SEEDS_REMOVED,
)

_ALWAYS_THERE = frozenset({
    "id", "artifactId", "name", "description", "version", "url", "entityForms", "entityData", "externalSync",
    "authConfigs", "syncServerUrl", "archivedAt",
})  # fmt: skip
_NEVER_THERE = frozenset({"createdAt", "updatedAt", "revision", "status", "seeding"})
_PUBLISHED_SYNC = frozenset({"type", "auth", "fieldMappings"})
_SECRET_SYNC = ("adapterConfig", "extraFields")


@dataclass(frozen=True, slots=True)
class Completed:
    """What is to be stored in place of what was uploaded."""

    document: dict[str, Any]
    keeps_seeds: bool
    findings: list[Finding]


def is_onboarding_file(sent: Mapping[str, Any]) -> bool:
    """Whether a document is what the hub gives to devices, by its members."""
    external = sent.get("externalSync")
    return (
        sent.keys() >= _ALWAYS_THERE
        and _NEVER_THERE.isdisjoint(sent)
        and sent["entityData"] == []
        and (external is None or (isinstance(external, dict) and external.keys() <= _PUBLISHED_SYNC))
    )


def completed(document: Mapping[str, Any], stored: Program, base_url: str | None, *, is_file: bool) -> Completed:
    """The document with what an onboarding file cannot have, if it `is_file`; and what is lost if it is not.

    `base_url` is the hub's own address, as it writes it into onboarding files.
    """
    result = dict(document)
    found = Findings()
    if is_file:
        _keep_sync(result, stored, found)
        _keep_providers(result, stored, found)
        _keep_oidc_key(result, stored, found)
        _keep_notifications(result, stored, found)
        _forget_own_address(result, stored, base_url, found)
    keeps_seeds = is_file and stored.seed_digest is not None
    if keeps_seeds:
        _kept(found, ("entityData",), "an onboarding file has no seeds; the stored ones are kept")
    elif stored.seed_digest is not None and not document.get("entityData"):
        found.add(SEEDS_REMOVED, ("entityData",), "the upload has no seeds; those stored are removed from the config")
    for path in _lost(result, stored):
        found.add(SECRETS_REMOVED, path, "is stored, and not in the upload: it is removed")
    return Completed(result, keeps_seeds, found.all())


def seeds_not_seeded() -> Finding:
    found = Findings()
    found.add(
        SEEDS_NOT_SEEDED, ("entityData",), "is stored but not seeded: POST the config to seed what is not there yet"
    )
    return found.all()[0]


def _kept(found: Findings, path: Path, message: str) -> None:
    found.add(KEPT_FROM_STORED, path, message)


def _keep_sync(result: dict[str, Any], stored: Program, found: Findings) -> None:
    new, old = result.get("externalSync"), stored.external_sync
    # With another adapter the stored settings would be sent to somebody else.
    if not isinstance(new, dict) or old is None or new.get("type") != old.get("type"):
        return
    missing = {key: value for key, value in old.items() if key not in new}
    mappings = old.get("fieldMappings")
    if "fieldMappings" in new and new["fieldMappings"] == without_secrets(mappings) != mappings:
        missing["fieldMappings"] = mappings
    if missing:
        # In the order in which they were stored.
        result["externalSync"] = {key: missing.get(key, new.get(key)) for key in old} | {
            key: value for key, value in new.items() if key not in old
        }
        names = ", ".join(sorted(missing))
        _kept(found, ("externalSync",), f"an onboarding file has no secrets; the stored values are kept: {names}")


def _keep_providers(result: dict[str, Any], stored: Program, found: Findings) -> None:
    providers = []
    for index, new in enumerate(result.get("authConfigs", ())):
        old = same_provider(new, stored.config.get("authConfigs", ())).get("fields", {})
        # A field that devices get, and that the file has not, has been removed from it.
        missing = {
            key: value for key, value in old.items() if key not in new["fields"] and not is_published(key, value)
        }
        if missing:
            names = ", ".join(sorted(missing))
            path = ("authConfigs", index)
            _kept(found, path, f"an onboarding file has no secrets; the stored values are kept: {names}")
            fields = {
                key: missing.get(key, new["fields"].get(key)) for key in old if key in missing or key in new["fields"]
            }
            new = new | {"fields": fields | {key: value for key, value in new["fields"].items() if key not in old}}
        providers.append(new)
    if "authConfigs" in result:
        result["authConfigs"] = providers


def _keep_oidc_key(result: dict[str, Any], stored: Program, found: Findings) -> None:
    section = result.get("selfService") or {}
    new = section.get("oidcConfig") or {}
    key = stored_client(new, stored.config).get(OIDC_KEY)
    if new and key and OIDC_KEY not in new:
        result["selfService"] = section | {"oidcConfig": new | {OIDC_KEY: key}}
        path = ("selfService", "oidcConfig", OIDC_KEY)
        _kept(found, path, "an onboarding file does not have it; the stored one is kept")


def _keep_notifications(result: dict[str, Any], stored: Program, found: Findings) -> None:
    section = stored.config.get("reviewNotifications")
    if section and "reviewNotifications" not in result:
        result["reviewNotifications"] = section
        _kept(found, ("reviewNotifications",), "an onboarding file does not have it; the stored one is kept")


def _forget_own_address(result: dict[str, Any], stored: Program, base_url: str | None, found: Findings) -> None:
    """The address of this hub, which the file got because the program has none, must not become the program's own."""
    address = result.get("syncServerUrl")
    if not address or stored.config.get("syncServerUrl"):
        return
    if base_url is not None and address.rstrip("/") == base_url:
        del result["syncServerUrl"]
    else:
        message = "comes from the onboarding file: devices will sync there, and not at this hub"
        found.add(OTHER_SYNC_SERVER, ("syncServerUrl",), message)


def _lost(result: Mapping[str, Any], stored: Program) -> Iterator[Path]:
    new, old = result.get("externalSync") or {}, stored.external_sync or {}
    for key in _SECRET_SYNC:
        if old.get(key) and not new.get(key):
            yield ("externalSync", key)
    if stored.config.get("reviewNotifications") and not result.get("reviewNotifications"):
        yield ("reviewNotifications",)
    if _oidc_key(stored.config) and not _oidc_key(result):
        yield ("selfService", "oidcConfig", OIDC_KEY)
    for index, provider in enumerate(stored.config.get("authConfigs", ())):
        kept = same_provider(provider, result.get("authConfigs", ())).get("fields", {})
        for key, value in provider["fields"].items():
            if value and is_secret(key, value) and key not in kept:
                yield ("authConfigs", index, "fields", key)


def _oidc_key(document: Mapping[str, Any]) -> Any:
    return ((document.get("selfService") or {}).get("oidcConfig") or {}).get(OIDC_KEY)
