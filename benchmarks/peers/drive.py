"""The protocol between `peers.py` and the drivers of the Python peers.

A driver is called twice: `register URL COUNT DUE FOLDER` stores jobs due at one instant, and
`work URL COUNT DUE FOLDER` fires them. The second call prints "ready" when its worker runs, and
"begun" when the last job has begun. At SIGTERM it writes the times of all jobs to FOLDER/began.
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


def record() -> None:
    """Record that a job began; this is the whole action of a job."""
    began.append(time.time())
    if len(began) == COUNT:
        report("begun")


def report(line: str) -> None:
    """Print a line for `peers.py`."""
    print(line, flush=True)


def copy_job(table: str, **changed: str) -> None:
    """Copy the only row of a table to COUNT rows, which a peer's own interface would take long for.

    Args:
        table: the table, whose key is `id`.
        changed: SQL for the columns that differ, with the number of the row as `n`.
    """
    import psycopg

    with psycopg.connect(URL) as connection:
        row = connection.execute(f"SELECT * FROM {table}")
        columns = [column.name for column in row.description or () if column.name != "id"]
        values = [changed.get(name, f'job."{name}"') for name in columns]
        names = ", ".join(f'"{name}"' for name in columns)
        connection.execute(
            f"INSERT INTO {table} ({names}) SELECT {', '.join(values)}"
            f" FROM {table} AS job, generate_series(2, {COUNT}) AS n"
        )


def end(*_: object) -> None:
    """Write the times and end at once."""
    (FOLDER / "began").write_bytes(began.tobytes())
    os._exit(0)


def end_at_sigterm() -> None:
    """End at SIGTERM from another thread, because the peer's own shutdown is not measured."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        signal.sigwait([signal.SIGTERM])
        end()

    threading.Thread(target=wait, daemon=True).start()
