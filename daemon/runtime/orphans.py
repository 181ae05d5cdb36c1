"""Reaps orphans: as process 1 the daemon inherits the processes that commands leave behind.

In a container without an init, nothing else reaps them, and each would stay as a zombie for good.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

INTERVAL_S = 2.0
"""Seconds between two sweeps."""
SIGHTINGS = 3
"""Sweeps that find a zombie before it is reaped. A child that the daemon waits for goes earlier."""

_Process = tuple[int, str]
"""Process id and start time, because ids are used again."""


class OrphanReaper:
    """Reaps the zombies of this process that nothing in it waits for."""

    def __init__(self) -> None:
        self._sightings: dict[_Process, int] = {}

    def reap_lasting_zombies(self) -> int:
        """Reap the zombies that have been found often enough; return how many were reaped."""
        if not _has_zombie():
            self._sightings.clear()
            return 0
        self._sightings = {
            process: self._sightings.get(process, 0) + 1 for process in _zombies_of(os.getpid())
        }
        ready = [pid for (pid, _), count in self._sightings.items() if count >= SIGHTINGS]
        return sum(_reap_process(pid) for pid in ready)


def reap_orphans() -> None:
    """Reap orphans from now on, in a thread, if this process is process 1."""
    if os.getpid() == 1:
        threading.Thread(target=_sweep_forever, name="orphans", daemon=True).start()


def _sweep_forever() -> None:
    reaper = OrphanReaper()
    while True:
        time.sleep(INTERVAL_S)
        reaper.reap_lasting_zombies()


def _has_zombie() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _zombies_of(parent: int) -> Iterator[_Process]:
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            # The name in parentheses may contain anything, so only its end counts.
            fields = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # the process has ended meanwhile
        state, of, started = fields[0], int(fields[1]), fields[19]
        if state == "Z" and of == parent:
            yield int(directory.name), started


def _reap_process(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
