"""For every operation, requests that would succeed if only nobody looked at who sends them.

Their ids exist in the program they are about, and their bodies are valid: a check that is missing shows.
"""

import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from datacollect.eventstore.event import Event
from datacollect.features.attachments.links import link_path
from datacollect.features.reviews import service as reviews
from datacollect.features.reviews.model import Submission, SubmissionOrigin, citizen_key
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from tests.accounts import PASSWORD, bearer, claims_of, login, make_person
from tests.attachments import form_of
from tests.citizens import token_of
from tests.conftest import JWT_SECRET
from tests.factories import make_audit_log, make_event
from tests.security.matrix.callers import LEVELS, Caller
from tests.security.matrix.world import (
    ARCHIVED,
    ELSEWHERE,
    OWN,
    RUNNING,
    SHARED,
    UNKNOWN,
    Objects,
    Sent,
    World,
    likeness_of,
)

DEVICE = {"X-Device-Id": "device-of-the-matrix"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """What a request is about."""

    name: str
    """Whose marks are there."""
    id: str
    """The `configId`."""
    objects: Objects
    config: dict[str, Any]
    account: tuple[str, str]
    """E-mail and password of an account, of another program or made for one request."""
    refresh_token: str = "no-token"
    authorization: str | None = None
    registry: str = "http://registry.invalid"
    """Where a registry is that answers; nobody is called for who may not ask."""


Build = Callable[[Place], Sent]


Prepare = Callable[[World, Place], Awaitable[Place]]


@dataclass(frozen=True)
class Recipe:
    build: Build
    ok: int | Callable[[Caller], int] = 200
    """The status for whom the contract lets pass."""
    limited: int | None = None
    """And for those of them who are limited to the north, if it is another one."""
    prepare: Prepare | None = None
    """Makes what the request will use up, for requests that are to be let pass; the others are about what is there."""
    once: bool = False
    """The caller is an account that `prepare` makes."""
    writes: bool = False
    name: str = ""


def place(world: World, program: str) -> Place:
    return Place(program, program, world.objects[program], world.config_of(program), (world.guest, PASSWORD))


def _config(place: Place) -> dict[str, Any]:
    return place.config | {"id": place.id}


def _get(path: str, *, headers: Mapping[str, str] | None = None, **query: str) -> Build:
    """`{}` in the path is filled with the objects' names; `configId` is asked for by `_of`."""
    return lambda place: Sent("GET", _filled(path, place), tuple(query.items()), headers=headers or {})


def _of(
    path: str, *, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None, **query: str
) -> Build:
    """As `_get`, with the program in the query."""

    def build(place: Place) -> Sent:
        filled = tuple((name, _filled(value, place)) for name, value in query.items())
        content = body(place) if callable(body) else body
        return Sent(method, _filled(path, place), (("configId", place.id), *filled), content, headers=headers or {})

    return build


def _filled(text: str, place: Place) -> str:
    return text.format(id=place.id, **vars(place.objects)) if "{" in text else text


def _app(method: str, path: str = "", body: Callable[[Place], Any] | None = None) -> Build:
    return lambda place: Sent(method, f"/api/apps/{place.id}{path}", body=body and body(place))


def _plain(method: str, path: str, body: Callable[[Place], Any]) -> Build:
    return lambda place: Sent(method, _filled(path, place), body=body(place), authorization=place.authorization)


def _pushed(area: str) -> Build:
    def build(place: Place) -> Sent:
        event = make_event(data={"entityName": "individual", "name": "Leo", "area_id": area})
        return Sent("POST", "/api/sync/push", body={"configId": place.id, "events": [event]}, headers=DEVICE)

    return build


def _pushed_to(place: Place) -> Sent:
    event = make_event("update-individual", entity=place.objects.north, data={"village": "Nong"})
    return Sent("POST", "/api/sync/push", body={"configId": place.id, "events": [event]}, headers=DEVICE)


def _searched(*criteria: Mapping[str, Any]) -> Build:
    def build(place: Place) -> Sent:
        return Sent("POST", "/api/entities/search", body={"configId": place.id, "criteria": list(criteria)})

    return build


def _noted(place: Place) -> Sent:
    body = {"configId": place.id, "auditLogs": [make_audit_log(entityGuid=place.objects.entity)]}
    return Sent("POST", "/api/sync/push/audit-logs", body=body, headers=DEVICE)


def _attached(entity: str) -> Build:
    """A file for an entity, by its name among the objects."""

    def build(place: Place) -> Sent:
        file = 'name="file"; filename="photo.txt"\r\nContent-Type: text/plain'
        raw, headers = form_of((file, b"hello"), ('name="entityGuid"', getattr(place.objects, entity).encode()))
        return Sent("POST", "/api/attachments/upload", (("configId", place.id),), raw=raw, headers=headers)

    return build


def _linked(place: Place) -> Sent:
    """A link such as the hub makes."""
    soon = Millis(int(time.time() * 1000) + 30 * 60 * 1000)
    path = link_path([JWT_SECRET.encode()], TenantId(place.id), place.objects.north_attachment, soon)
    address = urlsplit(path)
    return Sent("GET", address.path, tuple(parse_qsl(address.query)))


def _looked_for_by_link(place: Place) -> Sent:
    return replace(_linked(place), method="HEAD")


async def _fresh_attachment(world: World, place: Place) -> Place:
    guid = await world.make_attachment(place.id, place.objects.north, "photo")
    return replace(place, objects=replace(place.objects, north_attachment=guid))


async def _fresh_conflict(world: World, place: Place) -> Place:
    entity, conflict = await world.make_conflict(place.id, place.name)
    return replace(place, objects=replace(place.objects, entity=entity, conflict=conflict))


def _decided(**decision: Any) -> Build:
    def build(place: Place) -> Sent:
        newer, older = place.objects.pair
        body = {"configId": place.id, "newItem": newer, "existingItem": older} | decision
        return Sent("POST", "/api/potential-duplicates/resolve", body=body)

    return build


def _asked_before_saving(place: Place) -> Sent:
    body = {"configId": place.id, "data": likeness_of(place.name)}
    return Sent("POST", "/api/potential-duplicates/check", body=body)


async def _fresh_pair(world: World, place: Place) -> Place:
    return replace(place, objects=replace(place.objects, pair=await world.fresh_pair(place.id, place.name)))


async def _fresh_quarantined(world: World, place: Place) -> Place:
    """Marked as data, which it is once it has been replayed."""
    quarantined = await world.make_quarantined(place.id, place.name, "data")
    return replace(place, objects=replace(place.objects, quarantined=quarantined))


async def _another_minute(world: World, place: Place) -> Place:
    """A program may be tested so often in a minute."""
    world.clock.turn(seconds=11)
    return place


async def _waiting_run(world: World, place: Place) -> Place:
    if place.name == UNKNOWN:
        return place
    await world.exchanged(place.id)
    return replace(place, objects=replace(place.objects, job=await world.make_waiting_run(place.id)))


def _fresh_review_of(by_the_administrator: bool = False, *, delegated: bool = False) -> Prepare:
    async def prepare(world: World, place: Place) -> Place:
        if place.name == UNKNOWN:
            return place
        by = world.administrator if by_the_administrator else "0"
        review = await world.make_review(place.id, place.name, by=by, delegated=delegated)
        return replace(place, objects=replace(place.objects, review=review))

    return prepare


_fresh_review = _fresh_review_of()


def _who_submitted(caller: Caller) -> int:
    return 200 if caller.name == "admin" else 403


def _submitted(area: str) -> Build:
    def build(place: Place) -> Sent:
        event = make_event(data={"entityName": "individual", "name": "Leo", "area_id": area})
        return Sent("POST", "/api/reviews/submit", body={"tenantId": place.id, "formData": event})

    return build


def _in_review(what: str, **body: Any) -> Build:
    return _plain("POST", f"/api/reviews/{{review}}/{what}", lambda _: body)


def _who_decides(caller: Caller) -> int:
    """About somebody in the south."""
    decides = (caller.level_in(OWN) or 0) >= LEVELS["supervisor"] and not caller.is_limited_as("supervisor")
    return 200 if decides else 403


def _asked_for_reviews(place: Place) -> Sent:
    return Sent("GET", "/api/reviews", (("tenantId", place.id),))


async def _no_run(world: World, place: Place) -> Place:
    """The program at rest: a run holds off the next one."""
    if place.name != UNKNOWN:
        await world.exchanged(place.id)
    return place


async def _fresh_device(_: World, place: Place) -> Place:
    return replace(place, objects=replace(place.objects, device=f"fresh-{next(_numbers)}"))


async def _fresh_program(world: World, place: Place) -> Place:
    """Another one with the same marks; archived if the place is."""
    if place.name == UNKNOWN:
        return place
    config_id = await world.make_program(place.name)
    if place.name not in RUNNING:
        assert (await world.admin.delete(f"/api/apps/{config_id}")).status_code == 200
    return replace(place, id=config_id)


async def _fresh_archived(world: World, place: Place) -> Place:
    """Another one with the same marks, archived."""
    if place.name == UNKNOWN:
        return place
    config_id = await world.make_program(place.name)
    assert (await world.admin.delete(f"/api/apps/{config_id}")).status_code == 200
    return replace(place, id=config_id)


async def _current_artifact(world: World, place: Place) -> Place:
    """Its files as they are called now: somebody may have had them called otherwise."""
    if place.name == UNKNOWN:
        return place
    return replace(place, objects=replace(place.objects, artifact=await world.artifact_of(place.id)))


def _file(ending: str) -> Recipe:
    return Recipe(lambda p: Sent("GET", f"/artifacts/{p.objects.artifact}.{ending}"), prepare=_current_artifact)


async def _registry(world: World, place: Place) -> Place:
    # So often may an administrator ask.
    world.clock.turn(seconds=7)
    return replace(place, registry=world.registry.url)


def _registry_body(place: Place) -> dict[str, str]:
    account = {"database": "openspp", "username": "hub", "password": PASSWORD}
    client = {"clientId": "hub", "clientSecret": PASSWORD}
    return {"url": place.registry, "baseUrl": place.registry, **account, **client}


async def _fresh_id(_: World, place: Place) -> Place:
    return replace(place, id=f"{place.name}-{uuid.uuid4().hex[:8]}")


async def _fresh_account(world: World, place: Place) -> Place:
    if place.name == UNKNOWN:
        return place
    account = await world.make_account(place.id, place.name)
    return replace(place, objects=replace(place.objects, account=str(account.id)))


async def _fresh_guest(world: World, place: Place) -> Place:
    """An account of another program."""
    home = {OWN: ARCHIVED, ARCHIVED: OWN}.get(place.name, ELSEWHERE)
    person = await make_person(world.admin, tenantIds=[home])
    return replace(place, account=(person.email, person.password))


async def _fresh_session(world: World, place: Place) -> Place:
    person = await make_person(world.admin)
    pair = await login(world.admin, person)
    session = (await world.admin.get("/api/users/me/sessions", headers=bearer(pair["token"]))).json()[0]["id"]
    return replace(
        place,
        objects=replace(place.objects, session=session),
        account=(person.email, person.password),
        refresh_token=pair["refreshToken"],
        authorization=f"Bearer {pair['token']}",
    )


async def _fresh_id_token(world: World, place: Place) -> Place:
    person = await make_person(world.admin)
    token = world.providers.home.id_token(aud="hub", email=person.email, email_verified=True)
    return replace(place, refresh_token=token)


async def _fresh_citizen(world: World, place: Place) -> Place:
    """Somebody in `OWN` who can sign in in every way: their identifier is in the place of the e-mail."""
    name = f"c-{uuid.uuid4().hex}"
    data = {
        "entityName": "individual",
        "phone": name,
        "nationalId": name,
        "dateOfBirth": "1990-04-02",
        "oidcSubject": name,
    }
    event = make_event(data=data)
    await world.push(OWN, event, device="matrix")
    asked = Sent("POST", "/api/auth/otp/request", body={"identifier": name, "tenantId": OWN})
    code = (await world.send(asked, None)).json()["devCode"]
    token = await token_of(world.hub, OWN, event["entityGuid"], phone=name)
    return replace(place, account=(name, code), authorization=f"Bearer {token}")


async def _citizen_who_waits(world: World, place: Place) -> Place:
    place = await _fresh_citizen(world, place)
    scope, now = system_scope(TenantId(OWN)), world.hub.clock.now()
    tenant = await world.hub.tenants.find(scope.tenant_id)
    assert tenant is not None and place.authorization is not None
    guid = str(claims_of(place.authorization.removeprefix("Bearer "))["entityGuid"])
    event = Event(str(uuid.uuid4()), guid, "update-individual", {"name": "Bo"}, now, "nobody")
    sent = Submission(event, "nobody", citizen_key(guid), SubmissionOrigin.CITIZEN, at_least_internal=True)
    async with world.hub.log.turn(scope), world.hub.db.transaction(scope) as tx:
        review = await reviews.submit(tx, world.hub.log, scope, tenant, sent, now=now)
    return replace(place, objects=replace(place.objects, review=review.id))


async def _vouched_citizen(world: World, place: Place) -> Place:
    place = await _fresh_citizen(world, place)
    return replace(place, refresh_token=world.providers.home.id_token(place.account[0], aud="citizens"))


def _nobody() -> str:
    return f"nobody-{uuid.uuid4().hex}"


def _is_staff(caller: Caller) -> int:
    return 200 if caller.standing == "staff" else 401


def _issuer(key: str) -> dict[str, Any]:
    return {"issuerId": "did:web:issuer.example", "publicKey": {"ed25519": key}}


def _account_body(place: Place, **changes: Any) -> dict[str, Any]:
    email = f"made-{next(_numbers)}@hub.test"
    return {"email": email, "password": PASSWORD, "role": "USER", "tenantIds": [place.id]} | changes


def _raised(place: Place) -> dict[str, Any]:
    """Made an administrator: nobody who is none themselves may do that."""
    return _account_body(place, role="ADMIN")


def _admission(place: Place) -> dict[str, Any]:
    return {"email": place.account[0], "tenantIds": [place.id]}


def _for_admins(caller: Caller) -> int:
    return 200 if caller.is_admin else 403


_LOGIN, _REFRESH, _LOGOUT = "/api/users/login", "/api/users/refresh", "/api/users/logout"
_SESSION = "/api/users/me/sessions/{session}"
_PROVIDER = "/api/users/login/provider"
_PASSWORD = "/api/users/me/password"
_DISCARD = {"reason": "Entered twice."}
_ENTITY, _NORTH, _GROUP = "/api/entities/{entity}", "/api/entities/{north}", "/api/entities/{group}"
_SHARED = f"/api/entities/{SHARED}"
_QUARANTINE = "/api/sync/quarantine"
_QUARANTINED = f"{_QUARANTINE}/{{quarantined}}"

_CITIZENS: dict[str, tuple[Recipe, ...]] = {
    "POST /api/auth/otp/request": (
        Recipe(
            _plain("POST", "/api/auth/otp/request", lambda _: {"identifier": _nobody(), "tenantId": OWN}), writes=True
        ),
    ),
    "POST /api/auth/otp/verify": (
        Recipe(
            _plain(
                "POST",
                "/api/auth/otp/verify",
                lambda _: {"identifier": _nobody(), "otp": "000000", "tenantId": OWN},
            ),
            ok=401,
            name="no such code",
            writes=True,
        ),
        Recipe(
            _plain(
                "POST",
                "/api/auth/otp/verify",
                lambda p: {"identifier": p.account[0], "otp": p.account[1], "tenantId": OWN},
            ),
            prepare=_fresh_citizen,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/auth/id/verify": (
        Recipe(
            _plain(
                "POST",
                "/api/auth/id/verify",
                lambda _: {"nationalId": _nobody(), "dateOfBirth": "1990-04-02", "tenantId": OWN},
            ),
            ok=401,
            name="nobody",
            writes=True,
        ),
        Recipe(
            _plain(
                "POST",
                "/api/auth/id/verify",
                lambda p: {"nationalId": p.account[0], "dateOfBirth": "1990-04-02", "tenantId": OWN},
            ),
            prepare=_fresh_citizen,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/auth/oidc/nonce": (Recipe(_plain("POST", "/api/auth/oidc/nonce", lambda _: {"tenantId": OWN})),),
    "POST /api/auth/oidc/exchange": (
        Recipe(
            _plain("POST", "/api/auth/oidc/exchange", lambda _: {"idToken": "a.b.c", "tenantId": OWN}),
            ok=400,
            name="no token",
        ),
        Recipe(
            _plain("POST", "/api/auth/oidc/exchange", lambda p: {"idToken": p.refresh_token, "tenantId": OWN}),
            prepare=_vouched_citizen,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/auth/self-service/logout": (
        Recipe(
            _plain("POST", "/api/auth/self-service/logout", lambda _: {"entityGuid": "somebody-elses"}),
            ok=403,
            name="of somebody else",
        ),
        Recipe(
            _plain("POST", "/api/auth/self-service/logout", lambda _: None),
            prepare=_fresh_citizen,
            once=True,
            writes=True,
        ),
    ),
}
_OWN_DATA = "/api/auth/self-service"
_WISH = {"formType": "update-individual", "formData": {"name": "Bo"}}
_CITIZENS |= {
    f"GET {_OWN_DATA}/{path}": (
        Recipe(lambda _, path=path: Sent("GET", f"{_OWN_DATA}/{path}")),
        Recipe(
            lambda _, path=path: Sent("GET", f"{_OWN_DATA}/{path}", (("entityGuid", "somebody-elses"),)),
            ok=403,
            name="of somebody else",
        ),
    )
    for path in ("entity", "submissions", "export", "access-log")
}
_CITIZENS |= {
    f"POST {_OWN_DATA}/submit": (
        Recipe(
            _plain("POST", f"{_OWN_DATA}/submit", lambda _: _WISH | {"entityGuid": "somebody-elses"}),
            ok=403,
            name="for somebody else",
        ),
        Recipe(_plain("POST", f"{_OWN_DATA}/submit", lambda _: _WISH), prepare=_fresh_citizen, once=True, writes=True),
    ),
    f"POST {_OWN_DATA}/submissions/{{id}}/withdraw": (
        Recipe(
            _plain("POST", f"{_OWN_DATA}/submissions/{{review}}/withdraw", lambda _: None), ok=404, name="of the staff"
        ),
        Recipe(
            _plain("POST", f"{_OWN_DATA}/submissions/{{review}}/withdraw", lambda _: None),
            prepare=_citizen_who_waits,
            once=True,
            writes=True,
        ),
    ),
}
"""About `OWN`, whatever the case is about: these name no program of the caller's."""

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    **_CITIZENS,
    **{
        f"GET {path}": (Recipe(_get(path)),)
        for path in (
            "/health",
            "/health/live",
            "/health/ready",
            "/openapi.json",
            "/api-docs/openapi.json",
            "/openapi.yaml",
            "/api/users/login/providers",
            "/api/users/check-token",
            "/api/users/me",
            "/api/users/me/sessions",
        )
    },
    "GET /api/users": (
        Recipe(_get("/api/users")),
        Recipe(_get("/api/users", search="mark", limit="1000"), name="search"),
    ),
    "POST /api/users/login": (
        Recipe(
            _plain("POST", _LOGIN, lambda p: {"email": p.account[0], "password": "Wrong-Horse-1"}),
            ok=401,
            name="wrong password",
        ),
        Recipe(
            _plain("POST", _LOGIN, lambda p: {"email": p.account[0], "password": p.account[1]}),
            prepare=_fresh_session,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/users/login/provider": (
        Recipe(_plain("POST", _PROVIDER, lambda _: {"provider": "office", "token": "a.b.c"}), ok=401, name="no token"),
        Recipe(
            _plain("POST", _PROVIDER, lambda p: {"provider": "office", "token": p.refresh_token}),
            prepare=_fresh_id_token,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/users/refresh": (
        Recipe(_plain("POST", _REFRESH, lambda _: {}), ok=_is_staff, name="by header", writes=True),
        Recipe(_plain("POST", _REFRESH, lambda _: {"refreshToken": "no-token"}), ok=401, name="no such token"),
        Recipe(
            _plain("POST", _REFRESH, lambda p: {"refreshToken": p.refresh_token}),
            prepare=_fresh_session,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/users/logout": (
        Recipe(_plain("POST", _LOGOUT, lambda _: {"refreshToken": "no-token"}), ok=401, name="no such token"),
        Recipe(
            _plain("POST", _LOGOUT, lambda p: {"refreshToken": p.refresh_token}),
            prepare=_fresh_session,
            once=True,
            writes=True,
        ),
    ),
    "POST /api/users/me/password": (
        Recipe(
            _plain("POST", _PASSWORD, lambda _: {"currentPassword": "Wrong-1!", "newPassword": "Another-Horse-9"}),
            ok=403,
            name="wrong password",
        ),
        Recipe(
            _plain("POST", _PASSWORD, lambda p: {"currentPassword": p.account[1], "newPassword": "Another-Horse-9"}),
            prepare=_fresh_session,
            once=True,
            writes=True,
        ),
    ),
    "DELETE /api/users/me/sessions": (Recipe(_plain("DELETE", "/api/users/me/sessions", lambda _: None), writes=True),),
    "DELETE /api/users/me/sessions/{sessionId}": (
        Recipe(_plain("DELETE", _SESSION, lambda _: None), ok=404, name="of somebody else"),
        Recipe(_plain("DELETE", _SESSION, lambda _: None), prepare=_fresh_session, once=True, writes=True),
    ),
    "DELETE /api/users/{id}/sessions": (
        Recipe(_plain("DELETE", "/api/users/{account}/sessions", lambda _: None), prepare=_fresh_account, writes=True),
    ),
    "POST /api/users": (Recipe(_plain("POST", "/api/users", _account_body), ok=201, writes=True),),
    "POST /api/users/memberships": (
        Recipe(_plain("POST", "/api/users/memberships", _admission), prepare=_fresh_guest, writes=True),
    ),
    "GET /api/users/{idOrEmail}": (Recipe(_get("/api/users/{account}")),),
    "PUT /api/users/{idOrEmail}": (
        Recipe(_plain("PUT", "/api/users/{account}", _account_body), prepare=_fresh_account, writes=True),
        Recipe(
            _plain("PUT", "/api/users/{account}", _raised),
            ok=_for_admins,
            prepare=_fresh_account,
            writes=True,
            name="to an administrator",
        ),
    ),
    "DELETE /api/users/{idOrEmail}": (
        Recipe(
            lambda place: Sent("DELETE", f"/api/users/{place.objects.account}"), prepare=_fresh_account, writes=True
        ),
    ),
    "GET /api/security-log": (Recipe(_of("/api/security-log", limit="500")),),
    "GET /api/apps": (
        Recipe(_get("/api/apps", includeArchived="true", pageSize="100")),
        Recipe(_get("/api/apps", includeArchived="true", search="mark", sortBy="entitiesCount"), name="search"),
    ),
    "POST /api/apps": (Recipe(_plain("POST", "/api/apps", _config), prepare=_fresh_id, writes=True),),
    "GET /api/apps/{id}": (Recipe(_app("GET")),),
    "GET /api/apps/{id}/public": (Recipe(_app("GET", "/public")),),
    "PUT /api/apps/{id}": (Recipe(_app("PUT", body=lambda p: _config(p) | {"version": "9"}), writes=True),),
    "PATCH /api/apps/{id}/syncScope": (
        Recipe(_app("PATCH", "/syncScope", lambda _: {"syncScope": None}), writes=True),
    ),
    "PATCH /api/apps/{id}/programs": (
        Recipe(_app("PATCH", "/programs", lambda _: {"programs": [{"id": 1, "name": "Cash"}]}), writes=True),
    ),
    "PATCH /api/apps/{id}/claim169": (
        Recipe(
            _app("PATCH", "/claim169", lambda _: {"claim169": {"enabled": True, "trustedIssuers": [_issuer("z6Mk")]}}),
            writes=True,
        ),
    ),
    "PATCH /api/apps/{id}/inji": (
        Recipe(
            _app(
                "PATCH",
                "/inji",
                lambda _: {"inji": {"enabled": True, "trustedIssuers": [_issuer("z6Mk")], "credentialTemplates": []}},
            ),
            writes=True,
        ),
    ),
    "DELETE /api/apps/{id}": (Recipe(_app("DELETE"), prepare=_fresh_program, writes=True),),
    "POST /api/apps/{id}/restore": (Recipe(_app("POST", "/restore"), prepare=_fresh_program, writes=True),),
    "DELETE /api/apps/{id}/purge": (Recipe(_app("DELETE", "/purge"), prepare=_fresh_archived, writes=True),),
    "GET /api/apps/{id}/versions": (Recipe(_app("GET", "/versions")),),
    "GET /api/apps/{id}/versions/{revision}": (Recipe(_app("GET", "/versions/1")),),
    "GET /api/apps/{id}/versions/{revision}/diff": (Recipe(_app("GET", "/versions/1/diff")),),
    "POST /api/apps/{id}/versions/{revision}/restore": (Recipe(_app("POST", "/versions/1/restore"), writes=True),),
    "POST /api/apps/{id}/artifact/rotate": (Recipe(_app("POST", "/artifact/rotate"), writes=True),),
    "GET /artifacts/{artifactId}.json": (_file("json"),),
    "GET /artifacts/{artifactId}.png": (_file("png"),),
    "GET /artifacts/{artifactId}.svg": (_file("svg"),),
    "GET /api/entities": (
        Recipe(_of("/api/entities", limit="1000")),
        Recipe(_of("/api/entities", parent="{group}", sort="name", count="exact"), name="of a group"),
        Recipe(_of("/api/entities", area="north", q="mark", sort="guid"), name="by words"),
    ),
    "POST /api/entities/search": (
        Recipe(_searched({"name": {"$regex": "."}})),
        Recipe(_searched({"guid": SHARED}), name="by guid"),
        Recipe(_searched({"name": {"$exists": True}}, {"area_id": {"$ne": "south"}}), name="by area"),
    ),
    "GET /api/entities/count": (Recipe(_of("/api/entities/count")),),
    "GET /api/entities/count-by-form": (Recipe(_of("/api/entities/count-by-form")),),
    "GET /api/entities/export": (
        Recipe(_of("/api/entities/export", format="ndjson"), writes=True, name="entities"),
        Recipe(_of("/api/entities/export", format="csv", form="individual"), writes=True, name="a table"),
        Recipe(_of("/api/entities/export"), limited=403, writes=True, name="of everything"),
        Recipe(_of("/api/entities/export", format="ndjson", what="audit"), limited=403, writes=True, name="audit"),
    ),
    "GET /api/entities/{guid}": (
        Recipe(_of(_ENTITY), limited=404),
        Recipe(_of(_NORTH), name="north"),
        Recipe(_of(_SHARED), limited=404, name="of a guid that all have"),
    ),
    "GET /api/entities/{guid}/members": (Recipe(_of(f"{_GROUP}/members"), limited=404),),
    "GET /api/entities/{guid}/events": (
        Recipe(_of(f"{_ENTITY}/events")),
        Recipe(_of(f"{_NORTH}/events"), name="north"),
        Recipe(_of(f"{_SHARED}/events"), name="of a guid that all have"),
    ),
    "GET /api/entities/{guid}/history": (
        Recipe(_of(f"{_ENTITY}/history"), limited=404),
        Recipe(_of(f"{_NORTH}/history"), name="north"),
        Recipe(_of(f"{_SHARED}/history"), limited=404, name="of a guid that all have"),
    ),
    "POST /api/attachments/upload": (
        Recipe(_attached("north"), ok=201, writes=True),
        Recipe(_attached("entity"), ok=201, limited=404, writes=True, name="to the south"),
    ),
    "GET /api/attachments": (Recipe(_of("/api/attachments", limit="1000")),),
    "GET /api/attachments/pending": (Recipe(_of("/api/attachments/pending", limit="1000")),),
    "GET /api/attachments/entity/{entityGuid}": (
        Recipe(_of("/api/attachments/entity/{entity}")),
        Recipe(_of("/api/attachments/entity/{north}"), name="north"),
    ),
    "GET /api/attachments/{guid}": (
        Recipe(_of("/api/attachments/{attachment}"), limited=404),
        Recipe(_of("/api/attachments/{north_attachment}"), name="north"),
    ),
    "HEAD /api/attachments/{guid}": (
        Recipe(_of("/api/attachments/{attachment}", method="HEAD"), limited=404),
        Recipe(_of("/api/attachments/{north_attachment}", method="HEAD"), name="north"),
    ),
    "GET /api/attachments/{guid}/metadata": (
        Recipe(_of("/api/attachments/{attachment}/metadata"), limited=404),
        Recipe(_of("/api/attachments/{north_attachment}/metadata"), name="north"),
    ),
    "DELETE /api/attachments/{guid}": (
        Recipe(_of("/api/attachments/{north_attachment}", method="DELETE"), prepare=_fresh_attachment, writes=True),
        Recipe(
            _of("/api/attachments/{north_attachment}", method="DELETE", body={"more": 1}),
            prepare=_fresh_attachment,
            writes=True,
            name="with a body",
        ),
    ),
    "POST /api/attachments/{guid}/link": (
        Recipe(_of("/api/attachments/{attachment}/link", method="POST"), limited=404, writes=True),
        Recipe(_of("/api/attachments/{north_attachment}/link", method="POST", body={"seconds": 60}), writes=True),
    ),
    "GET /api/attachments/{guid}/file": (Recipe(_linked),),
    "HEAD /api/attachments/{guid}/file": (Recipe(_looked_for_by_link),),
    "GET /api/sync/pull": (
        Recipe(_of("/api/sync/pull", headers=DEVICE, limit="5000")),
        Recipe(_of("/api/sync/pull", headers=DEVICE, limit="5000", areaIds="south,north"), name="by area"),
    ),
    "GET /api/sync/pull/callback": (Recipe(_of("/api/sync/pull/callback")),),
    "POST /api/sync/push": (
        Recipe(_pushed("north"), writes=True),
        Recipe(_pushed("south"), limited=422, writes=True, name="to the south"),
        Recipe(_pushed_to, writes=True, name="to an entity"),
    ),
    "POST /api/sync/push/audit-logs": (Recipe(_noted, writes=True),),
    "GET /api/sync/pull/audit-logs": (
        Recipe(_of("/api/sync/pull/audit-logs", limit="5000")),
        Recipe(_of("/api/sync/pull/audit-logs", entityGuid="{entity}"), name="of an entity"),
    ),
    "GET /api/sync/form-findings": (Recipe(_of("/api/sync/form-findings", limit="1000")),),
    "GET /api/integrity": (Recipe(_of("/api/integrity")),),
    "GET /api/conflicts": (
        Recipe(_of("/api/conflicts", status="all")),
        Recipe(_of("/api/conflicts", status="all", entityGuid="{entity}"), name="of an entity"),
    ),
    "GET /api/conflicts/{guid}": (Recipe(_of("/api/conflicts/{conflict}")),),
    "POST /api/conflicts/{guid}/resolve": (
        Recipe(
            _of("/api/conflicts/{conflict}/resolve", method="POST", body={"resolution": "remote"}),
            prepare=_fresh_conflict,
            writes=True,
        ),
    ),
    "GET /api/potential-duplicates": (Recipe(_of("/api/potential-duplicates", status="all")),),
    "POST /api/potential-duplicates/resolve": (
        Recipe(_decided(shouldDeleteNewItem=True), prepare=_fresh_pair, writes=True, name="to delete"),
        Recipe(_decided(resolution="merge"), prepare=_fresh_pair, writes=True, name="to merge"),
    ),
    "POST /api/potential-duplicates/check": (Recipe(_asked_before_saving),),
    "POST /api/potential-duplicates/sweep": (
        Recipe(_of("/api/potential-duplicates/sweep", method="POST"), ok=202, writes=True),
    ),
    "GET /api/messages": (Recipe(_of("/api/messages")),),
    "GET /api/admin/devices": (Recipe(_of("/api/admin/devices", limit="1000")),),
    "POST /api/admin/devices/{deviceId}/revoke": (
        Recipe(_of("/api/admin/devices/{device}/revoke", method="POST"), prepare=_fresh_device, writes=True),
    ),
    "POST /api/admin/devices/{deviceId}/restore": (
        Recipe(_of("/api/admin/devices/{device}/restore", method="POST"), prepare=_fresh_device, writes=True),
    ),
    "GET /api/sync/status": (Recipe(_of("/api/sync/status")),),
    "GET /api/sync/events": (Recipe(_of("/api/sync/events")),),
    "POST /api/sync/external": (
        Recipe(
            _plain("POST", "/api/sync/external", lambda p: {"configId": p.id}), ok=202, prepare=_no_run, writes=True
        ),
    ),
    "GET /api/sync/external/{jobId}": (Recipe(_get("/api/sync/external/{job}")),),
    "GET /api/sync/external/{jobId}/errors": (Recipe(_get("/api/sync/external/{job}/errors")),),
    "POST /api/sync/external/{jobId}/cancel": (
        Recipe(_plain("POST", "/api/sync/external/{job}/cancel", lambda _: None), ok=404, name="ended"),
        Recipe(_plain("POST", "/api/sync/external/{job}/cancel", lambda _: None), prepare=_waiting_run, writes=True),
    ),
    "POST /api/sync/external/{jobId}/retry": (
        Recipe(_plain("POST", "/api/sync/external/{job}/retry", lambda _: None), ok=202, prepare=_no_run, writes=True),
    ),
    "GET /api/sync/failures": (Recipe(_of("/api/sync/failures")),),
    "POST /api/sync/failures/retry": (Recipe(_of("/api/sync/failures/retry", method="POST")),),
    "POST /api/sync/connection": (Recipe(_of("/api/sync/connection", method="POST"), prepare=_another_minute),),
    "GET /api/adapters": (Recipe(_get("/api/adapters")),),
    "GET /api/sync/quarantine": (Recipe(_of(_QUARANTINE, status="all", limit="1000")),),
    "GET /api/sync/quarantine/{id}": (Recipe(_of(_QUARANTINED)),),
    "POST /api/sync/quarantine/replay": (
        Recipe(
            _of(f"{_QUARANTINE}/replay", method="POST", body=lambda p: {"ids": [p.objects.quarantined]}),
            prepare=_fresh_quarantined,
            writes=True,
        ),
    ),
    "POST /api/sync/quarantine/discard": (
        Recipe(
            _of(f"{_QUARANTINE}/discard", method="POST", body=lambda p: {"ids": [p.objects.quarantined]} | _DISCARD),
            prepare=_fresh_quarantined,
            writes=True,
        ),
    ),
    "POST /api/sync/quarantine/{id}/replay": (
        Recipe(_of(f"{_QUARANTINED}/replay", method="POST", body={}), prepare=_fresh_quarantined, writes=True),
    ),
    "POST /api/sync/quarantine/{id}/discard": (
        Recipe(_of(f"{_QUARANTINED}/discard", method="POST", body=_DISCARD), prepare=_fresh_quarantined, writes=True),
    ),
    "GET /api/reviews": (Recipe(_asked_for_reviews),),
    "POST /api/reviews/submit": (
        Recipe(_submitted("north"), writes=True),
        Recipe(_submitted("south"), limited=422, writes=True, name="in the south"),
    ),
    "POST /api/reviews/bulk-approve": (
        Recipe(_plain("POST", "/api/reviews/bulk-approve", lambda _: {"reviewIds": [str(uuid.uuid4())]})),
    ),
    "GET /api/reviews/{id}": (Recipe(_get("/api/reviews/{review}"), limited=404),),
    "POST /api/reviews/{id}/approve": (Recipe(_in_review("approve"), limited=404, prepare=_fresh_review, writes=True),),
    "POST /api/reviews/{id}/reject": (
        Recipe(_in_review("reject", reason="no"), limited=404, prepare=_fresh_review, writes=True),
    ),
    "POST /api/reviews/{id}/request-changes": (
        Recipe(_in_review("request-changes", comment="?"), limited=404, prepare=_fresh_review, writes=True),
    ),
    "POST /api/reviews/{id}/assign": (
        Recipe(_in_review("assign", assignee=None), limited=404, prepare=_fresh_review, writes=True),
    ),
    "POST /api/reviews/{id}/withdraw": (
        Recipe(_in_review("withdraw"), ok=_who_submitted, limited=404, prepare=_fresh_review_of(True), writes=True),
    ),
    "POST /api/reviews/{id}/take-back": (
        Recipe(_in_review("take-back"), limited=404, prepare=_fresh_review_of(delegated=True), writes=True),
    ),
    "GET /api/reviews/{id}/comments": (Recipe(_get("/api/reviews/{review}/comments"), ok=_who_decides, limited=404),),
    "POST /api/reviews/{id}/comments": (
        Recipe(_in_review("comments", comment="?"), ok=_who_decides, limited=404, writes=True),
    ),
    "GET /api/reviews/config/{id}": (Recipe(_get("/api/reviews/config/{id}")),),
    "PUT /api/reviews/config/{id}/{eventType}": (
        Recipe(
            _plain("PUT", "/api/reviews/config/{id}/create-record", lambda _: {"policy": "auto-approve"}), writes=True
        ),
    ),
    "POST /api/openspp-fields/parse": (Recipe(_plain("POST", "/api/openspp-fields/parse", lambda _: {"name": "Lan"})),),
    "POST /api/openspp-fields/parse-file": (
        Recipe(_plain("POST", "/api/openspp-fields/parse-file", lambda _: {"name": "Lan"})),
    ),
    **{
        f"POST {path}": (Recipe(_plain("POST", path, _registry_body), prepare=_registry),)
        for path in (
            "/api/openspp-fields/fetch",
            "/api/openspp-fields/v2/test-connection",
            "/api/openspp-fields/v2/fields",
            "/api/openspp/programs/discover",
        )
    },
}
