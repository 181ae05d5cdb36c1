"""Runs commands of `campaignd` in this process: none starts an interpreter of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from daemon.cli.main import invoke


def run_campaignd(
    arguments: Sequence[object],
    env: Mapping[str, str],
    input: str | bytes = "",
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and no other variables.

    Only for commands that do not log: the log is configured once for a process. The encoding is
    that of standard output and standard error.
    """
    words = [str(argument) for argument in arguments]
    given = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    with (
        patch.dict(os.environ, env, clear=True),
        patch("sys.stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8")),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = invoke(words)
    printed = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]  # type: ignore[attr-defined]
    assert "Traceback" not in printed[1], printed[1]
    return subprocess.CompletedProcess(words, code, *printed)


ONE_OFF = {"schedule_type": "scheduled", "scheduled_at": "2100-01-01T09:00:00Z"}

WEEKLY = {
    "schedule_type": "recurring",
    "timezone": "America/New_York",
    "recurring_config": {"frequency": "weekly", "days_of_week": [1], "time": "09:00"},
}

Call = Callable[..., subprocess.CompletedProcess[str]]


def command_runner(url: str, state_dir: Path) -> Call:
    """Return a function that runs commands on a database."""

    def run_command(
        *arguments: object, input: str | bytes = "", encoding: str = "utf-8", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return run_campaignd(
            arguments, environment_of(url, state_dir) | environment, input, encoding
        )

    return run_command


def environment_of(url: str, state_dir: Path) -> dict[str, str]:
    """Return the environment of a command on a database."""
    return os.environ | {"CAMPAIGND_DATABASE_URL": url, "CAMPAIGND_STATE_DIR": str(state_dir)}


def import_lines(*each: tuple[str, Any]) -> str:
    """Return a file to import: names of campaigns with their schedules."""
    return "".join(
        json.dumps({"campaign": {"name": name}, "schedule": schedule}) + "\n"
        for name, schedule in each
    )
