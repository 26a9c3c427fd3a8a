"""Everybody who may call: without a token, with one that is no good, and with every standing an account can have.

All accounts have their standing in `OWN` and `ARCHIVED`, and nothing anywhere else unless their name says so.
"""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Literal

from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import update

from datacollect.features.users.tables import users
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import UserId
from tests.accounts import Person, bearer, claims_of, login, make_person
from tests.citizens import token_of
from tests.security.matrix.world import ARCHIVED, ELSEWHERE, FOREIGN, OWN, PROGRAMS, World

HOME = (OWN, ARCHIVED)
LEVELS = {"": 0, "viewer": 20, "enumerator": 40, "supervisor": 60, "program-admin": 80, "system-admin": 100}
"""`""`: a member whose role grants nothing."""

_FORMER = frozenset({"deleted account", "ended session", "signed out"})


@dataclass(frozen=True)
class Caller:
    name: str
    authorization: str | None
    standing: Literal["nobody", "citizen", "staff", "vouched for"]
    """What the authorization makes of them: nobody at all, a citizen, an account, or somebody whom a program's identity
    provider vouches for."""
    is_admin: bool = False
    roles: tuple[tuple[str, str], ...] = ()
    """(program, role) of each membership."""
    is_assigned: bool = True
    """Whether they have a role in their programs, or only belong to them."""
    is_limited: bool = False
    """To the area `north`."""
    limited_from: str = ""
    """The lowest role that is limited, of who has a lower one everywhere."""
    record: str = ""
    """Of a citizen who is signed in: the program that has their record."""
    password_due: bool = False
    """Has to choose a password of their own before anything else."""

    @property
    def is_looked_up(self) -> bool:
        """In the database; the token of anybody else is no good by itself."""
        return self.standing != "nobody" or self.name in _FORMER

    def level_in(self, program: str) -> int | None:
        """None for a stranger."""
        if self.is_admin:
            return LEVELS["system-admin"]
        role = dict(self.roles).get(program)
        return None if role is None else LEVELS[role]

    def is_limited_as(self, least: str) -> bool:
        """In what takes that role."""
        return self.is_limited and LEVELS[least] >= LEVELS[self.limited_from]

    def manages(self, program: str) -> bool:
        """Its users."""
        level = self.level_in(program)
        return level is not None and level >= LEVELS["program-admin"]


Maker = Callable[[World], Coroutine[Any, Any, list[Caller]]]


async def make_callers(world: World) -> list[Caller]:
    made = [await make(world) for make in MAKERS]
    callers = [caller for some in made for caller in some]
    assert len({caller.name for caller in callers}) == len(callers)
    return callers


async def _without_a_good_token(world: World) -> list[Caller]:
    """The rights behind these would be an administrator's."""
    pair = await login(world.admin, await make_person(world.admin, role="ADMIN"))
    good, claims, tokens = pair["token"], claims_of(pair["token"]), world.hub.tokens
    now = world.hub.clock.now()
    head = good.rpartition(".")[0]
    foreign_key = OctKey.import_key("another-secret-another-secret-32")
    bad = {
        "no header": None,
        "forged signature": f"Bearer {jwt.encode({'alg': 'HS256', 'typ': 'JWT'}, claims, foreign_key)}",
        "no signature": f"Bearer {head}.",
        "algorithm none": f"Bearer eyJhbGciOiJub25lIn0.{good.split('.')[1]}.",
        "expired": f"Bearer {tokens._sign(claims, Millis(now - 3_601_000), 3600)}",
        "wrong type": f"Bearer {tokens._sign(claims | {'typ': 'other'}, now, 3600)}",
        "no type": f"Bearer {tokens._sign({k: v for k, v in claims.items() if k != 'typ'}, now, 3600)}",
        "wrong issuer": f"Bearer {tokens._sign(claims | {'iss': 'somebody-else'}, now, 3600)}",
        "refresh": f"Bearer {pair['refreshToken']}",
        "basic": "Basic YWRtaW5AaHViLnRlc3Q6Q29ycmVjdC1Ib3JzZS03",
        "bare token": good,
    }
    return [Caller(name, authorization, "nobody") for name, authorization in bad.items()]


