"""The job store: a window onto PostgreSQL that holds, as light tuples, only what is due soon."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun
from daemon.timer.trigger import OnceTrigger, ScheduleTrigger

Entry = ArmedEvent | PendingRun
Key = tuple[int, datetime | None]

HANDED_OUT_AT_MOST = 250
"""Jobs made in one pass of APScheduler's loop, so that the event loop is never held for long."""

EXECUTOR = "firing"


def key_of(entry: Entry) -> Key:
    """A campaign has one armed event, and one entry for each run that waits."""
    if isinstance(entry, ArmedEvent):
        return entry.campaign_id, None
    return entry.campaign_id, entry.scheduled_for


def instant_of(entry: Entry) -> datetime:
    """When the entry is due, by the database's clock."""
    return entry.event.at if isinstance(entry, ArmedEvent) else entry.at


class WindowJobStore(BaseJobStore):  # type: ignore[misc]
    """Entries by the instant they are due at; Job objects exist only while they are handed out.

    Entries are due by the database's clock; ``skew`` (that clock minus this machine's) turns them
    into local wake-ups. An entry that was handed out is remembered until ``done``, so loading it
    again meanwhile does not hand it out twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skew = timedelta(0)
        # Campaigns like round hours: one place in the heap for all that is due at one instant.
        self._instants: list[datetime] = []
        self._due_at: dict[datetime, deque[tuple[Key, Entry]]] = {}
        self._held: dict[Key, Entry] = {}
        self._out: dict[Key, Entry] = {}
        self.attempts_out: Counter[str] = Counter()
        """Waiting runs that were handed out and are neither claimed nor lost, by their target."""

    def __len__(self) -> int:
        return len(self._held)

    def load(self, entries: Iterable[Entry]) -> bool:
        """Take entries in; True if one of them is due before all that were held."""
        first = self._instants[0] if self._instants else None
        earlier = False
        held, out = self._held, self._out
        for entry in entries:
            key = key_of(entry)
            if entry in (held.get(key), out.get(key)):
                continue
            held[key] = entry
            at = instant_of(entry)
            due = self._due_at.get(at)
            if due is None:
                due = self._due_at[at] = deque()
                heapq.heappush(self._instants, at)
                earlier = earlier or first is None or at < first
            due.append((key, entry))
        return earlier

    def knows(self, overdue: OverdueEvent) -> bool:
        """Whether this very event is held, or handed out and not claimed yet."""
        key = overdue.campaign_id, None
        return any(
            isinstance(entry, ArmedEvent)
            and entry.revision == overdue.revision
            and entry.event.at == overdue.at
            for entry in (self._held.get(key), self._out.get(key))
        )

    def holds_newer(self, entry: ArmedEvent) -> bool:
        """Whether an event of a later schedule of the same campaign is held."""
        held = self._held.get((entry.campaign_id, None))
        return isinstance(held, ArmedEvent) and held.revision > entry.revision

    def soon(self, until: datetime) -> Iterator[ArmedEvent]:
        """The armed events held that are due before an instant, oldest first.

        May be gone through in steps: what is handed out meanwhile is left out.
        """
        for at in sorted(at for at in self._due_at if at < until):
            for key, entry in list(self._due_at.get(at, ())):
                if isinstance(entry, ArmedEvent) and self._held.get(key) is entry:
                    yield entry

    def drop(self, campaign_ids: Iterable[int]) -> None:
        """Forget the armed events of these campaigns; what the database says is loaded after."""
        for campaign_id in campaign_ids:
            self._held.pop((campaign_id, None), None)

    def clear(self) -> None:
        """Forget everything that was not handed out."""
        self._instants.clear()
        self._due_at.clear()
        self._held.clear()

    def done(self, entries: Iterable[Entry]) -> None:
        """These were claimed or lost; they may be loaded again."""
        for entry in entries:
            key = key_of(entry)
            if self._out.get(key) is entry:
                del self._out[key]
                if isinstance(entry, PendingRun):
                    self.attempts_out[entry.target] -= 1

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Up to HANDED_OUT_AT_MOST jobs that are due, oldest first."""
        jobs: list[Job] = []
        limit = now.astimezone(UTC) + self.skew
        while (at := self._first()) is not None and at <= limit:
            due = self._due_at[at]
            while due and len(jobs) < HANDED_OUT_AT_MOST:
                key, entry = due.popleft()
                if self._held.get(key) is entry:
                    del self._held[key]
                    if isinstance(entry, PendingRun):
                        self._count(entry, self._out.get(key))
                    self._out[key] = entry
                    jobs.append(self._job(entry, at - self.skew))
            if due:
                break
        return jobs

    def get_next_run_time(self) -> datetime | None:
        """When to wake up, by this machine's clock."""
        at = self._first()
        return None if at is None else at - self.skew

    def _count(self, entry: PendingRun, former: Entry | None) -> None:
        self.attempts_out[entry.target] += 1
        if isinstance(former, PendingRun):
            self.attempts_out[former.target] -= 1

    def _first(self) -> datetime | None:
        """The first instant that something held is due at."""
        while self._instants:
            due = self._due_at[self._instants[0]]
            while due and self._held.get(due[0][0]) is not due[0][1]:
                due.popleft()  # replaced or dropped since it was loaded
            if due:
                return self._instants[0]
            del self._due_at[heapq.heappop(self._instants)]
        return None

    def get_all_jobs(self) -> list[Job]:
        """Everything held, as jobs, oldest first."""
        return [
            self._job(entry, at - self.skew)
            for at in sorted(self._due_at)
            for key, entry in self._due_at[at]
            if self._held.get(key) is entry
        ]

    def lookup_job(self, job_id: str) -> Job | None:
        """The job of one entry, if it is held."""
        return next((job for job in self.get_all_jobs() if job.id == job_id), None)

    def add_job(self, job: Job) -> None:
        """Not how entries come in: the loader is the only way."""
        raise NotImplementedError("entries come from the loader")

    def update_job(self, job: Job) -> None:
        """Nothing: what comes next is loaded once the claim has advanced it."""

    def remove_job(self, job_id: str) -> None:
        """Nothing: what was handed out is not held any more."""

    def remove_all_jobs(self) -> None:
        """The same as ``clear``."""
        self.clear()

    def _job(self, entry: Entry, at: datetime) -> Job:
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
