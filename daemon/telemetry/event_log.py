"""Events as log lines: one subscriber, which never raises into whoever tells."""

from __future__ import annotations

from typing import Any, Protocol

from daemon.telemetry.events import EVENTS
from daemon.telemetry.log_setup import LEVELS, is_written


class Logger(Protocol):
    """What is needed of a structlog logger."""

    def log(self, level: int, event: str, **fields: Any) -> Any: ...


LEVEL_OF = {name: LEVELS[told.level] for name, told in EVENTS.items()}


class EventLog:
    """Writes each event at the level its table gives it, with the keys that have a value."""

    def __init__(self, logger: Logger) -> None:
        self._log = logger.log

    def wants(self, event: str) -> bool:
        """Whether an event would be written, as long as it names no level of its own."""
        return is_written(LEVEL_OF[event])

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Tell of an event; ``level`` among the fields overrides the table's."""
        level = LEVELS[fields.pop("level")] if "level" in fields else LEVEL_OF[event]
        if is_written(level):
            for value in fields.values():
                if value is None:
                    fields = {key: value for key, value in fields.items() if value is not None}
                    break
            self._log(level, event, **fields)
