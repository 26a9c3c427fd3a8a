"""Rules of accounts."""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datacollect.features.users.errors import InvalidUserId, UserNotFound
from datacollect.features.users.obvious import is_obvious
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.identity import AccountRole, Action, Actor, Role
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import RoleAssignment, effective_scope

LONGEST_PASSWORD = 1024
"""Characters. Longer ones would only cost the hub work."""

_LONGEST_ID = 9
"""Digits."""

_MOST_TOLD = 50
"""Programs that one entry of the security log names."""

_SHORTEST_NAME = 4
"""Names before the `@` that are shorter stand in good passwords by chance."""

_PASSWORD_RULES = (
    (re.compile(r".{8,}", re.DOTALL), "Password must be at least 8 characters"),
    (re.compile(r"[A-Z]"), "Password must contain at least one uppercase letter"),
    (re.compile(r"[a-z]"), "Password must contain at least one lowercase letter"),
    (re.compile(r"[0-9]"), "Password must contain at least one number"),
    (re.compile(r"[^A-Za-z0-9]"), "Password must contain at least one special character"),
    # Bytes of a file or of the environment that are no UTF-8 come as halves of characters; no JSON can sign in with them.
    (re.compile(r"\A[^\0\ud800-\udfff]*\Z"), "Password must be valid UTF-8 without NUL characters"),
)


def normal_email(email: str) -> str:
    """The form in which e-mail addresses are stored and compared: without regard to case, and to whether an accent is a
    character of its own."""
    folded = email.strip().casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.strip()).casefold())


def stored_forms(email: str) -> Sequence[str]:
    """The forms in which an account of that address may be stored: as it was typed, where it is older than the normal
    form, which comes next."""
    normal = normal_email(email)
    return list(dict.fromkeys((email.strip().casefold(), normal, unicodedata.normalize("NFD", normal))))


def key_of(text: str) -> UserId | str:
    """An account's id or its e-mail in normal form, as it stands in an address: `12abc` is 12, as the reference reads it.

    Raises `InvalidUserId`, and `UserNotFound` for numbers that are no id.
    """
    if "@" in text:
        return normal_email(text)
    digits = re.match(r"\d+", text, re.ASCII)
    if digits is None:
        raise InvalidUserId()
    if len(digits[0]) > _LONGEST_ID:
        raise UserNotFound()
    return UserId(int(digits[0]))


def exact_key_of(text: str) -> UserId | str:
    """As `key_of`, for what cannot be undone: a number and nothing else, or an e-mail."""
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID:
        return UserId(int(text))
    return normal_email(text)


def broken_password_rules(password: str, *, strict: bool, email: object = None) -> list[str]:
    """The text of each rule the password breaks; empty for a good one. `email` is its owner's, if it is known.

    The contract's rules, and if it is `strict` those of our own. Rules of new passwords: at sign-in only the stored hash
    counts.
    """
    broken = [message for rule, message in _PASSWORD_RULES if not rule.search(password)]
    if len(password) > LONGEST_PASSWORD:
        broken.append(f"Password must be at most {LONGEST_PASSWORD} characters")
    if not strict:
        return broken
    if not broken and is_obvious(password):
        broken.append("Password must not be one of those that are guessed first")
    if isinstance(email, str) and _contains_name(password, normal_email(email)):
        broken.append("Password must not contain the name in the e-mail")
    return broken


def _contains_name(password: str, email: str) -> bool:
    name = email.partition("@")[0]
    return len(name) >= _SHORTEST_NAME and name in password.casefold()


def password_issues(password: str, *, member: str, strict: bool, email: object = None) -> list[Issue]:
    """What is wrong with a new password, as issues of the payload's `member`."""
    broken = broken_password_rules(password, strict=strict, email=email)
    return [Issue(code=IssueCode.WEAK_PASSWORD, path=[member], message=text) for text in broken]


def same_password_issue(*, member: str) -> Issue:
    """Of a change that changes nothing: who has to choose a password of their own has not done so."""
    return Issue(code=IssueCode.WEAK_PASSWORD, path=[member], message="Password must not be the present one")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which accounts a list is to show."""

    after: UserId | None = None
    search: str = ""
    """Part of the e-mail, in its normal form."""
    account_role: AccountRole | None = None
    programs: frozenset[TenantId] | None = None
    """Members of at least one of these; None is everybody."""
    role: Role | None = None
    """Those with this role in one of `programs`."""
    no_admins: bool = False


@dataclass(frozen=True, slots=True)
class Memberships:
    """The programs an account belongs to, and what it is there. Every assignment's program is one of them."""

    tenant_ids: tuple[str, ...] = ()
    assignments: tuple[Mapping[str, Any], ...] = ()
    """In wire form."""

    def changed(
        self, tenant_ids: Sequence[str] | None, assignments: Sequence[Mapping[str, Any]] | None
    ) -> "Memberships":
        """The memberships after a request that gives one, both or none of the two lists.

        An assignment makes its account a member of the program. Programs given without assignments take the stored
        assignments of all other programs away, so that one who is put out of a program keeps no role there.
        Assignments given without programs put the account out of those in which they leave it none: a member without
        any counts as an enumerator, so a viewer whose role is taken away would be able to write.
        """
        if assignments is None:
            members = self.tenant_ids if tenant_ids is None else tuple(tenant_ids)
            return Memberships(_once(members), tuple(one for one in self.assignments if one["tenantId"] in members))
        if tenant_ids is None:
            had_role = {one["tenantId"] for one in self.assignments}
            tenant_ids = [tenant for tenant in self.tenant_ids if tenant not in had_role]
        assignments = _once_each(assignments)
        return Memberships(_once([*tenant_ids, *(one["tenantId"] for one in assignments)]), assignments)

    def joined(self, other: "Memberships") -> "Memberships":
        """Those of both."""
        return Memberships(
            _once([*self.tenant_ids, *other.tenant_ids]), _once_each([*self.assignments, *other.assignments])
        )

    def within(self, programs: Collection[str]) -> "Memberships":
        """The part that is about these programs."""
        return self._only(lambda tenant: tenant in programs)

    def without(self, programs: Collection[str]) -> "Memberships":
        """The part that is about all other programs."""
        return self._only(lambda tenant: tenant not in programs)

    def _only(self, wanted: Callable[[str], bool]) -> "Memberships":
        return Memberships(
            tuple(tenant for tenant in self.tenant_ids if wanted(tenant)),
            tuple(one for one in self.assignments if wanted(one["tenantId"])),
        )


