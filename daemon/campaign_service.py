"""Use cases on campaigns and runs: the only way in which the API and the commands change them.

Each command locks the campaign, decides by the transition table
(`daemon.domain.campaign.commands`), and writes the change with its event row in
one transaction. May import `daemon.domain`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from daemon.campaign_store import CampaignStore, HeldRunStore, ImportStore, RunResultStore
from daemon.domain.campaign import commands
from daemon.domain.campaign.copying import CampaignCopy, copy_of
from daemon.domain.campaign.dry_run import DryRun, dry_run
from daemon.domain.campaign.edit_request import (
    content_tag,
    edit_notes,
    read_campaign_patch,
    require_editable,
)
from daemon.domain.campaign.gated_edits import due_at_of
from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.campaign.schedule_fields import next_run_at, without_read_only_fields
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import INVALID_CONFIGURATION, INVALID_VALUES, PreconditionFailed
from daemon.domain.import_report import ImportReport
from daemon.domain.ports import Emit
from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.requests.notes import notes_on
from daemon.domain.requests.send_window import names_calendars
from daemon.domain.run.attempt import AttemptUpdate, OpenAttempt, RunEnded
from daemon.domain.run.held import ManyDecided
from daemon.domain.run.log_events import emit_ended
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.schedule import Schedule

RevisionCheck = Callable[[int | None], bool]
"""Returns whether a revision is the expected one.

It is that of a schedule, None for no schedule, or a campaign's `content_tag`.
"""


ScheduleCommand = Literal["save", "update", "clear", "start"]
"""The commands that have a dry run."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The state of a campaign before and after a command."""

    campaign_id: int
    campaign_uuid: UUID
    from_status: Status
    to_status: Status
    changed: bool
    schedule: Schedule | None
    next_run_at: datetime | None
    """Aware UTC instant of the next run; None when no run is armed."""
    timezone: str
    """The zone of the schedule; without a schedule that of the campaign."""
    now: datetime
    revision: int | None = None
    """Revision of the schedule after the command."""
    notes: tuple[str, ...] = ()
    """Effects of a saved schedule that the client may not expect, as sentences."""
    run_id: UUID | None = None
    """The run that the command has made, or made due again."""
    due_at: datetime | None = None
    """When the next run may start, where that is later than its own instant."""


@dataclass(frozen=True, slots=True)
class CampaignEdited:
    """A campaign after an edit of its own fields."""

    campaign: Campaign
    changed: tuple[str, ...]
    """The names of the fields that have another value than before, in alphabetical order."""
    notes: tuple[str, ...]
    """Effects that the client may not expect, as sentences."""
    has_schedule: bool
    next_run_at: datetime | None
    """Aware UTC instant of the next run; None when no run is armed."""


def _emit_nothing(_event: str, /, **_fields: Any) -> None:
    pass


