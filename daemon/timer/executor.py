"""The executor: hands what is due to the pipeline, and runs nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job

from daemon.timer.window import Entry


class PipelineExecutor(BaseExecutor):  # type: ignore[misc]
    """Gives each due entry to ``take``; overlap is decided in the claim, not counted here."""

    def __init__(self, take: Callable[[Entry], None]) -> None:
        super().__init__()
        self._take = take

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Hand over; never blocks, never refuses."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        del run_times  # one: the store hands out single instants
        self._take(job.args[0])
