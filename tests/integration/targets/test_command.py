"""The command target with real programs: their input, their output and their end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from daemon.domain.run.outcome import Delivered, Outcome, OutcomeUnknown, Reject, Retry
from daemon.targets.command import MAX_LINES, CommandOptions, CommandTarget
from tests.support.builders import new_attempt
from tests.support.capture import CapturedEvents


def target(events: CapturedEvents, script: str, **settings: object) -> CommandTarget:
    """Return a target that runs a Python script."""
    argv = [sys.executable, "-c", script]
    return CommandTarget(CommandOptions(argv, **settings), events)  # type: ignore[arg-type]


@pytest.fixture
def events() -> CapturedEvents:
    return CapturedEvents()


async def test_the_input_of_a_program(events: CapturedEvents, tmp_path: Path) -> None:
    """The run is on standard input, its ids are in the environment, and nothing else of ours."""
    script = f"""
import json, os, sys
json.dump([json.load(sys.stdin), dict(os.environ), os.getcwd()], open({str(tmp_path / "x")!r}, "w"))
"""
    to = target(events, script, environment={"SMTP": "here", "PATH": "/bin"}, cwd=tmp_path)
    assert await to.deliver(new_attempt(number=2)) == Delivered()
    message, environment, cwd = json.loads((tmp_path / "x").read_text())
    assert message["data"]["payload"] == {"segment": 12, "text": "Grüße"}
    assert message["data"]["attempt"] == 2
    assert Path(cwd) == tmp_path
    environment.pop("LC_CTYPE", None)  # Python's own
    assert environment == {
        "SMTP": "here",
        "PATH": "/bin",
        "CAMPAIGND_RUN_ID": str(new_attempt().run_id),
        "CAMPAIGND_ATTEMPT": "2",
        "CAMPAIGND_CAMPAIGN_ID": "7",
        "CAMPAIGND_CAMPAIGN_UUID": str(new_attempt().campaign_uuid),
        "CAMPAIGND_SCHEDULED_FOR": "2026-06-01T12:00:00.000000Z",
        "CAMPAIGND_TARGET": "crm",
    }


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", Delivered()),
        ("import sys; sys.stdin.close()", Delivered()),
        ("raise SystemExit(75)", Retry("exit status 75")),
        ("raise SystemExit(1)", Reject("exit status 1")),
        ("raise SystemExit(255)", Reject("exit status 255")),
        ("import os; os.kill(os.getpid(), 9)", Reject("ended by signal SIGKILL")),
        ("import os; os.kill(os.getpid(), 11)", Reject("ended by signal SIGSEGV")),
    ],
)
async def test_the_outcome_follows_the_exit_status(
    events: CapturedEvents, script: str, expected: Outcome
) -> None:
    assert await target(events, script).deliver(new_attempt()) == expected


async def test_a_big_payload_that_the_program_does_not_read(events: CapturedEvents) -> None:
    """A full pipe does not block the attempt."""
    big = new_attempt(payload={"text": "x" * 1_000_000})
    assert await target(events, "").deliver(big) == Delivered()


@pytest.mark.parametrize("argv", [["/nowhere/at/all"], ["/etc/hostname"], ["/tmp"]])
async def test_a_program_that_cannot_be_started(events: CapturedEvents, argv: list[str]) -> None:
    """A later attempt would fail too, so the run is rejected."""
    outcome = await CommandTarget(CommandOptions(argv), events).deliver(new_attempt())
    assert isinstance(outcome, Reject)
    assert argv[0] in outcome.reason


async def test_output_becomes_lines(events: CapturedEvents) -> None:
    """Both outputs are logged, limited in number and length, with bytes that are no text."""
    script = """
