"""The executor: hands due jobs to the pipeline, and runs nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job

from daemon.domain.run.attempt import DueEntry


class PipelineExecutor(BaseExecutor):  # type: ignore[misc]
    """Passes the entry of each due job on; overlap is decided in the claim, not counted here."""

    def __init__(self, handle_due: Callable[[DueEntry], None]) -> None:
        super().__init__()
        self._handle_due = handle_due

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Hand over one job. Never blocks, never refuses."""
        del run_times  # always one: the window hands out single instants
        self._handle_due(job.args[0])

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job does not call it")
