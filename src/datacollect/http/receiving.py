"""The way in: a request's body, held to its limits of size, of patience and of the memory all bodies share."""

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope

from datacollect.http.inflating import Inflater, inflater_for
from datacollect.http.limits import HubBusy, ticket_of
from datacollect.kernel.errors import DataCollectError, PayloadTooLarge

IDLE_SECONDS = 60.0
LEAST_BYTES_PER_SECOND = 250
"""On the average of a body, once it has taken longer than `IDLE_SECONDS`: slower ones only hold a place."""


class BodyTooSlow(DataCollectError):
    """The rest of the body did not arrive in time."""

    status, code = 408, "BODY_TOO_SLOW"
    help = "Send again, over a better connection or in smaller parts."


REQUIRE_STILL = "require_still"
"""Of a request's state: what to ask when the last of a long body has come. Set by who lets its sender in."""

DOCUMENT = "document"
"""Of a request's state: the body, decoded."""

MOMENT_SECONDS = 1.0
"""A body that is there so soon, and in one piece, is not long: what is known of its sender may be as old."""

STRANGERS = ""
"""Stands for all whom nobody knows yet."""

ACCOUNT_SHARE = 2
STRANGERS_SHARE = 4
"""One account may hold this part of the memory of bodies, and all whom nobody knows together that part."""

LARGEST_BODY_BYTES = 50 * 1024 * 1024
LARGEST_STRANGE_BODY_BYTES = 10 * 1024 * 1024
"""A share has room for one body at least: of a program's provider, who is behind it may stand in it only."""


class BodyMemory:
    """The bytes of all bodies that a process holds, those of long answers too. Kept from the first byte of a body to the
    end of its request, and of an answer as long as it is written.

    Whoever sends slowly holds theirs for long: so one account, or all strangers together, have a share and not the whole.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_by: dict[str, int] = {}
        self.held_bytes = 0

    def has_room_for(self, count: int, holder: str | None = None) -> bool:
        """`holder` is an account, or `STRANGERS`; None is held to no share."""
        if self.held_bytes + count > self._most_bytes:
            return False
        return holder is None or self._held_by.get(holder, 0) + count <= self._share_of(holder)

    def take(self, count: int, holder: str | None = None) -> None:
        self.held_bytes += count
        if holder is not None:
            self._held_by[holder] = self._held_by.get(holder, 0) + count

    def give_back(self, count: int, holder: str | None = None) -> None:
        self.held_bytes -= count
        if holder is not None and count:
            self._held_by[holder] -= count
            if not self._held_by[holder]:
                del self._held_by[holder]

    def _share_of(self, holder: str) -> int:
        if holder == STRANGERS:
            return max(self._most_bytes // STRANGERS_SHARE, LARGEST_STRANGE_BODY_BYTES)
        return max(self._most_bytes // ACCOUNT_SHARE, LARGEST_BODY_BYTES)


def holder_of(scope: Scope) -> str | None:
    """Whose share a request's memory is of."""
    ticket = ticket_of(scope)
    return None if ticket is None else ticket.account or STRANGERS


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """What a route takes as its body, as sent and as inflated."""

    most_bytes: int
    refused: type[PayloadTooLarge] = PayloadTooLarge
    passes_through: bool = False
    """Whether the route lets go of each piece before it asks for the next, so that the body takes no memory."""
    most_seconds: float | None = None
    """For all of it, where nobody knows who sends it: meanwhile it holds a place that others wait for."""