import sys
sys.stderr.write("to stderr\\n"); sys.stderr.flush()
sys.stdout.buffer.write(b"bad \\xff\\x00 bytes\\r\\n" + b"x" * 100_000 + b"\\n")
for number in range(1000): print(number)
sys.stdout.write("no end of line")
"""
    assert await target(events, script).deliver(new_attempt()) == Delivered()
    lines = [fields["line"] for name, fields in events if name == "command_output"]
    assert "to stderr" in lines
    assert "bad \ufffd\x00 bytes" in lines
    assert max(map(len, lines)) == 2000
    assert len(lines) == MAX_LINES + 1
    assert lines[-1].endswith("more lines are not shown")


SPAWNS = """
import subprocess, sys, time, signal
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
open({file!r}, "w").write(f"{{child.pid}}\\n")
{then}
"""


async def written(file: Path) -> int:
    """Wait for the process id that a script writes."""

    def read() -> str:
        return file.read_text() if file.exists() else ""

    for _ in range(6000):
        if (text := read()).endswith("\n"):
            return int(text)
        await asyncio.sleep(0.01)
    raise AssertionError("the script wrote nothing")


async def goes(pid: int) -> bool:
    """Return whether a process ends within 20 seconds."""
    for _ in range(2000):
        if is_gone(pid):
            return True
        await asyncio.sleep(0.01)
    return False


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, possibly as a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_timeout_kills_the_group(
    events: CapturedEvents, tmp_path: Path, deaf: bool
) -> None:
    """Children are killed too, and programs that ignore SIGTERM."""
    file = tmp_path / "pid"
    script = SPAWNS.format(file=str(file), deaf=deaf, then="time.sleep(600)")
    to = target(events, script, timeout=4.0, kill_after=0.3)  # the script starts two programs
    began = time.monotonic()
    outcome = await to.deliver(new_attempt())
    assert isinstance(outcome, OutcomeUnknown)
    assert time.monotonic() - began < 30
    assert await goes(await written(file))


async def test_processes_left_behind_are_killed(events: CapturedEvents, tmp_path: Path) -> None:
    """A child that holds the output open delays the end briefly, and is killed."""
    file = tmp_path / "pid"
    to = target(events, SPAWNS.format(file=str(file), deaf=False, then=""))
    began = time.monotonic()
    assert await to.deliver(new_attempt()) == Delivered()
    assert time.monotonic() - began < 30
    assert await goes(await written(file))


async def test_a_stop_kills_the_group(events: CapturedEvents, tmp_path: Path) -> None:
    """A cancelled attempt leaves no process behind."""
    file = tmp_path / "pid"
    script = SPAWNS.format(file=str(file), deaf=False, then="time.sleep(600)")
    attempt = asyncio.create_task(target(events, script, kill_after=1.0).deliver(new_attempt()))
    child = await written(file)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await goes(child)


async def test_a_stop_during_the_start_kills_the_group(
    events: CapturedEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that is cancelled while its program starts leaves no process behind."""
    loop = asyncio.get_running_loop()
    start = loop.subprocess_exec

    async def start_slowly(*args: Any, **options: Any) -> Any:
        started = await start(*args, **options)
        await written(file)
        starting.set()
        await asyncio.sleep(0.05)  # a start that is still under way
        return started

    file, starting = tmp_path / "pid", asyncio.Event()
    monkeypatch.setattr(loop, "subprocess_exec", start_slowly)
    script = SPAWNS.format(file=str(file), deaf=False, then="time.sleep(600)")
    attempt = asyncio.create_task(target(events, script, kill_after=1.0).deliver(new_attempt()))
    await starting.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await goes(await written(file))


async def test_many_at_once(events: CapturedEvents) -> None:
    """Twenty concurrent programs leave no zombie and no open descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    to = target(events, "import sys; print(len(sys.stdin.read()))")
    outcomes = await asyncio.gather(*(to.deliver(new_attempt(number)) for number in range(20)))
    assert outcomes == [Delivered()] * 20

    def is_clean() -> bool:
        zombies = [each for each in psutil.Process().children() if each.status() == "zombie"]
        return len(os.listdir("/proc/self/fd")) <= before + 2 and not zombies

    async with asyncio.timeout(20):
        while not is_clean():  # noqa: ASYNC110 - the kernel sends no notification
            await asyncio.sleep(0.01)
