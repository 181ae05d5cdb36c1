"""A schedule as an APScheduler trigger."""

from __future__ import annotations

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from daemon.domain.schedule.schedule import Kind, Schedule, TimedEvent


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at a schedule's events, in its zone, from its start to its end.

    APScheduler's own triggers treat DST gaps and overlaps otherwise than
    docs/semantics.md#occurrences, so the arithmetic is the domain's. Occurrences that are over are
    skipped without a walk: the claim decides what becomes of them.
    """

    __slots__ = ("_due_at", "_event", "_following", "_schedule", "timezone")

    def __init__(
        self, schedule: Schedule, event: TimedEvent, due_at: datetime | None = None
    ) -> None:
        self._schedule = schedule
        self._event = event
        self._due_at = due_at or event.at
        self._following: tuple[datetime, datetime | None] | None = None
        self.timezone = schedule.timezone

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,
        now: datetime,
    ) -> datetime | None:
        """Return the armed event first; after it, the first event that is still ahead."""
        if previous_fire_time is None:
            return self._due_at
        if self._schedule.kind is Kind.ONCE:
            return None
        # APScheduler asks twice in a row.
        if self._following is None or self._following[0] != now:
            try:
                following = self._schedule.event_following(self._event)
                if following is not None and following.at <= now:
                    following = self._schedule.event_after(now)
            except Exception:
                # For example a zone that this node's data lacks. An error raised here would stop
                # APScheduler's loop and all campaigns; the claim logs it for this schedule alone.
                following = None
            self._following = now, None if following is None else following.at
        return self._following[1]

    def __str__(self) -> str:
        return f"schedule[{self._schedule.kind}, {self.timezone}]"


class OnceTrigger(BaseTrigger):  # type: ignore[misc]
    """One instant: the next attempt of a run."""

    __slots__ = ("_at",)

    def __init__(self, at: datetime) -> None:
        self._at = at

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,
        now: datetime,
    ) -> datetime | None:
        """Return the instant, once."""
        return self._at if previous_fire_time is None else None