class Incoming:
    """A request's `receive`. The first refusal is kept in `refused`: it stands, whatever is made of it on the way."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        limit: BodyLimit,
        memory: BodyMemory,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._memory = memory
        self._idle_seconds = idle_seconds
        self._began: float | None = None
        self._inflater: Inflater | None = None
        self._arrived_bytes = 0
        self._given_bytes = 0
        self._held_bytes = 0
        self._pieces = 0
        self._holder: str | None = None
        self._all_arrived = False
        self._complete = False
        self.refused: DataCollectError | None = None

    async def __call__(self) -> Message:
        if self._complete:
            # Waiting for the client to leave, however long the answer takes.
            return await self._receive()
        try:
            if self._began is None:
                self._begin()
            message = await (self._next() if self._inflater is None else self._next_inflated(self._inflater))
            await self._require_still(message)
        except DataCollectError as error:
            self.refused = error
            raise
        self._complete = not message.get("more_body", False)
        return message

    async def _require_still(self, message: Message) -> None:
        """Who sends for long (it may be hours) must still be who they were when they were let in."""
        self._pieces += bool(message.get("body"))
        if message["type"] != "http.request" or message.get("more_body", False):
            return
        if self._pieces > 1 or self._seconds() > MOMENT_SECONDS:
            require_still = self._scope.get("state", {}).get(REQUIRE_STILL)
            if require_still is not None:
                await require_still()

    def end(self) -> None:
        """The request is over, and so nothing holds its body any more."""
        self._memory.give_back(self._held_bytes, self._holder)
        ticket = ticket_of(self._scope)
        if ticket is not None:
            ticket.body_bytes += self._held_bytes
        self._held_bytes = 0
        # A server keeps what it was asked until the connection is asked for something else, or ends.
        state = self._scope.get("state", {})
        for name in (DOCUMENT, REQUIRE_STILL):
            state.pop(name, None)

    def _begin(self) -> None:
        """Before the first byte is asked for: until then, nobody has sent the body of a large request."""
        self._began = asyncio.get_running_loop().time()
        self._holder = holder_of(self._scope)
        encodings = []
        for name, value in self._scope["headers"]:
            if name == b"content-encoding":
                encodings.append(value)
            elif name == b"content-length" and value.isdigit() and not self._has_room_for(int(value)):
                raise HubBusy()
        if encodings:
            self._inflater = inflater_for(encodings)

    async def _next(self) -> Message:
        message = await self._arriving()
        if message["type"] == "http.request":
            self._hold(len(message.get("body", b"")))
        return message

    async def _next_inflated(self, inflater: Inflater) -> Message:
        while True:
            piece = inflater.give()
            if piece:
                self._hold(len(piece))
                await asyncio.sleep(0)  # other requests' turn
                return {"type": "http.request", "body": piece, "more_body": True}
            if self._all_arrived:
                inflater.finish()
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._arriving()
            if message["type"] != "http.request":
                return message
            inflater.take(message.get("body", b""))

    async def _arriving(self) -> Message:
        """What the server has received next, compressed or not."""
        try:
            async with asyncio.timeout(self._patience_seconds()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow() from None
        self._arrived_bytes += len(message.get("body", b""))
        if self._arrived_bytes > self._limit.most_bytes:
            raise self._limit.refused(most_bytes=self._limit.most_bytes)
        self._all_arrived = not message.get("more_body", False)
        if not self._all_arrived:
            self._require_pace()
        return message

    def _patience_seconds(self) -> float:
        """For the next piece."""
        if self._limit.most_seconds is None:
            return self._idle_seconds
        return max(0.0, min(self._idle_seconds, self._limit.most_seconds - self._seconds()))

    def _seconds(self) -> float:
        assert self._began is not None
        return asyncio.get_running_loop().time() - self._began

    def _require_pace(self) -> None:
        seconds = self._seconds()
        if seconds > self._idle_seconds and self._arrived_bytes < seconds * LEAST_BYTES_PER_SECOND:
            raise BodyTooSlow()

    def _has_room_for(self, count: int) -> bool:
        return self._limit.passes_through or self._memory.has_room_for(count, self._holder)

    def _hold(self, count: int) -> None:
        self._given_bytes += count
        if not self._limit.passes_through:
            self._held_bytes += count
            self._memory.take(count, self._holder)
        if self._given_bytes > self._limit.most_bytes:
            raise self._limit.refused(most_bytes=self._limit.most_bytes)
        if not self._has_room_for(0):
            raise HubBusy()
