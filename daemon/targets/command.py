"""The `command` target: starts a program of this machine with the run on its standard input.

Each program has its own process group, which ends with the attempt, so processes that the program
leaves behind are killed. Its output becomes log lines, at most `MAX_LINES` for each attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import threading
from asyncio.subprocess import STDOUT
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import (
    Delivered,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Reject,
    Retry,
)
from daemon.domain.run.target import Target
from daemon.runtime.descriptors import restore_open_file_limit
from daemon.targets.confinement import confine
from daemon.targets.message import encoded_message, instant_text
from daemon.targets.shortage import is_resource_shortage

RETRY_STATUS = 75
"""Exit status that asks for a retry: EX_TEMPFAIL of sysexits.h."""
PERMANENT_ERRORS = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
"""Error numbers of a start that would fail again."""
MAX_LINES = 200
"""Maximum lines of output that are logged for each attempt."""
MAX_LINE_LENGTH = 2000
"""Maximum characters of a line that are logged."""
LAST_OUTPUT_S = 1.0
"""Seconds to wait for output after the program has ended; another process may hold its pipe."""


@dataclass(frozen=True)
class CommandOptions:
    """The options of a command target; durations are in seconds.

    Args:
        environment: the whole environment, to which the ids of the run are added.
        user: runs the program as this user, with the user's groups; None: as the daemon.
        max_memory_mib: address space of each process, in MiB; None: the limit of the daemon.
        max_cpu_seconds: processor time of each process; None: the limit of the daemon.
        max_open_files: open files of each process; None: the limit of the daemon.
        kill_after: seconds between SIGTERM and SIGKILL.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str | None = None
    max_memory_mib: int | None = None
    max_cpu_seconds: int | None = None
    max_open_files: int | None = None
    timeout: float = 300.0
    kill_after: float = 5.0


