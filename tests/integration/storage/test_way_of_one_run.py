"""The way of one run through the code is the one that docs/architecture.md shows."""

from __future__ import annotations

import asyncio
import math
import re
import sys
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from apscheduler.job import Job

from daemon.campaign_service import CampaignService
from daemon.cluster.store import NodeInfo
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    ClaimResult,
    FinishedAttempt,
    FinishResult,
)
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.schedule import CampaignType
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.stopwatch import LoopTurn
from daemon.runtime.watchdog import Watchdog
from daemon.targets.log import LogTarget
from daemon.timer.inbox import TimerInbox
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from storage.campaigns import Campaigns
from storage.firing_database import FiringDatabase
from storage.nodes import Nodes
from storage.runs import RunStore
from storage.timers import Timers
from tests.support.timed_database import TimedDatabase

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"
PRODUCT = tuple(f"{ROOT}/{package}/" for package in ("daemon", "storage", "config"))
FORMS = (ArmedEvent, Job, ClaimRequest, ClaimResult, Attempt, FinishedAttempt, FinishResult)
"""What the run is on its way, from the stored row to the written outcome."""
MAX_CALLS = 45
MAX_FILES = 16

Call = tuple[str, str]


class Trace:
    """Records every call that takes or returns a form of the run, once."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._frames: list[FrameType] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PRODUCT) or code.co_name.endswith("comp>"):
            return
        if event == "call":
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            is_on_the_way = any(_is_form(frame.f_locals.get(name)) for name in names)
        else:
            is_on_the_way = event == "return" and _is_form(argument)
        if is_on_the_way and not any(frame is known for known in self._frames):
            self._frames.append(frame)  # kept, so that no later frame takes its place in memory
            self.calls.append((str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname))


def _is_form(value: object) -> bool:
    if isinstance(value, FORMS):
        return True
    return isinstance(value, list) and any(isinstance(item, FORMS) for item in value)


def documented_calls() -> list[Call]:
    section = PAGE.read_text("utf-8").split("## The way of one run\n")[1].split("\n## ")[0]
    return re.findall(r"^\|[^|]*\| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE)


async def traced_run(database: FiringDatabase) -> list[Call]:
    """Fire a one-off campaign with the target ``log``; return the calls on the run's way."""
    clock, finished = SystemClock(), asyncio.Event()

    def emit(event: str, /, **_fields: Any) -> None:
        if event == "run_finished":
            finished.set()

    emit.is_enabled = lambda event: event != "run_claimed"  # type: ignore[attr-defined]
    node = NodeIdentity(clock, "node")
    node.extend_lease(math.inf)
    node.shards = tuple(range(4096))
    await Nodes(database).register("node", NodeInfo("node", "h", 1, "0", "t", "0"), lease=600)

    service = CampaignService(Campaigns(database))
    draft = Campaign(id=0, uuid=uuid4(), name="a", type=CampaignType.ONE_TIME, status=Status.DRAFT)
    campaign = await service.create(draft, "tester")
    at = clock.now() + timedelta(seconds=1)
    body = {"schedule_type": "scheduled", "scheduled_at": at.isoformat()}
    await service.save_schedule(campaign.id, body, "tester")

    database_clock, health = DatabaseClock(clock), DatabaseHealth(emit, clock)
    scheduler = TimerScheduler(clock, database_clock)
    inbox = TimerInbox(scheduler)
    context = PipelineContext(
        store=RunStore(database, node),
        timer=inbox,
        node=node,
        clock=clock,
        database_clock=database_clock,
        turn=LoopTurn(clock, database_clock),
        health=health,
        emit=emit,
        batch=100,
    )
    pipeline = Pipeline(context, {"log": (LogTarget(emit, "info"), RetryPolicy(), 1)})
    loader = Loader(
        Timers(database),
        scheduler,
        inbox,
        pipeline,
        node=node,
        database_clock=database_clock,
        health=health,
        watchdog=Watchdog(lambda: None, every=None, clock=clock, emit=emit),
        horizon=60,
        poll=30,
    )
    await pipeline.start()
    scheduler.start(pipeline.claimer.enqueue)
    trace = Trace()
    sys.setprofile(trace)
    try:
        await loader.start()
        async with asyncio.timeout(60):
            await finished.wait()
            await asyncio.sleep(0)
    finally:
        sys.setprofile(None)
    scheduler.stop()
    await loader.stop(1)
    await pipeline.drain(10)
    return trace.calls


async def test_the_page_shows_the_way_of_one_run(db: TimedDatabase) -> None:
    """Where this fails, make the table of docs/architecture.md show the calls as they are."""
    calls = await traced_run(db.database)
    assert calls == documented_calls()


def test_the_way_is_short() -> None:
    calls = documented_calls()
    assert 0 < len(calls) <= MAX_CALLS
    assert len({file for file, _ in calls}) <= MAX_FILES
