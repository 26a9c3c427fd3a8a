"""A clock that a test turns."""

from datacollect.kernel.clock import Millis, SystemClock


class TurnableClock:
    """Shows the real time plus what it has been turned by; implements `Clock`."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self._turned = 0

    def now(self) -> Millis:
        return Millis(self._real.now() + self._turned)

    def turn(self, *, seconds: float) -> None:
        """Go forward; backwards with a negative number, as a machine whose clock is set right does."""
        self._turned += round(seconds * 1000)


class SetClock:
    """Stands still until it is turned; implements `Clock`."""

    def __init__(self, start: Millis) -> None:
        self._now = start

    def now(self) -> Millis:
        return self._now

    def turn(self, milliseconds: int) -> None:
        self._now = Millis(self._now + milliseconds)
