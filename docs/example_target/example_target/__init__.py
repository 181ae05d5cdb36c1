"""A target for campaignd: each run becomes a file in a directory, named by its id.

Copy this package to begin one of your own. `make` is what the entry point names; campaignd calls
it once for each configured target, at the start and whenever the configuration is read again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry


class FileTarget:
    """Writes runs into a directory. The same run writes the same file: a repeat does no harm."""

    waits = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def deliver(self, work: Attempt) -> Outcome:
        """Write the file; what cannot be written now is tried again later."""
        try:
            await asyncio.to_thread(self._write, work)
        except NotADirectoryError as error:
            return Reject(str(error))
        except OSError as error:
            return Retry(str(error))
        return Delivered()

    def _write(self, work: Attempt) -> None:
        path = self._directory / f"{work.run_id}.json"
        path.write_text(json.dumps({"attempt": work.attempt, "payload": work.payload}))

    async def cancel(self, work: Attempt) -> None:
        """The run's campaign was stopped."""
        (self._directory / f"{work.run_id}.json").unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is kept open."""


def make(name: str, options: Mapping[str, Any], emit: Emit) -> FileTarget:
    """The target that `[targets.NAME]` with `plugin = "example"` stands for."""
    del name, emit
    directory = Path(options["directory"])
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory")
    return FileTarget(directory)
