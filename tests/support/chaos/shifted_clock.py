"""`campaignd` with clocks that a test sets while it runs, by offsets in a file.

Run it as ``python shifted_clock.py CLOCK_FILE ARGUMENTS...``. Wall time is shifted as if the
machine's clock were set; both its readers are patched, `daemon.runtime.clock` and APScheduler.
Monotonic time is shifted as in a virtual machine whose clocks stood still while it was suspended.
"""

from __future__ import annotations

import mmap
import struct
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace

OFFSET = struct.Struct("<dd")
"""Content of the file: seconds added to wall time, and seconds subtracted from monotonic time."""


class ClockFile:
    """The offsets of one node's clocks, shared between its process and the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(OFFSET.pack(0.0, 0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), OFFSET.size)

    @property
    def offset(self) -> float:
        """Seconds by which the node's clock is ahead."""
        return float(OFFSET.unpack(self._memory)[0])

    @property
    def slept(self) -> float:
        """Seconds that the node's monotonic clock missed."""
        return float(OFFSET.unpack(self._memory)[1])

    def set_offset(self, seconds: float) -> None:
        """Set the node's clock ahead (or behind, if negative)."""
        self._memory[:] = OFFSET.pack(seconds, self.slept)

    def stop_monotonic_clock(self, seconds: float) -> None:
        """Stop the monotonic clock for that many seconds."""
        self._memory[:] = OFFSET.pack(self.offset, self.slept + seconds)

    def now(self, zone: tzinfo | None = None) -> datetime:
        """Return what ``datetime.now`` returns on that node."""
        return datetime.now(zone) + timedelta(seconds=self.offset)


def main() -> None:
    """Shift the clock, then run `campaignd`."""
    clock = ClockFile(Path(sys.argv.pop(1)))
    import apscheduler.schedulers.base

    import daemon.runtime.clock
    from daemon.cli.main import main as campaignd

    shifted = SimpleNamespace(now=clock.now)
    system = daemon.runtime.clock.SystemClock
    monotonic = system.monotonic
    system.monotonic = lambda self: monotonic(self) - clock.slept  # type: ignore[method-assign]
    daemon.runtime.clock.datetime = shifted  # type: ignore[misc, assignment]
    apscheduler.schedulers.base.datetime = shifted
    sys.exit(campaignd())


if __name__ == "__main__":
    main()
