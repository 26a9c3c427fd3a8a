"""Wire models of accounts."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from datacollect.http.wire import SyncScope, Wire, examples
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.identity import AccountRole, Role
from datacollect.kernel.ids import LONGEST_CONFIG_ID

# Not strict: a name is all that JSON has for a member of an enumeration.
_AccountRole = Annotated[AccountRole, Field(strict=False)]
_Role = Annotated[Role, Field(strict=False)]


ProgramId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CONFIG_ID)]
AreaId = Annotated[str, StringConstraints(min_length=1, max_length=500)]

MOST_PROGRAMS = 1000
"""Entries of each list of an account."""


_MOST_WARNINGS = 20

MOST_AREAS = 50_000
"""A district may have thousands of villages."""


_ASSIGNMENT: dict[str, Any] = {"tenantId": "household-registry", "role": "enumerator"}


_ACCOUNT: dict[str, Any] = {
    "id": 12,
    "email": "agent@example.org",
    "role": "USER",
    "tenantIds": ["household-registry"],
    "roleAssignments": [_ASSIGNMENT],
}
_STANDING: dict[str, Any] = {
    "tenantId": "household-registry",
    "state": "running",
    "role": "enumerator",
    "areaIds": None,
    "entityTypes": None,
    "timeWindow": None,
}


class PersonScope(SyncScope):
    """How much of a program the user may hold. What else is sent is not stored, and told: see `unknown_members`."""

    model_config = ConfigDict(extra="allow")

    # It stops at the first that is wrong: an issue takes a thousand times the room of a wrong item.
    area_ids: Annotated[list[AreaId], Field(fail_fast=True)] | None = Field(None, min_length=1, max_length=MOST_AREAS)


class Assignment(Wire):
    """What the user is in one program. What else is sent is not stored, and told: see `unknown_members`."""

    model_config = ConfigDict(extra="allow")

    tenant_id: ProgramId
    role: _Role
    area_id: AreaId | None = None
    sync_scope_override: PersonScope | None = None


def unknown_members(assignments: Sequence[Assignment]) -> list[str]:
    """What of the assignments is not stored. A limit with a slip in its name would else be none, and nobody told."""
    found = []
    for index, assignment in enumerate(assignments):
        place = f"roleAssignments[{index}]"
        found += [f"{place}.{name}" for name in assignment.model_extra or ()]
        scope = assignment.sync_scope_override
        found += [f"{place}.syncScopeOverride.{name}" for name in (scope and scope.model_extra) or ()]
    return [f"{name[:100]} is not known and was ignored" for name in found[:_MOST_WARNINGS]]


# Any alphabet, but nothing that separates or encloses addresses in a list, or is markup on a page.
_ADDRESS = re.compile(r"""[^@\s"(),:;<>[\]\\]+@[^@\s"(),:;<>[\]\\.]+(\.[^@\s"(),:;<>[\]\\.]+)+""")


def _address(email: str) -> str:
    if not _ADDRESS.fullmatch(email.strip()) or not email.strip().isprintable():
        raise PydanticCustomError(IssueCode.INVALID_EMAIL.value, "Invalid email address")
    return email


Email = Annotated[str, Field(max_length=320, examples=["agent@example.org"]), AfterValidator(_address)]


class UserUpdate(Wire):
    """What is absent stays as it is."""

    model_config = examples(
        {"email": "agent@example.org", "role": "USER", "roleAssignments": [_ASSIGNMENT | {"areaId": "cedar-bay"}]}
    )

    email: Email
    role: _AccountRole
    password: str | None = Field(None, examples=["Correct-Horse-7"])
    tenant_ids: list[ProgramId] | None = Field(
        None, max_length=MOST_PROGRAMS, description="Programs the account belongs to."
    )
    role_assignments: list[Assignment] | None = Field(None, max_length=MOST_PROGRAMS)
    must_change_password: bool | None = Field(
        None, description="Whether its owner has to choose another password before anything else."
    )


class UserCreate(UserUpdate):
    model_config = examples(
        {
            "email": "agent@example.org",
            "password": "Sunny-Kettle-31",
            "role": "USER",
            "tenantIds": ["household-registry"],
            "roleAssignments": [_ASSIGNMENT],
        }
    )

    password: str = Field(
        description="At least 8 characters, with an uppercase and a lowercase letter, a number and a special character.",
        examples=["Correct-Horse-7"],
    )


class UserOut(Wire):
    """An account. Never its password hash."""

    model_config = examples(_ACCOUNT)

    id: int
    email: str
    role: _AccountRole
    tenant_ids: list[str]
    role_assignments: list[dict[str, Any]]


class UserDetail(UserOut):
    model_config = examples(_ACCOUNT | {"mustChangePassword": False})

    must_change_password: bool


class Admission(Wire):
    """Which account becomes a member of which programs."""

    model_config = examples({"email": "agent@example.org", "roleAssignments": [_ASSIGNMENT]})

    email: Email
    tenant_ids: list[ProgramId] | None = Field(None, max_length=MOST_PROGRAMS)
    role_assignments: list[Assignment] | None = Field(None, max_length=MOST_PROGRAMS)


class Standing(Wire):
    """What an account is in one program. A limit that is null is none; the program's own limits come on top."""

    tenant_id: str
    state: Literal["running", "archived", "unknown"]
    role: _Role | None = Field(
        description="What the account is in all that it reads there, which the limits tell; by one of several assignments "
        "it may be more in a part of that. Null if the assignments grant nothing."
    )
    area_ids: list[str] | None
    entity_types: list[str] | None
    time_window: dict[str, Any] | None


class Me(UserDetail):
    model_config = examples(
        _ACCOUNT
        | {
            "mustChangePassword": False,
            "permissions": {"household-registry": ["create", "read", "update"]},
            "programs": [_STANDING],
        }
    )

    permissions: dict[str, list[str]] = Field(
        description="Actions allowed, per program; `*` for administrators. One that the role in `programs` does not allow "
        "is allowed only where assignments of a higher role reach."
    )
    programs: list[Standing] = Field(description="Empty for administrators: they may do everything everywhere.")
    hint: str | None = Field(None, description="Why the account can do nothing; absent if it can.")


class AccountReply(Wire):
    model_config = examples({"message": "Token is valid"}, {"message": "User created successfully"})

    message: str
    warnings: list[str] | None = Field(None, description="What was not stored as it was sent.")
