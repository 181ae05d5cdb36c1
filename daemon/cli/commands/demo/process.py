"""A `campaignd run` of one's own, as a process: started, waited for, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from daemon.cli.commands.demo.cases import CONTINUOUS_INTERVAL
from daemon.domain.errors import CampaigndError

_LOOK_EVERY_S = 0.02
_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


class DemoFailed(CampaigndError):
    """The demonstration's daemon did not do its part"""

    exit_code = 1


class DemoDaemon:
    """The process, and the log that it writes."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    async def ready(self) -> dict[str, Any]:
        """Return its `ready` event once it has logged it. Raises DemoFailed."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            for event in _events(self.log):
                if event.get("event") == "ready":
                    return event
            if self.has_ended or time.monotonic() > deadline:
                raise DemoFailed(f"campaignd run did not become ready: {self.last_words()}")
            await asyncio.sleep(_LOOK_EVERY_S)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def stop(self) -> int:
        """Ask it to drain and stop; its exit code."""
        if not self.has_ended:
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@asynccontextmanager
async def demo_daemon(state_dir: Path) -> AsyncIterator[DemoDaemon]:
    """`campaignd run` on a state directory, with settings of its own and no others."""
    config, log = state_dir / "demo.toml", state_dir / "demo.log"
    config.write_text(
        f"state_dir = {json.dumps(str(state_dir))}\n"
        "[api]\nport = 0\n"
        '[log]\nformat = "json"\n'
        f"[scheduler]\ncontinuous_interval = {CONTINUOUS_INTERVAL}\n",
        encoding="utf-8",
    )
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "campaignd",
            "--config",
            str(config),
            "run",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            # A Ctrl-C is for the demonstration, which then stops its daemon.
            start_new_session=True,
            env={"PATH": os.defpath, "HOME": str(state_dir), "LANG": "C.UTF-8"},
        )
    daemon = DemoDaemon(process, log)
    try:
        yield daemon
    finally:
        await daemon.stop()


def _events(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in found if isinstance(event, dict)]
