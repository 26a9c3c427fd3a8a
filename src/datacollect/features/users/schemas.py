"""Wire models of accounts."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.identity import AccountRole, Role

NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class RollingWindow(_Wire):
    type: Literal["rolling"]
    days: int = Field(gt=0)


class FixedWindow(_Wire):
    type: Literal["fixed"]
    floor: str

    @field_validator("floor")
    @classmethod
    def _is_an_instant(cls, floor: str) -> str:
        parse_timestamp(floor)
        return floor


class ScopeOverride(_Wire):
    """Narrows what the user's devices hold. A dimension that is absent is not limited; empty lists are refused."""

    area_ids: list[NonEmpty] | None = Field(None, min_length=1)
    entity_types: list[Literal["individual", "group"]] | None = Field(None, min_length=1)
    time_window: Annotated[RollingWindow | FixedWindow, Field(discriminator="type")] | None = None


class Assignment(_Wire):
    """What the user is in one program."""

    tenant_id: NonEmpty
    role: Role
    area_id: NonEmpty | None = None
    sync_scope_override: ScopeOverride | None = None


# Any alphabet, but nothing that separates or encloses addresses in a list, or is markup on a page.
_ADDRESS = re.compile(r"""[^@\s"(),:;<>[\]\\]+@[^@\s"(),:;<>[\]\\.]+(\.[^@\s"(),:;<>[\]\\.]+)+""")


class UserUpdate(_Wire):
    """What is absent stays as it is."""

    email: str = Field(max_length=320)
    role: AccountRole
    password: str | None = None
    tenant_ids: list[NonEmpty] | None = None
    role_assignments: list[Assignment] | None = None

    @field_validator("email")
    @classmethod
    def _is_an_address(cls, email: str) -> str:
        if not _ADDRESS.fullmatch(email.strip()) or not email.strip().isprintable():
            raise PydanticCustomError("invalid_email", "Invalid email address")
        return email


class UserCreate(UserUpdate):
    password: str


class UserOut(_Wire):
    """An account. Never its password hash."""

    id: int
    email: str
    role: AccountRole
    tenant_ids: list[str]
    role_assignments: list[dict[str, Any]]


class Me(UserOut):
    permissions: dict[str, list[str]] = Field(description="Actions allowed, per program; `*` for administrators.")


class Done(BaseModel):
    message: str
