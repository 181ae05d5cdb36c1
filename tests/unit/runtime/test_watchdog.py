"""Signs of life come from the firing loop only, and not while a component hangs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemon.runtime.stopwatch import Stopwatch
from daemon.runtime.watchdog import GRACE_S, Watchdog


@dataclass
class Hand:
    """A clock that the test moves."""

    seconds: float = 100.0

    def now(self) -> datetime:
        """The same instant, moved on."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """What the hand shows."""
        return self.seconds


class Heard:
    """The signs sent to the service manager, and the events logged."""

    def __init__(self, every: float | None = 10.0) -> None:
        self.clock = Hand()
        self.signs = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.watchdog = Watchdog(self.sign, every=every, clock=self.clock, emit=self.emit)

    def sign(self) -> None:
        """A sign of life."""
        self.signs += 1

    def emit(self, event: str, /, **fields: Any) -> None:
        """An event."""
        self.events.append((event, fields))

    def beat(self, after: float) -> None:
        """Let the loop run some seconds later."""
        self.clock.seconds += after
        self.watchdog.beat()


def test_a_beat_is_a_sign_but_not_every_beat() -> None:
    """The service manager gets signs as often as it wants, and never without a beat."""
    heard = Heard()
    for _ in range(21):
        heard.beat(1.0)
    assert heard.signs == 3, "at once, after 10 s, after 20 s"
    heard.clock.seconds += 1000
    assert heard.signs == 3
    assert heard.watchdog.age == 1000


def test_without_a_service_manager() -> None:
    """Outside systemd no sign is sent."""
    heard = Heard(every=None)
    heard.beat(60)
    assert heard.signs == 0


def test_a_part_that_hangs_ends_the_signs() -> None:
    """Said once, after a moment in which it may recover; over when the part is well again."""
    heard = Heard(every=1.0)
    busy = Stopwatch(heard.clock)
    heard.watchdog.watch({"the claim": (busy.longest_running, 60.0)})
    with busy.time_lap():
        heard.beat(59)
        assert heard.signs == 1
        heard.beat(2)
        assert (heard.signs, heard.events) == (1, [])
        heard.beat(GRACE_S)
        heard.beat(GRACE_S)
        assert heard.signs == 1
        ((event, fields),) = heard.events
        assert (event, fields["error"]) == ("service_stalled", "the claim is stuck for 66 s")
        assert heard.watchdog.stuck() is not None
    heard.beat(1)
    assert heard.signs == 2
    assert heard.watchdog.stuck() is None


def test_a_stopwatch_tells_of_work_that_ended_well() -> None:
    """Only of that."""
    clock, took = Hand(), list[float]()
    watch = Stopwatch(clock)
    watch.observers.append(took.append)
    with watch.time_lap():
        clock.seconds += 2
    try:
        with watch.time_lap():
            raise RuntimeError
    except RuntimeError:
        pass
    assert took == [2]
    assert watch.longest_running() == 0
