"""Results of accepted runs, reported later and guarded by their attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import Conflict, NotFound
from daemon.domain.run.attempt import AttemptUpdate, OpenAttempt, RunEnded
from daemon.domain.run.outcome import Delivered, Outcome, Reject
from storage.engine import Connections
from storage.errors import TransactionAborted
from storage.notice import notify_nodes
from storage.outcome_rows import columns_of, finish_binds, write_finish
from storage.tables import campaigns, runs

RUN_ROWS = sa.select(
    runs,
    campaigns.c.target,
    campaigns.c.uuid.label("campaign_uuid"),
    campaigns.c.name.label("campaign_name"),
    sa.func.clock_timestamp().label("now"),
).join(campaigns, campaigns.c.id == runs.c.campaign_id)
"""Runs with what the log and the answers say of their campaigns."""

LOCKED = "another session has locked a run of the campaign"


class RunResults:
    """Ends and extends open attempts. A late result changes nothing."""

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def end_attempt(
        self,
        run_id: UUID,
        attempt: int,
        decide: Callable[[OpenAttempt], Outcome],
        actor: str,
    ) -> AttemptUpdate:
        """Write the outcome that ``decide`` returns for the open attempt.

        Raises:
            NotFound: the run does not exist.
            Conflict: another attempt is open, or none.
        """
        async with self._database.transaction() as connection:
            row = require_run(
                (await connection.execute(RUN_ROWS.where(runs.c.id == run_id))).all(), run_id
            )
            outcome = decide(OpenAttempt(row.attempt, row.takeovers, row.target))
            if _is_repeated(row, attempt, outcome):
                return update_from(row, changed=False, ended=run_ended_from(row, actor))
            _require_open_attempt(row, attempt)
            status, error, wait = columns_of(outcome)
            ended = (
                row.campaign_id,
                row.scheduled_for,
                attempt,
                RunStatus.EXECUTING.value,
                status.value,
                error,
                wait,
            )
            await _lock_run_and_campaign(connection, row)
            finished = await write_finish(connection, finish_binds([ended], actor=actor))
            row = (await connection.execute(RUN_ROWS.where(runs.c.id == run_id))).one_or_none()
            if not finished or row is None:
                if row is not None and _is_open_attempt(row, attempt):
                    raise TransactionAborted(LOCKED)
                raise Conflict("the run has ended or was taken over meanwhile")
            # The next run, or this run's next attempt, may be due on any node.
            await notify_nodes(connection, row.campaign_id)
        run_ended = replace(run_ended_from(row, actor, finished), attempt=attempt, error=error)
        return update_from(row, ended=run_ended)

    async def extend_lease(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Extend the open attempt to ``seconds`` from now; its lease never becomes shorter.

        An attempt that a node has in hand has no lease of its own, and gets none: it is open for as
        long as its node lives.

        Raises:
            NotFound: the run does not exist.
            Conflict: another attempt is open, or none.
        """
        until = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
        async with self._database.transaction() as connection:
            row = require_run(
                (await connection.execute(RUN_ROWS.where(runs.c.id == run_id))).all(), run_id
            )
            _require_open_attempt(row, attempt)
            if row.lease_until is None:
                return update_from(row, changed=False)
            extended = await connection.execute(
                sa.update(runs)
                .where(
                    runs.c.campaign_id == row.campaign_id,
                    runs.c.scheduled_for == row.scheduled_for,
                    runs.c.attempt == attempt,
                    runs.c.status == RunStatus.EXECUTING,
                    runs.c.lease_until.is_not(None),
                )
                .values(lease_until=sa.func.greatest(runs.c.lease_until, until))
                .returning(runs)
            )
            row = extended.one_or_none()
            if row is None:
                raise Conflict("the run has ended or was taken over meanwhile")
        return update_from(row)

    async def campaign_id_of(self, run_id: UUID) -> int:
        """Return the id of the run's campaign. Raises NotFound."""
        async with self._database.statement() as connection:
            row = require_run(
                (await connection.execute(RUN_ROWS.where(runs.c.id == run_id))).all(), run_id
            )
            return int(row.campaign_id)


async def _lock_run_and_campaign(connection: AsyncConnection, row: Any) -> None:
    """Lock the run and its campaign, as far as ``lock_timeout`` allows. Raises Unavailable."""
    campaign = sa.select(campaigns.c.id).where(campaigns.c.id == row.campaign_id)
    await connection.execute(campaign.with_for_update())
    run = sa.select(runs.c.id).where(
        runs.c.campaign_id == row.campaign_id, runs.c.scheduled_for == row.scheduled_for
    )
    await connection.execute(run.with_for_update())


def require_run(rows: Any, run_id: UUID) -> Any:
    """Return the row of a run. Raises NotFound."""
    if not rows:
        raise NotFound(f"no run has the id {run_id}", message="Run not found")
    return rows[0]


def _is_repeated(row: Any, attempt: int, outcome: Outcome) -> bool:
    """Return whether the run has ended with this outcome: the client repeats a lost request."""
    if row.attempt != attempt:
        return False
    return (row.status == RunStatus.COMPLETED and isinstance(outcome, Delivered)) or (
        row.status == RunStatus.FAILED
        and isinstance(outcome, Reject)
        and row.error == outcome.reason
    )


def _is_open_attempt(row: Any, attempt: int) -> bool:
    return bool(row.status == RunStatus.EXECUTING and row.attempt == attempt)


def _require_open_attempt(row: Any, attempt: int) -> None:
    if row.status != RunStatus.EXECUTING:
        raise Conflict(f"the run is {row.status}; only an executing run can be answered for")
    if row.attempt != attempt:
        raise Conflict(
            f"attempt {attempt} is not the open one, which is {row.attempt}: the run was taken over"
        )


def run_ended_from(row: Any, actor: str, finished: Sequence[Any] = ()) -> RunEnded:
    """Return the log record of a run, from its row after the outcome was written."""
    from_status, to_status = (
        (finished[0].from_status, finished[0].to_status) if finished else (None,) * 2
    )
    return RunEnded(
        status=RunStatus(row.status),
        campaign_id=row.campaign_id,
        campaign_uuid=row.campaign_uuid,
        run_id=row.id,
        scheduled_for=row.scheduled_for,
        started_at=row.started_at or row.claimed_at,
        attempt=row.attempt,
        target=row.target,
        duration=(row.finished_at or row.now) - row.claimed_at,
        error=row.error,
        from_status=from_status,
        to_status=to_status,
        actor=actor,
    )


def update_from(row: Any, *, changed: bool = True, ended: RunEnded | None = None) -> AttemptUpdate:
    """Return the state of a run, from its row."""
    return AttemptUpdate(
        row.id,
        row.campaign_id,
        RunStatus(row.status),
        row.attempt,
        changed,
        row.lease_until,
        row.next_attempt_at,
        ended,
    )
