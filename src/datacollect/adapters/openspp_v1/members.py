"""Who is a member of which group, on either side.

Members are told apart by what both sides held when they last agreed: whoever joined or left here since does so there, and
whoever joined or left there is left to the next pull.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from datacollect.adapters.openspp_v1.odoo import Odoo
from datacollect.adapters.openspp_v1.session import MemberModel
from datacollect.adapters.openspp_v1.values import odoo_text
from datacollect.kernel.clock import Millis

ROWS_AT_ONCE = 5_000
"""Memberships that are read in one call."""

Rows = Mapping[int, int]
"""The number of the membership, by that of the individual."""


async def members_of(odoo: Odoo, model: MemberModel, groups: Collection[int]) -> Mapping[int, Rows]:
    """Of each of the groups the memberships that are not over. Raises `CallFailed`."""
    if not groups:
        return {}
    found: dict[int, dict[int, int]] = {group: {} for group in groups}
    domain: list[Any] = [["group", "in", sorted(groups)]]
    if model.keeps_ended:
        domain.append(["ended_date", "=", False])
    last = 0
    while True:
        rows = await odoo.search_read(
            model.name,
            [*domain, ["id", ">", last]],
            ["group", "individual"],
            what="read who is in the groups",
            order="id",
            limit=ROWS_AT_ONCE,
        )
        for row in rows:
            group, individual = _number(row.get("group")), _number(row.get("individual"))
            if group in found and individual is not None:
                found[group].setdefault(individual, row["id"])
        if len(rows) < ROWS_AT_ONCE:
            return found
        last = rows[-1]["id"]


def commands(
    model: MemberModel,
    *,
    wanted: Collection[int],
    there: Rows,
    agreed: Collection[int],
    now: Millis,
) -> Sequence[Any]:
    """What to write into the group. `wanted` are the members we have, `agreed` is who both sides had.

    Afterwards they agree on those that are wanted: who has left there is not brought back, and who has joined there is
    not agreed on before a pull brings it.
    """
    joining = [
        [0, 0, {"individual": individual}]
        for individual in wanted
        if individual not in there and individual not in agreed
    ]
    leaving = [
        [1, row, {"ended_date": odoo_text(now)}] if model.keeps_ended else [2, row, 0]
        for individual, row in there.items()
        if individual not in wanted and individual in agreed
    ]
    return [*joining, *leaving]


def _number(value: Any) -> int | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], int) else None
