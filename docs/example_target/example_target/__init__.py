"""A target for campaignd that writes each run to a file in a directory.

Copy this package to start your own. The entry point names `make`; campaignd calls `make` once for
each configured target, at the start and at each reload of the configuration.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from campaignd.plugin import Attempt, Delivered, Emit, Outcome, Reject, Retry, Target


class FileTarget(Target):
    """Writes each run to a file named by the run's id, so a repeated attempt does no harm."""

    waits = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Write the file. A write that fails now is retried later."""
        try:
            await asyncio.to_thread(self._write, attempt)
        except NotADirectoryError as error:
            return Reject(str(error))
        except OSError as error:
            return Retry(str(error))
        return Delivered()

    def _write(self, attempt: Attempt) -> None:
        path = self._directory / f"{attempt.run_id}.json"
        path.write_text(json.dumps({"attempt": attempt.number, "payload": attempt.payload}))

    async def cancel(self, attempt: Attempt) -> None:
        """Remove the file of a run whose campaign was stopped."""
        (self._directory / f"{attempt.run_id}.json").unlink(missing_ok=True)


def make(name: str, options: Mapping[str, Any], emit: Emit) -> FileTarget:
    """Return the target that `[targets.NAME]` with `plugin = "example"` configures."""
    del name, emit
    directory = Path(options["directory"])
    if not directory.is_dir():
        raise ValueError(f"options.directory is invalid: {directory}; it must be a directory")
    return FileTarget(directory)
