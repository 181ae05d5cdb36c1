"""Events that a test captures instead of logging them."""

from __future__ import annotations

from typing import Any


class CapturedEvents(list[tuple[str, dict[str, Any]]]):
    """An `Emit` that keeps every event with its fields, without keys that have no value."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        self.append((event, {key: value for key, value in fields.items() if value is not None}))

    def names(self) -> list[str]:
        """Return the names of the events, in order."""
        return [name for name, _ in self]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of every event of that name."""
        return [fields for name, fields in self if name == event]
