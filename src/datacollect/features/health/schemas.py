"""What the health routes answer."""

from typing import Literal

from datacollect.http.wire import Model, examples


class Health(Model):
    model_config = examples({"status": "ok", "database": "connected", "timestamp": "2026-01-01T00:00:00.000Z"})

    status: Literal["ok"] = "ok"
    database: Literal["connected"] = "connected"
    timestamp: str
    """ISO-8601 in UTC with milliseconds and `Z`."""


class Liveness(Model):
    model_config = examples({"status": "ok"})

    status: Literal["ok"] = "ok"
