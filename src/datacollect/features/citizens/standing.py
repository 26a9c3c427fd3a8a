"""Wrong tries of an identifier or a national id, and where it has worked from before.

Whoever signs in from where they have signed in before is counted apart from everybody else: strangers cannot lock them
out. Source: the contract's self-service area, weak points R2, R3 and R8.
"""

from dataclasses import dataclass

from datacollect.db import Reading, Tx
from datacollect.features.auth import attempts
from datacollect.features.citizens import queries
from datacollect.features.citizens.errors import SignInLocked
from datacollect.features.citizens.model import Lock, LockRule
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.source import Source


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whom somebody says that they are: what they have typed, as it is compared, and in which kind of sign-in."""

    kind: str
    value: str

    def account(self, scope: TenantScope, peppers: Peppers) -> str:
        """What it is counted under, whether or not it is anybody's."""
        return peppers.hash("citizens-account", scope.tenant_id, self.kind, self.value).hex()[:32]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of tries under a key; nobody else tries under it until the transaction ends."""

    account: str
    key_hash: bytes
    key: str
    """For counts beside the lock's."""
    lock: Lock
    rule: LockRule

    @property
    def is_familiar(self) -> bool:
        """Whether they have signed in from there before."""
        return self.key != self.account

    def refusal(self, now: Millis) -> SignInLocked | None:
        """What is refused while it is locked."""
        seconds = self.lock.seconds_left(now)
        return SignInLocked(headers={"Retry-After": str(seconds)}) if seconds else None

    async def note_wrong(self, tx: Tx, scope: TenantScope, *, chances: int = 1, now: Millis) -> bool:
        """Whether it is locked from now on. `chances` is how many codes the try was held against."""
        after = self.lock.after_wrong(now, self.rule, chances=chances)
        await queries.store_lock(tx, scope, self.key_hash, after)
        return after.level > self.lock.level

    async def note_right(self, tx: Tx, scope: TenantScope, source: Source, *, now: Millis) -> None:
        await queries.delete_lock(tx, scope, self.key_hash)
        await attempts.note_familiar(tx, self.account, source.origin, now=now)


async def lock_of(
    view: Reading,
    scope: TenantScope,
    peppers: Peppers,
    claimed: Claimed,
    rule: LockRule,
    *,
    source: Source,
    now: Millis,
) -> SignInLocked | None:
    """What is refused already. Asked before anything else, it keeps a flood of tries cheap: it only reads."""
    account = claimed.account(scope, peppers)
    key = await _key(view, account, source, now=now)
    key_hash = _key_hash(scope, peppers, key)
    lock = await queries.read_lock(view, scope, key_hash)
    return Standing(account, key_hash, key, lock.at(now, rule), rule).refusal(now)


async def standing_of(
    tx: Tx, scope: TenantScope, peppers: Peppers, claimed: Claimed, rule: LockRule, *, source: Source, now: Millis
) -> Standing:
    """Three statements, whoever it is."""
    account = claimed.account(scope, peppers)
    key = await _key(tx, account, source, now=now)
    key_hash = _key_hash(scope, peppers, key)
    lock = await queries.hold_lock(tx, scope, key_hash, now=now)
    await queries.forget_locks(tx, scope, but=key_hash, now=now)
    return Standing(account, key_hash, key, lock.at(now, rule), rule)


async def _key(view: Reading, account: str, source: Source, *, now: Millis) -> str:
    is_familiar = await attempts.is_familiar(view, account, source.origin, now=now)
    return f"{account}:{source.origin}" if is_familiar else account


def _key_hash(scope: TenantScope, peppers: Peppers, key: str) -> bytes:
    return peppers.hash("citizens-lock", scope.tenant_id, key)
