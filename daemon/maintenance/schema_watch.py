"""Watches the schema: another release may migrate the database while this daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.ports import Emit
from daemon.domain.read_models import SchemaInfo

ANSWER_S = 5.0


class SchemaWatch:
    """Checks that this release can work on the schema, and logs newer schemas once.

    Args:
        require: returns the database's schema; raises when this release cannot work on it.
    """

    def __init__(self, require: Callable[[], Awaitable[SchemaInfo]], *, emit: Emit) -> None:
        self._require = require
        self._emit = emit
        self._logged: str | None = None

    async def explain_death(self, error: BaseException) -> BaseException:
        """Return why a service died: the schema, if this release cannot work on it."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._require()
        except (Unavailable, TimeoutError):
            return error
        except CampaigndError as schema:
            return schema
        return error

    async def check(self) -> None:
        """Require the schema, and log each newer one once."""
        found = await self._require()
        if found.is_newer and found.version != self._logged:
            self._logged = found.version
            self._emit(
                "schema_newer", schema=found.version, compatible_since=found.compatible_since
            )
