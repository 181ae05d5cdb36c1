"""Writes the change of one campaign, in the transaction that holds the campaign's row lock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import CAMPAIGN_ACTIONS, Action, AuditEntry
from daemon.domain.campaign.gated_edits import due_at_of
from daemon.domain.campaign.model import (
    Campaign,
    Change,
    NewRun,
    RetryRequest,
    Snapshot,
    latest_start,
    run_id,
)
from daemon.domain.campaign.state_machine import OPEN_RUN, Event, RunStatus, Status
from daemon.domain.errors import Refused
from daemon.domain.requests import ParsedSchedule
from daemon.domain.run.attempt import RunEnded
from daemon.domain.schedule.misfire import Stretch
from daemon.domain.schedule.schedule import EventKind
from storage.audit_log import record_in_transaction
from storage.brakes import require_not_frozen
from storage.notice import notify_nodes
from storage.schedule_rows import armed_from, calendars_in_use, definition_row, timer_columns
from storage.tables import (
    campaign_events,
    campaigns,
    revision_seq,
    runs,
    schedule_calendars,
    schedule_definitions,
    timers,
)


def _upsert_schedule(table: sa.Table, **values: Any) -> Insert:
    """Insert the columns that are given at execution and ``values``, or replace them."""
    statement = insert(table).values(**values)
    columns = (column.name for column in table.c if column.name != "campaign_id")
    return statement.on_conflict_do_update(
        index_elements=["campaign_id"],
        set_={name: statement.excluded[name] for name in columns},
    )


# Built once: building costs more than executing. The columns to write are given at execution.
_OF_CAMPAIGN: sa.BindParameter[int] = sa.bindparam("of_campaign")
_DRAW_REVISION = sa.select(revision_seq.next_value())
_SAVE_DEFINITION = _upsert_schedule(schedule_definitions, changed_in=sa.func.pg_current_xact_id())
_REVISE_DEFINITION = (
    sa.update(schedule_definitions)
    .where(schedule_definitions.c.campaign_id == _OF_CAMPAIGN)
    .values(changed_in=sa.func.pg_current_xact_id())
)
_DROP_DEFINITION = sa.delete(schedule_definitions).where(
    schedule_definitions.c.campaign_id == _OF_CAMPAIGN
)
_ARM = _upsert_schedule(timers, backlog=sa.false())
_REVISE_TIMER = sa.update(timers).where(timers.c.campaign_id == _OF_CAMPAIGN)
_DISARM = sa.delete(timers).where(timers.c.campaign_id == _OF_CAMPAIGN)
_UPDATE_CAMPAIGN = sa.update(campaigns).where(campaigns.c.id == _OF_CAMPAIGN)
_FORGET_CALENDARS = sa.delete(schedule_calendars).where(
    schedule_calendars.c.campaign_id == _OF_CAMPAIGN
)
_USE_CALENDAR = sa.insert(schedule_calendars)
_INSERT_RUN = insert(runs).on_conflict_do_nothing().returning(runs.c.id)
_LOG = sa.insert(campaign_events)


class LockedCampaign:
    """One campaign, locked until the transaction ends; writes a change of it."""

    def __init__(self, connection: AsyncConnection, snapshot: Snapshot) -> None:
        self._connection = connection
        self.snapshot = snapshot
        self.revision = snapshot.revision
        self.run_id: UUID | None = None
        """The run that a change has made, or made due again."""
        self.ended_runs: list[RunEnded] = []
        """The runs that changes have ended, for the log."""

    async def apply(self, change: Change, actor: str) -> None:
        """Write a change, its event rows and the notice to the nodes.

        Args:
            change: the decision of ``daemon.domain.campaign.commands`` on this snapshot.
            actor: the caller's name, for ``campaign_events``.
        """
        if change.nothing:
            return
        campaign = self.snapshot.campaign
        if change.run is not None or change.retry is not None:
            await require_not_frozen(self._connection, campaign.target)
        if change.delete:
            await self._delete_campaign()
        else:
            await self._write_missed_runs(change, actor)
            await self._write_schedule_and_timer(change)
            if change.retry is not None:
                self.run_id = await self._retry_run(change.retry)
            await self._write_campaign(change)
            if change.run is not None:
                self.run_id = await self._write_run(change.run)
            if change.cancel_open_runs:
                await self._cancel_runs(actor)
            await self._log_event(
                event=change.event,
                from_status=campaign.status,
                to_status=change.to_status,
                cause=change.cause,
                actor=actor,
                run_id=self.run_id,
                details=None if change.note is None else {"note": change.note},
            )
        retried = None if change.retry is None else change.retry.run_id
        action = CAMPAIGN_ACTIONS[change.event]
        await self._record_in_audit_log(action, actor, retried, change.note)
        await self._notify_nodes()

    async def _record_in_audit_log(
        self, action: Action, actor: str, run_id: UUID | None = None, note: str | None = None
    ) -> None:
        """Add the change of the campaign, or of one of its runs, to the audit log."""
        campaign = self.snapshot.campaign
        changed = ("campaign", str(campaign.id)) if run_id is None else ("run", str(run_id))
        await record_in_transaction(
            self._connection, AuditEntry(action, *changed, campaign.name, note=note, actor=actor)
        )

    async def amend_fields(self, values: dict[str, Any], actor: str) -> None:
        """Write new values of name, timezone, target or payload, and their event row.

        The armed timer carries the target; a claim reads the other columns from the campaign.
        """
        campaign = self.snapshot.campaign
        await self._execute(
            _UPDATE_CAMPAIGN, of_campaign=campaign.id, **values, updated_at=self.snapshot.now
        )
        await self._log_event(event="amended", actor=actor, details={"fields": sorted(values)})
        await self._record_in_audit_log(Action.CAMPAIGN_AMENDED, actor)
        if values.get("target", campaign.target) != campaign.target:
            await self._bump_revision()
            await self._notify_nodes()

    async def fail_resumption(self, why: str, actor: str) -> None:
        """Forget the end of the pause, at which nothing was there to start."""
        campaign, now = self.snapshot.campaign, self.snapshot.now
        await self._execute(
            _UPDATE_CAMPAIGN, of_campaign=campaign.id, paused_until=None, updated_at=now
        )
        await self._log_event(
            event="resume_failed",
            from_status=campaign.status,
            to_status=campaign.status,
            cause=why,
            actor=actor,
        )

    async def _bump_revision(self) -> None:
        """Draw a new revision of an unchanged schedule, so that nodes load its timer request."""
        if self.revision is None:
            return
        self.revision = await self._draw_revision()
        for statement in (_REVISE_DEFINITION, _REVISE_TIMER):
            await self._execute(
                statement, of_campaign=self.snapshot.campaign.id, revision=self.revision
            )

    async def _draw_revision(self) -> int:
        revision: int = (await self._connection.execute(_DRAW_REVISION)).scalar_one()
        return revision

    async def _notify_nodes(self) -> None:
        await notify_nodes(self._connection, self.snapshot.campaign.id)

    async def _write_schedule_and_timer(self, change: Change) -> None:
        campaign_id, now = self.snapshot.campaign.id, self.snapshot.now
        revision = await self._draw_revision()
        if change.clear_schedule:
            await self._execute(_DROP_DEFINITION, of_campaign=campaign_id)
            self.revision = None
        elif change.schedule is not None:
            self.revision = revision
            row = {**definition_row(change.schedule, now), "revision": revision}
            row["armed_from"] = armed_from(change.timer, now)
            await self._execute(_SAVE_DEFINITION, campaign_id=campaign_id, **row)
            await self._write_calendars_in_use(change.schedule)
        elif not change.keep_timer:
            self.revision = None if self.revision is None else revision
            await self._execute(
                _REVISE_DEFINITION,
                of_campaign=campaign_id,
                revision=revision,
                armed_from=armed_from(change.timer, now),
            )
        if change.keep_timer:
            return
        if change.timer is None:
            await self._execute(_DISARM, of_campaign=campaign_id)
        else:
            columns = timer_columns(change.timer, due_at_of(self.snapshot, change))
            await self._execute(_ARM, campaign_id=campaign_id, revision=revision, **columns)

    async def _write_calendars_in_use(self, schedule: ParsedSchedule) -> None:
        before, after = calendars_in_use(self.snapshot.current), calendars_in_use(schedule)
        if before == after:
            return
        campaign_id = self.snapshot.campaign.id
        if before:
            await self._execute(_FORGET_CALENDARS, of_campaign=campaign_id)
        for name in after:
            await self._execute(_USE_CALENDAR, campaign_id=campaign_id, calendar=name)

    async def _write_campaign(self, change: Change) -> None:
        campaign = self.snapshot.campaign
        has_due = campaign.has_due and not change.forget_history
        has_due = has_due or change.run is not None or change.retry is not None
        open_runs = campaign.open_runs + (change.run is not None) + (change.retry is not None)
        queued_runs = campaign.queued_runs + (change.run is not None and change.run.waits)
        await self._execute(
            _UPDATE_CAMPAIGN,
            of_campaign=campaign.id,
            status=change.to_status,
            type=change.type or campaign.type,
            more_to_come=change.more_to_come,
            has_due=has_due or bool(change.missed and not change.forget_history),
            has_completed=campaign.has_completed and not change.forget_history,
            open_runs=0 if change.cancel_open_runs else open_runs,
            held_runs=0 if change.cancel_open_runs else campaign.held_runs,
            queued_runs=0 if change.cancel_open_runs else queued_runs,
            archived_from=change.archived_from,
            paused_until=_end_of_pause(campaign, change),
            updated_at=self.snapshot.now,
        )

    async def _write_run(self, run: NewRun) -> UUID:
        """Insert a run for the first microsecond from its instant that has no run."""
        campaign, scheduled_for = self.snapshot.campaign, run.scheduled_for
        while True:
            identity = run_id(campaign.uuid, scheduled_for)
            is_new = await self._insert_run(
                campaign_id=campaign.id,
                scheduled_for=scheduled_for,
                id=identity,
                status="queued",
                cause=run.cause,
                claimed_at=self.snapshot.now,
                next_attempt_at=None if run.waits else self.snapshot.now,
                start_before=latest_start(scheduled_for, run.grace),
            )
            if is_new:
                return identity
            scheduled_for += timedelta(microseconds=1)

    async def _insert_run(self, **columns: Any) -> bool:
        """Return False when the occurrence has a run already."""
        return await self._connection.scalar(_INSERT_RUN, columns) is not None

    async def _retry_run(self, request: RetryRequest) -> UUID:
        now = self.snapshot.now
        updated = await self._connection.execute(
            sa.update(runs)
            .where(
                runs.c.campaign_id == self.snapshot.campaign.id,
                runs.c.id == request.run_id,
                runs.c.status == "failed",
            )
            .values(
                status="retrying",
                next_attempt_at=now,
                start_before=latest_start(now, request.grace),
                finished_at=None,
                error=None,
                node=None,
                takeovers=0,
            ),
        )
        if updated.rowcount != 1:
            raise Refused(f"run {request.run_id} is not a failed run of this campaign")
        return request.run_id

    async def _cancel_runs(self, actor: str) -> None:
        campaign, now = self.snapshot.campaign, self.snapshot.now
        if campaign.open_runs == 0:
            return
        cancelled = await self._connection.execute(
            sa.update(runs)
            .where(runs.c.campaign_id == campaign.id, runs.c.status.in_(sorted(OPEN_RUN)))
            .values(
                status="cancelled",
                finished_at=now,
                next_attempt_at=None,
                lease_until=None,
                worker_queue=None,
                answer=None,
                error=f"stopped by {actor}",
            )
            .returning(
                runs.c.id,
                runs.c.scheduled_for,
                sa.func.coalesce(runs.c.started_at, runs.c.claimed_at).label("began"),
                runs.c.attempt,
                runs.c.error,
            ),
        )
        for row in cancelled:
            self._add_run_ended(
                RunStatus.CANCELLED,
                row.id,
                row.scheduled_for,
                actor,
                started_at=row.began,
                attempt=row.attempt,
                error=row.error,
            )
            await self._log_event(
                event="run_ended",
                from_status=campaign.status,
                to_status=campaign.status,
                cause="cancelled",
                actor=actor,
                run_id=row.id,
                scheduled_for=row.scheduled_for,
            )

    async def _write_missed_runs(self, change: Change, actor: str) -> None:
        """Insert a run for each occurrence that was still unclaimed when its timer was replaced."""
        campaign, current = self.snapshot.campaign, self.snapshot.current
        grace = current.schedule.misfire_grace_time if current else 0
        cause = f"missed: {change.event} came first"
        same = {"from_status": campaign.status, "to_status": campaign.status, "actor": actor}
        if change.bulk_missed is not None:
            await self._log_event(
                event=Event.PASSED,
                cause=cause,
                run_id=run_id(campaign.uuid, change.bulk_missed.last),
                scheduled_for=change.bulk_missed.last,
                details=stretch_details(change.bulk_missed),
                **same,
            )
        for event in change.missed:
            identity = run_id(campaign.uuid, event.at)
            is_new = await self._insert_run(
                campaign_id=campaign.id,
                scheduled_for=event.at,
                id=identity,
                status="missed",
                claimed_at=self.snapshot.now,
                finished_at=self.snapshot.now,
                start_before=latest_start(event.at, grace),
            )
            if is_new and not _is_logged_by_claim(change, event.at):
                self._add_run_ended(RunStatus.MISSED, identity, event.at, actor, error=cause)
            if is_new and change.bulk_missed is None:
                await self._log_event(
                    event=Event.PASSED,
                    cause=cause,
                    run_id=identity,
                    scheduled_for=event.at,
                    **same,
                )

    def _add_run_ended(
        self,
        status: RunStatus,
        identity: UUID,
        scheduled_for: datetime,
        actor: str,
        *,
        started_at: datetime | None = None,
        attempt: int = 0,
        error: str,
    ) -> None:
        campaign = self.snapshot.campaign
        self.ended_runs.append(
            RunEnded(
                status=status,
                campaign_id=campaign.id,
                campaign_uuid=campaign.uuid,
                run_id=identity,
                scheduled_for=scheduled_for,
                started_at=started_at or self.snapshot.now,
                attempt=attempt,
                target=campaign.target,
                error=error,
                actor=actor,
            )
        )

    async def _delete_campaign(self) -> None:
        campaign_id = self.snapshot.campaign.id
        for table in (runs, campaign_events):
            await self._connection.execute(
                sa.delete(table).where(table.c.campaign_id == campaign_id),
            )
        await self._connection.execute(sa.delete(campaigns).where(campaigns.c.id == campaign_id))

    async def _log_event(self, **columns: Any) -> None:
        await self._execute(
            _LOG, campaign_id=self.snapshot.campaign.id, at=self.snapshot.now, **columns
        )

    async def _execute(self, statement: sa.Executable, **values: Any) -> None:
        await self._connection.execute(statement, values)


def _end_of_pause(campaign: Campaign, change: Change) -> datetime | None:
    """Return when a campaign that is paused now resumes by itself; other changes keep it."""
    if change.event is Event.PAUSE:
        return change.paused_until
    return campaign.paused_until if change.to_status is Status.PAUSED else None


def _is_logged_by_claim(change: Change, at: datetime) -> bool:
    """Return whether the claim of a window's opening will log every occurrence since."""
    timer = change.timer
    return timer is not None and timer.kind is EventKind.OPEN and timer.at <= at


def stretch_details(stretch: Stretch) -> dict[str, Any]:
    """The details of the one event row that stands for many occurrences: from, to, count."""
    return {
        "from": stretch.first.isoformat(),
        "to": stretch.last.isoformat(),
        "count": stretch.count,
    }
