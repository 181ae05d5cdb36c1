"""Two releases on one database: notices that another one has migrated it under this daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.ports import Emit

ANSWER_S = 5.0


class SchemaInfo(Protocol):
    """A schema that this release can work on."""

    @property
    def version(self) -> str | None: ...
    @property
    def compatible_since(self) -> str | None: ...
    @property
    def is_newer(self) -> bool: ...


class SchemaWatch:
    """What each look finds.

    Args:
        require: the database's schema; raises when this release can not work on it.
    """

    def __init__(self, require: Callable[[], Awaitable[SchemaInfo]], *, emit: Emit) -> None:
        self._require = require
        self._emit = emit
        self._told: str | None = None

    async def blamed(self, error: BaseException) -> BaseException:
        """Why a part of the daemon died of ``error``: the schema, if that is not the right one."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._require()
        except (Unavailable, TimeoutError):
            return error
        except CampaigndError as schema:
            return schema
        return error

    async def look(self) -> None:
        """Require the schema, and say once of each newer one that it is."""
        found = await self._require()
        if found.is_newer and found.version != self._told:
            self._told = found.version
            self._emit(
                "schema_newer", schema=found.version, compatible_since=found.compatible_since
            )
