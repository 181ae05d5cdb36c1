"""Pauses campaigns whose runs fail one after the other, where their schedules ask for it."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.campaign_service import CampaignService
from daemon.domain.errors import NotFound, Unavailable
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.polling_service import PollingService


class FailureWatch(PollingService):
    """Looks at the last runs of a campaign after each outcome `failed` that this node has written.

    Args:
        service: pauses campaigns.
        node: the actor of a pause.
    """

    name = "failure_watch"

    def __init__(
        self, service: CampaignService, node: NodeIdentity, *, health: DatabaseHealth
    ) -> None:
        super().__init__(health, None)
        self._service = service
        self._node = node
        self._failed: set[int] = set()

    def on_failed(self, campaign_ids: Iterable[int]) -> None:
        """Note campaigns of which a run has failed. Never blocks."""
        self._failed.update(campaign_ids)
        self.wake()

    async def run_once(self) -> None:
        """Pause what has to be paused. Raises Unavailable."""
        failed, self._failed = self._failed, set()
        if not failed:
            return
        try:
            await self._service.pause_failing(failed, self._node.id)
        except NotFound:  # one was deleted meanwhile: the others are looked at again
            self.on_failed(failed)
        except Unavailable:
            self._failed |= failed
            raise