class CampaignService:
    """Commands on campaigns and their runs.

    Example::

        service = CampaignService(Campaigns(database), runs=RunResults(database), emit=emit)
        body = {"schedule_type": "scheduled", "scheduled_at": "2031-02-15T09:00:00"}
        result = await service.save_schedule(42, body, actor="cli:ann")
        assert result.to_status is Status.SCHEDULED
        await service.stop(42, actor="cli:ann")

    Args:
        store: the store of campaigns.
        continuous_interval: seconds between the runs of a continuous window saved from now on.
        misfire_grace_time: seconds, for schedules without their own value and for runs
            without a schedule.
        held: the store of runs that wait for an operator's decision.
        runs: the store of results that are reported later; without it, only commands on
            campaigns work.
        imports: the store of imported lines; without it, no line can be imported.
        retry_policy_of: returns the retry policy of a target.
        emit: receives the events of runs that a command has ended.
        commits: False when the caller commits the transaction; the caller then calls
            ``emit_pending``.
    """

    def __init__(
        self,
        store: CampaignStore,
        *,
        continuous_interval: int = 300,
        misfire_grace_time: int = 3600,
        runs: RunResultStore | None = None,
        held: HeldRunStore | None = None,
        imports: ImportStore | None = None,
        retry_policy_of: Callable[[str], RetryPolicy] = lambda _target: RetryPolicy(),
        emit: Emit = _emit_nothing,
        commits: bool = True,
    ) -> None:
        self._store = store
        self._emit = emit
        self._commits = commits
        self._pending: list[RunEnded] = []
        self._runs = runs
        self._held = held
        self._imports = imports
        self._policy_of = retry_policy_of
        self._continuous_interval = continuous_interval
        self._grace = misfire_grace_time

    def body_context(self, snapshot: Snapshot) -> BodyContext:
        """Return what the parsers of request bodies need to know about the campaign."""
        campaign = snapshot.campaign
        return BodyContext(
            now=snapshot.now,
            campaign_type=campaign.type,
            campaign_timezone=campaign.timezone,
            continuous_interval=self._continuous_interval,
            misfire_grace_time=self._grace,
            current=snapshot.current,
            calendars=snapshot.calendars,
        )

    def parse_schedule(self, snapshot: Snapshot, body: object) -> ParsedSchedule:
        """Parse a body of either form as it would be saved. Raises InvalidInput."""
        context = self.body_context(snapshot)
        if is_schedule_body(body):
            return read_schedule_body(
                without_read_only_fields(body, snapshot, INVALID_CONFIGURATION), context
            )
        return read_update_body(without_read_only_fields(body, snapshot, INVALID_VALUES), context)

    async def create(self, campaign: Campaign, actor: str) -> Campaign:
        """Create a draft. Raises Conflict if its uuid is in use."""
        return await self._store.create(campaign, actor)

    async def copy_campaign(
        self, ref: int | UUID, actor: str, name: str | None = None
    ) -> CampaignCopy:
        """Create a draft with the content and the schedule of a campaign.

        The schedule is not armed; without a name the copy is called ``Copy of NAME``.
        """
        async with self._store.edit(ref) as edit:
            snapshot = edit.snapshot
        copy = copy_of(snapshot, name)
        created = await self._store.create(
            copy.campaign, actor, copy.schedule, copied_from=snapshot.campaign.id
        )
        return copy._replace(campaign=created)

    async def import_campaigns(
        self, lines: Sequence[bytes], actor: str, *, update: bool = False
    ) -> ImportReport:
        """Load campaigns from lines of JSON; with ``update``, also change those that exist."""
        if self._imports is None:
            raise RuntimeError("CampaignService was created without an ImportStore")
        return await self._imports.load(lines, actor, update=update)

    async def edit_campaign(
        self,
        ref: int | UUID,
        body: object,
        actor: str,
        *,
        targets: Collection[str],
        expect: RevisionCheck | None = None,
        replace_payload: bool = False,
    ) -> CampaignEdited:
        """Change a campaign's name, time zone, target or payload by a merge patch.

        Args:
            ref: the campaign's id or uuid.
            body: the patch; see `CampaignPatch`.
            actor: the caller's name, for ``campaign_events``.
            targets: the names of the configured targets.
            expect: the condition on the campaign's `content_tag`.
            replace_payload: whether a payload replaces the present one instead of being merged.

        Raises:
            InvalidInput, Refused, NotFound, PreconditionFailed: nothing was changed.
        """
        async with self._store.edit(ref) as edit:
            snapshot = edit.snapshot
            campaign, current = snapshot.campaign, snapshot.current
            if expect is not None and not expect(content_tag(campaign)):
                raise PreconditionFailed(
                    "the campaign was changed by another request; read it again"
                )
            values = read_campaign_patch(body, campaign, targets, replace_payload=replace_payload)
            require_editable(snapshot, values)
            if values:
                await edit.amend_fields(values, actor)
                campaign = replace(campaign, **values, updated_at=snapshot.now)
        schedule = None if current is None else current.schedule
        return CampaignEdited(
            campaign,
            tuple(sorted(values)),
            tuple(edit_notes(snapshot, values)),
            current is not None,
            next_run_at(schedule, snapshot.timer, campaign.status),
        )

    async def save_schedule(
        self, ref: int | UUID, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Replace the schedule with a ``schedule`` body; ``immediate`` clears the schedule."""
        decide = self._decision("save", body)
        return await self._execute_command(ref, actor, decide, expect, body=body)

    async def update_schedule(
        self, ref: int | UUID, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Merge an ``update_schedule`` body into the schedule; the status does not change."""
        decide = self._decision("update", body)
        return await self._execute_command(ref, actor, decide, expect, body=body)

    async def clear_schedule(
        self, ref: int | UUID, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Delete the schedule; the campaign becomes a draft."""
        return await self._execute_command(ref, actor, self._decision("clear"), expect)

    async def start(self, ref: int | UUID, actor: str, note: str | None = None) -> CommandResult:
        """Arm the campaign, run it now, or resume it."""
        return await self._execute_command(ref, actor, self._decision("start"), note=note)

    async def dry_run(
        self,
        ref: int | UUID,
        command: ScheduleCommand,
        body: object = None,
        *,
        days: int,
        expect: RevisionCheck | None = None,
    ) -> DryRun:
        """Compare the occurrences within ``days`` without a command and with it; write nothing.

        Raises:
            InvalidInput, Refused, NotFound, PreconditionFailed: the command would raise it too.
        """
        snapshot = await self._store.read_snapshot(ref)
        _require_revision(snapshot.revision, expect)
        return dry_run(snapshot, self._decision(command, body)(snapshot), days)

    async def pause(
        self,
        ref: int | UUID,
        actor: str,
        note: str | None = None,
        until: datetime | None = None,
    ) -> CommandResult:
        """Start no new run until the campaign is started, or until an instant.

        A naive ``until`` is wall-clock time in the zone of the schedule.
        """
        return await self._execute_command(
            ref, actor, lambda s: commands.pause(s, until), note=note
        )

    async def pause_failing(self, campaign_ids: Collection[int], actor: str) -> None:
        """Pause campaigns whose schedule asks for it after so many failed runs in a row.

        Args:
            campaign_ids: campaigns of which a run has just failed.
            actor: the node, or the caller that reported the failure.
        """
        for campaign_id, failures in (await self._store.failing(campaign_ids)).items():
            async with self._store.edit(campaign_id) as edit:
                if edit.snapshot.campaign.status not in commands.PAUSABLE:
                    continue
                change = commands.pause(edit.snapshot)
                await edit.apply(replace(change, cause=f"{failures} runs in a row failed"), actor)
            campaign = edit.snapshot.campaign
            self._emit(
                "campaign_paused",
                campaign_id=campaign.id,
                campaign_uuid=campaign.uuid,
                cause="failures",
                count=failures,
            )

    async def stop(self, ref: int | UUID, actor: str, note: str | None = None) -> CommandResult:
        """Cancel the campaign and every open run."""
        return await self._execute_command(ref, actor, commands.stop, note=note)

    async def rerun(self, ref: int | UUID, actor: str, note: str | None = None) -> CommandResult:
        """Run a campaign that has ended once more, now."""
        return await self._execute_command(
            ref, actor, lambda s: commands.rerun(s, self._grace), note=note
        )

    async def run_now(self, ref: int | UUID, actor: str, note: str | None = None) -> CommandResult:
        """Run a live campaign once, now; its schedule goes on, and its ``overlap`` holds."""
        return await self._execute_command(
            ref, actor, lambda s: commands.run_now(s, self._grace), note=note
        )

    async def archive(self, ref: int | UUID, actor: str, note: str | None = None) -> CommandResult:
        """Archive a campaign that has ended."""
        return await self._execute_command(ref, actor, commands.archive, note=note)

    async def unarchive(
        self, ref: int | UUID, actor: str, note: str | None = None
    ) -> CommandResult:
        """Restore the status that the campaign had before it was archived."""
        return await self._execute_command(ref, actor, commands.unarchive, note=note)

    async def delete_campaign(self, ref: int | UUID, actor: str) -> CommandResult:
        """Delete the campaign and its history."""
        return await self._execute_command(ref, actor, commands.delete)

    async def complete(self, run_id: UUID, attempt: int, actor: str) -> AttemptUpdate:
        """End the attempt as completed. Raises Conflict unless it is the open attempt."""
        update = await self._run_store.end_attempt(run_id, attempt, lambda _run: Delivered(), actor)
        return self._queue_ended_run(update)

    async def fail(
        self, run_id: UUID, attempt: int, reason: str, actor: str, *, retry: bool = True
    ) -> AttemptUpdate:
        """End the attempt as failed. Raises Conflict unless it is the open attempt.

        The target's retry policy decides whether another attempt follows; with ``retry``
        False, none does.
        """

        def decide(run: OpenAttempt) -> Outcome:
            policy = self._policy_of(run.target)
            if not retry or policy.gives_up(run.attempt, run.takeovers):
                return Reject(reason)
            return Retry(reason, policy.wait(run.attempt, random.random))

        update = self._queue_ended_run(
            await self._run_store.end_attempt(run_id, attempt, decide, actor)
        )
        if update.changed and update.ended is not None:
            await self.pause_failing([update.campaign_id], actor)
        return update

    async def heartbeat(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Extend the attempt's lease to ``seconds`` from now. Raises Conflict."""
        return await self._run_store.extend_lease(run_id, attempt, seconds)

    async def retry(self, run_id: UUID, actor: str, note: str | None = None) -> CommandResult:
        """Make the next attempt of a failed run due now."""
        campaign_id = await self._run_store.campaign_id_of(run_id)
        return await self._execute_command(
            campaign_id, actor, lambda s: commands.retry(s, run_id, self._grace), note=note
        )

    async def release(self, run_id: UUID, actor: str, note: str | None = None) -> AttemptUpdate:
        """Make a held run due now; its schedule's grace time starts again."""
        return await self._held_store.decide(run_id, "release", actor, note)

    async def drop(self, run_id: UUID, actor: str, note: str | None = None) -> AttemptUpdate:
        """End a run that is held before its first attempt as missed."""
        return self._queue_ended_run(await self._held_store.decide(run_id, "drop", actor, note))

    async def fail_held(self, run_id: UUID, actor: str) -> AttemptUpdate:
        """End a run that is held after an attempt as failed."""
        return self._queue_ended_run(await self._held_store.decide(run_id, "fail", actor))

    async def decide_many(
        self, decision: Literal["release", "drop"], decided: ManyDecided, actor: str
    ) -> int:
        """Release or drop all held runs to which the conditions apply; return their number.

        Raises:
            ConfirmationRequired: there are more than confirmed; nothing was changed.
        """
        where, confirm, note = decided
        count, ended = await self._held_store.decide_many(where, decision, actor, confirm, note)
        self._queue_ended_runs(ended)
        return count

    def emit_pending(self) -> None:
        """Emit the events of ended runs; called after the transaction is committed."""
        pending, self._pending = self._pending, []
        for ended in pending:
            emit_ended(self._emit, ended)

    def _queue_ended_run(self, update: AttemptUpdate) -> AttemptUpdate:
        if update.changed and update.ended is not None:
            self._queue_ended_runs([update.ended])
        return update

    def _queue_ended_runs(self, ended: Sequence[RunEnded]) -> None:
        self._pending += ended
        if self._commits:
            self.emit_pending()

    @property
    def _held_store(self) -> HeldRunStore:
        if self._held is None:
            raise RuntimeError("CampaignService was created without a HeldRunStore")
        return self._held

    @property
    def _run_store(self) -> RunResultStore:
        if self._runs is None:
            raise RuntimeError("CampaignService was created without a RunResultStore")
        return self._runs

    def _decision(
        self, command: ScheduleCommand, body: object = None
    ) -> Callable[[Snapshot], Change]:
        """Return the function that decides what a command changes."""

        def decide(of: Snapshot) -> Change:
            match command:
                case "save":
                    fields = without_read_only_fields(body, of, INVALID_CONFIGURATION)
                    return commands.save(of, fields, self.body_context(of))
                case "update":
                    fields = without_read_only_fields(body, of, INVALID_VALUES)
                    return commands.update(of, fields, self.body_context(of))
                case "clear":
                    return commands.clear(of)
                case "start":
                    return commands.start(of, self._grace)

        return decide

    async def _execute_command(
        self,
        ref: int | UUID,
        actor: str,
        decide: Callable[[Snapshot], Change],
        expect: RevisionCheck | None = None,
        note: str | None = None,
        body: object = None,
    ) -> CommandResult:
        async with self._store.edit(ref, with_calendars=names_calendars(body)) as edit:
            _require_revision(edit.snapshot.revision, expect)
            change = replace(decide(edit.snapshot), note=note)
            await edit.apply(change, actor)
        self._queue_ended_runs(edit.ended_runs)
        return _command_result(edit.snapshot, change, edit.revision, edit.run_id)


def _require_revision(revision: int | None, expect: RevisionCheck | None) -> None:
    if expect is not None and not expect(revision):
        raise PreconditionFailed("the schedule was changed by another request; read it again")


def _command_result(
    snapshot: Snapshot, change: Change, revision: int | None, run_id: UUID | None
) -> CommandResult:
    campaign = snapshot.campaign
    schedule = snapshot.current.schedule if snapshot.current else None
    if change.schedule is not None:
        schedule = change.schedule.schedule
    elif change.clear_schedule or change.delete:
        schedule = None
    timer = snapshot.timer if change.keep_timer else change.timer
    next_at = next_run_at(schedule, timer, change.to_status)
    due_at = None if next_at is None else due_at_of(snapshot, change)
    if change.run is not None:
        next_at, due_at = change.run.scheduled_for, None
    return CommandResult(
        campaign_id=campaign.id,
        campaign_uuid=campaign.uuid,
        from_status=campaign.status,
        to_status=change.to_status,
        changed=not change.nothing,
        schedule=schedule,
        next_run_at=next_at,
        due_at=due_at,
        timezone=campaign.timezone if schedule is None else schedule.timezone,
        now=snapshot.now,
        revision=revision,
        notes=tuple(notes_on(change.schedule, snapshot.current)),
        run_id=run_id,
    )
