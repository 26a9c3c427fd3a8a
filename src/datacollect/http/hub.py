"""The running hub's parts, as routes reach them. Values that only the slice behind a port knows are `Any` here: nothing in
this package may import a slice."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.anchorer import Anchorer
from datacollect.eventstore.checks import EventChecks
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.eventstore.pages import Pages
from datacollect.eventstore.sealer import Sealer
from datacollect.eventstore.together import Together
from datacollect.jobs import Visitors, Worker
from datacollect.kernel.client_assertions import ClientKey
from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.errors import TooManyRequests
from datacollect.kernel.identity import Actor, Citizen, TenantScope
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.oidc import Code, Provider, Redeemed
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.sealing import Seals
from datacollect.kernel.tenancy import AttachmentRules, Tenant, TenantDirectory
from datacollect.kernel.tokens import Tokens
from datacollect.messaging import Channel
from datacollect.objects import ObjectStore, Spool, Spooled
from datacollect.outgoing import GuardedClient
from datacollect.settings import Settings


class Authenticator(Protocol):
    """Turns an `Authorization` header into an actor; implemented by the auth slice."""

    async def staff(self, authorization: str | None) -> Actor:
        """The staff guard: our own access token as `Bearer`. Raises `Unauthenticated`, or `Forbidden` for a
        citizen's self-service token."""

    async def sync_caller(self, authorization: str | None) -> Actor:
        """The guard of sync and conflict routes: as `staff`, but a self-service token is `Unauthenticated`, and a
        missing header says so. For tokens behind any other word than `Bearer` ask `IdentityProviders`."""

    def staff_from_now_on(self, authorization: str | None) -> Callable[[], Awaitable[Actor]]:
        """As `staff`, to be asked again and again by what takes longer than a token lasts: what the account may do then,
        as long as the sign-in lasts. Raises the same, now and then."""

    def forget(self, user_id: UserId) -> None:
        """The account has just been changed or deleted here, or one of its sessions ended: look it up afresh."""


class Citizens(Protocol):
    """Citizens who are signed in; implemented by the citizens slice."""

    async def citizen(self, authorization: str | None) -> Citizen:
        """The guard of self-service routes: our own self-service token as `Bearer`, of a sign-in that lasts.

        Raises `Unauthenticated`; `SelfServiceOnly` for a valid token of another kind.
        """


class Throttle(Protocol):
    """Keeps floods of sign-ins cheap; implemented by the auth slice."""

    def check(self, key: str) -> None:
        """Raises `TooManyRequests` for a key that is known to have used up its attempts."""

    def refuse(self, counted: Any, error: type[TooManyRequests]) -> TooManyRequests:
        """The refusal of attempts that are used up; it is remembered for `check`."""

    async def give_back(self, tx: Tx, counted: Sequence[Any]) -> None:
        """Take attempts back that were no failures, and forget that others were refused because of them."""

    async def give_back_earlier(self, tx: Tx, quotas: Sequence[Any], *, counted_at: Millis) -> None:
        """The same for attempts that another request has counted then, and for those that were refused since."""

    def require_room(self) -> None:
        """Raises `Unavailable` when `turn` would: asked before anything else, it keeps such a request cheap."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """A place at the threads that check passwords. Raises `Unavailable` when too many wait for one."""


class IdentityProviders(Protocol):
    """Callers that a program's identity provider vouches for; implemented by the providers slice."""

    async def caller(self, tenant_id: TenantId, scheme: str, token: str) -> Actor:
        """Whom a token is about, as an actor in that program alone. `scheme` is the word in front of it.

        Raises `Unauthenticated`, the same for a program that is not there, and `ProviderUnavailable` (503) when the
        provider is needed to tell and cannot be reached.
        """

    async def staff(self, name: str, token: str, *, nonce: str | None) -> UserId:
        """The account that an ID token signs in, of the operator's provider of that name.

        Raises `ProviderLoginRefused` (401), whatever the reason, and `ProviderUnavailable`.
        """

    async def citizen(self, provider: Provider, token: str, *, nonce: str | None) -> Mapping[str, Any]:
        """What a program's provider of citizens says of whom its ID token signs in: the token's claims.

        Raises `TokenRefused`, and `ProviderUnavailable`.
        """

    async def redeem(self, provider: Provider, code: Code, key: ClientKey) -> Redeemed:
        """What the provider gives for a code, to the client with that key. Raises the same two."""

    async def told_of(self, provider: Provider, access_token: str, *, subject: str) -> Mapping[str, Any]:
        """What its userinfo endpoint says of the subject. Raises the same two."""


