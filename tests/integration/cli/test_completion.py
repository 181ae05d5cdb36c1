"""The shell completes ids with names, runs, keys and targets from the database and the settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_process import Call, environment_of

CAMPAIGND = Path(sys.executable).with_name("campaignd")


def completed(url: str, place: Path, line: str, shell: str = "bash") -> list[str]:
    """Return the words that a shell gets for the end of a line."""
    words = line.split(" ")
    done = subprocess.run(
        [CAMPAIGND],
        env=environment_of(url, place)
        | {
            "_CAMPAIGND_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "_TYPER_COMPLETE_ARGS": line,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [word for word in done.stdout.split("\n") if word]


def test_words_come_from_the_database(loaded: Call, database_url: str, tmp_path: Path) -> None:
    loaded("keys", "create", "dashboard")
    loaded("start", 3)
    run = loaded("runs", "--json").stdout.split('"')[3]
    for line, wanted in (
        ("campaignd pause ", ["3", "2", "1"]),
        ("campaignd pause 1 ", ["3", "2", "1"]),
        ("campaignd explain w", ["weekly"]),
        ("campaignd retry ", [run[:8]]),
        (f"campaignd retry {run[:10]}", [run[:10]]),
        ("campaignd keys revoke ", ["dashboard"]),
        ("campaignd target test ", ["log"]),
        ("campaignd create x --target l", ["log"]),
    ):
        assert completed(database_url, tmp_path, line) == wanted, line
    described = "\n".join(completed(database_url, tmp_path, "campaignd show ", "zsh"))
    assert "weekly (scheduled)" in described


@pytest.mark.parametrize("line", ["campaignd pause ", "campaignd retry ", "campaignd keys revoke "])
def test_without_an_answer_nothing_is_suggested(tmp_path: Path, line: str) -> None:
    """No option in the place of an id, no error, no wait."""
    assert completed("postgresql://x@127.0.0.1:1/x", tmp_path, line) == []
