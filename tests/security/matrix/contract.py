"""Who may do what, written by hand from the contract, independently of the code that is to keep it.

A route that is missing here fails the matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.security.matrix.callers import LEVELS, Caller
from tests.security.matrix.world import ADMINS, PROGRAMS, RUNNING, UNKNOWN


@dataclass(frozen=True)
class Rule:
    who: Literal["anybody", "staff", "admin", "member", "manager", "reviewer", "citizen"]
    """A manager manages the users of some program: a program-admin of it, or an administrator. A reviewer is a supervisor of
    some program."""
    least: str = ""
    """Of members: the lowest role that may; "" for membership alone, whatever the role."""
    at: Literal["query", "body", "tenant", "path", "object", "job", "list", ""] = ""
    """Where the request says which program it is about: `tenant` as `tenantId`, `object` by an id that belongs to one, `list` in `tenantIds`;
    "" for none. A `job` is looked up before its program: one that is nowhere is so for everybody."""
    anywhere: bool = False
    """Whether there is an answer for programs that are not there, too: that there is nothing."""
    missing: int = 404
    """What those who may are answered when there is no such program, or it does not run. Strangers get 403 all the
    same: the reference tells on sync routes first whether there is such a program, which lets them probe names."""
    archived_too: bool = False
    """Whether it goes on for archived programs."""
    foreign: int = 403
    """What managers of other programs are answered about this one."""
    guard: Literal["staff", "sync"] = "staff"
    """What a citizen's token is told: 403, or 401 where providers' tokens are accepted too."""
    assigned: bool = False
    """Guarded by action in the reference: belonging to the program is not enough."""
    whole: bool = False
    """Tells of the whole program, so nobody who is limited to a part of it may."""
    as_mighty: bool = False
    """About an account that reaches the whole program: nobody who is limited to a part of it gives or takes that."""
    password_due: bool = False
    """Open also to those who must choose a password of their own first."""
    reveals: str = ""
    """Kinds of marks that a permitted answer may show."""
    to_managers: str = ""
    """And those it may show to a system-admin of the whole program."""
    to_admins: str = ""
    about: Literal["target", "mine", "managed"] = "target"
    """Of which programs: the one asked for, or all that the caller belongs to, or whose users they manage."""


_PUBLIC = Rule("anybody")
_STAFF = Rule("staff")
_ADMIN = Rule("admin")
_READ = Rule("member", "viewer", at="query", reveals="data north")
_SYNC = Rule("member", "viewer", at="query", missing=400, guard="sync", reveals="data north")
_CONFLICTS = Rule("member", "viewer", at="query", missing=400, guard="sync", whole=True, reveals="data")
_QUARANTINE = Rule("member", "supervisor", at="query", missing=400, whole=True, reveals="quarantine device data")
_REVIEW = Rule("member", "supervisor", at="job", assigned=True, reveals="data")
_DEVICES = Rule("admin", at="query", missing=400, reveals="device")
_PROGRAM_ADMIN = Rule("admin", at="path", archived_too=True)
_PROGRAM_MANAGER = Rule("member", "system-admin", at="path", archived_too=True, whole=True)
_CITIZEN = Rule("citizen")
"""Self-service, 2: about the record in the token, and no other."""
_ACCOUNT = Rule("manager", at="object", archived_too=True, foreign=404, as_mighty=True)
_FILE = Rule("anybody", at="object", reveals="name form")

RULES: Mapping[str, Rule] = {
    # The server, 4 and 6.
    "GET /health": _PUBLIC,
    "GET /health/live": _PUBLIC,
    "GET /health/ready": _PUBLIC,
    "GET /openapi.json": _PUBLIC,
    "GET /api-docs/openapi.json": _PUBLIC,
    "GET /openapi.yaml": _PUBLIC,
    # Accounts, 8.
    "POST /api/users/login": _PUBLIC,
    "GET /api/users/login/providers": _PUBLIC,
    "POST /api/users/login/provider": _PUBLIC,
    "POST /api/users/refresh": _PUBLIC,
    "POST /api/users/logout": _PUBLIC,
    "GET /api/users/check-token": _STAFF,
    "GET /api/users/me": Rule("staff", password_due=True),
    "POST /api/users/me/password": Rule("staff", password_due=True),
    "GET /api/users/me/sessions": _STAFF,
    "DELETE /api/users/me/sessions": _STAFF,
    "DELETE /api/users/me/sessions/{sessionId}": _STAFF,
    "DELETE /api/users/{id}/sessions": Rule("admin", at="object", archived_too=True),
    "GET /api/users": Rule("manager", about="managed", reveals="email part"),
    "POST /api/users": Rule("manager", at="list", archived_too=True, missing=400, as_mighty=True),
    "POST /api/users/memberships": Rule("manager", at="list", archived_too=True, missing=400, as_mighty=True),
    "GET /api/users/{idOrEmail}": Rule("manager", at="object", archived_too=True, foreign=404, reveals="email"),
    "PUT /api/users/{idOrEmail}": _ACCOUNT,
    "DELETE /api/users/{idOrEmail}": _ACCOUNT,
    "GET /api/security-log": _ADMIN,
    # Self-service, 1.
    "POST /api/auth/otp/request": _PUBLIC,
    "POST /api/auth/otp/verify": _PUBLIC,
    "POST /api/auth/id/verify": _PUBLIC,
    "POST /api/auth/oidc/nonce": _PUBLIC,
    "POST /api/auth/oidc/exchange": _PUBLIC,
    "POST /api/auth/self-service/logout": _CITIZEN,
    # Self-service, 4: what is shown of the record, and nothing of anybody else's.
    "GET /api/auth/self-service/entity": Rule("citizen", reveals="data"),
    "POST /api/auth/self-service/submit": _CITIZEN,
    "GET /api/auth/self-service/submissions": _CITIZEN,
    "POST /api/auth/self-service/submissions/{id}/withdraw": _CITIZEN,
    "GET /api/auth/self-service/export": Rule("citizen", reveals="data name"),
    "GET /api/auth/self-service/access-log": Rule("citizen", reveals="name"),
    # Programs, 1 and 11: C19 lets system-admins of a program manage it, C20 hides archived ones from the public.
    "GET /api/apps": Rule("staff", about="mine", reveals="name", to_admins="secret"),
    "POST /api/apps": _ADMIN,
    "GET /api/apps/{id}": Rule(
        "member",
        "viewer",
        at="path",
        archived_too=True,
        reveals="name form",
        to_managers="data",
        to_admins="data secret",
    ),
    "GET /api/apps/{id}/public": Rule("anybody", at="path", reveals="name"),
    "PUT /api/apps/{id}": _PROGRAM_MANAGER,
    "PATCH /api/apps/{id}/syncScope": _PROGRAM_MANAGER,
    "PATCH /api/apps/{id}/programs": _PROGRAM_MANAGER,
    "PATCH /api/apps/{id}/claim169": _PROGRAM_MANAGER,
    "PATCH /api/apps/{id}/inji": _PROGRAM_MANAGER,
    "DELETE /api/apps/{id}": _PROGRAM_ADMIN,
    "POST /api/apps/{id}/restore": _PROGRAM_ADMIN,
    "DELETE /api/apps/{id}/purge": _PROGRAM_ADMIN,
    # What a program was is for whoever may change it; secrets as in the program itself, and in a comparison for nobody.
    "GET /api/apps/{id}/versions": _PROGRAM_MANAGER,
    "GET /api/apps/{id}/versions/{revision}": Rule(
        "member", "system-admin", at="path", archived_too=True, whole=True, reveals="name form data", to_admins="secret"
    ),
    "GET /api/apps/{id}/versions/{revision}/diff": Rule(
        "member", "system-admin", at="path", archived_too=True, whole=True, reveals="name form"
    ),
    "POST /api/apps/{id}/versions/{revision}/restore": _PROGRAM_MANAGER,
    "POST /api/apps/{id}/artifact/rotate": _PROGRAM_MANAGER,
    "GET /artifacts/{artifactId}.json": _FILE,
    "GET /artifacts/{artifactId}.png": _FILE,
    "GET /artifacts/{artifactId}.svg": _FILE,
    # Entities, 1 and 2; decision 19.
    "GET /api/entities": _READ,
    "POST /api/entities/search": Rule("member", "viewer", at="body", reveals="data north"),
    "GET /api/entities/count": _READ,
    "GET /api/entities/count-by-form": _READ,
    # 3.8 leaves open which role; taking a program's people out of the hub is for those who run the program.
    "GET /api/entities/export": Rule(
        "member", "program-admin", at="query", reveals="data north device name form audit"
    ),
    "GET /api/entities/{guid}": _READ,
    "GET /api/entities/{guid}/members": _READ,
    "GET /api/entities/{guid}/events": _READ,
    "GET /api/entities/{guid}/history": Rule("member", "viewer", at="query", reveals="data north device"),
    # Attachments, 2; decision 19. A link is for whoever has it.
    "POST /api/attachments/upload": Rule("member", "enumerator", at="query"),
    "GET /api/attachments": _READ,
    "GET /api/attachments/pending": Rule("member", "viewer", at="query", whole=True, reveals="data"),
    "GET /api/attachments/entity/{entityGuid}": _READ,
    "GET /api/attachments/{guid}": _READ,
    "HEAD /api/attachments/{guid}": _READ,
    "GET /api/attachments/{guid}/metadata": _READ,
    "DELETE /api/attachments/{guid}": Rule("member", "enumerator", at="query"),
    "POST /api/attachments/{guid}/link": Rule("member", "viewer", at="query"),
    "GET /api/attachments/{guid}/file": Rule("anybody", at="object", missing=403, reveals="north"),
    "HEAD /api/attachments/{guid}/file": Rule("anybody", at="object", missing=403, reveals="north"),
    # Sync, 1; decisions 6 and 19.
    "GET /api/sync/pull": _SYNC,
    "GET /api/sync/pull/callback": _SYNC,
    "POST /api/sync/push": Rule("member", "enumerator", at="body", missing=400, guard="sync"),
    "POST /api/sync/push/audit-logs": Rule("member", "enumerator", at="body"),
    "GET /api/sync/pull/audit-logs": Rule(
        "member", "supervisor", at="query", whole=True, reveals="data north audit device"
    ),
    "GET /api/sync/form-findings": Rule("member", "supervisor", at="query", missing=400, guard="sync", whole=True),
    "GET /api/integrity": Rule("member", "supervisor", at="query"),
    "GET /api/conflicts": _CONFLICTS,
    "GET /api/conflicts/{guid}": _CONFLICTS,
    "POST /api/conflicts/{guid}/resolve": Rule(
        "member", "supervisor", at="query", missing=400, guard="sync", whole=True, reveals="data"
    ),
    # Duplicates, 2 and 3; decisions 13 and 19. The list and decisions are about the whole program.
    "GET /api/potential-duplicates": Rule("member", "viewer", at="query", whole=True, reveals="data north name form"),
    "POST /api/potential-duplicates/resolve": Rule("member", "supervisor", at="body", whole=True),
    "POST /api/potential-duplicates/check": Rule("member", "viewer", at="body", reveals="data north"),
    "POST /api/potential-duplicates/sweep": Rule("member", "supervisor", at="query", whole=True),
    # Ours: the outbox of codes and notices, with masked addresses.
    "GET /api/messages": Rule("member", "program-admin", at="query", whole=True),
    "GET /api/admin/devices": _DEVICES,
    "POST /api/admin/devices/{deviceId}/revoke": _DEVICES,
    "POST /api/admin/devices/{deviceId}/restore": _DEVICES,
    # External synchronisation, 2; decision 19, and its weak points J2 and J8.
    "GET /api/sync/status": Rule("member", "viewer", at="query", anywhere=True),
    "GET /api/sync/events": Rule("member", "viewer", at="query", anywhere=True),
    "POST /api/sync/external": Rule("member", "program-admin", at="body", whole=True),
    "GET /api/sync/external/{jobId}": Rule("member", "viewer", at="job", archived_too=True),
    "GET /api/sync/external/{jobId}/errors": Rule("member", "viewer", at="job", archived_too=True, whole=True),
    "POST /api/sync/external/{jobId}/cancel": Rule("member", "program-admin", at="job", archived_too=True, whole=True),
    "POST /api/sync/external/{jobId}/retry": Rule("member", "program-admin", at="job", whole=True),
    "GET /api/sync/failures": Rule("member", "program-admin", at="query", whole=True),
    "POST /api/sync/failures/retry": Rule("member", "program-admin", at="query", whole=True),
    "POST /api/sync/connection": Rule("member", "program-admin", at="query", whole=True),
    "GET /api/adapters": _STAFF,
    "GET /api/sync/quarantine": _QUARANTINE,
    "GET /api/sync/quarantine/{id}": _QUARANTINE,
    "POST /api/sync/quarantine/replay": _QUARANTINE,
    "POST /api/sync/quarantine/discard": _QUARANTINE,
    "POST /api/sync/quarantine/{id}/replay": _QUARANTINE,
    "POST /api/sync/quarantine/{id}/discard": _QUARANTINE,
    # Reviews, 7, R29 and R32.
    "GET /api/reviews": Rule("member", "viewer", at="tenant", assigned=True, reveals="data"),
    "POST /api/reviews/submit": Rule("member", "enumerator", at="tenant", assigned=True),
    "POST /api/reviews/bulk-approve": Rule("reviewer"),
    "GET /api/reviews/{id}": Rule("member", "viewer", at="job", assigned=True, reveals="data"),
    "POST /api/reviews/{id}/approve": _REVIEW,
    "POST /api/reviews/{id}/reject": _REVIEW,
    "POST /api/reviews/{id}/request-changes": _REVIEW,
    "POST /api/reviews/{id}/assign": _REVIEW,
    "POST /api/reviews/{id}/withdraw": Rule("member", "viewer", at="job", assigned=True, reveals="data"),
    "POST /api/reviews/{id}/take-back": Rule("member", "program-admin", at="job", assigned=True, reveals="data"),
    "GET /api/reviews/{id}/comments": Rule("member", "viewer", at="job", assigned=True),
    "POST /api/reviews/{id}/comments": Rule("member", "viewer", at="job", assigned=True),
    "GET /api/reviews/config/{id}": Rule("member", "viewer", at="path", assigned=True),
    "PUT /api/reviews/config/{id}/{eventType}": Rule("member", "system-admin", at="path", whole=True, assigned=True),
    # Discovery, the table and TARGET: whoever makes the hub call out is an administrator.
    "POST /api/openspp-fields/parse": _STAFF,
    "POST /api/openspp-fields/parse-file": _STAFF,
    "POST /api/openspp-fields/fetch": _ADMIN,
    "POST /api/openspp-fields/v2/test-connection": _ADMIN,
    "POST /api/openspp-fields/v2/fields": _ADMIN,
    "POST /api/openspp/programs/discover": _ADMIN,
}


_OF_OURS = frozenset({"wrong type", "no type", "wrong issuer", "deleted account", "ended session", "signed out"})
"""Callers whose tokens the hub has signed, for something else than self-service. A refresh token opens nothing anywhere."""


def refusal(rule: Rule, caller: Caller, program: str) -> int | None:
    """The status that the caller must get; None if they may."""
    if rule.who == "citizen":
        return _refusal_by_citizens(caller)
    if rule.who != "anybody" and caller.standing == "nobody":
        return 401
    if rule.who != "anybody" and caller.standing == "citizen":
        return 403 if rule.guard == "staff" else 401
    if caller.password_due and rule.who != "anybody" and not rule.password_due:
        return 403
    if _may(rule, caller, program) and rule.who == "manager" and rule.at and not caller.manages(program):
        return rule.foreign
    if rule.who != "anybody" and caller.standing == "vouched for" and not _is_vouched_for(rule, caller, program):
        return 401
    if rule.at == "job" and program == UNKNOWN:
        return rule.missing
    if not _may(rule, caller, program) or ((rule.whole or rule.as_mighty) and is_limited(rule, caller)):
        return 403
    is_missing = bool(rule.at) and not rule.anywhere and program not in (PROGRAMS if rule.archived_too else RUNNING)
    return rule.missing if is_missing else None


def _refusal_by_citizens(caller: Caller) -> int | None:
    """The scope of a token is looked at first: whoever has another one of ours is told so (403)."""
    if caller.standing == "citizen":
        return None if caller.record else 401
    return 403 if caller.standing == "staff" or caller.name in _OF_OURS else 401


def _is_vouched_for(rule: Rule, caller: Caller, program: str) -> bool:
    """Only to running programs that ask the caller's provider, and there on sync routes only."""
    return rule.guard == "sync" and program in RUNNING and caller.level_in(program) is not None