class DeviceCall(Protocol):
    """A push or pull under way, by a device that may make it. Noting what it did does no I/O and never fails."""

    def pulled(self, events: int, *, scope_hash: str) -> None: ...

    def pushed(self, applied: int, *, scope_hash: str, newest: Millis | None) -> None:
        """`newest` is the latest time of the events that were new."""


class Devices(Protocol):
    """What requests and sync see of devices; implemented by the devices slice."""

    async def require_admitted(self, scope: TenantScope, headers: Mapping[str, str]) -> None:
        """Raises `DeviceRevoked` for a device that is shut out. Asked by every policy that lets into a program."""

    def call(self, scope: TenantScope, headers: Mapping[str, str]) -> DeviceCall:
        """A push or pull by a device that has been admitted. Without a valid id the call notes nothing."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Write down what is noted, every second and when the block ends."""

    async def flush(self) -> None:
        """Write it down now."""

    def forget(self, tenant_id: TenantId) -> None:
        """Its revocations have just been changed here: look them up afresh next time."""


class ReadAudit(Protocol):
    """Notes who has read what, for programs that ask for it; implemented by the audit slice."""

    async def note(self, scope: TenantScope, tenant: Tenant, action: str, entity_guid: str, **told: Any) -> None:
        """Note a read that was answered; `told` says more of it, in wire form. Never fails."""

    async def note_members(self, scope: TenantScope, tenant: Tenant, group_guid: str, members: Sequence[str]) -> None:
        """As `note`, for a read of a group's members: it is noted of the group and of each of them."""


class EntityMark(Protocol):
    """Entities that a later slice marks, for lists to filter by: those in conflict, say. Registered in `assembly.py`."""

    def __call__(self, tenant: str) -> str:
        """The SQL, for either engine, of a query that gives their guids; `tenant` stands for the tenant's id in it."""


class Quarantine(Protocol):
    """Where sync leaves what it refuses; implemented by the quarantine slice."""

    async def keep(
        self, tx: Tx, scope: TenantScope, refused: Sequence[Rejection], *, device_id: str | None, now: Millis
    ) -> Collection[int]:
        """Events that were left out while their push went on. Gives the `index` of those that an operator has discarded."""

    async def blocked(
        self,
        scope: TenantScope,
        rejection: Rejection,
        *,
        pushed: Sequence[Event],
        device_id: str | None,
        now: Millis,
    ) -> Collection[int]:
        """An event because of which a whole push was refused; a failure to keep it is only logged.

        Gives, of the events that were pushed, by index, those an operator has discarded if the event is one of them: the
        hub is to go on without them. Otherwise nothing.
        """


class Duplicates(Protocol):
    """Looks for duplicates behind the log; implemented by the duplicates slice."""

    async def has_open(self, scope: TenantScope) -> bool:
        """Whether the program has pairs that nobody has decided about; some seconds old."""

    async def tell(self) -> None:
        """Put the programs whose logs have grown in line now; else it is done within seconds."""

    def stop(self) -> None:
        """Do no more by itself."""


class OwnForms(Protocol):
    """What programs let citizens do; implemented by the self-service slice, which knows what it is."""

    async def of(self, tenant: Tenant) -> Any:
        """Read once for each version of the program's config."""


class Exports(Protocol):
    """Takes data out of programs; implemented by the exports slice, which knows what it is asked for."""

    def export(self, scope: TenantScope, tenant: Tenant, order: Any, **told: Any) -> AbstractAsyncContextManager[Any]:
        """The export, which lasts as long as the block."""


class Replays(Protocol):
    """Keeps how far replays of entities have come; implemented by the history slice, which knows what they are."""

    def find(self, tenant_id: TenantId, guid: str, *, through: int) -> Any:
        """The latest that is not behind that position; None if there is none."""

    def keep(self, tenant_id: TenantId, guid: str, kept: Any) -> None: ...

    def begun(self) -> AbstractAsyncContextManager[None]:
        """A replay, which lasts as long as the block, and waits while others enough are under way. To be entered before
        a view of the database is opened."""


class Contents(Protocol):
    """What attachments have, stored once per program; implemented by the attachments slice."""

    async def secure(self, scope: TenantScope, spooled: Spooled) -> Any:
        """See to it that the bytes are in the store, before the unit of work that `take`s what this gives.

        Raises `StorageUnavailable`, `StorageFull`.
        """

    async def take(self, tx: Tx, scope: TenantScope, secured: Any) -> bool:
        """Count one attachment more. False if the bytes may be gone again: secure them once more."""

    async def release(self, tx: Tx, scope: TenantScope, digest: str) -> None:
        """Count one less. The bytes are deleted after a while, when there is none left."""

    async def has_none(self) -> bool:
        """Whether the store has nothing of what it should have, of what is looked for. Raises `StorageUnavailable`."""

    async def find(self, view: Reading, scope: TenantScope, digest: str) -> Any:
        """The content, with the key of its bytes; None if there is none."""


