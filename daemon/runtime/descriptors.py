"""The number of files that this process may open: raised at the start, and shared by its parts."""

from __future__ import annotations

import contextlib
import resource

MOST = 65_536
"""Limit to which the soft limit is raised at most. A huge one slows programs that close all."""
_PROCESS = 64
"""Descriptors for the process itself: log, locks, event loops, files that are read for a moment."""
_ATTEMPT = 4
"""Descriptors for one attempt of a target: a connection, or a command's pipes."""
_former: tuple[int, int] | None = None
"""Soft and hard limit before `raise_open_file_limit` raised them."""


def raise_open_file_limit() -> None:
    """Raise the soft limit of open files to the hard one, at most to ``MOST``."""
    global _former
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (wanted := raised_open_file_limit()) > open_file_limit():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, former[1]))
            _former = former


def restore_open_file_limit(pid: int) -> None:
    """Give a program that has just started the limit that this process had.

    Raised limits harm programs that use `select` or close every possible descriptor. The program
    has the raised limit for its first moment, because setting the limit between fork and exec makes
    each start ten times as expensive.
    """
    if _former is not None and hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # the program has ended, or may not be changed
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _former)


def raised_open_file_limit() -> int:
    """Return how many files this process may open once it has raised its limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return max(open_file_limit(), MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))


def open_file_limit() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def left_for_clients(descriptors: int, *, connections: int, attempts: int) -> int:
    """Return how many descriptors remain for clients.

    Args:
        descriptors: the number of files that the process may open.
        connections: maximum database connections.
        attempts: maximum attempts in flight, of all targets.
    """
    return descriptors - _PROCESS - connections - _ATTEMPT * attempts
