"""Whether the daemon still fires: signs of life from the loop that does, and from nothing else.

The loader's loop is the witness. It turns once the event loop has let it, once the database has
answered or is known to be away, and each turn looks at the parts that can hang behind its back: the
alarm, the claim, the finish. Only such a turn is passed on to the service manager, so whatever
stops the firing also stops the signs, and the watchdog restarts the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.domain.ports import Clock, Emit

Sign = Callable[[], float]
"""For how many seconds a part has been stuck; 0 while it is well."""

AILING_S = 5.0
"""How long a part may look stuck before it is said: a machine that woke from sleep needs a turn."""


class Watchdog:
    """Turns of the firing loop.

    Args:
        tell: passes a sign of life on to the service manager.
        every: seconds between two of them, at least; None: nobody waits for one.
    """

    def __init__(
        self, tell: Callable[[], object], *, every: float | None, clock: Clock, emit: Emit
    ) -> None:
        self._tell = tell
        self._every = every
        self._clock = clock
        self._emit = emit
        self._signs: dict[str, tuple[Sign, float]] = {}
        self._told_at: float | None = None
        self._ailing_since: float | None = None
        self._said = False
        self.turned_at = clock.monotonic()
        """When the loop turned last, on the monotonic clock."""
        self.on_turn: list[Callable[[], None]] = []

    def watch(self, signs: Mapping[str, tuple[Sign, float]]) -> None:
        """Parts to look at with every turn, each with the seconds that it may be stuck."""
        self._signs.update(signs)

    @property
    def age(self) -> float:
        """Seconds since the last turn."""
        return self._clock.monotonic() - self.turned_at

    def stuck(self) -> str | None:
        """The part that is stuck, in words; None if all are well."""
        for part, (sign, limit) in self._signs.items():
            if (seconds := sign()) > limit:
                return f"{part} is stuck for {seconds:.0f} s"
        return None

    def turn(self) -> None:
        """The loop has turned: the database answered, or is known to be away."""
        now = self.turned_at = self._clock.monotonic()
        stuck = self.stuck()
        if stuck is None:
            self._ailing_since, self._said = None, False
            if self._every is not None and (
                self._told_at is None or now - self._told_at >= self._every
            ):
                self._tell()
                self._told_at = now
        else:
            if self._ailing_since is None:
                self._ailing_since = now
            if not self._said and now - self._ailing_since >= AILING_S:
                self._emit("service_stalled", error=stuck)
                self._said = True
        for call in self.on_turn:
            call()
