"""What a command prints for: the width, the colours and the zone of a terminal, or a pipe.

A terminal gets local times with their distance from now, short ids and colours. A pipe gets whole
ids and instants in UTC, in ISO 8601, so that no program depends on the zone of a machine.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from config.environment import terminal_has_colours
from daemon.cli.human import moment_text, relative_text
from daemon.domain.formatting import utc_text
from daemon.domain.schedule.timezones import is_zone
from daemon.domain.schedule.timezones import zone as zone_called
from daemon.runtime.clock import SystemClock


class Output(StrEnum):
    """The form of the output."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


_STYLES = {
    **dict.fromkeys(("completed", "live", "done", "ok", "active"), "32"),
    **dict.fromkeys(("failed", "missed", "lost", "refused", "revoked", "expired"), "31"),
    **dict.fromkeys(("held", "retrying", "paused", "skipped", "draining", "cancelled"), "33"),
    **dict.fromkeys(("executing", "queued", "launched"), "36"),
    **dict.fromkeys(("draft", "archived"), "2"),
    "bold": "1",
    "dim": "2",
}
"""ANSI codes by outcome, and for headings (bold) and second lines (dim)."""


@dataclass(frozen=True)
class Screen:
    """The reader of the output."""

    now: datetime
    """The present, aware."""
    output: Output = Output.TABLE
    width: int | None = None
    """Columns of the terminal; None: lines of any length."""
    has_colour: bool = False
    is_for_people: bool = False
    """Whether instants are local, with their distance from now."""
    has_short_ids: bool = False
    zone: ZoneInfo = field(default_factory=lambda: zone_called("UTC"))
    """The zone of local times."""
    zone_is_given: bool = False
    """Whether an option named the zone, so that a campaign's zone does not replace it."""

    @classmethod
    def of_standard_output(
        cls,
        output: Output = Output.TABLE,
        *,
        wide: bool = False,
        utc: bool = False,
        zone: ZoneInfo | None = None,
    ) -> Screen:
        """Return the screen that standard output is, changed by a command's options."""
        is_terminal = sys.stdout.isatty()
        is_for_people = not utc and (is_terminal or zone is not None)
        return cls(
            SystemClock().now(),
            output,
            width=shutil.get_terminal_size().columns if is_terminal and not wide else None,
            has_colour=is_terminal and terminal_has_colours(),
            is_for_people=is_for_people,
            has_short_ids=is_terminal and not wide,
            zone=zone or (machine_zone() if is_for_people else zone_called("UTC")),
            zone_is_given=zone is not None,
        )

    def in_zone(self, zone: ZoneInfo) -> Screen:
        """Return the screen with a campaign's zone, unless an option named another one."""
        return self if self.zone_is_given else replace(self, zone=zone)

    def style(self, text: str, name: str) -> str:
        """Return the text in the colour of an outcome; unchanged where there is none."""
        code = _STYLES.get(name) if self.has_colour else None
        return text if code is None or not text.strip() else f"\x1b[{code}m{text}\x1b[0m"

    def instant(self, at: datetime, *, relative: bool = True) -> str:
        """Return an aware instant: for people with its distance from now, else in UTC."""
        if not self.is_for_people:
            return utc_text(at)
        text = moment_text(at, self.now, self.zone)
        return f"{text} ({relative_text(at, self.now)})" if relative else text

    @property
    def zone_name(self) -> str:
        """The name of the zone of the times that are shown."""
        return self.zone.key if self.is_for_people else "UTC"


def machine_zone() -> ZoneInfo:
    """Return the time zone of this machine; UTC where it has none with a name."""
    # tzlocal takes 10 ms to import, which pipes do not need.
    from tzlocal import get_localzone_name

    try:
        name = get_localzone_name()
    except (LookupError, OSError, ValueError):
        return zone_called("UTC")
    return zone_called(name if is_zone(name) else "UTC")


_SCREEN: ContextVar[Screen | None] = ContextVar("_SCREEN", default=None)


def screen() -> Screen:
    """Return the screen of the current command."""
    return _SCREEN.get() or Screen.of_standard_output()


@contextmanager
def printing_to(chosen: Screen) -> Iterator[None]:
    """Print to a screen within the block."""
    token = _SCREEN.set(chosen)
    try:
        yield
    finally:
        _SCREEN.reset(token)
