"""Signs of life: from turns of the firing loop only, and not while a part hangs."""

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
    """What was told to the service manager, and what was logged."""

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

    def turn(self, after: float) -> None:
        """Some seconds later the loop turns."""
        self.clock.seconds += after
        self.watchdog.beat()


def test_a_turn_is_a_sign_but_not_every_turn() -> None:
    """The manager hears as often as it wants to, and never without a turn."""
    heard = Heard()
    for _ in range(21):
        heard.turn(1.0)
    assert heard.signs == 3, "at once, after 10 s, after 20 s"
    heard.clock.seconds += 1000
    assert heard.signs == 3
    assert heard.watchdog.age == 1000


def test_nobody_waits() -> None:
    """Outside systemd there is nothing to tell."""
    heard = Heard(every=None)
    heard.turn(60)
    assert heard.signs == 0


def test_a_part_that_hangs_ends_the_signs() -> None:
    """Said once, after a moment in which it may recover; over when the part is well again."""
    heard = Heard(every=1.0)
    busy = Stopwatch(heard.clock)
    heard.watchdog.watch({"the claim": (busy.running_for, 60.0)})
    with busy.lap():
        heard.turn(59)
        assert heard.signs == 1
        heard.turn(2)
        assert (heard.signs, heard.events) == (1, [])
        heard.turn(GRACE_S)
        heard.turn(GRACE_S)
        assert heard.signs == 1
        ((event, fields),) = heard.events
        assert (event, fields["error"]) == ("service_stalled", "the claim is stuck for 66 s")
        assert heard.watchdog.stuck() is not None
    heard.turn(1)
    assert heard.signs == 2
    assert heard.watchdog.stuck() is None


def test_a_stopwatch_tells_of_work_that_ended_well() -> None:
    """Only of that."""
    clock, took = Hand(), list[float]()
    watch = Stopwatch(clock)
    watch.observers.append(took.append)
    with watch.lap():
        clock.seconds += 2
    try:
        with watch.lap():
            raise RuntimeError
    except RuntimeError:
        pass
    assert took == [2]
    assert watch.running_for() == 0
