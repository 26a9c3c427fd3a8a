"""Hashing passwords, outside the event loop, a few at a time and behind everything else: a flood of logins must not
stall everybody else."""

import asyncio
import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_NICENESS = 5
"""A third of the share that others get while the processors are fully used."""


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _step_back() -> None:
    """Let this thread run where nothing else wants the processor. Linux alone has priorities of single threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


HASHING_THREADS = max(1, min(2, _usable_processors() // 2))
"""Half of a small machine. One thread makes some 40 hashes a second."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_pool = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="passwords", initializer=_step_back)
_BCRYPT_PREFIXES = ("$2a$", "$2b$", "$2y$")
_BCRYPT_BYTES = 72
"""What bcrypt looks at of a password; its libraries used to cut the rest off silently."""

NOBODYS_HASH = (
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}${'A' * 22}${'A' * 43}"
)
"""Checked when there is no such account, so that the answer takes as long as for one that exists.

A salt and a digest of zeros: it is by the parameters that a check takes time, and to make a digest takes each process that
long when it starts. What password it would be of does not matter, see `verify_password`.
"""


async def hash_password(password: str) -> str:
    """An argon2id hash with its parameters and salt."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _hasher.hash, password)


async def verify_password(password: str, stored: str | None) -> bool:
    """Whether the password is the hashed one. Understands argon2 and the bcrypt hashes of the reference.

    Without a hash, for there is no such account, it takes as long all the same.
    """
    checked = NOBODYS_HASH if stored is None else stored
    is_right = await asyncio.get_running_loop().run_in_executor(_pool, _verify, password, checked)
    return is_right and stored is not None


def is_outdated(stored: str) -> bool:
    """Whether a hash should be made anew when the password is next known."""
    return stored.startswith(_BCRYPT_PREFIXES) or _hasher.check_needs_rehash(stored)


def _verify(password: str, stored: str) -> bool:
    try:
        if stored.startswith(_BCRYPT_PREFIXES):
            return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], stored.encode())
        return _hasher.verify(stored, password)
    except (Argon2Error, InvalidHashError, ValueError):
        return False
