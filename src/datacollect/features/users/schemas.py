"""Wire models of accounts."""

import re
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from datacollect.http.wire import NonEmpty, SyncScope, Wire
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.identity import AccountRole, Role

# Not strict: a name is all that JSON has for a member of an enumeration.
_AccountRole = Annotated[AccountRole, Field(strict=False)]
_Role = Annotated[Role, Field(strict=False)]


class Assignment(Wire):
    """What the user is in one program."""

    tenant_id: NonEmpty
    role: _Role
    area_id: NonEmpty | None = None
    sync_scope_override: SyncScope | None = None


# Any alphabet, but nothing that separates or encloses addresses in a list, or is markup on a page.
_ADDRESS = re.compile(r"""[^@\s"(),:;<>[\]\\]+@[^@\s"(),:;<>[\]\\.]+(\.[^@\s"(),:;<>[\]\\.]+)+""")


class UserUpdate(Wire):
    """What is absent stays as it is."""

    email: str = Field(max_length=320, examples=["agent@example.org"])
    role: _AccountRole
    password: str | None = Field(None, examples=["Correct-Horse-7"])
    tenant_ids: list[NonEmpty] | None = Field(None, description="Programs the account belongs to.")
    role_assignments: list[Assignment] | None = None

    @field_validator("email")
    @classmethod
    def _is_an_address(cls, email: str) -> str:
        if not _ADDRESS.fullmatch(email.strip()) or not email.strip().isprintable():
            raise PydanticCustomError(IssueCode.INVALID_EMAIL.value, "Invalid email address")
        return email


class UserCreate(UserUpdate):
    password: str = Field(
        description="At least 8 characters, with an uppercase and a lowercase letter, a number and a special character.",
        examples=["Correct-Horse-7"],
    )


class UserOut(Wire):
    """An account. Never its password hash."""

    id: int
    email: str
    role: _AccountRole
    tenant_ids: list[str]
    role_assignments: list[dict[str, Any]]


class Me(UserOut):
    permissions: dict[str, list[str]] = Field(description="Actions allowed, per program; `*` for administrators.")


class Done(Wire):
    message: str
