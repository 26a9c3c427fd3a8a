"""A signed-in Odoo, and what has to be known of its registry before anything is exchanged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Misconfigured, Problem
from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.openspp_v1.odoo import PARTNER, Odoo
from datacollect.adapters.openspp_v1.options import OpenSppV1Options

MEMBERS_FIELD = "group_membership_ids"
ARCHIVED = "archived"
"""In a link's state: both sides know that the registrant is archived."""
_OURS = ("id", "active", "is_registrant", "is_group", "create_date", "write_date", MEMBERS_FIELD)
"""Fields that mean something to the adapter itself, so that no form may write them."""


@dataclass(frozen=True, slots=True)
class MemberModel:
    """How the registry keeps who is a member of a group."""

    name: str
    keeps_ended: bool
    """Whether a membership that is over stays, with the time of its end."""


@dataclass(frozen=True, slots=True)
class Registry:
    """What is known of `res.partner`."""

    types: Mapping[str, str]
    """Odoo's types of the fields that are mapped, and of `name`, which every partner has."""
    members: MemberModel | None
    """None where groups are not exchanged, or the registry has none."""

    @property
    def fields(self) -> Sequence[str]:
        return list(self.types)


async def require_registrar(odoo: Odoo, group: str | None) -> None:
    """Raises `CallFailed`: of kind `FORBIDDEN` if the user is not in the group, else as the calls themselves fail."""
    if group is None:
        return
    what = f"see whether the user is in the group {group}"
    uid = await odoo.sign_in()
    users = await odoo.call("res.users", "read", [[uid], ["groups_id"]], what=what)
    named = await odoo.search_read(
        "ir.model.data", [["model", "=", "res.groups"], ["name", "=", group]], ["res_id", "name"], what=what
    )
    mine = users[0].get("groups_id") if isinstance(users, list) and users and isinstance(users[0], dict) else None
    if not named or not isinstance(mine, list) or not any(row.get("res_id") in mine for row in named):
        raise CallFailed(CallKind.FORBIDDEN, f"exchange records: the user is not in the group {group}")


async def look_around(
    odoo: Odoo, adapter: str, options: OpenSppV1Options, mappings: Sequence[FieldMapping]
) -> Registry:
    """Raises `Misconfigured` for mappings that the registry has no field for, and `CallFailed`."""
    names = list(dict.fromkeys(("name", *(one.remote_field for one in mappings), options.reference_field)))
    needed = [*names, MEMBERS_FIELD]
    described = await odoo.fields_get(PARTNER, needed, ["type", "relation"], what="read the registry's fields")
    problems = [*_problems(mappings, options, described)]
    if problems:
        raise Misconfigured(adapter, problems)
    types = {name: str(described[name].get("type")) for name in names}
    types.pop(options.reference_field)
    members = described.get(MEMBERS_FIELD, {}).get("relation") if options.groups else None
    return Registry(types, await _member_model(odoo, members) if isinstance(members, str) else None)


def _problems(
    mappings: Sequence[FieldMapping], options: OpenSppV1Options, described: Mapping[str, Any]
) -> Sequence[Problem]:
    found = []
    for place, mapping in enumerate(mappings):
        name = mapping.remote_field
        path = ("fieldMappings", place, "opensppField")
        if name in _OURS or name == options.reference_field:
            found.append(Problem(path, f"{name} is kept by the adapter itself"))
        elif not isinstance(described.get(name), dict):
            found.append(Problem(path, f"the registry has no field {name}, or the user may not see it"))
        elif described[name].get("type") == "one2many":
            found.append(Problem(path, f"{name} holds records of its own and cannot be mapped"))
    reference = described.get(options.reference_field)
    if not isinstance(reference, dict) or reference.get("type") != "char":
        said = f"the registry has no text field {options.reference_field}"
        found.append(Problem(("adapterConfig", "referenceField"), said))
    return found


async def _member_model(odoo: Odoo, name: str) -> MemberModel | None:
    what = "read how the registry keeps members"
    described = await odoo.fields_get(name, ["group", "individual", "ended_date"], ["type"], what=what)
    if not {"group", "individual"} <= described.keys():
        return None
    return MemberModel(name, "ended_date" in described)
