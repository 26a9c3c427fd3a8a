"""Rules of accounts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datacollect.kernel.identity import AccountRole, Actor, RoleAssignment
from datacollect.kernel.ids import TenantId, UserId

LONGEST_PASSWORD = 1024
"""Characters. Longer ones would only cost the hub work."""

_PASSWORD_RULES = (
    (re.compile(r".{8,}", re.DOTALL), "Password must be at least 8 characters"),
    (re.compile(r"[A-Z]"), "Password must contain at least one uppercase letter"),
    (re.compile(r"[a-z]"), "Password must contain at least one lowercase letter"),
    (re.compile(r"[0-9]"), "Password must contain at least one number"),
    (re.compile(r"[^A-Za-z0-9]"), "Password must contain at least one special character"),
)


def normal_email(email: str) -> str:
    """The form in which e-mail addresses are stored and compared."""
    return email.strip().casefold()


def broken_password_rules(password: str) -> list[str]:
    """The text of each rule the password breaks; empty for a good one."""
    broken = [message for rule, message in _PASSWORD_RULES if not rule.search(password)]
    if len(password) > LONGEST_PASSWORD:
        broken.append(f"Password must be at most {LONGEST_PASSWORD} characters")
    return broken


@dataclass(frozen=True, slots=True)
class User:
    """An account as the database has it. `role_assignments` are in wire form."""

    id: UserId
    email: str
    password_hash: str
    role: AccountRole
    tenant_ids: tuple[str, ...]
    role_assignments: tuple[Mapping[str, Any], ...]
    version: int

    def to_wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "email": self.email,
            "role": self.role.value,
            "tenantIds": list(self.tenant_ids),
            "roleAssignments": list(self.role_assignments),
        }

    def to_actor(self) -> Actor:
        return Actor(
            kind="user",
            label=self.email,
            user_id=self.id,
            account_role=self.role,
            tenant_ids=frozenset(map(TenantId, self.tenant_ids)),
            assignments=tuple(
                RoleAssignment(
                    tenant_id=TenantId(wire["tenantId"]),
                    role=wire["role"],
                    area_id=wire.get("areaId"),
                    sync_scope_override=wire.get("syncScopeOverride"),
                )
                for wire in self.role_assignments
            ),
        )
