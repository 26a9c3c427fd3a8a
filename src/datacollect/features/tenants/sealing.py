"""What of a config is secret, and how it is stored: sealed, beside a config with holes where the secrets were.

`externalSync` is sealed as a whole. Of the config, secret fields of identity providers, the key by which the hub redeems
citizens' sign-ins, addresses with a user name or password, and what notifications of reviews are signed with are: they
are taken out, which leaves null in their places, and sealed together. Forms are not looked through: every device has
them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from datacollect.features.tenants.addresses import base_holds_credentials, holds_credentials
from datacollect.features.tenants.published import OIDC_KEY, is_secret
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import CannotOpen, Seals, is_sealed

NO_SECRETS = ""
_ADDRESSES = ("url", "syncServerUrl")
_SYNC, _CONFIG = "externalSync", "config"

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A config as it is stored."""

    config: Mapping[str, Any]
    config_secrets: str
    """`NO_SECRETS` if there are none."""
    external_sync: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A config as it was sent. What is `locked` no key opens: null stands for it."""

    config: Mapping[str, Any]
    external_sync: Mapping[str, Any] | None
    locked: frozenset[str] = frozenset()


def seal(
    seals: Seals, tenant_id: TenantId, config: Mapping[str, Any], external_sync: Mapping[str, Any] | None
) -> Sealed:
    secrets = list(_secrets(config))
    for path, _ in secrets:
        config = _with(config, path, None)
    return Sealed(
        config,
        seals.seal(_text(secrets), _place(tenant_id, _CONFIG)) if secrets else NO_SECRETS,
        None if external_sync is None else seals.seal(_text(external_sync), _place(tenant_id, _SYNC)),
    )


def open_sealed(
    seals: Seals, tenant_id: TenantId, config: Mapping[str, Any], config_secrets: str | None, external_sync: str | None
) -> Opened:
    """Rows of hubs that did not seal, where nothing is sealed, are as they are."""
    locked = set()
    if config_secrets:
        try:
            for path, value in msgspec.json.decode(seals.open(config_secrets, _place(tenant_id, _CONFIG))):
                config = _with(config, path, value)
        except CannotOpen:
            locked.add("authConfigs")
    sync = None
    try:
        sync = open_sync(seals, tenant_id, external_sync)
    except CannotOpen:
        locked.add(_SYNC)
    return Opened(config, sync, frozenset(locked))


def open_oidc_key(seals: Seals, tenant_id: TenantId, config_secrets: str | None) -> str | None:
    """`selfService.oidcConfig.privateKey`. Raises `CannotOpen`."""
    if not config_secrets:
        return None
    for path, value in msgspec.json.decode(seals.open(config_secrets, _place(tenant_id, _CONFIG))):
        if tuple(path) == ("selfService", "oidcConfig", OIDC_KEY):
            return str(value)
    return None


def open_sync(seals: Seals, tenant_id: TenantId, external_sync: str | None) -> Mapping[str, Any] | None:
    """Raises `CannotOpen`."""
    if external_sync is None:
        return None
    clear = seals.open(external_sync, _place(tenant_id, _SYNC)) if is_sealed(external_sync) else external_sync
    section: Mapping[str, Any] | None = msgspec.json.decode(clear)
    return section


def resealed(
    seals: Seals, tenant_id: TenantId, config_secrets: str, external_sync: str | None
) -> tuple[str, str | None]:
    """The same sealed with the first key. Raises `CannotOpen`, and then nothing of it is."""
    secrets = _again(seals, config_secrets, _place(tenant_id, _CONFIG)) if config_secrets else config_secrets
    return secrets, external_sync and _again(seals, external_sync, _place(tenant_id, _SYNC))


def _again(seals: Seals, sealed: str, place: str) -> str:
    return sealed if sealed.startswith(seals.prefix) else seals.seal(seals.open(sealed, place), place)


def _place(tenant_id: TenantId, section: str) -> str:
    return f"{tenant_id}/{section}"


def _secrets(config: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    for key in _ADDRESSES:
        if base_holds_credentials(config.get(key) or ""):
            yield (key,), config[key]
    for index, provider in enumerate(config.get("authConfigs", ())):
        for key, value in provider["fields"].items():
            if is_secret(key, value):
                yield ("authConfigs", index, "fields", key), value
    oidc = config.get("selfService", {}).get("oidcConfig") or {}
    for key, value in oidc.items():
        if isinstance(value, str) and value and (key == OIDC_KEY or holds_credentials(value)):
            yield ("selfService", "oidcConfig", key), value
    if secret := (config.get("reviewNotifications") or {}).get("secret"):
        yield ("reviewNotifications", "secret"), secret


def _with(value: Any, path: _Path, leaf: Any) -> Any:
    """A copy with another value at that place."""
    if not path:
        return leaf
    step, *rest = path
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[step] = _with(copy[step], tuple(rest), leaf)
    return copy


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
