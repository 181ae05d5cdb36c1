"""Manual page and completion say what the commands say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.cli.completion import Shell, completion
from daemon.cli.lazy_group import COMMANDS
from daemon.cli.man import page
from daemon.cli.reference import entries

MANUAL = Path(__file__).parents[3] / "docs" / "campaignd.1"


def test_the_manual_is_what_the_commands_say() -> None:
    """Made again after a change: `make man`."""
    assert MANUAL.read_text("utf-8") == page()


def test_every_command_is_in_it() -> None:
    """With a sentence."""
    found = entries()
    assert {entry.words[0] for entry in found} == set(COMMANDS)
    for entry in found:
        assert entry.help.endswith("."), entry
        for option in entry.options:
            assert all(name.startswith("-") for name in option.names), option
            assert option.help, (entry.words, option)


def test_the_manual_is_well_formed() -> None:
    """As groff sees it."""
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", MANUAL], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "campaignd" in done.stdout


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("campaignd ", {"run", "explain", "--config"}, {"create"}),
        ("campaignd ex", {"explain", "export"}, {"run"}),
        ("campaignd keys ", {"create", "list", "revoke"}, {"run"}),
        ("campaignd keys create name --scope ", {"read", "write", "admin"}, {"list"}),
        ("campaignd runs --status ", {"missed", "held"}, {"--json"}),
        ("campaignd runs 7 --", {"--json", "--status"}, {"missed"}),
    ],
)
def test_bash_completes(
    line: str, wanted: set[str], unwanted: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As somebody presses the tab key."""
    completion(Shell.BASH)
    script = capsys.readouterr().out
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"{script}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n_campaignd\n"
    done = subprocess.run(
        ["bash", "-euc", asked + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = set(done.stdout.split())
    assert wanted <= found
    assert not unwanted & found


@pytest.mark.parametrize("shell", [Shell.ZSH, Shell.FISH])
def test_other_shells(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """There is one, and the shell takes it, where it is installed."""
    completion(shell)
    script = capsys.readouterr().out
    assert "explain" in script
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=script, text=True, check=False)
        assert done.returncode == 0
