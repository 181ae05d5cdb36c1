"""Commands of the CLI on a database of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.in_process import ONE_OFF, WEEKLY, Call, command_runner, import_lines


@pytest.fixture
def call(database_url: str, tmp_path: Path) -> Call:
    """Run a command with these arguments, standard input and further variables."""
    return command_runner(database_url, tmp_path)


@pytest.fixture
def loaded(call: Call) -> Call:
    """Load campaign 1, a scheduled one-off, 2, a weekly one, and 3, a draft without schedule."""
    done = call(
        "import", "-", input=import_lines(("once", ONE_OFF), ("weekly", WEEKLY), ("draft", None))
    )
    assert (done.returncode, done.stderr) == (0, "3 loaded, 0 unchanged, 0 updated, 0 bad\n")
    return call
