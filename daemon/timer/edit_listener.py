"""Hears of edits and tells the loader; listens again, with everything reloaded, after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from daemon.timer.loader import Loader


class EditListener(Service):
    """The listener as a service.

    Args:
        listen: opens a connection and yields campaign ids, or None when anything may be missed.
    """

    name = "listen"

    def __init__(
        self,
        listen: Callable[[], AsyncIterator[list[int] | None]],
        loader: Loader,
        *,
        link: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._listen = listen
        self._loader = loader
        self._link = link
        self._emit = emit
        self.connected = asyncio.Event()
        self.on_edited: list[Callable[[list[int]], None]] = []
        """Told beside the loader of campaigns that were edited."""

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is opened again.

        Its loss alone is no outage: edits are polled for, and whoever polls tells if it is one.
        """
        told = False
        while not self.stopping.is_set():
            try:
                async for campaign_ids in self._listen():
                    self._link.ok(self)
                    told = False
                    self.connected.set()
                    if campaign_ids is None:
                        self._loader.reload()
                    else:
                        self._loader.changed(campaign_ids)
                        for tell in self.on_edited:
                            tell(campaign_ids)
            except Unavailable as error:
                if not told:
                    self._emit("listen_lost", error=error.detail)
                told = True
                await self._link.back_off(self)

    async def stop(self, grace: float | None = None) -> None:
        """Close the connection, whatever it waits for."""
        del grace
        await super().stop(grace=0)
