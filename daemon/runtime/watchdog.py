"""Liveness: beats of the firing loop, passed on to the service manager's watchdog.

The loader's loop is the witness. It beats when the event loop has run it, and when the database has
answered or is known to be away. Each beat checks the components that can hang without the loader's
notice: the timer, the claimer, the completer. A beat reaches the service manager only when all of
them are well. So whatever stops the firing also stops the beats, and systemd restarts the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.domain.ports import Clock, Emit

StuckFor = Callable[[], float]
"""Returns the seconds for which a component has been stuck; 0 while it is well."""

GRACE_S = 5.0
"""Seconds a component may look stuck before that is logged: a machine that resumes needs a beat."""


class Watchdog:
    """Beats of the firing loop.

    Args:
        notify: sends one sign of life to the service manager.
        every: seconds between two signs, at least; None: no service manager waits for one.
    """

    def __init__(
        self, notify: Callable[[], object], *, every: float | None, clock: Clock, emit: Emit
    ) -> None:
        self._notify = notify
        self._every = every
        self._clock = clock
        self._emit = emit
        self._components: dict[str, tuple[StuckFor, float]] = {}
        self._notified_at: float | None = None
        self._stuck_since: float | None = None
        self._is_logged = False
        self.last_beat_at = clock.monotonic()
        """On the monotonic clock."""
        self.on_beat: list[Callable[[], None]] = []

    def watch(self, components: Mapping[str, tuple[StuckFor, float]]) -> None:
        """Check these components at every beat, each with the seconds that it may be stuck."""
        self._components.update(components)

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock.monotonic() - self.last_beat_at

    def stuck(self) -> str | None:
        """Return which component is stuck and for how long; None when all are well."""
        for component, (stuck_for, limit) in self._components.items():
            if (seconds := stuck_for()) > limit:
                return f"{component} is stuck for {seconds:.0f} s"
        return None

    def beat(self) -> None:
        """Note that the firing loop ran: the database answered, or is known to be away."""
        now = self.last_beat_at = self._clock.monotonic()
        stuck = self.stuck()
        if stuck is None:
            self._stuck_since, self._is_logged = None, False
            if self._every is not None and (
                self._notified_at is None or now - self._notified_at >= self._every
            ):
                self._notify()
                self._notified_at = now
        else:
            if self._stuck_since is None:
                self._stuck_since = now
            if not self._is_logged and now - self._stuck_since >= GRACE_S:
                self._emit("service_stalled", error=stuck)
                self._is_logged = True
        for listener in self.on_beat:
            listener()
