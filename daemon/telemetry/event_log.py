"""Subscribers of log events: the one that writes lines, and the one that serves several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from daemon.domain.ports import Emit, emit_each, is_enabled
from daemon.telemetry.events import EVENTS
from daemon.telemetry.log_setup import LEVELS, is_written


class Logger(Protocol):
    """The methods of a logger that `EventLog` uses."""

    def write(self, level: int, event: str, fields: dict[str, Any]) -> None: ...

    def write_each(
        self,
        level: int,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None: ...


LEVEL_OF = {name: LEVELS[spec.level] for name, spec in EVENTS.items()}


class EventLog:
    """Writes each event at the level of its `EventSpec`, with the keys that have a value."""

    def __init__(self, logger: Logger) -> None:
        self._write = logger.write
        self._write_each = logger.write_each

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

    def emit_each(
        self,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Write an event for each row; see `daemon.domain.ports.emit_each`."""
        level = LEVELS[fields["level"]] if "level" in fields else LEVEL_OF[event]
        if is_written(level):
            given = {
                key: value
                for key, value in fields.items()
                if key != "level" and (value is not None or key in keys)
            }
            self._write_each(level, event, given, keys, rows)


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

    def emit_each(
        self,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Pass a batch on."""
        for emit in self._subscribers:
            emit_each(emit, event, fields, keys, rows)
