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


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, at most to ``MOST``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def left(descriptors: int, *, connections: int, attempts: int) -> int:
    """Return how many descriptors remain for clients.

    Args:
        descriptors: the number of files that the process may open.
        connections: maximum database connections.
        attempts: maximum attempts in flight, of all targets.
    """
    return descriptors - _PROCESS - connections - _ATTEMPT * attempts
