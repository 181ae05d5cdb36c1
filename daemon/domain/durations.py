"""Lengths of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A length of time for people, such as 250 ms, 1.5 s, 3 min, 4 h or 12 days."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
