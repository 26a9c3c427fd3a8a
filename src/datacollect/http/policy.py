"""Who may call a route: declared as data, and enforced by being the only way to what the route works with.

Each route has exactly one policy among its dependencies; `require_policies` stops the start otherwise. The policy knows
the caller, resolves the program once, asks the route's `Permission`, and hands over an `Actor` or a `TenantScope`.
Nothing else makes one, so a route cannot work for a caller whom its policy did not let in.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Path, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from datacollect.http.body import ProgramBody, Sent, read_body, read_json
from datacollect.http.current import CurrentHub
from datacollect.http.hub import Hub
from datacollect.http.limits import account_known
from datacollect.http.receiving import REQUIRE_STILL
from datacollect.http.tenant import (
    ConfigId,
    NamedConfigId,
    TenantIdParameter,
    claimed_tenant,
    require_same_tenant,
    tenant_named,
    tenant_of,
)
from datacollect.kernel.errors import (
    BeyondReach,
    DataCollectError,
    Forbidden,
    NotOwnRecord,
    StartupError,
    TenantNotFound,
    TenantUnknown,
    Unauthenticated,
)
from datacollect.kernel.identity import CITIZEN_PREFIX, Action, Actor, Citizen, OwnRecord, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.permission import Callers, Permission, Where
from datacollect.kernel.tenancy import Tenant

_log = structlog.get_logger(component="access")

ProgramId = Annotated[str, Path(alias="id", description="The program's `configId`.")]


class Policy:
    """What all policies are: a dependency that carries its row of the permission matrix."""

    must_name: str | None = None
    """The query parameter without which every request is refused, for the API description: it is looked for after who asks."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission


class Public(Policy):
    """Open to everybody. Said, not assumed: a route without a policy is a mistake."""

    def __init__(self) -> None:
        super().__init__(Permission(Callers.ANYBODY))

    async def __call__(self) -> None:
        return


class SignedIn(Policy):
    """For an account, whatever its programs; with an `action`, for one that may do it in any of them."""

    def __init__(
        self,
        callers: Callers = Callers.STAFF,
        action: Action | None = None,
        *,
        denied: type[Forbidden] | None = None,
        password_due: bool = False,
    ) -> None:
        where = Where.NO_PROGRAM if action is None else Where.ANY_PROGRAM
        super().__init__(Permission(callers, action, where, denied=denied, password_due=password_due))

    async def __call__(self, request: Request, hub: CurrentHub) -> Actor:
        actor = await _caller(request, hub, self.permission)
        _admit(self.permission, actor)
        return actor

    def again(self, request: Request, hub: Hub) -> Callable[[TenantId], Awaitable[TenantScope]]:
        """To be asked before each part of what takes long: the caller, a staff member, as they are by then in one of
        their programs. Raises when they are signed in no more, or would not be let in there."""
        caller, action = _from_now_on(request, hub, self.permission), self.permission.action
        assert action is not None

        async def enter(tenant_id: TenantId) -> TenantScope:
            scope = (await caller()).in_tenant(tenant_id, action)
            await hub.devices.require_admitted(scope, request.headers)
            return scope

        return enter


class ByPath(Policy):
    """For the program that the path names as `id`, whether or not it exists or runs."""

    def __init__(
        self,
        action: Action,
        *,
        callers: Callers = Callers.STAFF,
        whole: bool = False,
        assigned: bool = False,
        denied: type[Forbidden] | None = None,
    ) -> None:
        super().__init__(Permission(callers, action, Where.PATH, whole=whole, assigned=assigned, denied=denied))

    async def __call__(self, program_id: ProgramId, request: Request, hub: CurrentHub) -> TenantScope:
        actor = await _caller(request, hub, self.permission)
        return await _entered(request, hub, self.permission, actor, TenantId(program_id))


