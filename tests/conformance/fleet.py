"""A program, its hub and the devices that share it."""

import random
from collections.abc import Mapping
from typing import Any

from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.testing.devices import Device, DeviceClock, Generation, every_event
from datacollect.testing.wire import Answer, Wire

BEGIN = parse_timestamp("2025-03-01T08:00:00.000Z")


class CutWire:
    """A wire whose answers can get lost on the way back: the hub has done what was asked, the device does not know."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._cuts: set[int] = set()
        self._count = 0
        self.has_cut = False

    def lose_answer(self, nth: int) -> None:
        """Of the requests from now on, counted from 1."""
        self._cuts.add(self._count + nth)

    def heal(self) -> None:
        self._cuts.clear()

    async def __call__(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        self._count += 1
        answer = await self._wire(method, target, headers=headers, body=body)
        if self._count in self._cuts:
            self.has_cut = True
            raise ConnectionError("the answer got lost")
        return answer


class Fleet:
    """Devices of one program. Their clocks start together; their guids repeat from run to run, but not across fleets."""

    def __init__(self, wire: Wire, program: str, token: str) -> None:
        self.wire = wire
        self.program = program
        self.token = token
        self.devices: list[Device] = []

    def device(
        self, generation: Generation, *, skew_ms: int = 0, applies_older: bool = False, wire: Wire | None = None
    ) -> Device:
        name = "ABCDEFGH"[len(self.devices)]
        device = Device(
            name=name,
            wire=wire or self.wire,
            config_id=self.program,
            generation=generation,
            clock=DeviceClock(BEGIN, skew_ms=skew_ms),
            token=self.token,
            applies_older=applies_older,
            sleep=_no_wait,
            random=random.Random(f"{self.program} {name}"),
        )
        self.devices.append(device)
        return device

    async def settle(self) -> None:
        """Two more syncs each: the first brings everything to the hub, the second to everybody."""
        for _ in range(2):
            for device in self.devices:
                await device.sync()

    async def log(self) -> list[str]:
        """The guids in the hub's log, as a reader gets them from the beginning."""
        return [event["guid"] for event in await every_event(self.wire, self.program, self.token)]

    async def entities(self) -> dict[str, Any]:
        target = f"/api/entities?configId={self.program}&limit=1000"
        answer = await self.wire("GET", target, headers={"authorization": f"Bearer {self.token}"})
        assert answer.status == 200, answer.body
        return {entity["guid"]: entity["data"] for entity in answer.json()}

    async def divergence(self) -> list[str]:
        """Why the hub and the devices do not hold the same events, each once; nothing if they do."""
        log = await self.log()
        stored = set(log)
        reasons = []
        if len(stored) != len(log):
            reasons.append("the hub delivers an event twice in one pass")
        uploaded = set().union(*(device.uploaded for device in self.devices))
        if uploaded != stored:
            reasons.append(
                f"the hub lacks {len(uploaded - stored)} uploaded events, has {len(stored - uploaded)} others"
            )
        for device in self.devices:
            held = device.events.keys() - device.held_back
            if held != stored:
                reasons.append(
                    f"{device.name} lacks {len(stored - held)} of {len(stored)} events, has {len(held - stored)} others"
                )
        return reasons

    async def contradictions(self) -> list[str]:
        """Entities that look different on the hub and a device; those a held-back event touches are left out."""
        theirs = {device.events[guid]["entityGuid"] for device in self.devices for guid in device.held_back}
        on_hub = await self.entities()
        reasons = []
        for device in self.devices:
            on_device = device.data()
            for guid in on_hub.keys() | on_device.keys() - theirs:
                if guid not in theirs and on_hub.get(guid) != on_device.get(guid):
                    reasons.append(f"{guid}: hub {on_hub.get(guid)}, {device.name} {on_device.get(guid)}")
        return reasons


def later(seconds: float) -> Millis:
    """An instant on the devices' time line."""
    return Millis(BEGIN + round(seconds * 1000))


async def _no_wait(_seconds: float) -> None:
    """The waits between a client's tries, without the waiting."""
