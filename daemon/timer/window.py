"""The plug-ins of APScheduler: the window as job store, and the executor.

The window is a view of PostgreSQL that holds, as light tuples, only what is due soon. The executor
hands due entries to the pipeline.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore
from apscheduler.triggers.base import BaseTrigger

from daemon.domain.run.attempt import ArmedEvent, DueEntry, OverdueEvent, PendingRun
from daemon.runtime.clock import DatabaseClock
from daemon.timer.trigger import OnceTrigger, ScheduleTrigger

Key = tuple[int, datetime | None]
"""A campaign has one armed event, and one entry for each pending run."""

ENTRIES_AT_ONCE = 2000
"""Entries handed over in one pass of APScheduler's loop, which blocks the event loop."""

LEAD = timedelta(milliseconds=4)
"""How early entries are handed over. The claim waits for their instant by the database clock.

This hides the way from the timer to the database. An edit until the instant still wins.
"""

EXECUTOR = "pipeline"


def trigger_of(entry: DueEntry) -> ScheduleTrigger | OnceTrigger:
    """Return the trigger of an entry: that of its schedule, or the instant of its next attempt."""
    if isinstance(entry, ArmedEvent):
        return ScheduleTrigger(entry.schedule, entry.event, entry.due_at)
    return OnceTrigger(entry.at)


