"""Wire models of citizens' sign-ins."""

from typing import Literal

from pydantic import BaseModel


class Done(BaseModel):
    status: Literal["success"] = "success"
    message: str
