"""One event, several subscribers."""

from __future__ import annotations

from typing import Any

from daemon.domain.ports import Emit, is_enabled


class FanOut:
    """Tells every subscriber of each event, in order."""

    def __init__(self, *subscribers: Emit) -> None:
        self._subscribers = subscribers

    def wants(self, event: str) -> bool:
        """Whether any of them wants it."""
        return any(is_enabled(tell, event) for tell in self._subscribers)

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Tell of an event. Subscribers do not raise."""
        for tell in self._subscribers:
            tell(event, **fields)
