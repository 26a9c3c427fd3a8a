"""Wire models of purging."""

from pydantic import ConfigDict, Field

from datacollect.http.wire import Model

GONE = "Program permanently deleted. This endpoint is for development only."
UNDER_WAY = (
    "Program permanently deleted. Its data is still being removed in the background; until that is done its id cannot be "
    "used again."
)


class Purged(Model):
    """A program is gone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "success", "warning": GONE, "finished": True, "deletedRows": 1204}]}
    )

    status: str = "success"
    warning: str
    finished: bool = Field(description="Whether nothing of it is left. Send the request again to see how far it is.")
    deletedRows: int = Field(description="Rows that have been deleted so far.")
