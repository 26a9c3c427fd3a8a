"""What of a config leaves the hub, and for whom: the file for devices, the login screen, and readers without ADMIN.

Every section is built from an allow-list. Source: the contract's programs, 6, 9, 11; README decision 10.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datacollect.features.tenants.addresses import base_holds_credentials, holds_credentials
from datacollect.features.tenants.model import Program
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.languages import DEFAULT_LANGUAGES
from datacollect.kernel.oidc import HUB_FIELDS

MASK = "********"
"""Stands for a secret that the reader may not see; sent back, it leaves the stored value as it is."""

OIDC_KEY = "privateKey"
"""Of `selfService.oidcConfig`: what the hub proves with which client it is."""

Hide = Callable[[Any], Any]
"""What is shown in place of a secret."""


def _mask(_: Any) -> str:
    return MASK


_OPTIONAL_SECTIONS = (
    "selfService",
    "syncScope",
    "programs",
    "claim169",
    "inji",
    "customEventTypes",
    "formValidation",
    "auditReads",
    "attachments",
    "duplicates",
)

_AUTH_FIELDS = frozenset({
    "authority", "issuer", "domain", "client_id", "organization",
    "redirect_uri", "post_logout_redirect_uri", "silent_redirect_uri",
    "scope", "audience", "resource", "response_type", "response_mode",
    "prompt", "display", "max_age", "ui_locales", "claims_locales", "login_hint", "acr_values",
    "connection", "screen_hint", "kc_idp_hint",
})  # fmt: skip
"""What apps need for an authorisation request: the parameters of OpenID Connect and of the two known providers."""


_SECRET_NAME = re.compile(r"secret|passw(or)?d|token|api[ _-]?key|private[ _-]?key|credential", re.IGNORECASE)


def is_published_auth_field(key: str) -> bool:
    return key.lower() in _AUTH_FIELDS


def is_secret_auth_field(key: str) -> bool:
    """Whether it may be a secret: whatever is neither for apps nor known to be the hub's."""
    return not is_published_auth_field(key) and key not in HUB_FIELDS


def artifact(program: Program, base_url: str | None) -> dict[str, Any]:
    """The onboarding file. `syncServerUrl` is the program's own if it has one, else the hub's."""
    config = program.config
    document = {
        "id": program.id,
        "artifactId": program.artifact_id,
        "name": config["name"],
        "description": config.get("description"),
        "version": config.get("version"),
        "url": _published_address(config.get("url")),
        "entityForms": config.get("entityForms", []),
        # Apps require the key; people's data reaches a device by sync only.
        "entityData": [],
        "externalSync": _published_sync(program.external_sync),
        "authConfigs": [_published_auth(provider) for provider in config.get("authConfigs", ())],
        "syncServerUrl": _published_address(config.get("syncServerUrl")) or base_url,
        "archivedAt": None,
    }
    document |= {key: config[key] for key in _OPTIONAL_SECTIONS if key in config}
    if "selfService" in config:
        document["selfService"] = _published_self_service(config["selfService"])
    return document