async def _citizens(world: World) -> list[Caller]:
    """Two whose tokens the database knows no sign-in of, one of whom claims an administrator's rights beside it; and
    two who are signed in."""
    now, tokens = world.hub.clock.now(), world.hub.tokens
    plain = {"scope": "self-service", "identifier": "x", "tenantId": OWN, "entityGuid": world.objects[OWN].entity}
    admin_id = claims_of(world.admin.headers["Authorization"].removeprefix("Bearer "))
    signed = {"self-service": plain, "self-service and more": admin_id | plain | {"tenantIds": [OWN], "role": "ADMIN"}}
    made_up = [Caller(name, f"Bearer {tokens._sign(claims, now, 3600)}", "citizen") for name, claims in signed.items()]
    homes = {"citizen": OWN, "citizen elsewhere": FOREIGN}
    signed_in = [
        Caller(
            name,
            bearer(await token_of(world.hub, home, world.objects[home].entity))["Authorization"],
            "citizen",
            record=home,
        )
        for name, home in homes.items()
    ]
    return made_up + signed_in


async def _from_providers(world: World) -> list[Caller]:
    """Whom the provider of `OWN` and `ARCHIVED` vouches for, with the role that the config gives; and whom it does not.

    The e-mail of some is an administrator's: that role is never taken over.
    """
    boss = await make_person(world.admin, role="ADMIN")
    ours = (await login(world.admin, boss))["token"]
    idp, other = world.providers.home, world.providers.other
    hour = {"exp": idp.time + 3600, "aud": "app", "email": boss.email, "email_verified": True}
    good = idp.access_token(**hour)
    bad = {
        "provider, opaque token": "keycloak 0123456789abcdef",
        "provider, our own token": f"keycloak {ours}",
        "provider, as Bearer": f"Bearer {good}",
        "provider, unknown word": f"another {good}",
        "provider, expired": f"keycloak {idp.access_token(**hour | {'exp': idp.time - 3600})}",
        "provider, for another app": f"keycloak {idp.access_token(**hour | {'aud': 'another'})}",
        "provider, of another issuer": f"keycloak {idp.access_token(**hour, iss=other.issuer)}",
        "provider, forged": f"keycloak {idp.forged({'sub': 'ada', **hour})}",
        "provider, unsigned": f"keycloak {idp.unsigned({'sub': 'ada', **hour})}",
        "provider, confused": f"keycloak {idp.confused({'sub': 'ada', **hour})}",
        "provider, ID token": f"keycloak {idp.id_token(**hour)}",
    }
    elsewhere = tuple((program, "enumerator") for program in PROGRAMS if program not in HOME)
    return [
        *(Caller(name, authorization, "nobody") for name, authorization in bad.items()),
        _vouched_for("provider's enumerator", f"keycloak {good}", "enumerator"),
        _vouched_for("provider's supervisor", f"supervisors {good}", "supervisor"),
        replace(_vouched_for("provider's northerner", f"northerners {good}", "enumerator"), is_limited=True),
        Caller("of a foreign provider", f"keycloak {other.access_token(**hour)}", "vouched for", roles=elsewhere),
    ]


def _vouched_for(name: str, authorization: str, role: str) -> Caller:
    return Caller(name, authorization, "vouched for", roles=tuple((program, role) for program in HOME))


async def _members(world: World) -> list[Caller]:
    return [
        await _member(world, role, role)
        for role in ("viewer", "enumerator", "supervisor", "program-admin", "system-admin")
    ]


async def _other_accounts(world: World) -> list[Caller]:
    plain = await make_person(world.admin, tenantIds=list(HOME))
    mighty = [{"tenantId": ELSEWHERE, "role": "system-admin"}]
    administrator = await make_person(world.admin, role="ADMIN")
    world.administrator = str(administrator.id)
    return [
        await _signed_in(world, "admin", administrator, is_admin=True),
        # Counts as an enumerator, but where the reference guards by action: decision 19 of the contract.
        replace(await _signed_in(world, "member without assignment", plain, "enumerator"), is_assigned=False),
        await _signed_in(world, "stranger", await make_person(world.admin)),
        await _member(world, "limited enumerator", "enumerator", area="north"),
        await _member(world, "limited supervisor", "supervisor", area="north"),
        await _member(world, "limited system-admin", "system-admin", area="north"),
        await _member(world, "viewer, mighty elsewhere", "viewer", more=mighty),
        replace(
            await _member(world, "viewer, mighty in the north", "viewer", more=_assignments("program-admin", "north")),
            is_limited=True,
            limited_from="enumerator",
        ),
    ]


