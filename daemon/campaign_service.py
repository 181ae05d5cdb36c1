"""What a person may ask of campaigns. The API and the command line both call only this.

Each command locks the campaign, decides by the transition table
(`daemon.domain.campaign.commands`) and writes the change with its event row in
one transaction. May import `daemon.domain`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign import commands
from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import Stale
from daemon.domain.ports import CampaignStore, Emit, RunResultStore
from daemon.domain.requests import Context, Saved, is_schedule_body, save_schedule, update_schedule
from daemon.domain.run.attempt import AttemptUpdate, OpenAttempt, RunEnded
from daemon.domain.run.log_events import emit_ended
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent

Expect = Callable[[int | None], bool]
"""Whether a schedule's revision (None: there is no schedule) is the one that a request is about."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command came to."""

    campaign_id: int
    campaign_uuid: UUID
    from_status: Status
    to_status: Status
    changed: bool
    schedule: Schedule | None
    next_run_at: datetime | None
    """The next run's instant, aware UTC, if one is to come."""
    now: datetime
    revision: int | None = None
    """Of the schedule as it is now."""


def _nothing(_event: str, /, **_fields: Any) -> None:
    pass


class CampaignService:
    """Commands on campaigns.

    Args:
        store: where campaigns are kept.
        continuous_interval: seconds between the runs of a continuous window saved from now on.
        misfire_grace_time: seconds, for schedules that name none and runs without a schedule.
        runs: where the answers go of those who finish runs later.
        emit: told of the runs that a command has ended.
        commits: False where somebody else commits, and calls ``emit_pending`` then.
        policy_of: how patiently the runs of a target are tried again.
    """

    def __init__(
        self,
        store: CampaignStore,
        *,
        continuous_interval: int = 300,
        misfire_grace_time: int = 3600,
        runs: RunResultStore | None = None,
        policy_of: Callable[[str], RetryPolicy] = lambda _target: RetryPolicy(),
        emit: Emit = _nothing,
        commits: bool = True,
    ) -> None:
        self.store = store
        self._emit = emit
        self._commits = commits
        self._untold: list[RunEnded] = []
        self._runs = runs
        self._policy_of = policy_of
        self._continuous_interval = continuous_interval
        self._grace = misfire_grace_time

    def context(self, snapshot: Snapshot) -> Context:
        """What the parsing of a body needs to know of its campaign."""
        campaign = snapshot.campaign
        return Context(
            now=snapshot.now,
            campaign_type=campaign.type,
            campaign_timezone=campaign.timezone,
            continuous_interval=self._continuous_interval,
            misfire_grace_time=self._grace,
            current=snapshot.current,
        )

    async def create(self, campaign: Campaign, actor: str) -> Campaign:
        """A new draft."""
        return await self.store.create(campaign, actor)

    async def save_schedule(
        self, ref: int | UUID, body: object, actor: str, expect: Expect | None = None
    ) -> CommandResult:
        """The ``schedule`` body: replaces the schedule, or clears it (``immediate``)."""
        return await self._do(ref, actor, lambda s: commands.save(s, body, self.context(s)), expect)

    async def update_schedule(
        self, ref: int | UUID, body: object, actor: str, expect: Expect | None = None
    ) -> CommandResult:
        """The ``update_schedule`` body: merged into the schedule; the status stays."""
        return await self._do(
            ref, actor, lambda s: commands.update(s, body, self.context(s)), expect
        )

    async def clear_schedule(
        self, ref: int | UUID, actor: str, expect: Expect | None = None
    ) -> CommandResult:
        """No schedule any more; back to draft."""
        return await self._do(ref, actor, commands.clear, expect)

    def read(self, snapshot: Snapshot, body: object) -> Saved:
        """What either body would be saved as; nothing is saved. Raises InvalidInput."""
        parse = save_schedule if is_schedule_body(body) else update_schedule
        return parse(body, self.context(snapshot))

    async def start(self, ref: int | UUID, actor: str) -> CommandResult:
        """Arm, run now, or resume."""
        return await self._do(ref, actor, lambda s: commands.start(s, self._grace))

    async def pause(self, ref: int | UUID, actor: str) -> CommandResult:
        """Start nothing new until started again."""
        return await self._do(ref, actor, commands.pause)

    async def stop(self, ref: int | UUID, actor: str) -> CommandResult:
        """Cancel, with every open run."""
        return await self._do(ref, actor, commands.stop)

    async def rerun(self, ref: int | UUID, actor: str) -> CommandResult:
        """One run now, of a campaign that has ended."""
        return await self._do(ref, actor, lambda s: commands.rerun(s, self._grace))

    async def archive(self, ref: int | UUID, actor: str) -> CommandResult:
        """Put away."""
        return await self._do(ref, actor, commands.archive)

    async def unarchive(self, ref: int | UUID, actor: str) -> CommandResult:
        """Bring back what was put away."""
        return await self._do(ref, actor, commands.unarchive)

    async def delete(self, ref: int | UUID, actor: str) -> CommandResult:
        """Remove, with its history."""
        return await self._do(ref, actor, commands.delete)

    async def complete(self, run_id: UUID, attempt: int, actor: str) -> AttemptUpdate:
        """The attempt is done. Raises Conflict when it is not the open one."""
        answered = await self._run_store.end(run_id, attempt, lambda _run: Delivered(), actor)
        return self._tells(answered)

    async def fail(
        self, run_id: UUID, attempt: int, reason: str, actor: str, *, retry: bool = True
    ) -> AttemptUpdate:
        """The attempt failed; there is another, as the target's policy has it, unless told not."""

        def decide(run: OpenAttempt) -> Outcome:
            policy = self._policy_of(run.target)
            if not retry or policy.gives_up(run.attempt, run.takeovers):
                return Reject(reason)
            return Retry(reason, policy.wait(run.attempt, random.random))

        return self._tells(await self._run_store.end(run_id, attempt, decide, actor))

    async def heartbeat(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """The attempt goes on: nobody takes the run over for so long."""
        return await self._run_store.extend(run_id, attempt, seconds)

    async def retry(self, run_id: UUID, actor: str) -> CommandResult:
        """A failed run once more: its next attempt is due now."""
        campaign_id = await self._run_store.campaign_of(run_id)
        return await self._do(campaign_id, actor, lambda s: commands.retry(s, run_id, self._grace))

    async def release(self, run_id: UUID, actor: str) -> AttemptUpdate:
        """A held run goes on its way, with the grace of its schedule from now on."""
        campaign_id = await self._run_store.campaign_of(run_id)
        async with self.store.edit(campaign_id) as edit:
            current = edit.snapshot.current
        grace = current.schedule.misfire_grace_time if current else self._grace
        return await self._run_store.release(run_id, grace, actor)

    async def fail_held(self, run_id: UUID, actor: str) -> AttemptUpdate:
        """A held run has failed."""
        return self._tells(await self._run_store.fail_held(run_id, f"failed by {actor}", actor))

    def emit_pending(self) -> None:
        """Tell of the runs that were ended: it is committed now."""
        untold, self._untold = self._untold, []
        for ending in untold:
            emit_ended(self._emit, ending)

    def _tells(self, answered: AttemptUpdate) -> AttemptUpdate:
        if answered.changed and answered.ended is not None:
            self._ended([answered.ended])
        return answered

    def _ended(self, endings: Sequence[RunEnded]) -> None:
        self._untold += endings
        if self._commits:
            self.emit_pending()

    @property
    def _run_store(self) -> RunResultStore:
        if self._runs is None:
            raise RuntimeError("this Control was made without a store for runs")
        return self._runs

    async def _do(
        self,
        ref: int | UUID,
        actor: str,
        decide: Callable[[Snapshot], Change],
        expect: Expect | None = None,
    ) -> CommandResult:
        async with self.store.edit(ref) as edit:
            if expect is not None and not expect(edit.snapshot.revision):
                raise Stale("the schedule was changed in between; read it again")
            change = decide(edit.snapshot)
            await edit.apply(change, actor)
        self._ended(edit.endings)
        return _done(edit.snapshot, change, edit.revision)


def next_run_at(
    schedule: Schedule | None, timer: TimedEvent | None, status: Status
) -> datetime | None:
    """When the armed schedule runs next; None where no run is to come, or it is paused."""
    if timer is None or schedule is None or status is Status.PAUSED:
        return None
    if timer.kind is EventKind.OPEN:
        timer = schedule.event_following(timer)
    return timer.at if timer is not None and timer.kind is EventKind.FIRE else None


def _done(snapshot: Snapshot, change: Change, revision: int | None) -> CommandResult:
    campaign = snapshot.campaign
    schedule = snapshot.current.schedule if snapshot.current else None
    if change.schedule is not None:
        schedule = change.schedule.schedule
    elif change.clear_schedule or change.delete:
        schedule = None
    timer = snapshot.timer if change.keep_timer else change.timer
    next_at = next_run_at(schedule, timer, change.to_status)
    if change.run is not None:
        next_at = change.run.scheduled_for
    return CommandResult(
        campaign_id=campaign.id,
        campaign_uuid=campaign.uuid,
        from_status=campaign.status,
        to_status=change.to_status,
        changed=not change.nothing,
        schedule=schedule,
        next_run_at=next_at,
        now=snapshot.now,
        revision=revision,
    )