def is_limited(rule: Rule, caller: Caller) -> bool:
    """Whether the caller may do it in the north only."""
    return caller.is_limited_as({"manager": "program-admin", "reviewer": "supervisor"}.get(rule.who, rule.least))


def _may(rule: Rule, caller: Caller, program: str) -> bool:
    if rule.who == "admin":
        return caller.is_admin
    if rule.who == "member":
        level = caller.level_in(program)
        return level is not None and level >= LEVELS[rule.least] and (caller.is_assigned or not rule.assigned)
    if rule.who == "manager":
        return any(caller.manages(one) for one in PROGRAMS)
    if rule.who == "reviewer":
        return any((caller.level_in(one) or 0) >= LEVELS["supervisor"] for one in PROGRAMS)
    return True


def visible(rule: Rule, caller: Caller, program: str, *, permitted: bool) -> set[tuple[str, str]]:
    """All marks, as (program, kind), that an answer to this caller may show."""
    if not permitted:
        return set()
    programs = [caller.record] if rule.who == "citizen" else [program]
    if rule.about == "mine":
        # The matrix makes programs with the marks of `UNKNOWN` too, when it tries whether one may.
        programs = [one for one in (*PROGRAMS, UNKNOWN) if caller.level_in(one) is not None]
    if rule.about == "managed":
        programs = [one for one in (*PROGRAMS, UNKNOWN) if caller.manages(one)] + [ADMINS] * caller.is_admin
    return {(one, kind) for one in programs for kind in _kinds(rule, caller, one)}


def _kinds(rule: Rule, caller: Caller, program: str) -> set[str]:
    kinds = set(rule.reveals.split())
    if caller.level_in(program) == LEVELS["system-admin"]:
        kinds |= set(rule.to_managers.split())
    if is_limited(rule, caller):
        kinds -= {"data"}
    if caller.is_admin:
        kinds |= set(rule.to_admins.split())
    return kinds
