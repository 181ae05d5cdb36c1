"""Processes of `campaignd`, started and ended by a test, whose log the test reads.

No method sleeps to let something happen: every wait is for an event, with a deadline.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.campaign_database import CampaignDatabase
from tests.support.waiting import PATIENCE_S, utc_now

CAMPAIGND = Path(sys.executable).with_name("campaignd")
_PIPE_BYTES = 1 << 20
"""Room for the log of a burst, so that the daemon never waits for the test to read."""


class Process:
    """``campaignd ...`` as a child of the test, which reads its standard error as it comes."""

    def __init__(
        self,
        *arguments: str,
        env: dict[str, str],
        cwd: Path,
        stderr: int | None = None,
        program: Sequence[str | Path] = (CAMPAIGND,),
    ) -> None:
        self.lines: list[bytes] = []
        self._more = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*program, *arguments],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr is None else stderr,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._reader: threading.Thread | None = None
        if self.process.stderr is not None:
            fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._reader = threading.Thread(target=self._read_log, daemon=True)
            self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()
        rest = b""
        while chunk := os.read(descriptor, _PIPE_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            with self._more:
                self.lines += whole
                self._more.notify_all()
        with self._more:
            self.lines += [rest] if rest else []
            self._ended = True
            self._more.notify_all()

    def wait_for(
        self,
        event: str,
        within: float = PATIENCE_S,
        *,
        after: int = 0,
        **fields: object,
    ) -> dict[str, Any]:
        """Wait for the first line of an event, from line number ``after`` on, with those fields."""
        mark = f'"event":"{event}"'.encode()
        deadline = time.monotonic() + within
        seen = after
        with self._more:
            while True:
                for line in self.lines[seen:]:
                    if mark in line:
                        event_fields = json.loads(line)
                        if event_fields.items() >= fields.items():
                            return dict(event_fields)
                seen = len(self.lines)
                left = deadline - time.monotonic()
                assert left > 0, f"no {event} {fields} within {within} s:\n{self.last_lines()}"
                assert not self._ended, f"ended without {event} {fields}:\n{self.last_lines()}"
                self._more.wait(left)

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Return every line of an event so far."""
        mark = f'"event":"{event}"'.encode()
        with self._more:
            return [json.loads(line) for line in self.lines if mark in line]

    def line_count(self) -> int:
        """Return the number of lines so far, as ``after`` for later waits."""
        with self._more:
            return len(self.lines)

    def last_lines(self) -> str:
        """Return the last lines, for the message of a failure."""
        return "\n".join(line[:300].decode(errors="replace") for line in self.lines[-10:])

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.process.kill()
        self.join()

    def stop(self, within: float = PATIENCE_S) -> int:
        """Send SIGTERM; return the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.join(within)

    def join(self, within: float = PATIENCE_S) -> int:
        """Wait for the end and for the last line; return the exit code."""
        code = self.process.wait(within)
        if self._reader is not None and self.process.stderr is not None:
            self._reader.join(within)
            self.process.stderr.close()
        return code

    def end_in_teardown(self) -> None:
        """End the process in teardown, whatever its state."""
        self.process.kill()
        self.join()


class Daemons:
    """Starts processes for one test, and ends them after it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Process] = []

    def environment(self, database_url: str | None = None, **settings: object) -> dict[str, str]:
        """Return the environment of a process; settings are named with two underscores."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
        env |= {
            "CAMPAIGND_API__ENABLED": "false",
            "CAMPAIGND_STATE_DIR": str(self.directory / "state"),
            "TZ": "America/St_Johns",
            "PYTHONWARNINGS": "error",
        }
        if database_url is not None:
            env["CAMPAIGND_DATABASE_URL"] = database_url
        for name, value in settings.items():
            env[name if name.isupper() else f"CAMPAIGND_{name.upper()}"] = str(value)
        return env

    def start(
        self,
        database_url: str | None,
        *arguments: str,
        stderr: int | None = None,
        **settings: object,
    ) -> Process:
        """Start ``campaignd run`` with these settings."""
        return self.start_command(
            "run",
            *arguments,
            stderr=stderr,
            env=self.environment(database_url, **settings),
        )

    def start_command(
        self,
        *arguments: str,
        env: dict[str, str],
        stderr: int | None = None,
        program: Sequence[str | Path] = (CAMPAIGND,),
    ) -> Process:
        """Start any command."""
        process = Process(*arguments, env=env, cwd=self.directory, stderr=stderr, program=program)
        self._started.append(process)
        return process

    def import_campaigns(
        self, database_url: str, lines: Iterable[dict[str, Any]], **settings: object
    ) -> None:
        """Run ``campaignd import`` with these settings."""
        loaded = subprocess.run(
            [CAMPAIGND, "import", "-"],
            env=self.environment(database_url, **settings),
            cwd=self.directory,
            input="\n".join(json.dumps(line) for line in lines),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert loaded.returncode == 0, loaded.stderr

    def start_ready(self, database_url: str | None, *arguments: str, **settings: object) -> Process:
        """Start ``campaignd run`` and wait until it is ready."""
        process = self.start(database_url, *arguments, **settings)
        process.wait_for("ready")
        return process

    def start_ready_before(
        self,
        database: CampaignDatabase,
        store: Callable[[datetime], object],
        ahead: float,
        **settings: object,
    ) -> tuple[Process, datetime]:
        """Start a daemon that is ready before the stored campaigns are due; return both.

        ``store`` receives the instant, some seconds ahead. If the machine is too slow for that,
        everything is repeated with twice the time.
        """
        while True:
            at = utc_now() + timedelta(seconds=ahead)
            try:
                store(at)
            except AssertionError:  # Such as an import that refuses what is past by now.
                if utc_now() < at:
                    raise
            else:
                process = self.start_ready(database.url, **settings)
                if utc_now() < at:
                    return process, at
                process.kill()
            database.delete_all()
            ahead *= 2

    def end_all(self) -> None:
        """End every started process, and the programs that a killed one left behind."""
        for process in self._started:
            process.end_in_teardown()
        for pid in _processes_working_in(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes_working_in(directory: Path) -> list[int]:
    """Return the other processes whose working directory this is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == directory.resolve():
                    found.append(int(entry.name))
    return found