class WindowJobStore(BaseJobStore):  # type: ignore[misc]
    """Entries by the instant at which they are due; jobs exist only while they are handed out.

    Entries are due by the database clock; its skew turns their instants into local wake-ups. An
    entry that was handed out is remembered until its claim is settled, so that loading it again
    does not hand it out twice.
    """

    def __init__(self, database_clock: DatabaseClock) -> None:
        super().__init__()
        self._database_clock = database_clock
        # Campaigns like round hours: the heap has one place for all entries due at one instant.
        self._instants: list[datetime] = []
        self._due_at: dict[datetime, deque[tuple[Key, DueEntry]]] = {}
        self._held: dict[Key, DueEntry] = {}
        self._out: dict[Key, DueEntry] = {}
        self.runs_handed_out: Counter[str] = Counter()
        """Number of pending runs handed out whose claim is not settled, by target."""

    def __len__(self) -> int:
        return len(self._held)

    def load(self, entries: Iterable[DueEntry]) -> bool:
        """Add entries; return whether one of them is due before all that were held."""
        first = self._instants[0] if self._instants else None
        earlier = False
        held, out, now = self._held, self._out, self._database_clock.now()
        for entry in entries:
            scheduled_for = None if isinstance(entry, ArmedEvent) else entry.scheduled_for
            key = entry.campaign_id, scheduled_for
            at = trigger_of(entry).get_next_fire_time(None, now)
            assert at is not None  # a trigger that never fired yet has its first instant
            if entry in (held.get(key), out.get(key)):
                continue
            held[key] = entry
            due = self._due_at.get(at)
            if due is None:
                due = self._due_at[at] = deque()
                heapq.heappush(self._instants, at)
                earlier = earlier or first is None or at < first
            due.append((key, entry))
        return earlier

    def knows(self, overdue: OverdueEvent) -> bool:
        """Return whether this event is held, or handed out and not settled yet."""
        key = overdue.campaign_id, None
        return any(
            isinstance(entry, ArmedEvent)
            and entry.revision == overdue.revision
            and entry.due_at == overdue.at
            for entry in (self._held.get(key), self._out.get(key))
        )

    def holds_newer(self, entry: ArmedEvent) -> bool:
        """Return whether an event of a later revision of the campaign's schedule is held."""
        held = self._held.get((entry.campaign_id, None))
        return isinstance(held, ArmedEvent) and held.revision > entry.revision

    def soon(self, until: datetime) -> Iterator[ArmedEvent]:
        """Yield the armed events held that are due before an instant, oldest first.

        The caller may pause between two of them: events handed out meanwhile are left out.
        """
        for at in sorted(at for at in self._due_at if at < until):
            for key, entry in list(self._due_at.get(at, ())):
                if isinstance(entry, ArmedEvent) and self._held.get(key) is entry:
                    yield entry

    def drop(self, campaign_ids: Iterable[int]) -> None:
        """Drop the armed events of these campaigns, before their stored state is loaded."""
        for campaign_id in campaign_ids:
            self._held.pop((campaign_id, None), None)

    def clear(self) -> None:
        """Drop everything that was not handed out."""
        self._instants.clear()
        self._due_at.clear()
        self._held.clear()

    def forget_handed_out(self, entries: Iterable[DueEntry]) -> None:
        """Forget entries that were claimed or lost, so that they may be loaded again."""
        for entry in entries:
            scheduled_for = None if isinstance(entry, ArmedEvent) else entry.scheduled_for
            key = entry.campaign_id, scheduled_for
            if self._out.get(key) is entry:
                del self._out[key]
                if isinstance(entry, PendingRun):
                    self.runs_handed_out[entry.target] -= 1

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return a job for each instant that is due, oldest first, with all entries of it."""
        jobs: list[Job] = []
        room = ENTRIES_AT_ONCE
        limit = now.astimezone(UTC) + self._database_clock.skew + LEAD
        while room > 0 and (at := self._first_instant()) is not None and at <= limit:
            entries = self._hand_out(at, room)
            room -= len(entries)
            jobs.append(self._make_job(f"due at {at.isoformat()}", OnceTrigger(at), at, entries))
        return jobs

    def _hand_out(self, at: datetime, count: int) -> list[DueEntry]:
        """Remove and return up to ``count`` held entries that are due at an instant."""
        entries: list[DueEntry] = []
        due, held, out = self._due_at[at], self._held, self._out
        while due and len(entries) < count:
            key, entry = due.popleft()
            if held.get(key) is entry:
                del held[key]
                if isinstance(entry, PendingRun):
                    self._count_run(entry, out.get(key))
                out[key] = entry
                entries.append(entry)
        return entries

    def get_next_run_time(self) -> datetime | None:
        """Return when to wake up, by this machine's clock."""
        at = self._first_instant()
        return None if at is None else at - self._database_clock.skew - LEAD

    def _count_run(self, entry: PendingRun, former: DueEntry | None) -> None:
        self.runs_handed_out[entry.target] += 1
        if isinstance(former, PendingRun):
            self.runs_handed_out[former.target] -= 1

    def _first_instant(self) -> datetime | None:
        """Return the first instant at which a held entry is due."""
        while self._instants:
            due = self._due_at[self._instants[0]]
            while due and self._held.get(due[0][0]) is not due[0][1]:
                due.popleft()  # replaced or dropped since it was loaded
            if due:
                return self._instants[0]
            del self._due_at[heapq.heappop(self._instants)]
        return None

    def get_all_jobs(self) -> list[Job]:
        """Return every held entry as a job, oldest first."""
        return [
            self._make_job(_name_of(entry), trigger_of(entry), at, [entry])
            for at in sorted(self._due_at)
            for key, entry in self._due_at[at]
            if self._held.get(key) is entry
        ]

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job of one entry, if it is held."""
        return next((job for job in self.get_all_jobs() if job.id == job_id), None)

    def add_job(self, job: Job) -> None:
        """Refuse: entries come from the loader."""
        raise NotImplementedError("entries come from the loader")

    def update_job(self, job: Job) -> None:
        """Do nothing: the next event is loaded once the claim has armed it."""

    def remove_job(self, job_id: str) -> None:
        """Do nothing: an entry that was handed out is no longer held."""

    def remove_all_jobs(self) -> None:
        """Drop everything that was not handed out."""
        self.clear()

    def _make_job(
        self, name: str, trigger: BaseTrigger, at: datetime, entries: list[DueEntry]
    ) -> Job:
        job: Any = Job.__new__(Job)
        job.id = job.name = name
        job.trigger = trigger
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        job.func = job.func_ref = None
        job.args = (entries,)
        job.kwargs = {}
        job.executor = EXECUTOR
        job.next_run_time = at - self._database_clock.skew - LEAD
        # Lateness and overlap are decided in the claim, where every node sees the same facts.
        job.misfire_grace_time = None
        job.coalesce = True
        job.max_instances = 1
        return job


def _name_of(entry: DueEntry) -> str:
    if isinstance(entry, ArmedEvent):
        return f"campaign {entry.campaign_id}"
    return f"run {entry.campaign_id} {entry.scheduled_for.isoformat()}"


class PipelineExecutor(BaseExecutor):  # type: ignore[misc]
    """Hands due entries to the pipeline, and runs nothing itself.

    Overlap is decided in the claim, not counted here.

    Args:
        handle_due: `daemon.pipeline.claimer.Claimer.enqueue`.
    """

    def __init__(self, handle_due: Callable[[list[DueEntry]], None]) -> None:
        super().__init__()
        self._handle_due = handle_due

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Hand over the entries of a job. Never blocks, never refuses."""
        del run_times  # always one: the window hands out single instants
        self._handle_due(job.args[0])

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job does not call it")