class AboutProgram(Policy):
    """For the program that `configId` names, whether or not it exists or runs."""

    must_name = "configId"

    def __init__(self, action: Action, *, unnamed: type[DataCollectError]) -> None:
        """`unnamed` is raised where the query names none; strangers to the default program are told that first."""
        super().__init__(Permission(Callers.STAFF, action, Where.CONFIG_ID))
        self._unnamed = unnamed

    async def __call__(self, request: Request, hub: CurrentHub, _: NamedConfigId = None) -> TenantScope:
        actor = await _caller(request, hub, self.permission)
        scope = await _entered(request, hub, self.permission, actor, tenant_of(request))
        if not request.query_params.get("configId"):
            raise self._unnamed()
        return scope


FindOwner = Callable[[Hub, str], Awaitable[TenantId | None]]


class ByObject(Policy):
    """For the program that owns what the path names. What nobody owns is told apart from what others own.

    What the query calls the program besides must be the same.
    """

    def __init__(
        self,
        action: Action,
        *,
        parameter: str,
        owner: FindOwner,
        missing: type[DataCollectError],
        whole: bool = False,
        assigned: bool = False,
    ) -> None:
        super().__init__(Permission(Callers.STAFF, action, Where.OBJECT, whole=whole, assigned=assigned))
        self._parameter = parameter
        self._owner = owner
        self._missing = missing

    async def __call__(self, request: Request, hub: CurrentHub) -> TenantScope:
        actor = await _caller(request, hub, self.permission)
        tenant_id = await self._owner(hub, request.path_params[self._parameter])
        if tenant_id is None:
            raise self._missing()
        structlog.contextvars.bind_contextvars(tenant_id=tenant_id[:100])
        scope = await _entered(request, hub, self.permission, actor, tenant_id)
        require_same_tenant(request, tenant_id)
        return scope


@dataclass(frozen=True, slots=True)
class Entered:
    """A caller inside a program that runs."""

    scope: TenantScope
    tenant: Tenant
    body: Any = None
    """What the policy's body was read as."""


_NAMES_NO_PROGRAM = (
    "Send an object with `configId`, a push with `events` beside it: this body is no object, and so names no program."
)

Missing = Callable[[TenantId], DataCollectError]
"""What a route answers for a program that is unknown or does not run."""


def _unknown(tenant_id: TenantId) -> DataCollectError:
    return TenantUnknown(tenant_id)


class InProgram(Policy):
    """For the running program that `configId` names in the query or in `body`; see `tenant_of`.

    Whether the caller may look comes before whether there is anything: strangers learn nothing of what exists. The
    body is read once the caller is known.
    """

    def __init__(
        self,
        action: Action,
        *,
        callers: Callers = Callers.STAFF,
        whole: bool = False,
        assigned: bool = False,
        body: ProgramBody | None = None,
        missing: Missing = TenantNotFound,
        where: Where = Where.CONFIG_ID,
    ) -> None:
        super().__init__(Permission(callers, action, where, whole=whole, assigned=assigned))
        self.body = body
        self._missing = missing

    async def __call__(self, request: Request, hub: CurrentHub, _: ConfigId = None) -> Entered:
        return await self.enter(request, hub)

    def require_named(self, request: Request) -> None:
        """For routes that do not take the default program: may refuse a request that names none."""

    def tenant_of(self, request: Request, body: Mapping[str, Any] | None) -> TenantId:
        return tenant_of(request, body)

    async def enter(self, request: Request, hub: Hub) -> Entered:
        actor = await self.caller(request, hub)
        sent = Sent(None, None) if self.body is None else await self.body(request)
        return await self.let_in(request, hub, actor, sent)

    async def caller(self, request: Request, hub: Hub) -> Actor:
        return await _caller(request, hub, self.permission)

    async def let_in(self, request: Request, hub: Hub, actor: Actor, sent: Sent) -> Entered:
        self.require_named(request)
        tenant_id = self.tenant_of(request, sent.document if isinstance(sent.document, dict) else None)
        scope = await _entered(request, hub, self.permission, actor, tenant_id)
        tenant = await hub.tenants.find(tenant_id)
        if tenant is None:
            missing = self._missing(tenant_id)
            if self.body and not isinstance(sent.document, dict) and not request.query_params.get("configId"):
                # The contract asks for the program before it looks at the body's shape.
                missing.extra["help"] = _NAMES_NO_PROGRAM
            raise missing
        return Entered(scope, tenant, sent.value)

    def again(self, request: Request, hub: Hub, entered: Entered) -> Callable[[], Awaitable[None]]:
        """To be asked now and then while an answer is sent that takes long: raises when its taker, a staff member, would
        not be let in any more, or not as far."""
        taker, scope = _from_now_on(request, hub, self.permission), entered.scope

        async def require_still() -> None:
            actor = await taker()
            if (await _entered(request, hub, self.permission, actor, scope.tenant_id)).reach != scope.reach:
                raise BeyondReach()
            if await hub.tenants.find(scope.tenant_id) is None:
                raise self._missing(scope.tenant_id)

        return require_still