async def _former_accounts(world: World) -> list[Caller]:
    """Their tokens were issued when they had more rights than they have now."""
    deleted = await make_person(world.admin, role="ADMIN")
    gone = await _signed_in(world, "deleted account", deleted, standing="nobody")
    assert (await world.admin.delete(f"/api/users/{deleted.id}")).status_code == 200

    demoted = await make_person(world.admin, role="ADMIN")
    lower = await _signed_in(world, "demoted account", demoted, "viewer")
    account = {"email": demoted.email, "role": "USER", "roleAssignments": _assignments("viewer")}
    assert (await world.admin.put(f"/api/users/{demoted.id}", json=account)).status_code == 200

    left = await make_person(world.admin, role="ADMIN")
    ended = await _signed_in(world, "ended session", left, standing="nobody")
    change = {"currentPassword": left.password, "newPassword": "Another-Horse-9"}
    answer = await world.admin.post(
        "/api/users/me/password", json=change, headers={"Authorization": str(ended.authorization)}
    )
    assert answer.status_code == 200, answer.text

    out = await make_person(world.admin, role="ADMIN")
    pair = await login(world.admin, out)
    answer = await world.admin.post("/api/users/logout", json={"refreshToken": pair["refreshToken"]})
    assert answer.status_code == 200, answer.text
    return [gone, lower, ended, Caller("signed out", f"Bearer {pair['token']}", "nobody")]


async def _with_a_password_to_change(world: World) -> list[Caller]:
    person = await make_person(world.admin, role="ADMIN", mustChangePassword=True)
    signed_in = await _signed_in(world, "password due", person, is_admin=True)
    return [replace(signed_in, password_due=True)]


async def _of_unknown_role(world: World) -> list[Caller]:
    """Only data of earlier releases can name such a role: it cannot be assigned any more."""
    person = await make_person(world.admin, roleAssignments=_assignments("viewer"))
    async with world.hub.db.transaction() as tx:
        await tx.execute(
            update(users).where(users.c.id == person.id).values(role_assignments=json.dumps(_assignments("ENUMERATOR")))
        )
    world.hub.auth.forget(UserId(person.id))
    return [await _signed_in(world, "unknown role", person, "")]


MAKERS: tuple[Maker, ...] = (
    _without_a_good_token,
    _citizens,
    _from_providers,
    _members,
    _other_accounts,
    _former_accounts,
    _of_unknown_role,
    _with_a_password_to_change,
)
"""A new kind of caller goes here."""


def _assignments(role: str, area: str | None = None) -> list[dict[str, str]]:
    limit = {} if area is None else {"areaId": area}
    return [{"tenantId": program, "role": role} | limit for program in HOME]


async def _member(
    world: World, name: str, role: str, *, area: str | None = None, more: list[dict[str, str]] | None = None
) -> Caller:
    assigned = _assignments(role, area) + (more or [])
    person = await make_person(world.admin, roleAssignments=assigned)
    caller = await _signed_in(world, name, person)
    roles = tuple((one["tenantId"], one["role"]) for one in assigned)
    return Caller(name, caller.authorization, "staff", roles=roles, is_limited=area is not None)


async def _signed_in(
    world: World,
    name: str,
    person: Person,
    role: str | None = None,
    *,
    is_admin: bool = False,
    standing: Literal["nobody", "staff"] = "staff",
) -> Caller:
    token = (await login(world.admin, person))["token"]
    roles = () if role is None else tuple((program, role) for program in HOME)
    return Caller(name, bearer(token)["Authorization"], standing, is_admin, roles)
