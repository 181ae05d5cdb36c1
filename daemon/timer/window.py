"""The plug-ins of APScheduler: the window as job store, and the executor.

The window is a view of PostgreSQL that holds, as light tuples, only what is due soon. The executor
hands due entries to the pipeline.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore

from daemon.domain.run.attempt import ArmedEvent, DueEntry, OverdueEvent, PendingRun
from daemon.runtime.clock import DatabaseClock
from daemon.timer.trigger import OnceTrigger, ScheduleTrigger

Key = tuple[int, datetime | None]

JOBS_AT_ONCE = 250
"""Jobs made in one pass of APScheduler's loop, so that it never blocks the event loop for long."""

EXECUTOR = "pipeline"


def key_of(entry: DueEntry) -> Key:
    """Return the key: a campaign has one armed event, and one entry for each pending run."""
    if isinstance(entry, ArmedEvent):
        return entry.campaign_id, None
    return entry.campaign_id, entry.scheduled_for


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
        held, out = self._held, self._out
        for entry in entries:
            if isinstance(entry, ArmedEvent):
                key: Key = (entry.campaign_id, None)
                at = entry.event.at
            else:
                key = (entry.campaign_id, entry.scheduled_for)
                at = entry.at
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
            and entry.event.at == overdue.at
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
            key = key_of(entry)
            if self._out.get(key) is entry:
                del self._out[key]
                if isinstance(entry, PendingRun):
                    self.runs_handed_out[entry.target] -= 1

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return up to JOBS_AT_ONCE jobs that are due, oldest first."""
        jobs: list[Job] = []
        limit = now.astimezone(UTC) + self._database_clock.skew
        while (at := self._first_instant()) is not None and at <= limit:
            due = self._due_at[at]
            while due and len(jobs) < JOBS_AT_ONCE:
                key, entry = due.popleft()
                if self._held.get(key) is entry:
                    del self._held[key]
                    if isinstance(entry, PendingRun):
                        self._count_run(entry, self._out.get(key))
                    self._out[key] = entry
                    jobs.append(self._make_job(entry, at - self._database_clock.skew))
            if due:
                break
        return jobs

    def get_next_run_time(self) -> datetime | None:
        """Return when to wake up, by this machine's clock."""
        at = self._first_instant()
        return None if at is None else at - self._database_clock.skew

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
            self._make_job(entry, at - self._database_clock.skew)
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

    def _make_job(self, entry: DueEntry, at: datetime) -> Job:
        job: Any = _new_job(Job)
        if isinstance(entry, ArmedEvent):
            job.id = job.name = f"campaign {entry.campaign_id}"
            job.trigger = ScheduleTrigger(entry.schedule, entry.event)
        else:
            job.id = job.name = f"run {entry.campaign_id} {entry.scheduled_for.isoformat()}"
            job.trigger = OnceTrigger(entry.at)
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        job.func = job.func_ref = None
        job.args = (entry,)
        job.kwargs = {}
        job.executor = EXECUTOR
        job.next_run_time = at
        # Lateness and overlap are decided in the claim, where every node sees the same facts.
        job.misfire_grace_time = None
        job.coalesce = True
        job.max_instances = 1
        return job


_new_job = Job.__new__


class PipelineExecutor(BaseExecutor):  # type: ignore[misc]
    """Hands each due entry to the pipeline, and runs nothing itself.

    Overlap is decided in the claim, not counted here.

    Args:
        handle_due: `daemon.pipeline.claimer.Claimer.enqueue`.
    """

    def __init__(self, handle_due: Callable[[DueEntry], None]) -> None:
        super().__init__()
        self._handle_due = handle_due

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Hand over one job. Never blocks, never refuses."""
        del run_times  # always one: the window hands out single instants
        self._handle_due(job.args[0])

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job does not call it")
