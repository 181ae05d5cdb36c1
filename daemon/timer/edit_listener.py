"""Listens for edits; after a lost connection it listens again, with everything reloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from daemon.timer.inbox import TimerInbox


class EditListener(Service):
    """Passes notifications of edited campaigns on.

    Args:
        listen: opens a connection and yields campaign ids, or None when any may be missed.
        inbox: the timer's inbox.
        health: the state of the database.
        emit: logs a lost connection.
    """

    name = "edit_listener"

    def __init__(
        self,
        listen: Callable[[], AsyncIterator[list[int] | None]],
        inbox: TimerInbox,
        *,
        health: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._listen = listen
        self._inbox = inbox
        self._health = health
        self._emit = emit
        self.tried = asyncio.Event()
        """Set once the first connection listens, or has failed."""
        self.on_edited: list[Callable[[list[int]], None]] = []
        """Called, beside the inbox, with the campaigns that were edited."""

    async def run(self) -> None:
        """Listen until cancelled; open a lost connection again.

        Its loss alone is no outage: edits are polled for, and the poll finds out if it is one.
        """
        is_logged = False
        while not self.stopping.is_set():
            try:
                async for campaign_ids in self._listen():
                    self._health.succeeded(self)
                    is_logged = False
                    self.tried.set()
                    if campaign_ids is None:
                        self._inbox.reload()
                    else:
                        self._inbox.campaigns_edited(campaign_ids)
                        for edited in self.on_edited:
                            edited(campaign_ids)
            except Unavailable as error:
                if not is_logged:
                    self._emit("listen_lost", error=error.detail)
                is_logged = True
                self.tried.set()
                await self._health.back_off(self)

    async def stop(self, grace: float | None = None) -> None:
        """Close the connection at once."""
        del grace
        await super().stop(grace=0)
