"""What the drivers of Python's peers share: their arguments, and what they tell the harness.

A driver is called twice: `register URL COUNT DUE FOLDER` stores N jobs due at one instant, and
`work URL COUNT DUE FOLDER` fires them. The second says "ready" when its worker runs, "begun" when
the last job has, and at SIGTERM leaves behind in FOLDER/began when each job began.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from array import array
from datetime import UTC, datetime
from pathlib import Path

PHASE, URL, _COUNT, _DUE, _FOLDER = sys.argv[1:6]
COUNT, DUE_S, FOLDER = int(_COUNT), float(_DUE), Path(_FOLDER)
DUE = datetime.fromtimestamp(DUE_S, UTC)

began = array("d")


def note() -> None:
    """The whole of the action: a job began."""
    began.append(time.time())
    if len(began) == COUNT:
        say("begun")


def say(what: str) -> None:
    """A line for the harness."""
    print(what, flush=True)


def leave(*_: object) -> None:
    """Write the times down and end at once."""
    (FOLDER / "began").write_bytes(began.tobytes())
    os._exit(0)


def leave_at_sigterm() -> None:
    """From any thread; the peer's own shutdown is not what is measured."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        signal.sigwait([signal.SIGTERM])
        leave()

    threading.Thread(target=wait, daemon=True).start()
