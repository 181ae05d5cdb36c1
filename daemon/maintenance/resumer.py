"""Pauses that end by themselves: starts the campaigns again."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from daemon.campaign_store import CampaignEdit
from daemon.domain.campaign.commands import resume
from daemon.domain.errors import NotFound, Refused
from daemon.domain.ports import Emit
from daemon.domain.run.log_events import emit_ended
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.polling_service import PollingService

ACTOR = "schedule"
"""The actor of what a node does because its time has come."""
CAMPAIGNS_AT_ONCE = 100


class PausedEdit(CampaignEdit, Protocol):
    """A paused campaign whose row is locked."""

    async def fail_resumption(self, why: str, actor: str) -> None:
        """Forget the end of the pause, and log why nothing was started."""
        ...


class PausedStore(Protocol):
    """The store of campaigns that are paused until an instant."""

    async def ended_pauses(self, limit: int) -> list[int]:
        """Return the ids of at most ``limit`` campaigns whose pause is over."""
        ...

    def edit(self, ref: int) -> AbstractAsyncContextManager[PausedEdit]:
        """Lock a campaign; commit at the end of the block, unless the block raises."""
        ...


class Resumer(PollingService):
    """Starts campaigns whose pause is over; the poll of the loader wakes it.

    Every node does it. The row's lock lets one of them do it for each campaign.

    Args:
        store: the campaigns.
        misfire_grace_time: seconds, for runs without a schedule.
    """

    name = "resumer"

    def __init__(
        self,
        store: PausedStore,
        misfire_grace_time: int,
        *,
        health: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__(health, None)
        self._store = store
        self._grace = misfire_grace_time
        self._emit = emit

    async def run_once(self) -> None:
        """Start what is due, a campaign at a time. Raises Unavailable."""
        found = await self._store.ended_pauses(CAMPAIGNS_AT_ONCE)
        for campaign_id in found:
            await self._end_pause(campaign_id)
        if len(found) == CAMPAIGNS_AT_ONCE:
            self.wake()

    async def _end_pause(self, campaign_id: int) -> None:
        try:
            async with self._store.edit(campaign_id) as edit:
                try:
                    change = resume(edit.snapshot, self._grace)
                except Refused as error:
                    await edit.fail_resumption(error.detail, ACTOR)
                else:
                    if change is not None:
                        await edit.apply(change, ACTOR)
        except NotFound:  # deleted meanwhile
            return
        for ended in edit.ended_runs:
            emit_ended(self._emit, ended)
