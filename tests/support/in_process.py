"""Runs commands of `campaignd` in this process: none starts an interpreter of its own."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from daemon.cli.main import invoke


def campaignd(
    arguments: Sequence[object], env: Mapping[str, str], input: str | bytes = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and no other variables.

    Only for commands that do not log: the log is configured once for a process.
    """
    words = [str(argument) for argument in arguments]
    given = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        patch.dict(os.environ, env, clear=True),
        patch("sys.stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8")),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = invoke(words)
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    assert "Traceback" not in printed[1], printed[1]
    return subprocess.CompletedProcess(words, code, *printed)
