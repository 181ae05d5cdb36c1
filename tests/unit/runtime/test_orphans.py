"""Process 1 reaps what commands leave behind, and no child that its own code waits for."""

from __future__ import annotations

import subprocess
import sys
from inspect import cleandoc

ADOPT = """
    import ctypes, os, subprocess, time
    from daemon.runtime.orphans import SIGHTINGS, OrphanReaper

    def zombies():
        listing = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "stat="], check=False,
                                 capture_output=True, text=True).stdout
        return listing.count("Z")

    # As process 1 does, a subreaper inherits orphans (PR_SET_CHILD_SUBREAPER).
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
    reaper = OrphanReaper()
    assert reaper.reap_lasting_zombies() == 0
    subprocess.run(["sh", "-c", "setsid sleep 0.1 & (sleep 0.1 &)"], check=True)
    time.sleep(0.5)
    assert zombies() == 2, zombies()
    for _ in range(SIGHTINGS - 1):
        assert reaper.reap_lasting_zombies() == 0
    own = subprocess.Popen(["sh", "-c", "exit 7"])
    time.sleep(0.1)
    assert reaper.reap_lasting_zombies() == 2
    assert own.wait() == 7
    assert zombies() == 0
    assert reaper.reap_lasting_zombies() == 0
"""


def test_orphans_are_reaped_and_own_children_are_left() -> None:
    """A zombie that stays for several sweeps is reaped; a child that just ended is not."""
    ended = subprocess.run(
        [sys.executable, "-c", cleandoc(ADOPT)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_any_other_process_reaps_nothing() -> None:
    """Only process 1 inherits orphans, so no thread is started elsewhere."""
    import threading

    from daemon.runtime.orphans import reap_orphans

    before = threading.active_count()
    reap_orphans()
    assert threading.active_count() == before