def _once(tenant_ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tenant_ids))


def _once_each(assignments: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Without those that are written twice; two different ones of one program are both kept."""
    return tuple({canonical_json(one): one for one in assignments}.values())


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
    must_change_password: bool = False
    """Whether its owner has to choose a password before anything else."""

    @property
    def memberships(self) -> Memberships:
        return Memberships(self.tenant_ids, self.role_assignments)

    def by_program(self) -> dict[TenantId, Actor]:
        """An ordinary account as it is seen from each of its programs: with nothing elsewhere."""
        actor = replace(self, role=AccountRole.USER).to_actor()
        parts: dict[TenantId, list[RoleAssignment]] = {TenantId(tenant): [] for tenant in self.tenant_ids}
        for assignment in actor.assignments:
            # What is assigned without a membership grants nothing.
            if assignment.tenant_id in parts:
                parts[assignment.tenant_id].append(assignment)
        return {
            tenant: replace(actor, tenant_ids=frozenset({tenant}), assignments=tuple(part))
            for tenant, part in parts.items()
        }

    def roles(self) -> dict[TenantId, Role | None]:
        """What an ordinary account is in each of its programs."""
        return {tenant: part.role_in(tenant) for tenant, part in self.by_program().items()}

    def with_memberships(self, memberships: Memberships) -> "User":
        return replace(self, tenant_ids=memberships.tenant_ids, role_assignments=memberships.assignments)

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
            must_change_password=self.must_change_password,
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


def difference(before: User | None, after: User | None) -> dict[str, Any]:
    """What a change did to an account, as the security log tells it: names of members, and roles. No values of them."""
    changed = []
    if before is not None and after is not None:
        pairs = {
            "email": before.email != after.email,
            "password": before.password_hash != after.password_hash,
            "role": before.role is not after.role,
            "mustChangePassword": before.must_change_password != after.must_change_password,
        }
        changed = [name for name, differs in pairs.items() if differs]
    held, given = (user.by_program() if user else {} for user in (before, after))
    programs = {
        tenant: {"from": _role_of(tenant, held), "to": _role_of(tenant, given)}
        for tenant in held | given
        if tenant not in held or tenant not in given or held[tenant].assignments != given[tenant].assignments
    }
    told: dict[str, Any] = {"changed": changed, "programs": dict(list(programs.items())[:_MOST_TOLD])}
    account_roles = [user.role.value if user else None for user in (before, after)]
    if account_roles[0] != account_roles[1]:
        told["role"] = {"from": account_roles[0], "to": account_roles[1]}
    if len(programs) > _MOST_TOLD:
        told["morePrograms"] = len(programs) - _MOST_TOLD
    return told


def _role_of(tenant_id: TenantId, parts: Mapping[TenantId, Actor]) -> Role | None:
    return parts[tenant_id].role_in(tenant_id) if tenant_id in parts else None


def standing(tenant_id: TenantId, part: Actor, *, state: str, now: Millis) -> dict[str, Any]:
    """What somebody is in a program, in wire form: how far they read, and what they are in all of that. `part` is what
    `User.by_program` gives."""
    scope = effective_scope(None, part.assignments_in(tenant_id), now=now).to_wire()
    del scope["hash"]  # of the account's limits alone; the one that devices see has the program's in it
    role = part.in_tenant(tenant_id, Action.READ).role.value if part.may(tenant_id, Action.READ) else None
    return {"tenantId": tenant_id, "state": state, "role": role, **scope}


def hint_for(permissions: Mapping[str, Sequence[str]], states: Mapping[TenantId, str]) -> str | None:
    """Why an ordinary account with these permissions can do nothing; None if it can do something."""
    if not permissions:
        return "This account belongs to no program yet. Ask an administrator to add it to one."
    running = [tenant for tenant in permissions if states.get(TenantId(tenant)) == "running"]
    if not running:
        return "None of this account's programs is running. Ask an administrator."
    if not any(permissions[tenant] for tenant in running):
        return "This account has no valid role in its programs. Ask an administrator."
    return None