class CommandTarget(Target):
    """Starts a program for each run."""

    waits = True

    def __init__(self, settings: CommandOptions, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit
        confined = confine(
            settings.user,
            memory_mib=settings.max_memory_mib,
            cpu_seconds=settings.max_cpu_seconds,
            open_files=settings.max_open_files,
        )
        self._confined = confined.arguments
        self._environment = {**confined.environment, **settings.environment}

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Start the program and wait: status 0 is delivered, 75 a retry, any other a failure."""
        settings = self._settings
        output = _OutputLog(self._emit, attempt)
        try:
            # asyncio waits for each program in a thread. Without one, the program would run alone.
            threading.Thread(target=int).start()
            starting = asyncio.ensure_future(
                asyncio.get_running_loop().subprocess_exec(
                    lambda: _Process(output),
                    *settings.argv,
                    stderr=STDOUT,
                    cwd=settings.cwd,
                    env={**self._environment, **run_variables(attempt)},
                    start_new_session=True,
                    **self._confined,
                )
            )
            try:
                transport, process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # The program may run already. asyncio would kill it alone, and not its group.
                with contextlib.suppress(OSError):
                    await self._end_process(*await starting)
                raise
        except OSError as error:
            reason = f"cannot start {settings.argv[0]}: {error.strerror or error}"
            if (
                is_resource_shortage(error) or error.errno == errno.EAGAIN
            ):  # EAGAIN: too many processes
                return NotStarted(reason)
            return Reject(reason) if error.errno in PERMANENT_ERRORS else Retry(reason)
        except (RuntimeError, MemoryError) as error:
            if not is_resource_shortage(error):
                raise
            return NotStarted(f"cannot start {settings.argv[0]}: {error or 'no memory'}")
        if settings.max_open_files is None:
            restore_open_file_limit(transport.get_pid())
        _write_input(transport, encoded_message(attempt))
        try:
            # asyncio.wait() does not cancel the futures if this attempt is cancelled.
            ended, _ = await asyncio.wait({process.exited}, timeout=settings.timeout)
            if not ended:
                return OutcomeUnknown(f"not finished within {settings.timeout:g} s; killed")
            await asyncio.wait({process.closed}, timeout=LAST_OUTPUT_S)
        finally:
            # Also if the attempt is cancelled: no process of it may continue.
            await asyncio.shield(self._end_process(transport, process))
            output.log_rest()
        code = transport.get_returncode()
        if code == 0:
            return Delivered()
        if code == RETRY_STATUS:
            return Retry(f"exit status {code}")
        if code is None or code < 0:
            return Reject(f"ended by signal {_signal_name(-(code or 0))}")
        return Reject(f"exit status {code}")

    async def _end_process(self, transport: asyncio.SubprocessTransport, process: _Process) -> None:
        """End the whole group: SIGTERM first, SIGKILL after ``kill_after`` seconds."""
        group = transport.get_pid()
        if not process.exited.done():
            _signal_group(group, signal.SIGTERM)
            await asyncio.wait({process.exited}, timeout=self._settings.kill_after)
        _signal_group(group, signal.SIGKILL)
        await asyncio.wait({process.exited})
        # A process outside the group may hold the other end of the pipes open.
        transport.close()


class _Process(asyncio.SubprocessProtocol):
    """Reports the end of a program, which may come before the end of its output."""

    def __init__(self, output: _OutputLog) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._output = output

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Log output."""
        self._output.log_complete_lines(data)

    def process_exited(self) -> None:
        """Note that the program has ended."""
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that no process holds the pipes any more."""
        if not self.closed.done():
            self.closed.set_result(None)


class _OutputLog:
    """Splits a program's output into lines and logs them."""

    def __init__(self, emit: Emit, attempt: Attempt) -> None:
        self._emit = emit
        self._attempt = attempt
        self._rest = b""
        self._count = 0

    def log_complete_lines(self, data: bytes) -> None:
        """Log the complete lines of ``data`` and keep the rest."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log_line(line)
        if len(self._rest) > MAX_LINE_LENGTH * 4:
            # The line is cut anyway, so keep no more of it.
            self._rest = self._rest[: MAX_LINE_LENGTH * 4]

    def log_rest(self) -> None:
        """Log the last line, and the number of lines that were left out."""
        if self._rest:
            self._log_line(self._rest)
        if self._count > MAX_LINES:
            self._emit_line(f"{self._count - MAX_LINES} more lines are not shown")

    def _log_line(self, line: bytes) -> None:
        self._count += 1
        if self._count <= MAX_LINES:
            text = line[: MAX_LINE_LENGTH * 4].decode("utf-8", errors="replace").rstrip("\r")
            self._emit_line(text[:MAX_LINE_LENGTH])

    def _emit_line(self, line: str) -> None:
        self._emit(
            "command_output",
            campaign_id=self._attempt.campaign_id,
            run_id=self._attempt.run_id,
            attempt=self._attempt.number,
            target=self._attempt.target,
            line=line,
        )


def run_variables(attempt: Attempt) -> dict[str, str]:
    """Return the ids of a run as environment variables."""
    return {
        "CAMPAIGND_RUN_ID": str(attempt.run_id),
        "CAMPAIGND_ATTEMPT": str(attempt.number),
        "CAMPAIGND_CAMPAIGN_ID": str(attempt.campaign_id),
        "CAMPAIGND_CAMPAIGN_UUID": str(attempt.campaign_uuid),
        "CAMPAIGND_SCHEDULED_FOR": instant_text(attempt.scheduled_for),
        "CAMPAIGND_TARGET": attempt.target,
    }


def _write_input(transport: asyncio.SubprocessTransport, text: bytes) -> None:
    """Write the run to standard input. A program may exit without reading it."""
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(text)
    pipe.write_eof()


def _signal_group(pid: int, number: signal.Signals) -> None:
    # A group exists while any process in it does, so its number cannot belong to another group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
