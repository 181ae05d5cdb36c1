"""What a new configuration changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.settings import Settings

_AT_ONCE = ("log", "targets", "history")


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """The changed settings that are only read at the start."""
    changed = []
    for name, value in vars(new).items():
        before = vars(old)[name]
        if name in _AT_ONCE or value == before:
            continue
        if hasattr(value, "__dict__"):  # a section
            changed += [
                f"{name}.{key}" for key, now in vars(value).items() if now != vars(before)[key]
            ]
        else:
            changed.append(name)
    return changed
