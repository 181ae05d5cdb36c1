"""Subscribers of log events: the one that writes lines, and the one that serves several."""

from __future__ import annotations

from typing import Any, Protocol

from daemon.domain.ports import Emit, is_enabled
from daemon.telemetry.events import EVENTS
from daemon.telemetry.log_setup import LEVELS, is_written


class Logger(Protocol):
    """The method of a logger that `EventLog` uses."""

    def write(self, level: int, event: str, fields: dict[str, Any]) -> None: ...


LEVEL_OF = {name: LEVELS[spec.level] for name, spec in EVENTS.items()}


class EventLog:
    """Writes each event at the level of its `EventSpec`, with the keys that have a value."""

    def __init__(self, logger: Logger) -> None:
        self._write = logger.write

    def is_enabled(self, event: str) -> bool:
        """Return whether the event is written, if it is emitted without a level of its own."""
        return is_written(LEVEL_OF[event])

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Write an event; ``level`` among the fields overrides the level of its `EventSpec`."""
        level = LEVELS[fields.pop("level")] if "level" in fields else LEVEL_OF[event]
        if is_written(level):
            for key in [key for key, value in fields.items() if value is None]:
                del fields[key]
            self._write(level, event, fields)


class FanOut:
    """Passes each event to every subscriber, in order."""

    def __init__(self, *subscribers: Emit) -> None:
        self._subscribers = subscribers

    def is_enabled(self, event: str) -> bool:
        """Return whether any subscriber handles the event."""
        return any(is_enabled(emit, event) for emit in self._subscribers)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Pass an event on. Subscribers do not raise."""
        for emit in self._subscribers:
            emit(event, **fields)
