"""Programs as another user, and with limits of their own."""

from __future__ import annotations

import os
import pwd
import resource
import sys
from typing import Any

import pytest

from daemon.domain.run.outcome import Delivered, Reject
from daemon.runtime import descriptors
from daemon.targets import UnusableTarget
from daemon.targets.command import CommandOptions, CommandTarget
from tests.support.builders import new_attempt

ME = pwd.getpwuid(os.geteuid()).pw_name
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


async def run(source: str, **options: Any) -> tuple[object, list[str]]:
    """Return the outcome of a Python program and its lines of output."""
    lines: list[str] = []

    def emit(event: str, /, **fields: Any) -> None:
        lines.append(fields["line"])

    target = CommandTarget(CommandOptions([sys.executable, "-Sc", source], **options), emit)
    outcome = await target.deliver(new_attempt())
    await target.close()
    return outcome, lines


@ROOT_ONLY
async def test_another_user() -> None:
    """The program has the user's ids, groups and variables, and none of root's groups."""
    entry = pwd.getpwnam("nobody")
    target = CommandTarget(
        CommandOptions(["/bin/sh", "-c", "id -u; id -g; id -G; echo $USER $HOME"], user="nobody"),
        lambda _event, /, **fields: lines.append(fields["line"]),
    )
    lines: list[str] = []
    assert await target.deliver(new_attempt()) == Delivered()
    groups = " ".join(map(str, os.getgrouplist("nobody", entry.pw_gid)))
    assert lines == [
        str(entry.pw_uid),
        str(entry.pw_gid),
        groups,
        f"{entry.pw_name} {entry.pw_dir}",
    ]


async def test_the_daemon_s_own_user_needs_no_privilege() -> None:
    assert (await run("", user=ME))[0] == Delivered()


def test_a_user_that_does_not_exist() -> None:
    """The error is raised when the target is built."""
    with pytest.raises(UnusableTarget, match="no such user"):
        CommandTarget(CommandOptions(["true"], user="no-such-user"), lambda *_, **__: None)


def test_only_root_can_change_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UnusableTarget, match="only root"):
        CommandTarget(CommandOptions(["true"], user="root"), lambda *_, **__: None)


async def test_limits() -> None:
    """Each limit applies to the program, as soft and as hard limit, and not to this process."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
    before = [resource.getrlimit(kind) for kind in kinds]
    outcome, lines = await run(
        f"import resource; print([resource.getrlimit(kind) for kind in {kinds}])",
        max_memory_mib=300,
        max_cpu_seconds=20,
        max_open_files=50,
    )
    assert outcome == Delivered()
    assert lines == [str([(300 << 20, 300 << 20), (20, 20), (50, 50)])]
    assert [resource.getrlimit(kind) for kind in kinds] == before


async def test_a_limit_above_that_of_the_daemon() -> None:
    """Limits are only lowered."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    outcome, lines = await run(
        "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[1])",
        max_open_files=1 << 30,
    )
    assert (outcome, lines) == (Delivered(), [str(min(hard, 1 << 30))])


async def test_a_program_that_exceeds_a_limit() -> None:
    """The run fails, and nothing else does."""
    outcome, _ = await run("bytearray(1 << 30)", max_memory_mib=200)
    assert outcome == Reject("exit status 1")
    outcome, _ = await run("while True: pass", max_cpu_seconds=1)
    assert isinstance(outcome, Reject)
    assert outcome.reason in ("ended by signal SIGXCPU", "ended by signal SIGKILL")


async def test_a_program_has_the_limit_of_open_files_before_it_was_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program that uses `select` cannot work with more than 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(descriptors, "_former", (100, hard))
    wait = """
import resource, time
while resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 100:
    time.sleep(0.01)
"""
    assert await run(wait, timeout=20) == (Delivered(), [])
    own = (
        "import resource, time; time.sleep(0.1); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert await run(own, max_open_files=50) == (Delivered(), ["(50, 50)"])
