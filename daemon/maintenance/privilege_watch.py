"""Watches the privileges of the database's role: an administrator may change them meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit

EVERY_S = 60.0
"""Seconds between two checks."""


class PrivilegeWatch:
    """Checks that the role has its privileges, and logs each problem once.

    Args:
        require: raises when the role lacks a privilege, or does not see every row.
    """

    def __init__(self, require: Callable[[], Awaitable[None]], *, emit: Emit) -> None:
        self._require = require
        self._emit = emit
        self.problem: str | None = None
        """What the last check found."""

    async def require_privileges(self) -> None:
        """Raise what is missing: for the start."""
        await self._require()

    async def check(self) -> None:
        """Note and log what is missing. Raises Unavailable while the database is away."""
        try:
            await self._require()
        except Unavailable as error:
            if error.retryable:
                raise
            if error.detail != self.problem:
                self._emit("privilege_missing", error=error.detail)
            self.problem = error.detail
        else:
            self.problem = None
