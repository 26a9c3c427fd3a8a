"""How many entities a limited reader may see: of theirs nothing is kept, so each is counted."""

from collections.abc import Mapping

from datacollect.db import Reading
from datacollect.features.entities.entity import UNKNOWN_FORM
from datacollect.features.entities.finding.filters import EVERYTHING
from datacollect.features.entities.finding.statements import Sql, Wanted, in_reach, walk
from datacollect.kernel.identity import TenantScope


async def count_within(view: Reading, scope: TenantScope) -> Mapping[str, int]:
    """Live entities within the reader's reach, by form. One statement, in proportion to what is within reach."""
    sql = Sql(view.dialect, scope)
    if scope.reach.is_by_area:
        rows = in_reach(sql, scope.reach, column="entity_name")
    else:
        source = walk(sql, Wanted(EVERYTHING))
        rows = f"SELECT e.entity_name FROM {source.rows} WHERE {source.where}"
    form = f"coalesce(nullif(entity_name, ''), '{UNKNOWN_FORM}')"
    text = f"SELECT {form}, count(*) FROM ({rows}) AS within GROUP BY 1"
    return dict(map(tuple, await view.fetch(text, *sql.values)))
