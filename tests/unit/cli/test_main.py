"""The command line's frame: lazy commands, one clear line for errors, exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from config.errors import ConfigurationError
from daemon.cli import lazy_group, main
from daemon.cli.context import CommandContext
from daemon.cli.parsing import parser
from daemon.domain.errors import CampaigndError

CAMPAIGND = [sys.executable, "-m", "campaignd"]


class Full(CampaigndError):
    """The shelf is full"""

    exit_code = 3


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a function, or a group of them, the command `try`."""

    def install(found: object) -> None:
        module = ModuleType("tests_try")
        module.found = found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests_try", module)
        monkeypatch.setitem(lazy_group.COMMANDS, "try", ("tests_try:found", "Try something."))

    return install


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1), (4, 4)])
def test_the_answer_is_the_exit_code(
    command: Callable[..., None], answer: int | None, code: int
) -> None:
    """What a command returns."""
    command(lambda: answer)
    assert main.run(["try"]) == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Full("no room\nfor 'x'", hint="throw one away"), 3, ["no room for 'x' (throw one away)"]),
        (ConfigurationError(["a: bad", "b: bad"]), 2, ["a: bad", "b: bad"]),
        (ExceptionGroup("g", [ExceptionGroup("g", [ValueError("x"), Full("no")])]), 3, ["no"]),
        (FileNotFoundError(2, "No such file or directory", "f"), 2, ["f: No such file or direct"]),
        (CampaigndError("can not"), 1, ["can not"]),
        (KeyError("k"), 1, ["unexpected KeyError: 'k' (this is a fault of campaignd;"]),
        (typer.Abort(), 1, ["aborted"]),
        (KeyboardInterrupt(), 130, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_one_line_each(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: list[str],
) -> None:
    """On standard error, with the exit code of what went wrong, without a traceback."""
    command(raising(error))
    assert main.run(["try"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == len(said)
    for line, expected in zip(lines, said, strict=True):
        assert line.startswith(f"campaignd: error: {expected}")


def test_debug_shows_the_traceback(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the one line."""
    command(raising(Full("no")))
    assert main.run(["--debug", "try"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("campaignd: error: no\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["nope"], ["--nope"], ["try", "--nope"], ["--config"], ["try", "surplus"]],
    ids=" ".join,
)
def test_wrong_usage(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Exit code 2, one line, and where help is."""
    command(lambda: 0)
    assert main.run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("campaignd: error: ")
    assert "--help)" in line


def test_global_options_reach_the_command(command: Callable[..., None], tmp_path: Path) -> None:
    """As the context's object, which gives the settings; flags win."""
    path = tmp_path / "c.toml"
    path.write_text("[api]\nport = 1\nhost = '::1'\n")
    seen: list[Any] = []

    def look(context: typer.Context, port: int = 0) -> None:
        seen.append(context.obj.settings(api__port=port or None).api)

    command(look)
    assert main.run(["--config", str(path), "try"]) == 0
    assert main.run([f"--config={path}", "try", "--port", "7"]) == 0
    assert [(api.host, api.port) for api in seen] == [("::1", 1), ("::1", 7)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "--no-api"],
        ["--config", "c.toml", "run"],
        ["--config=c.toml", "--debug", "run", "--no-api"],
        ["--config", "a", "--config", "run", "run"],
        ["--debug", "--debug", "run", "--no-api", "--no-api"],
    ],
    ids=" ".join,
)
def test_a_daemon_is_started_without_the_parser(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """It understands what Typer would have, which then stays out of memory."""
    told: list[Any] = []

    def note(invocation: CommandContext, no_api: bool) -> int:
        told.append((invocation, no_api))
        return 9

    monkeypatch.setattr("daemon.cli.run_command.run_daemon", note)
    assert parser("run")(args=arguments, standalone_mode=False) == 9
    monkeypatch.setattr("daemon.cli.commands.run.run_daemon", note)
    monkeypatch.setattr("daemon.cli.parsing.parser", None)
    assert main.run(arguments) == 9
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "arguments",
    [["preview"], ["preview", "-"], ["preview", "a b"], ["--config=c.toml", "preview", "x/y"]],
    ids=" ".join,
)
def test_cases_are_answered_without_the_parser(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """The same: it takes longer to load than the answers take."""
    told: list[Any] = []

    def note(file: Path, table: bool) -> int:
        told.append((file, table))
        return 9

    monkeypatch.setattr("daemon.cli.preview_command.preview_file", note)
    assert parser("preview")(args=arguments, standalone_mode=False) == 9
    monkeypatch.setattr("daemon.cli.commands.preview.preview_file", note)
    monkeypatch.setattr("daemon.cli.parsing.parser", None)
    assert main.run(arguments) == 9
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "--help"], 0),
        (["--version", "run"], 0),
        (["run", "--no-apo"], 2),
        (["run", "surplus"], 2),
        (["--nope", "run"], 2),
        (["--config"], 2),
        (["preview", "--help"], 0),
        (["preview", "a", "b"], 2),
        (["preview", "--tabel"], 2),
    ],
    ids=str,
)
def test_everything_else_is_for_the_parser(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    """Help and mistakes are as with every command."""
    monkeypatch.setattr("daemon.cli.commands.run.run_daemon", None)
    monkeypatch.setattr("daemon.cli.commands.preview.preview_file", None)
    assert main.run(arguments) == code


def test_a_group_of_commands(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A row may lead to several commands below one name."""
    group = typer.Typer(rich_markup_mode=None)
    group.command("one")(lambda: 1)
    group.command("two")(lambda: 2)
    command(group)
    assert main.run(["try", "one"]) == 1
    assert main.run(["try", "two"]) == 2
    assert main.run(["try", "three"]) == 2
    assert "No such command 'three'" in capsys.readouterr().err


def test_every_row_leads_somewhere() -> None:
    """The table names what exists."""
    for where, text in lazy_group.COMMANDS.values():
        module, _, attribute = where.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
        assert text.endswith(".")


def test_help_imports_no_command() -> None:
    """Help is quick: it comes from the table."""
    script = (
        "import sys\nfrom daemon.cli.main import run\nrun(['--help'])\n"
        "print([name for name in ('sqlalchemy', 'psycopg', 'structlog', 'rich', 'apscheduler',"
        " 'config.load', 'daemon.app', 'dateutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for name in lazy_group.COMMANDS:
        assert f"  {name} " in done.stdout


def test_version() -> None:
    """On standard output."""
    done = subprocess.run([*CAMPAIGND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("campaignd 0.")


def test_a_reader_that_left() -> None:
    """`campaignd ... | head` ends without a word."""
    cases = b'{"id": 1, "schedule": {"schedule_type": "immediate"}}\n' * 10_000
    with subprocess.Popen(
        [*CAMPAIGND, "preview"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(cases[:1000])
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        try:
            process.stdin.write(cases)
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.stderr.read() == b""
    assert process.returncode == lazy_group.BROKEN_PIPE


def test_sigterm_leaves_by_the_ordinary_way() -> None:
    """What a command has opened is closed."""
    script = (
        "import sys, typer\nfrom types import ModuleType\n"
        "from daemon.cli import lazy_group as commands, main\n"
        "def wait():\n"
        "    try:\n"
        "        print('in', flush=True)\n"
        "        sys.stdin.read()\n"
        "    finally:\n"
        "        print('closed', flush=True)\n"
        "sys.modules['m'] = m = ModuleType('m')\n"
        "m.wait = wait\n"
        "commands.COMMANDS['wait'] = ('m:wait', 'Wait.')\n"
        "main.main(['wait'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read() == "closed\n"
    assert process.returncode == 128 + signal.SIGTERM
