"""A process that uses the embedded server, and checks of that server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg

from storage.embedded import postmaster

CHILD = """
import json, signal, sys
from pathlib import Path
from storage.embedded import EmbeddedError, embedded_postgres

signal.signal(signal.SIGINT, lambda *_: print(json.dumps(["sigint", {}]), flush=True))

def log(event, **fields):
    print(json.dumps([event, fields]), flush=True)

try:
    with embedded_postgres(Path(sys.argv[1]), log=log) as dsn:
        log("in", dsn=dsn)
        sys.stdin.readline()
except EmbeddedError as error:
    log("error", text=str(error), hint=error.hint)
    sys.exit(error.exit_code)
"""


class EmbeddedUser:
    """A process that uses the embedded server until it is asked to leave."""

    def __init__(self, state_dir: Path, **options: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, state_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        self.seen: list[str] = []

    def wait_for(self, event: str) -> dict[str, object]:
        """Wait for an event and return its fields; `seen` has the events before it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, fields = json.loads(line)
            self.seen.append(name)
            if name == event:
                assert isinstance(fields, dict)
                return fields
        raise AssertionError(f"{event} never came, only {self.seen}")

    def leave_and_wait(self) -> int:
        """Let the process leave; return its exit code."""
        self.process.communicate("\n", timeout=150)
        return self.process.returncode

    def kill_and_wait(self) -> None:
        self.process.kill()
        self.process.communicate()


def running_server_of(state_dir: Path) -> postmaster.Postmaster | None:
    """Return the running server of a state directory."""
    data = state_dir / "postgres" / "data"
    found = postmaster.read_postmaster(data)
    return found if found and postmaster.is_alive(data, found) else None


def select_value(dsn: object, statement: str) -> object:
    """Return the only value of a statement."""
    with psycopg.connect(str(dsn), autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row and row[0]
