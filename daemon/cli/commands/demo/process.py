"""The demo's own `campaignd run` process: start, wait until ready, stop."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from daemon.cli.commands.demo.cases import CONTINUOUS_INTERVAL
from daemon.domain.errors import CampaigndError
from daemon.domain.schedule.zone_data import SYSTEM_PATH, tzdata_origin

_POLL_S = 0.02
_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


class DemoFailed(CampaigndError):
    """The daemon of the demo failed"""

    exit_code = 1


class DemoDaemon:
    """A daemon process and its log file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    async def wait_until_ready(self, check: Callable[[], None]) -> dict[str, Any]:
        """Wait until the daemon runs campaigns; see `wait_for`."""
        return await self.wait_for("ready", check)

    async def wait_for(self, name: str, check: Callable[[], None]) -> dict[str, Any]:
        """Wait for an event in the log, and return it.

        Args:
            name: the event's name.
            check: called at each poll; it may raise.

        Raises:
            DemoFailed: the process has ended, or 20 seconds have passed.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            check()
            for event in _read_log_events(self.log):
                if event.get("event") == name:
                    return event
            if self.has_ended or time.monotonic() > deadline:
                raise DemoFailed(f"campaignd run did not become ready: {self.last_log_line()}")
            await asyncio.sleep(_POLL_S)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.returncode is not None

    async def stop(self) -> int:
        """Let the daemon drain and stop, and return its exit code."""
        if not self.has_ended:
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    def last_log_line(self) -> str:
        """Return the last line of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "the log is empty"


@asynccontextmanager
async def demo_daemon(state_dir: Path) -> AsyncIterator[DemoDaemon]:
    """Run `campaignd run` on a state directory; the operator's settings do not apply.

    The daemon uses the time-zone data of this process, which computes the campaigns' times.
    """
    config, log = state_dir / "demo.toml", state_dir / "demo.log"
    config.write_text(
        f"state_dir = {json.dumps(str(state_dir))}\n"
        f'timezone_data = "{tzdata_origin()[0]}"\n'
        "[api]\nport = 0\n"
        '[log]\nformat = "json"\n'
        f"[scheduler]\ncontinuous_interval = {CONTINUOUS_INTERVAL}\n",
        encoding="utf-8",
    )
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # modules come from the installation, never from the working directory
            "-m",
            "campaignd",
            "--config",
            str(config),
            "run",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            # Control-C is for the demo, which then stops its daemon.
            start_new_session=True,
            env={
                "PATH": os.defpath,
                "HOME": str(state_dir),
                "LANG": "C.UTF-8",
                "PYTHONTZPATH": os.pathsep.join(SYSTEM_PATH),
            },
        )
    daemon = DemoDaemon(process, log)
    try:
        yield daemon
    finally:
        await daemon.stop()


def _read_log_events(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in found if isinstance(event, dict)]
