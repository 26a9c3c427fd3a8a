"""The wire form of a search, for the API document; what is in the criteria is checked by `criteria.py`."""

from typing import Any

from pydantic import ConfigDict, Field

from datacollect.http.wire import Model

_EXAMPLE: dict[str, Any] = {
    "configId": "household-registry",
    "criteria": [{"name": {"$contains": "rivera"}}, {"data.dateOfBirth": {"$lt": "2008-01-01"}}],
    "limit": 20,
}


class SearchRequest(Model):
    """What to look for. An entity is found if it meets all criteria as it is now."""

    model_config = ConfigDict(populate_by_name=True, json_schema_extra={"examples": [_EXAMPLE]})

    config_id: Any = Field(None, alias="configId", description="The program; `default` if the query names none either.")
    criteria: Any = Field(
        default_factory=list,
        description="At most 10 objects, each of a field and what its value must meet: a text (whatever its case), a "
        "number, `true` or `false`, or an operator with an operand: `$eq $ne $in $gt $gte $lt $lte $contains $regex "
        "$exists`. Dots lead into objects.",
    )
    limit: Any = Field(50, description="1-500; 50 when left out or no number.")
    cursor: Any = Field(None, description="`X-Next-Cursor` of the page before.")
    fields: Any = Field(None, description="Names of what is to be shown, separated by commas, as in lists.")