class ByTenantId(InProgram):
    """As `InProgram`, for routes that call the program `tenantId` and know no default."""

    def __init__(
        self,
        action: Action,
        *,
        unnamed: type[DataCollectError],
        assigned: bool = False,
        body: ProgramBody | None = None,
    ) -> None:
        super().__init__(action, assigned=assigned, body=body, where=Where.TENANT_ID)
        self.must_name = "tenantId" if body is None else None
        self._unnamed = unnamed

    async def __call__(self, request: Request, hub: CurrentHub, _: TenantIdParameter = None) -> Entered:
        return await self.enter(request, hub)

    def tenant_of(self, request: Request, body: Mapping[str, Any] | None) -> TenantId:
        named = tenant_named(request, body)
        if named is None:
            raise self._unnamed()
        return named


class InSync(InProgram):
    """As `InProgram`, for sync and its neighbours: devices may call too, and a program that does not run is 400."""

    def __init__(
        self,
        action: Action,
        *,
        callers: Callers = Callers.SYNC,
        whole: bool = False,
        body: ProgramBody | None = None,
    ) -> None:
        super().__init__(action, callers=callers, whole=whole, body=body, missing=_unknown)


class OfCitizen(Policy):
    """For citizens, about their own record. A request that names another one, wherever, is refused."""

    def __init__(self) -> None:
        super().__init__(Permission(Callers.CITIZEN))

    async def __call__(self, request: Request, hub: CurrentHub) -> OwnRecord:
        authorization = request.headers.get("authorization")
        citizen = await hub.citizens.citizen(authorization)
        structlog.contextvars.bind_contextvars(tenant_id=citizen.tenant_id[:100])
        # Not what they have typed at the sign-in: one record, one share, however it is spelled.
        if await account_known(request.scope, f"{citizen.tenant_id}:{CITIZEN_PREFIX}{citizen.entity_guid}"):
            citizen = await hub.citizens.citizen(authorization)
        _ask_again(request, citizen, partial(hub.citizens.citizen, authorization))
        own = citizen.own_record()
        for guid in await _named_guids(request):
            if guid != own.entity_guid:
                raise NotOwnRecord()
        return own


async def _named_guids(request: Request) -> list[Any]:
    named: list[Any] = [*request.query_params.getlist("entityGuid")]
    if "entityGuid" in request.path_params:
        named.append(request.path_params["entityGuid"])
    if request.method not in ("GET", "HEAD") and (await read_body(request)).strip():
        document = await read_json(request)
        if isinstance(document, dict) and "entityGuid" in document:
            named.append(document["entityGuid"])
    return named


PUBLIC = Depends(Public())

CurrentCitizen = Annotated[OwnRecord, Depends(OfCitizen())]
"""A citizen who is signed in, and the record that is theirs."""

CurrentUser = Annotated[Actor, Depends(SignedIn())]
"""Any signed-in staff member."""

AnyAccount = Annotated[Actor, Depends(SignedIn(password_due=True))]
"""As `CurrentUser`, and also those who have to change their password before anything else."""

CurrentAdmin = Annotated[Actor, Depends(SignedIn(Callers.ADMIN))]
"""A signed-in account with role ADMIN, as the database has it now."""


