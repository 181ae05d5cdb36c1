"""The manual page and shell completion match the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli.commands.completion import Shell, completion
from daemon.cli.lazy_group import COMMANDS
from daemon.cli.man import command_contexts, manual_page

MANUAL = Path(__file__).parents[3] / "docs" / "campaignd.1"


def test_the_manual_is_up_to_date() -> None:
    """After a change of a command, `make man` writes the page again."""
    assert MANUAL.read_text("utf-8") == manual_page()


@pytest.mark.parametrize("shell", list(Shell))
def test_the_completion_scripts_are_up_to_date(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheel and the Debian package contain them; `make man` writes them again."""
    completion(shell)
    written = MANUAL.parent / "completions" / f"campaignd.{shell}"
    assert written.read_text("utf-8") == capsys.readouterr().out


def test_every_command_and_option_has_help() -> None:
    """Commands in full sentences."""
    contexts = list(command_contexts())
    assert {context.command_path.split()[1] for context in contexts} == set(COMMANDS)
    for context in contexts:
        assert context.command.help.endswith("."), context.command_path
        for parameter in context.command.params:
            assert parameter.help, (context.command_path, parameter.name)


def test_the_manual_is_well_formed() -> None:
    """groff formats it without a warning."""
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
        ("campaignd ", {"run", "explain", "create"}, {"upgrade"}),
        ("campaignd --", {"--config", "--debug"}, {"run"}),
        ("campaignd ex", {"explain", "export"}, {"run"}),
        ("campaignd keys ", {"create", "list", "revoke", "rotate"}, {"run"}),
        ("campaignd keys create name --scope ", {"read", "write", "admin", "worker"}, {"list"}),
        ("campaignd runs --status ", {"missed", "held"}, {"--json"}),
        ("campaignd runs 7 --", {"--json", "--status"}, {"missed"}),
    ],
)
def test_bash_completes(
    line: str, wanted: set[str], unwanted: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator presses the tab key at the end of the line."""
    completion(Shell.BASH)
    script = capsys.readouterr().out
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    programs = Path(sys.executable).parent
    pressed = (
        f"{script}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
        f'_campaignd_completion campaignd\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-euc", pressed],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = set(done.stdout.split())
    assert wanted <= found
    assert not unwanted & found


@pytest.mark.parametrize("shell", [Shell.ZSH, Shell.FISH])
def test_other_shells(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """The script is valid where the shell is installed."""
    completion(shell)
    script = capsys.readouterr().out
    assert f"_CAMPAIGND_COMPLETE=complete_{shell}" in script
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=script, text=True, check=False)
        assert done.returncode == 0