class Attachments(Protocol):
    """Makes and deletes attachments; implemented by the attachments slice, which knows what they are."""

    async def keep(self, scope: TenantScope, rules: AttachmentRules, new: Any, spooled: Spooled) -> tuple[Any, bool]:
        """The attachment, and whether it was made now."""

    async def delete(self, scope: TenantScope, guid: str) -> None: ...


class Registries(Protocol):
    """Asks other systems what fields and programs they have; implemented by the discovery slice, which knows what it is
    asked."""

    async def odoo_fields(self, caller: str, asked: Any) -> Sequence[Any]: ...

    async def sign_in(self, caller: str, client: Any) -> Sequence[str]: ...

    async def studio_fields(self, caller: str, client: Any) -> Any: ...

    async def programs(self, caller: str, client: Any, asked: Any) -> Any: ...


class OtherSystems(Protocol):
    """The systems that programs exchange with; implemented by the external slice."""

    async def system_of(self, scope: TenantScope) -> str | None:
        """The short name of the system the program names; None where there is no way to one."""

    async def check(self, scope: TenantScope, tenant: Tenant) -> Any:
        """Ask the other system whether it would take and give. Never raises for what is wrong there."""

    async def deciders(self, scope: TenantScope, tenant: Tenant) -> Sequence[str]:
        """The adapter's names, the right one first, if somebody in the program's other system decides about changes."""

    def kinds(self) -> Sequence[Mapping[str, Any]]:
        """Every kind of adapter, as a form for its settings is drawn from."""

    async def aclose(self) -> None: ...


class Messages(Protocol):
    """Where messages to people are put; implemented by the messages slice, which knows what they are."""

    @property
    def channels(self) -> Mapping[Channel, str]:
        """What takes messages of each channel; a channel that nothing takes is missing."""

    def most_per_day(self, tenant: Tenant) -> int: ...

    async def enqueue(self, tx: Tx, scope: TenantScope, tenant: Tenant, message: Any, *, now: Millis) -> Any:
        """Have a message sent after the commit of `tx`; its id. To be called last in `tx`."""


class SearchIndexes(Protocol):
    """Follow the logs, behind the pushes."""

    def running(self) -> AbstractAsyncContextManager[None]: ...

    def want(self, tenant_id: TenantId) -> None:
        """The index of this program is behind its log."""

    async def catch_up(self, scope: TenantScope) -> None:
        """Follow one log to where it ends now."""


class Listings(Protocol):
    """Take away what means nothing any more where lists are kept, behind the pushes."""

    def running(self) -> AbstractAsyncContextManager[None]: ...

    async def catch_up(self, scope: TenantScope) -> None:
        """What is due of one program goes now."""


@dataclass(frozen=True, slots=True)
class SeedAmounts:
    """How a program's seeds are divided."""

    at_once: int
    """As many events at most are seeded while the upload waits."""
    batch_records: int
    """As many records at most are one step of the job that seeds the others."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Everything `create_hub` has put together. One per process, on `app.state.hub`."""

    settings: Settings
    clock: Clock
    db: Database
    log: EventLog
    together: Together
    pages: Pages
    sealer: Sealer
    indexes: SearchIndexes
    listings: Listings
    anchorer: Anchorer
    tenants: TenantDirectory
    checks: EventChecks
    tokens: Tokens
    seals: Seals
    peppers: Peppers
    auth: Authenticator
    citizens: Citizens
    own_forms: OwnForms
    throttle: Throttle
    providers: IdentityProviders
    devices: Devices
    duplicates: Duplicates
    quarantine: Quarantine
    reads: ReadAudit
    exports: Exports
    replays: Replays
    turns: asyncio.Semaphore
    """For requests that go through a program: few at once."""
    marks: Mapping[str, EntityMark]
    """By the name of the parameter that lists filter by."""
    outgoing: GuardedClient
    urgent: GuardedClient
    """With connections of its own, for what somebody waits for: other systems' sign-ins, and messages."""
    registries: Registries
    others: OtherSystems
    jobs: Worker
    visitors: Visitors
    working: Visitors
    """The visitors but for those who sign in."""
    objects: ObjectStore
    spool: Spool
    contents: Contents
    attachments: Attachments
    messages: Messages
    seed_amounts: SeedAmounts