def portable(tenant_id: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What another installation may take the program up from. Systems that this one works with are left out."""
    keys = ("name", "description", "version", "entityForms", *_OPTIONAL_SECTIONS)
    document = {"id": tenant_id} | {key: config[key] for key in keys if config.get(key) is not None}
    if "selfService" in document:
        document["selfService"] = _published_self_service(document["selfService"])
    return document


def full(program: Program) -> dict[str, Any]:
    """The whole config, secrets included: for ADMIN only. What cannot be opened is masked for them, too."""
    config = program.config
    document = {
        "id": program.id,
        "artifactId": program.artifact_id,
        "name": config["name"],
        "description": config.get("description"),
        "version": config.get("version"),
        "url": config.get("url"),
        "entityForms": config.get("entityForms", []),
        "entityData": program.entity_data,
        "externalSync": {"type": MASK} if "externalSync" in program.locked else program.external_sync,
        "authConfigs": [_unlocked(provider) for provider in config.get("authConfigs", ())],
    }
    if program.locked:
        document["lockedSecrets"] = sorted(program.locked)
    document |= {key: config[key] for key in (*_OPTIONAL_SECTIONS, "syncServerUrl") if key in config}
    if OIDC_KEY in (oidc := _oidc_of(config)) and oidc[OIDC_KEY] is None:
        document["selfService"] = _with_oidc(config["selfService"], {**oidc, OIDC_KEY: MASK})
    if notifications := config.get("reviewNotifications"):
        document["reviewNotifications"] = {k: MASK if v is None else v for k, v in notifications.items()}
    return document | {
        "archivedAt": None if program.archived_at is None else format_timestamp(program.archived_at),
        "createdAt": format_timestamp(program.created_at),
        "updatedAt": format_timestamp(program.updated_at),
        "revision": program.revision,
    }


def masked(program: Program) -> dict[str, Any]:
    """The whole config as members of the program read it."""
    document = hiding_secrets(full(program))
    # In these two, which everybody may see otherwise, a mask would be taken for the address.
    return document | {key: None for key in ("url", "syncServerUrl") if document.get(key) == MASK}


def hiding_secrets(document: Mapping[str, Any], hide: Hide = _mask) -> dict[str, Any]:
    """A config without the values of its secrets."""
    hidden = dict(document)
    if "externalSync" in document:
        hidden["externalSync"] = masked_sync(document["externalSync"], hide)
    if "authConfigs" in document:
        hidden["authConfigs"] = [
            provider | {"fields": {k: hide(v) if is_secret(k, v) else v for k, v in provider["fields"].items()}}
            for provider in document["authConfigs"]
        ]
    if (oidc := _oidc_of(document)).get(OIDC_KEY):
        hidden["selfService"] = _with_oidc(document["selfService"], {**oidc, OIDC_KEY: hide(oidc[OIDC_KEY])})
    if notifications := document.get("reviewNotifications"):
        hidden["reviewNotifications"] = notifications | {"secret": hide(notifications["secret"])}
    for key in ("url", "syncServerUrl"):
        if base_holds_credentials(document.get(key) or ""):
            hidden[key] = hide(document[key])
    return hidden


def masked_sync(external_sync: Mapping[str, Any] | None, hide: Hide = _mask) -> dict[str, Any] | None:
    """The section with a mask for every value that may be a secret: all but the four that are known not to be."""
    if external_sync is None:
        return None
    return {
        key: value if _is_harmless(key, value) else _masked(value, key, hide) for key, value in external_sync.items()
    }


def login_screen(program: Program) -> dict[str, Any]:
    """What anybody may know of a program before signing in."""
    config = program.config
    shown: dict[str, Any] = {"name": config["name"]}
    if config.get("description"):
        shown["description"] = config["description"]
    if self_service := config.get("selfService"):
        shown["selfService"] = {
            "enabled": self_service["enabled"],
            "authMethods": self_service["authMethods"],
            "languages": self_service.get("languages") or list(DEFAULT_LANGUAGES),
        }
        if oidc := self_service.get("oidcConfig"):
            keys = ("authority", "clientId", "redirectUri", "scope", "acrValues")
            shown["selfService"]["oidcConfig"] = {
                key: oidc[key] for key in keys if oidc.get(key) and not holds_credentials(oidc[key])
            }
    if providers := config.get("authConfigs"):
        shown["authConfigs"] = [{"type": provider["type"]} for provider in providers]
    return shown


def _published_sync(external_sync: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if external_sync is None:
        return None
    return {
        key: without_secrets(external_sync[key])
        for key in ("type", "auth", "fieldMappings")
        if key in external_sync and _is_harmless(key, external_sync[key])
    }


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret, by the contract's list of words."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(value: Any) -> Any:
    """A free section, at every level without what is called like a secret."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not is_secret_name(key)}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def _published_self_service(section: Mapping[str, Any]) -> dict[str, Any]:
    """Without the key, and addresses that hold credentials: configs from before uploads were looked through may have
    some."""
    published = dict(section)
    if oidc := section.get("oidcConfig"):
        published["oidcConfig"] = {
            key: value
            for key, value in oidc.items()
            if key != OIDC_KEY and not (isinstance(value, str) and holds_credentials(value))
        }
    return published


def _oidc_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return (document.get("selfService") or {}).get("oidcConfig") or {}


def _with_oidc(section: Mapping[str, Any], oidc: Mapping[str, Any]) -> dict[str, Any]:
    return {**section, "oidcConfig": oidc}


def _published_auth(provider: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in provider["fields"].items() if is_published(key, value)}
    return {"type": provider["type"], "fields": fields}


def is_published(key: str, value: str | None) -> bool:
    return value is not None and is_published_auth_field(key) and not holds_credentials(value)


def is_secret(key: str, value: str | None) -> bool:
    """Of a field of an identity provider."""
    return is_secret_auth_field(key) or (value is not None and holds_credentials(value))


def _unlocked(provider: Mapping[str, Any]) -> dict[str, Any]:
    """With a mask where a secret is missing because no key opens it."""
    return {**provider, "fields": {k: MASK if v is None else v for k, v in provider["fields"].items()}}


def _published_address(address: str | None) -> str | None:
    """None for one that is not published: configs that were stored before uploads were looked through may have it."""
    return None if address is None or base_holds_credentials(address) else address


def _is_harmless(key: str, value: Any) -> bool:
    if key == "fieldMappings":
        return True
    if not isinstance(value, str | None):
        # `auth` names a method; as an object it would hold the credentials themselves.
        return False
    return key in {"type", "auth"} or (key == "url" and not _holds_a_key(value or ""))


def _holds_a_key(address: str) -> bool:
    """Whether it has a part in which keys are written: `https://user:key@host`, `https://host/?key=`."""
    return holds_credentials(address) or "?" in address or "#" in address


def _masked(value: Any, key: str, hide: Hide) -> Any:
    if isinstance(value, dict):
        return {name: _masked(item, name, hide) for name, item in value.items()}
    if isinstance(value, list):
        # `extraFields` are pairs: without their names nobody could tell which mask stands for what.
        return [
            {"name": item["name"], "value": hide(item["value"])}
            if key == "extraFields" and _is_pair(item)
            else _masked(item, key, hide)
            for item in value
        ]
    return None if value is None else hide(value)


def _is_pair(item: Any) -> bool:
    """Deeper down, `extraFields` may hold anything."""
    return isinstance(item, dict) and item.keys() == {"name", "value"}


def unmasked(document: Mapping[str, Any], stored: Program | None) -> tuple[dict[str, Any], list[Sequence[str | int]]]:
    """The document with each mask replaced by the stored value; and the places of masks that stand for nothing.

    A section that now points somewhere else (`type` or `url`; `authority` of a provider, `clientId` of citizens') keeps nothing: otherwise an
    editor who may not see a secret could have it sent to an address of theirs.
    """
    old = stored.document if stored else {}
    result = dict(document)
    lost: list[Sequence[str | int]] = []
    if isinstance(new_sync := document.get("externalSync"), dict):
        old_sync = old.get("externalSync") or {}
        same = all(new_sync.get(key) in (old_sync.get(key), MASK) for key in ("type", "url"))
        result["externalSync"] = _filled(new_sync, old_sync if same else {}, ["externalSync"], lost)
    if "authConfigs" in document:
        result["authConfigs"] = [
            _filled(provider, same_provider(provider, old.get("authConfigs", ())), ["authConfigs", index], lost)
            for index, provider in enumerate(document["authConfigs"])
        ]
    if OIDC_KEY in (oidc := _oidc_of(document)):
        stored_oidc = stored_client(oidc, old)
        filled = _filled(oidc, stored_oidc, ["selfService", "oidcConfig"], lost)
        result["selfService"] = _with_oidc(document["selfService"], filled)
    if new := document.get("reviewNotifications"):
        before = old.get("reviewNotifications") or {}
        kept = before if before.get("url") == new["url"] else {}
        result["reviewNotifications"] = _filled(new, kept, ["reviewNotifications"], lost)
    return result, lost


def stored_client(oidc: Mapping[str, Any], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stored `oidcConfig`, if it is of the same client at the same provider."""
    before = _oidc_of(stored)
    return before if all(before.get(key) == oidc.get(key) for key in ("authority", "clientId")) else {}


def same_provider(provider: Mapping[str, Any], stored: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for old in stored:
        same_authority = old["fields"].get("authority") == provider["fields"].get("authority")
        if old["type"] == provider["type"] and same_authority:
            return old
    return {}


def _filled(new: Any, old: Any, path: list[str | int], lost: list[Sequence[str | int]]) -> Any:
    if new == MASK:
        if isinstance(old, dict | list) or old is None:
            lost.append(path)
            return new
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {key: _filled(value, before.get(key), [*path, key], lost) for key, value in new.items()}
    if isinstance(new, list):
        return [_filled(item, _counterpart(item, index, old), [*path, index], lost) for index, item in enumerate(new)]
    return new


def _counterpart(item: Any, index: int, old: Any) -> Any:
    """The stored item this one stands for: of the same `name` where items show one, else at the same place."""
    if not isinstance(old, list):
        return None
    if isinstance(item, dict) and item.get("name", MASK) != MASK:
        return next((o for o in old if isinstance(o, dict) and o.get("name") == item["name"]), None)
    return old[index] if index < len(old) else None
