"""What holds inside a config's smaller sections, and between them and its forms. The document has passed the schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datacollect.adapters.configured import options_of, read_external_sync
from datacollect.adapters.errors import Misconfigured, Problem, UnknownAdapter
from datacollect.adapters.options import required_names
from datacollect.adapters.registry import installed
from datacollect.adapters.transformers import TRANSFORMERS
from datacollect.features.tenants import addresses
from datacollect.features.tenants.findings import Findings, Path
from datacollect.features.tenants.form_checks import quoted
from datacollect.features.tenants.published import MASK, OIDC_KEY, is_secret_auth_field, is_secret_name
from datacollect.features.tenants.rules import (
    ADAPTER_CANNOT_START,
    ADAPTER_OPTION_MISSING,
    ADDRESS_WITHOUT_SCHEME,
    DUPLICATE_AREA,
    DUPLICATE_ENROLMENT,
    DUPLICATE_ISSUER,
    DUPLICATE_PROVIDER,
    DUPLICATE_TEMPLATE,
    HIDDEN_AUTH_FIELD,
    HIDDEN_MAPPING_FIELD,
    INCOMPLETE_MAPPING,
    INTERNAL_FIELD,
    INVALID_ADDRESS,
    ISSUER_WITHOUT_KEY,
    NO_WAY_TO_SEND_CODES,
    ODD_ADDRESS,
    ODD_REDIRECT,
    PROVIDER_ACCEPTS_NOTHING,
    UNKNOWN_ADAPTER,
    UNKNOWN_ALLOWED_FORM,
    UNKNOWN_EVENT_TYPE,
    UNKNOWN_ISSUER,
    UNKNOWN_TRANSFORMER,
    UNTIDY_AREA,
)
from datacollect.kernel.client_assertions import UnusableKey, read_client_key
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.oidc import KNOWN_TYPES, is_scheme, provider_problems
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES

_KNOWN_ADAPTERS = frozenset({"openspp-v1-adapter", "openspp-v2-adapter", "openfn-adapter", "mock"})
_REDIRECTS = ("redirect_uri", "post_logout_redirect_uri", "silent_redirect_uri")


def check_sections(document: Mapping[str, Any], found: Findings, *, https_only: bool, sends_codes: bool = True) -> None:
    for key in ("url", "syncServerUrl"):
        _check_base_address(document.get(key), (key,), found)
    _check_external_sync(document.get("externalSync") or {}, found)
    _check_providers(document.get("authConfigs", ()), found, https_only=https_only)
    _check_allowed_forms(document, found)
    _check_shown_fields(document, found)
    _check_oidc_key(document.get("selfService", {}).get("oidcConfig") or {}, found)
    if not sends_codes:
        _check_codes(document.get("selfService", {}), found)
    _check_areas(document.get("syncScope", {}).get("areaIds") or (), found)
    _check_event_types(document.get("customEventTypes", ()), found)
    programs = [program["id"] for program in document.get("programs", ())]
    for index in _repeated(programs):
        found.add(DUPLICATE_ENROLMENT, ("programs", index, "id"), f"another entry has the id {programs[index]}")
    for section in ("claim169", "inji"):
        _check_issuers(document.get(section, {}).get("trustedIssuers", ()), (section, "trustedIssuers"), found)
    _check_templates(document.get("inji", {}), found)


def _check_base_address(text: str | None, path: Path, found: Findings) -> None:
    if not text:
        return
    if problem := addresses.base_address_problem(text):
        found.add(INVALID_ADDRESS, path, problem)
    elif not addresses.has_scheme(text):
        found.add(ADDRESS_WITHOUT_SCHEME, path, 'begins with neither "http://" nor "https://"')


def _check_external_sync(section: Mapping[str, Any], found: Findings) -> None:
    for path in _secret_names(section.get("fieldMappings"), ("externalSync", "fieldMappings")):
        found.add(HIDDEN_MAPPING_FIELD, path, "is called like a secret: devices do not get it")
    type_, url = section.get("type"), section.get("url")
    if not type_ or not url:
        return  # not configured
    if problem := addresses.web_address_problem(url):
        rule = INVALID_ADDRESS if type_ in _KNOWN_ADAPTERS else ODD_ADDRESS
        found.add(rule, ("externalSync", "url"), problem)
    _check_adapter(section, found)


def _check_adapter(section: Mapping[str, Any], found: Findings) -> None:
    """An adapter that is not here is no reason to refuse a config: it may be on its way to a hub that has it."""
    try:
        configured = read_external_sync(section)
    except UnknownAdapter as unknown:
        found.add(UNKNOWN_ADAPTER, ("externalSync", "type"), unknown.problems[0].message)
        return
    except Misconfigured as wrong:
        _tell_of_options(section, wrong.problems, found)
        return
    if configured is None:
        return
    for problem in configured.left_out:
        found.add(INCOMPLETE_MAPPING, ("externalSync", *problem.path), problem.message)
    for mapping in configured.mappings:
        if mapping.transformer not in TRANSFORMERS:
            message = f"{quoted(mapping.transformer)} is no transformer; there are {', '.join(TRANSFORMERS)}"
            found.add(UNKNOWN_TRANSFORMER, ("externalSync", "fieldMappings"), message)


def _tell_of_options(section: Mapping[str, Any], problems: Sequence[Problem], found: Findings) -> None:
    """By their older names adapters are warned of only: published samples have those, and no options."""
    type_, options = section["type"], options_of(section)
    needed = required_names(installed().get(type_).options) if type_ in _KNOWN_ADAPTERS else frozenset()
    for problem in problems:
        name = problem.path[-1]
        # The address is looked at above, and a mask stands for what has been looked at when it was stored.
        if problem.path != ("url",) and options.get(str(name)) != MASK:
            rule = ADAPTER_OPTION_MISSING if name in needed else ADAPTER_CANNOT_START
            found.add(rule, ("externalSync", *problem.path), problem.message)


def _secret_names(value: Any, path: Path) -> Iterator[Path]:
    """The places of members that are called like a secret; how deep it goes was limited when the text was read."""
    if isinstance(value, dict):
        for key, item in value.items():
            if is_secret_name(key):
                yield (*path, key)
            else:
                yield from _secret_names(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secret_names(item, (*path, index))


def _check_providers(providers: Sequence[Mapping[str, Any]], found: Findings, *, https_only: bool) -> None:
    for index, provider in enumerate(providers):
        path: Path = ("authConfigs", index)
        type_, fields = provider["type"], provider["fields"]
        for field, problem in provider_problems(fields, https_only=https_only):
            found.add_issue(IssueCode.INVALID_STRING, (*path, "fields", field), problem)
        for field in _REDIRECTS:
            _check_redirect(fields.get(field), (*path, "fields", field), found)
        for field in filter(is_secret_auth_field, fields):
            found.add(HIDDEN_AUTH_FIELD, (*path, "fields", field), "is kept secret: devices do not get it")
        if lack := _why_nothing_is_accepted(type_, fields):
            found.add(PROVIDER_ACCEPTS_NOTHING, path, f"{lack} no token of this provider is accepted")
    for index in _repeated([(one["type"], one["fields"].get("authority")) for one in providers]):
        found.add(DUPLICATE_PROVIDER, ("authConfigs", index), "another entry has the same type and authority")


def _check_redirect(text: str | None, path: Path, found: Findings) -> None:
    if not text:
        return
    if problem := addresses.redirect_problem(text):
        found.add(INVALID_ADDRESS, path, problem)
    elif not addresses.is_absolute(text):
        found.add(ODD_REDIRECT, path, "is not absolute: a provider sends nobody there")


def _why_nothing_is_accepted(type_: str, fields: Mapping[str, str]) -> str | None:
    if not fields.get("authority"):
        return "without fields.authority" if type_.lower() in KNOWN_TYPES else None
    if not is_scheme(type_):
        return f"{quoted(type_)} cannot stand in front of a token;"
    if not (fields.get("audience") or fields.get("client_id")):
        return "without fields.audience or fields.client_id"
    return None


_INTERNAL = frozenset({"externalId", "identifierType", "entityName", "parentId", "parentGuid", "members", "memberIds"})


def _check_shown_fields(document: Mapping[str, Any], found: Findings) -> None:
    for index, path in enumerate(document.get("selfService", {}).get("fields") or ()):
        if any(step in _INTERNAL or step == "area_id" or step.startswith("_") for step in path.split(".")):
            found.add(INTERNAL_FIELD, ("selfService", "fields", index), f"{quoted(path)} is never shown to citizens")


def _check_allowed_forms(document: Mapping[str, Any], found: Findings) -> None:
    known = {form[key] for form in document.get("entityForms", ()) for key in ("name", "id")}
    for index, name in enumerate(document.get("selfService", {}).get("allowedForms", ())):
        if name not in known:
            path = ("selfService", "allowedForms", index)
            found.add(UNKNOWN_ALLOWED_FORM, path, f"there is no form {quoted(name)}")


def _check_oidc_key(section: Mapping[str, Any], found: Findings) -> None:
    key = section.get(OIDC_KEY)
    if not key or key == MASK:
        return
    try:
        read_client_key(key)
    except UnusableKey as unusable:
        found.add_issue(IssueCode.INVALID_STRING, ("selfService", "oidcConfig", OIDC_KEY), str(unusable))


def _check_codes(section: Mapping[str, Any], found: Findings) -> None:
    """For a hub that has no way to send any."""
    if section.get("enabled") and "otp" in section.get("authMethods", ()):
        message = "citizens are to sign in by codes, and this hub has no way to send them"
        found.add(NO_WAY_TO_SEND_CODES, ("selfService", "authMethods"), message)


def _check_areas(areas: Sequence[str], found: Findings) -> None:
    for index in _repeated(areas):
        found.add(DUPLICATE_AREA, ("syncScope", "areaIds", index), f"{quoted(areas[index])} is named twice")
    for index, area in enumerate(areas):
        if area != area.strip():
            found.add(UNTIDY_AREA, ("syncScope", "areaIds", index), f"{quoted(area)} begins or ends with a space")


def _check_event_types(names: Sequence[str], found: Findings) -> None:
    for index, name in enumerate(names):
        if name not in CUSTOM_EVENT_TYPES:
            message = f"there is no event type {quoted(name)}; there are {', '.join(sorted(CUSTOM_EVENT_TYPES))}"
            found.add(UNKNOWN_EVENT_TYPE, ("customEventTypes", index), message)


def _check_issuers(issuers: Sequence[Mapping[str, Any]], path: Path, found: Findings) -> None:
    for index, issuer in enumerate(issuers):
        if not any(issuer["publicKey"].values()):
            found.add(ISSUER_WITHOUT_KEY, (*path, index, "publicKey"), "has no key: nothing of this issuer is accepted")
    for index in _repeated([(issuer["issuerId"], issuer.get("kid")) for issuer in issuers]):
        message = f"{quoted(issuers[index]['issuerId'])} is trusted twice"
        found.add(DUPLICATE_ISSUER, (*path, index, "issuerId"), message)


def _check_templates(section: Mapping[str, Any], found: Findings) -> None:
    templates = section.get("credentialTemplates", ())
    trusted = {issuer["issuerId"] for issuer in section.get("trustedIssuers", ())}
    ids = [template["id"] for template in templates]
    for index in _repeated(ids):
        path: Path = ("inji", "credentialTemplates", index, "id")
        found.add(DUPLICATE_TEMPLATE, path, f"another template has the id {quoted(ids[index])}")
    for index, template in enumerate(templates):
        for place, issuer in enumerate(template.get("allowedIssuers") or ()):
            if issuer not in trusted:
                path = ("inji", "credentialTemplates", index, "allowedIssuers", place)
                found.add(UNKNOWN_ISSUER, path, f"{quoted(issuer)} is no trusted issuer")


def _repeated(values: Sequence[Any]) -> list[int]:
    """The places of values that stand further ahead already."""
    seen: set[Any] = set()
    places = []
    for index, value in enumerate(values):
        if value in seen:
            places.append(index)
        seen.add(value)
    return places
