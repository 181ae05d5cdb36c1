"""The `command` target: a program of this machine, told the run on its standard input.

Each runs in a process group of its own, which ends with the attempt: what a program leaves behind
is killed. Its output becomes log lines, as many as `LINES` for each attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from asyncio.subprocess import STDOUT
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Delivered, Outcome, OutcomeUnknown, Reject, Retry
from daemon.domain.run.target import Target
from daemon.targets.message import encoded, instant

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""
NOT_THERE = frozenset(
    {errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Errors of a start that no later one would not have."""
LINES = 200
"""Lines of output that are logged for each attempt."""
LINE_LENGTH = 2000
"""Characters of a line that are logged."""
LAST_WORDS_S = 1.0
"""How long output is waited for once the program has ended; something may hold its pipe open."""


@dataclass(frozen=True)
class CommandOptions:
    """What a command is told; seconds. Nothing but ``environment`` is inherited."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    timeout: float = 300.0
    kill_after: float = 5.0


class CommandTarget(Target):
    """Starts the program for each run."""

    waits = True

    def __init__(self, settings: CommandOptions, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit

    async def deliver(self, work: Attempt) -> Outcome:
        """Start it and wait: exit 0 done, 75 try again, others failed."""
        settings = self._settings
        lines = _Lines(self._emit, work)
        try:
            transport, process = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Process(lines),
                *settings.argv,
                stderr=STDOUT,
                cwd=settings.cwd,
                env={**settings.environment, **variables(work)},
                start_new_session=True,
            )
        except OSError as error:
            why = f"can not start {settings.argv[0]}: {error.strerror or error}"
            # No memory, no processes, no descriptors: that may pass.
            return Reject(why) if error.errno in NOT_THERE else Retry(why)
        _tell(transport, encoded(work))
        try:
            # wait() leaves the futures as they are, whatever becomes of this attempt.
            ended, _ = await asyncio.wait({process.exited}, timeout=settings.timeout)
            if not ended:
                return OutcomeUnknown(f"not done within {settings.timeout:g} s, killed")
            await asyncio.wait({process.closed}, timeout=LAST_WORDS_S)
        finally:
            # Also when the attempt is cancelled, by a stop: nothing of it goes on.
            await asyncio.shield(self._end(transport, process))
            lines.end()
        code = transport.get_returncode()
        if code == 0:
            return Delivered()
        if code == TRY_AGAIN:
            return Retry(f"exit status {code}")
        if code is None or code < 0:
            return Reject(f"ended by signal {_signal_name(-(code or 0))}")
        return Reject(f"exit status {code}")

    async def _end(self, transport: asyncio.SubprocessTransport, process: _Process) -> None:
        """End the whole group: asked first, killed after a while."""
        group = transport.get_pid()
        if not process.exited.done():
            _signal_group(group, signal.SIGTERM)
            await asyncio.wait({process.exited}, timeout=self._settings.kill_after)
        _signal_group(group, signal.SIGKILL)
        await asyncio.wait({process.exited})
        # Pipes that a process outside the group holds open are ours to close.
        transport.close()


class _Process(asyncio.SubprocessProtocol):
    """Says when a program has ended, which may be before all its output's holders have."""

    def __init__(self, lines: _Lines) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._lines = lines

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Output."""
        self._lines.feed(data)

    def process_exited(self) -> None:
        """The program has ended."""
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """And nobody holds its pipes."""
        if not self.closed.done():
            self.closed.set_result(None)


class _Lines:
    """Output on its way to the log."""

    def __init__(self, emit: Emit, work: Attempt) -> None:
        self._emit = emit
        self._work = work
        self._rest = b""
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log(line)
        if len(self._rest) > LINE_LENGTH * 4:
            # The rest of a line that is cut anyway is not kept.
            self._rest = self._rest[: LINE_LENGTH * 4]

    def end(self) -> None:
        """There is no more."""
        if self._rest:
            self._log(self._rest)
        if self._count > LINES:
            self._tell(f"{self._count - LINES} more lines are not shown")

    def _log(self, line: bytes) -> None:
        self._count += 1
        if self._count <= LINES:
            text = line[: LINE_LENGTH * 4].decode("utf-8", errors="replace").rstrip("\r")
            self._tell(text[:LINE_LENGTH])

    def _tell(self, line: str) -> None:
        self._emit(
            "command_output",
            campaign_id=self._work.campaign_id,
            run_id=self._work.run_id,
            attempt=self._work.attempt,
            target=self._work.target,
            line=line,
        )


def variables(work: Attempt) -> dict[str, str]:
    """The ids of a run, as environment variables."""
    return {
        "CAMPAIGND_RUN_ID": str(work.run_id),
        "CAMPAIGND_ATTEMPT": str(work.attempt),
        "CAMPAIGND_CAMPAIGN_ID": str(work.campaign_id),
        "CAMPAIGND_CAMPAIGN_UUID": str(work.campaign_uuid),
        "CAMPAIGND_SCHEDULED_FOR": instant(work.scheduled_for),
        "CAMPAIGND_TARGET": work.target,
    }


def _tell(transport: asyncio.SubprocessTransport, text: bytes) -> None:
    """Write the run; a program that does not read it is none the worse."""
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(text)
    pipe.write_eof()


def _signal_group(pid: int, number: signal.Signals) -> None:
    # The group exists as long as anything in it does, and its number is not used anew before.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
