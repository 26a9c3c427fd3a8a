"""What each program lets citizens do, read once for each version of its config."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.db import Database
from datacollect.features.selfservice.model import OwnForm, OwnForms
from datacollect.features.tenants.asked import ForCitizens, config_for_citizens
from datacollect.kernel.ids import TenantId
from datacollect.kernel.languages import DEFAULT_LANGUAGES
from datacollect.kernel.tenancy import Tenant, login_factors

_MOST_PROGRAMS = 500


class CachedOwnForms:
    """Implements `http.hub.OwnForms`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[TenantId, tuple[str, OwnForms]] = {}

    async def of(self, tenant: Tenant) -> OwnForms:
        entry = self._entries.get(tenant.id)
        if entry is not None and entry[0] == tenant.version:
            return entry[1]
        async with self._database.reading() as view:
            config = await config_for_citizens(view, tenant.id)
        forms = own_forms(config, login_factors(tenant))
        if len(self._entries) >= _MOST_PROGRAMS:
            self._entries.clear()
        self._entries[tenant.id] = (tenant.version, forms)
        return forms


def own_forms(config: ForCitizens, factors: frozenset[str]) -> OwnForms:
    """Of a config; deny by default where it says nothing."""
    section = config.section
    fields = section.get("fields")
    return OwnForms(
        allowed=tuple(_allowed(entry, config) for entry in dict.fromkeys(section.get("allowedForms") or ())),
        by_name={form["name"]: form["formio"] for form in config.forms},
        languages=tuple(section.get("languages") or DEFAULT_LANGUAGES),
        require_review=section.get("requireReview") is not False,
        fields=None if fields is None else tuple(fields),
        names_staff=section.get("accessLog") == "names",
        factors=factors,
    )


def _allowed(entry: str, config: ForCitizens) -> OwnForm:
    form = _find(entry, config.forms)
    if form is None:
        # It can change nothing: nobody has said what it asks for.
        return OwnForm(entry, entry, None, name=None, standalone=True)
    standalone = config.kinds[form["name"]].category == "record"
    return OwnForm(entry, form["title"], form["formio"], name=form["name"], standalone=standalone)


def _find(entry: str, forms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """By name, else by id."""
    named = (form for key in ("name", "id") for form in forms if form.get(key) == entry)
    return next(named, None)
