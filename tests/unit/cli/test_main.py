"""The command line: commands loaded lazily, errors as one clear line, exit codes."""

from __future__ import annotations

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
from daemon.cli.lazy_group import CommandRow
from daemon.domain.errors import CampaigndError

CAMPAIGND = [sys.executable, "-m", "campaignd"]


class Full(CampaigndError):
    """The shelf is full"""

    exit_code = 3


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a function, or a group of them, as the command `try`."""

    def install(found: object) -> None:
        module = ModuleType("attempted")
        module.found = found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "daemon.cli.commands.attempted", module)
        row = CommandRow("attempted:found", "Try something.")
        monkeypatch.setitem(lazy_group.COMMANDS, "try", row)

    return install


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (4, 4)])
def test_the_returned_value_is_the_exit_code(
    command: Callable[..., None], returned: int | None, code: int
) -> None:
    """None is 0."""
    command(lambda: returned)
    assert main.invoke(["try"]) == code


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (Full("no room\nfor 'x'", hint="throw one away"), 3, ["no room for 'x' (throw one away)"]),
        (ConfigurationError(["a: bad", "b: bad"]), 2, ["a: bad", "b: bad"]),
        (ExceptionGroup("g", [ExceptionGroup("g", [ValueError("x"), Full("no")])]), 3, ["no"]),
        (FileNotFoundError(2, "No such file or directory", "f"), 2, ["f: No such file or direct"]),
        (CampaigndError("cannot"), 1, ["cannot"]),
        (KeyError("k"), 1, ["unexpected KeyError: 'k' (This is a bug in campaignd. Re-run"]),
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
    lines: list[str],
) -> None:
    """On standard error, with the exit code of the error, without a traceback."""
    command(raising(error))
    assert main.invoke(["try"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    printed = err.splitlines()
    assert len(printed) == len(lines)
    for line, expected in zip(printed, lines, strict=True):
        assert line.startswith(f"campaignd: error: {expected}")


def test_debug_shows_the_traceback(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The traceback precedes the line."""
    command(raising(Full("no")))
    assert main.invoke(["--debug", "try"]) == 3
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
    """Exit code 2, and one line that names the help."""
    command(lambda: 0)
    assert main.invoke(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("campaignd: error: ")
    assert "--help)" in line


def test_global_options_reach_the_command(command: Callable[..., None], tmp_path: Path) -> None:
    """The context reads the settings; flags take precedence."""
    path = tmp_path / "c.toml"
    path.write_text("[api]\nport = 1\nhost = '::1'\n")
    seen: list[Any] = []

    def read(context: typer.Context, port: int = 0) -> None:
        seen.append(context.obj.read_settings(api__port=port or None).api)

    command(read)
    assert main.invoke(["--config", str(path), "try"]) == 0
    assert main.invoke([f"--config={path}", "try", "--port", "7"]) == 0
    assert [(api.host, api.port) for api in seen] == [("::1", 1), ("::1", 7)]


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
def test_help_and_mistakes_run_no_command(arguments: list[str], code: int) -> None:
    """Neither the daemon is started nor the standard input read."""
    assert main.invoke(arguments) == code


def test_a_group_of_commands(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A row may name a group, with several commands."""
    group = typer.Typer(rich_markup_mode=None)
    group.command("one")(lambda: 1)
    group.command("two")(lambda: 2)
    command(group)
    assert main.invoke(["try", "one"]) == 1
    assert main.invoke(["try", "two"]) == 2
    assert main.invoke(["try", "three"]) == 2
    assert "No such command 'three'" in capsys.readouterr().err


def test_every_row_of_the_table_is_a_command() -> None:
    """The help in the table is the first paragraph of the command's own help, on one line."""
    for name, row in lazy_group.COMMANDS.items():
        command = lazy_group.load_command(name)
        assert command.help.split("\n\n")[0] == row.help, name
        assert len(row.help) <= 60, name


def test_help_imports_no_command() -> None:
    """Help comes from the table, so that it is quick."""
    script = (
        "import sys\nfrom daemon.cli.main import invoke\ninvoke(['--help'])\n"
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


def test_a_reader_that_has_gone() -> None:
    """`campaignd ... | head` ends without a message."""
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


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("wait", signal.SIGTERM, 128 + signal.SIGTERM),
        ("run", signal.SIGTERM, 0),
        ("run", signal.SIGINT, 0),
        ("worker", signal.SIGTERM, 0),
    ],
)
def test_a_signal_unwinds_the_stack(command: str, number: signal.Signals, code: int) -> None:
    """A command closes its resources; a service that is asked to end has not failed."""
    script = (
        "import sys, typer\nfrom types import ModuleType\n"
        "from daemon.cli import lazy_group, main\n"
        "def wait():\n"
        "    try:\n"
        "        print('in', flush=True)\n"
        "        sys.stdin.read()\n"
        "    finally:\n"
        "        print('closed', flush=True)\n"
        "sys.modules['daemon.cli.commands.m'] = m = ModuleType('m')\n"
        "m.wait = wait\n"
        "command = sys.argv[1]\n"
        "lazy_group.COMMANDS[command] = lazy_group.CommandRow('m:wait', 'Wait.')\n"
        "main.main(['--config', 'run', command])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        os.kill(process.pid, number)
        assert process.stdout.read() == "closed\n"
    assert process.returncode == code
