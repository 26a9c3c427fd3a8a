"""What the health routes answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Health(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {"status": "ok", "database": "connected", "timestamp": "2026-01-01T00:00:00.000Z"}
        }
    )

    status: Literal["ok", "degraded"]
    database: Literal["connected", "disconnected"]
    timestamp: str
    """ISO-8601 in UTC with milliseconds and `Z`."""


class Liveness(BaseModel):
    status: Literal["ok"] = "ok"
