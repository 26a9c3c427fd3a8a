"""Looks a host name up."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from datacollect.outgoing.addresses import IpAddress

Resolver = Callable[[str], Awaitable[Sequence[IpAddress]]]
"""Gives all addresses of a name, best first. Raises `OSError` when there are none."""

# Threads of its own: a name server that does not answer holds each for many seconds, and nothing else is to wait for it.
_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="names")


async def system_resolver(name: str) -> Sequence[IpAddress]:
    """Ask the operating system, so that `/etc/hosts` and the container's name server count."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _look_up, name)


def _look_up(name: str) -> Sequence[IpAddress]:
    # As bytes: a text would go through Python's reading of international names first.
    answers = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in answers))
