"""The user and the resource limits of the programs that a command target starts."""

from __future__ import annotations

import functools
import os
import pwd
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daemon.targets import UnusableTarget

MIB = 1 << 20


@dataclass(frozen=True)
class Confinement:
    """How a program is started: arguments of `subprocess.Popen`, and variables of its user."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def confine(
    user: str | None = None,
    *,
    memory_mib: int | None = None,
    cpu_seconds: int | None = None,
    open_files: int | None = None,
) -> Confinement:
    """Return how to start programs as ``user`` and with limits for each process.

    Raises:
        UnusableTarget: no such user, or this process may not change its user.
    """
    arguments: dict[str, Any] = {}
    environment: dict[str, str] = {}
    if user is not None:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise UnusableTarget(f"user is invalid: {user!r}; no such user") from None
        environment = {
            "HOME": entry.pw_dir,
            "USER": user,
            "LOGNAME": user,
            "SHELL": entry.pw_shell,
        }
        if entry.pw_uid != os.geteuid():
            if os.geteuid() != 0:
                raise UnusableTarget(f"user is invalid: {user!r}; only root can change the user")
            groups = os.getgrouplist(user, entry.pw_gid)
            arguments = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    wanted = [
        (resource.RLIMIT_AS, memory_mib and memory_mib * MIB),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NOFILE, open_files),
    ]
    limits = [
        (kind, _within_hard_limit(kind, value)) for kind, value in wanted if value is not None
    ]
    if limits:
        # Only system calls run between fork and exec: other threads may hold any lock.
        arguments["preexec_fn"] = functools.partial(_set_limits, limits)
    return Confinement(arguments, environment)


def _within_hard_limit(kind: int, value: int) -> tuple[int, int]:
    """Return soft and hard limit: the value, or the hard limit of this process if lower."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return value, value


def _set_limits(limits: list[tuple[int, tuple[int, int]]]) -> None:
    for kind, pair in limits:
        resource.setrlimit(kind, pair)