async def _caller(request: Request, hub: Hub, permission: Permission) -> Actor:
    authorization = request.headers.get("authorization")

    async def look_up() -> Actor:
        if permission.callers is Callers.SYNC:
            return await _sync_caller(request, hub, authorization)
        return await hub.auth.staff(authorization)

    actor = await look_up()
    # Every later log line of this request names the caller, by id.
    structlog.contextvars.bind_contextvars(actor_id=actor.user_id)
    if await account_known(request.scope, _account_of(actor)):
        actor = await look_up()  # what they may do has been changed meanwhile, perhaps
    if actor.kind == "user" and request.method not in ("GET", "HEAD"):
        _ask_again(request, actor, hub.auth.staff_from_now_on(authorization))
    permission.require_own_password(actor)
    return actor


def _ask_again(request: Request, caller: Actor | Citizen, again: Callable[[], Awaitable[Actor | Citizen]]) -> None:
    """Have the caller looked up again at the end of a long body: all that follows goes by what they were when it began."""

    async def require_still() -> None:
        if await again() != caller:
            raise Unauthenticated(
                "Your account was changed while this was being sent, or waited. Nothing of it was done."
            )

    setattr(request.state, REQUIRE_STILL, require_still)


def _from_now_on(request: Request, hub: Hub, permission: Permission) -> Callable[[], Awaitable[Actor]]:
    """The caller, a staff member, each time as they are by then."""
    caller = hub.auth.staff_from_now_on(request.headers.get("authorization"))

    async def again() -> Actor:
        actor = await caller()
        permission.require_own_password(actor)
        return actor

    return again


def _account_of(actor: Actor) -> str:
    """Whose share of the hub a request takes. Of a provider's caller it is one of its program, whoever it says they
    are: else a program's provider could use up the shares of others."""
    if actor.kind == "provider":
        return f"{','.join(actor.tenant_ids)}:{actor.label}"
    return actor.event_user_id


async def _sync_caller(request: Request, hub: Hub, authorization: str | None) -> Actor:
    """The word in front of the token says whose it is: `Bearer` is the hub's own."""
    scheme, _, token = (authorization or "").partition(" ")
    if not token or scheme.lower() == "bearer":
        return await hub.auth.sync_caller(authorization)
    return await hub.providers.caller(await claimed_tenant(request), scheme, token.strip())


async def _entered(
    request: Request, hub: Hub, permission: Permission, actor: Actor, tenant_id: TenantId
) -> TenantScope:
    scope = _admit(permission, actor, tenant_id)
    assert scope is not None
    await hub.devices.require_admitted(scope, request.headers)
    return scope


def _admit(permission: Permission, actor: Actor, tenant_id: TenantId | None = None) -> TenantScope | None:
    try:
        return permission.admit(actor, tenant_id)
    except Forbidden as refused:
        _log.warning("access.denied", code=refused.code, action=permission.action)
        raise


# -- all routes of an application


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a route: a row of the permission matrix with its name."""

    method: str
    path: str
    summary: str
    permission: Permission
    is_documented: bool
    """Whether the API description shows it; pages for people are left out of it."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def operations_of(app: FastAPI) -> Iterator[Operation]:
    """The permission matrix. Raises `StartupError` for a route without a policy, or with several."""
    for context in iter_route_contexts(app.routes):
        permission = _permission_of(context)
        for method in sorted(context.methods or ()):
            documented = bool(context.include_in_schema)
            yield Operation(method, context.path_format or "", context.summary or "", permission, documented)


def require_policies(app: FastAPI) -> None:
    """Refuse to start with a route of which nobody has said who may call it. Raises `StartupError`."""
    for _ in operations_of(app):
        pass


def calls_of(dependant: Dependant) -> Iterator[Any]:
    """Everything that is called for a request: the route's function, its dependencies, and theirs."""
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls_of(inner)


def _permission_of(context: RouteContext) -> Permission:
    # What is no APIRoute (a mounted application, say) has no dependencies, so no policy either.
    calls = calls_of(context.dependant) if isinstance(context.original_route, APIRoute) else ()
    policies = {call for call in calls if isinstance(call, Policy)}
    if len(policies) != 1:
        name = f"{' '.join(sorted(context.methods or ()))} {context.path}".strip()
        problem = "no policy: nobody has said who may call it" if not policies else "more than one policy"
        raise StartupError(f"The route {name} declares {problem}.")
    return policies.pop().permission
