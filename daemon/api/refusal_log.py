"""Refused requests in the audit log: a row a minute for each caller and kind at most."""

from __future__ import annotations

from contextlib import suppress

from daemon.api.ports import AuditStore
from daemon.api.rate_limit import RateLimiter
from daemon.domain.audit import AuditEntry
from daemon.domain.errors import Unavailable

LIMIT = "1/minute"
"""Rows of one caller, action and object: a client that repeats itself must not fill the table."""


class RefusalLog:
    """Records what was refused; one for each application.

    Args:
        audit: the audit log.
    """

    def __init__(self, audit: AuditStore) -> None:
        self._audit = audit
        self._limit = RateLimiter(LIMIT)

    async def record_refusal(self, caller: str, entry: AuditEntry) -> None:
        """Record a refusal, unless the caller had the same one within the last minute.

        A database that is away does not change the response.
        """
        is_within, _ = await self._limit.count_request(f"{caller} {entry.action} {entry.object_id}")
        if is_within:
            with suppress(Unavailable):
                await self._audit.record(entry)
