"""What other components report to the timer between two passes of the loader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from daemon.domain.run.attempt import ArmedEvent, DueEntry
from daemon.timer.scheduler import TimerScheduler

EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
"""Before every event; two days in, so that no time zone can push it out of range."""
RECHECK_S = 0.05
"""Seconds after which an event that was not won is read again."""


class TimerInbox:
    """Edits, settled claims and finished runs, for the loader's next pass. No method blocks.

    This is the `daemon.pipeline.store.Timer` of the pipeline.
    """

    def __init__(self, scheduler: TimerScheduler) -> None:
        self._scheduler = scheduler
        self._edited: set[int] = set()
        self._lost: set[int] = set()
        self._backlogged: set[int] = set()
        """Campaigns whose next event is due and waits for the run before it."""
        self._following: dict[int, ArmedEvent] | None = None
        self._reload = True
        self.loading_to = EARLIEST
        """The loader has read, or is reading, all events before this instant."""
        self.changed = asyncio.Event()
        """Set when the loader has something to do."""

    # Reports.

    def reload(self) -> None:
        """Load everything that is due soon: reports may have been missed."""
        self._reload = True
        self.changed.set()

    def campaigns_edited(self, campaign_ids: Iterable[int]) -> None:
        """Load the schedules of these campaigns: they were written."""
        self._edited.update(campaign_ids)
        self.changed.set()

    def on_runs_available(self) -> None:
        """Load the pending runs that are due."""
        self.changed.set()

    def settle(
        self,
        claimed: Sequence[DueEntry],
        following: Sequence[ArmedEvent] = (),
        lost: Sequence[int] = (),
        backlogged: Sequence[int] = (),
    ) -> None:
        """Take the result of a claim; see `daemon.pipeline.store.Timer`."""
        window = self._scheduler.window
        window.forget_handed_out(claimed)
        self._backlogged.update(backlogged)
        if following:
            # A read under way may be from before the claim: its range ends at ``loading_to``.
            if self._following is not None:
                self._following.update((event.campaign_id, event) for event in following)
            known = [
                event
                for event in following
                if event.due_at < self.loading_to and not window.holds_newer(event)
            ]
            if window.load(known):
                self._scheduler.wake()
        if lost:
            self._recheck_soon(lost)

    def runs_finished(self, campaign_ids: Sequence[int], *, promoted: bool) -> None:
        """Take written outcomes: queued runs and backlogged events may be due now."""
        if promoted:
            self.changed.set()
        if self._backlogged and (due := self._backlogged.intersection(campaign_ids)):
            self._backlogged -= due
            self._recheck_soon(due)

    def _recheck_soon(self, campaign_ids: Iterable[int]) -> None:
        self._lost.update(campaign_ids)
        asyncio.get_running_loop().call_later(RECHECK_S, self.changed.set)

    # For the loader.

    def take_reload(self) -> bool:
        """Return whether everything is to be loaded; the next call returns False."""
        reload, self._reload = self._reload, False
        return reload

    def take_campaigns(self) -> set[int]:
        """Remove and return the campaigns whose events are to be loaded."""
        campaign_ids = self._edited | self._lost
        self._edited, self._lost = set(), set()
        return campaign_ids

    def request_reload(self) -> None:
        """Ask the next pass to load everything, without waking the loader."""
        self._reload = True

    def request_campaigns(self, campaign_ids: Iterable[int]) -> None:
        """Ask this or the next pass to load these campaigns, without waking the loader."""
        self._edited.update(campaign_ids)

    @contextlib.contextmanager
    def collect_following(self) -> Iterator[dict[int, ArmedEvent]]:
        """While events are read and loaded: collect what claims report as following meanwhile."""
        following: dict[int, ArmedEvent] = {}
        self._following = following
        try:
            yield following
        finally:
            self._following = None
