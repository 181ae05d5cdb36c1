"""Answers of those who carry a run out and finish it later, guarded by the attempt they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import Conflict, NotFound, Refused
from daemon.domain.run.attempt import AttemptUpdate, OpenAttempt, RunEnded
from daemon.domain.run.outcome import Delivered, Outcome, Reject
from storage.campaign_editor import CHANNEL
from storage.engine import Connections
from storage.queries import query
from storage.runs import columns_of, finish_binds, write_finish
from storage.tables import campaigns, runs
from storage.without_orm import AsyncConnection

_READ = sa.select(
    runs,
    campaigns.c.target,
    campaigns.c.uuid.label("campaign_uuid"),
    sa.func.clock_timestamp().label("now"),
).join(campaigns, campaigns.c.id == runs.c.campaign_id)


class RunResults:
    """Ends and extends open attempts. A late answer changes nothing."""

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def end(
        self,
        run_id: UUID,
        attempt: int,
        decide: Callable[[OpenAttempt], Outcome],
        actor: str,
    ) -> AttemptUpdate:
        """Write what ``decide`` makes of the open attempt.

        Raises:
            NotFound: there is no such run.
            Conflict: the attempt is not the open one.
        """
        async with self._database.transaction() as connection:
            row = _found((await connection.execute(_READ.where(runs.c.id == run_id))).all(), run_id)
            outcome = decide(OpenAttempt(row.attempt, row.takeovers, row.target))
            if _is_repeated(row, attempt, outcome):
                return _answered(row, changed=False, ended=_ending(row, actor))
            _require_open(row, attempt)
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
            written = await write_finish(connection, finish_binds([ended], actor=actor))
            row = (await connection.execute(_READ.where(runs.c.id == run_id))).one_or_none()
            if not written or row is None:
                raise Conflict("the run has ended or was taken over meanwhile")
            # A run that waited for this one, or this one's next attempt, is due on some node.
            await _notify(connection, row.campaign_id)
        ending = replace(_ending(row, actor, written), attempt=attempt, error=error)
        return _answered(row, ended=ending)

    async def extend(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Let the open attempt go on for ``seconds`` from now; never less than it was given.

        Raises:
            NotFound: there is no such run.
            Conflict: the attempt is not the open one.
        """
        until = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
        async with self._database.transaction() as connection:
            row = _found((await connection.execute(_READ.where(runs.c.id == run_id))).all(), run_id)
            _require_open(row, attempt)
            extended = await connection.execute(
                sa.update(runs)
                .where(
                    runs.c.campaign_id == row.campaign_id,
                    runs.c.scheduled_for == row.scheduled_for,
                    runs.c.attempt == attempt,
                    runs.c.status == RunStatus.EXECUTING,
                )
                .values(lease_until=sa.func.greatest(runs.c.lease_until, until))
                .returning(runs)
            )
            row = extended.one_or_none()
            if row is None:
                raise Conflict("the run has ended or was taken over meanwhile")
        return _answered(row)

    # What a person decides, of a run that is not under way.

    async def campaign_of(self, run_id: UUID) -> int:
        """The id of the campaign whose run this is. Raises NotFound."""
        async with self._database.statement() as connection:
            row = _found((await connection.execute(_READ.where(runs.c.id == run_id))).all(), run_id)
            return int(row.campaign_id)

    async def release(self, run_id: UUID, grace: float, actor: str) -> AttemptUpdate:
        """A held run goes on its way: due now, to be started within ``grace`` seconds.

        Raises:
            NotFound: there is no such run.
            Refused: it is not held.
        """
        async with self._database.transaction() as connection:
            row = _found((await connection.execute(_READ.where(runs.c.id == run_id))).all(), run_id)
            binds = {
                "campaign_id": row.campaign_id,
                "run_id": run_id,
                "grace": grace,
                "actor": actor,
                "now": None,
            }
            released = (await connection.execute(query("release_held"), binds)).all()
            row = (await connection.execute(_READ.where(runs.c.id == run_id))).one()
            if not released:
                raise _not_held(row)
            await _notify(connection, row.campaign_id)
        return _answered(row)

    async def fail_held(self, run_id: UUID, reason: str, actor: str) -> AttemptUpdate:
        """A held run has failed, with whatever that means for its campaign.

        Raises:
            NotFound: there is no such run.
            Refused: it is not held.
        """
        async with self._database.transaction() as connection:
            row = _found((await connection.execute(_READ.where(runs.c.id == run_id))).all(), run_id)
            ended = (
                row.campaign_id,
                row.scheduled_for,
                row.attempt,
                RunStatus.HELD.value,
                RunStatus.FAILED.value,
                reason,
                None,
            )
            written = await write_finish(connection, finish_binds([ended], actor=actor))
            row = (await connection.execute(_READ.where(runs.c.id == run_id))).one()
            if not written:
                raise _not_held(row)
            await _notify(connection, row.campaign_id)
        return _answered(row, ended=replace(_ending(row, actor, written), duration=None))


async def _notify(connection: AsyncConnection, campaign_id: int) -> None:
    notice = json.dumps({"campaigns": [campaign_id]})
    await connection.execute(sa.select(sa.func.pg_notify(CHANNEL, notice)))


def _not_held(row: Any) -> Refused:
    return Refused(f"run {row.id} is {row.status}; only a held run can be released")


def _found(rows: Any, run_id: UUID) -> Any:
    if not rows:
        raise NotFound(f"no run has the id {run_id}", message="Run not found")
    return rows[0]


def _is_repeated(row: Any, attempt: int, outcome: Outcome) -> bool:
    """Whether the run ended just so already: the answer was lost on its way, and came again."""
    if row.attempt != attempt:
        return False
    return (row.status == RunStatus.COMPLETED and isinstance(outcome, Delivered)) or (
        row.status == RunStatus.FAILED
        and isinstance(outcome, Reject)
        and row.error == outcome.reason
    )


def _require_open(row: Any, attempt: int) -> None:
    if row.status != RunStatus.EXECUTING:
        raise Conflict(f"the run is {row.status}; only an executing run can be answered for")
    if row.attempt != attempt:
        raise Conflict(
            f"attempt {attempt} is not the open one, which is {row.attempt}: the run was taken over"
        )


def _ending(row: Any, actor: str, written: Sequence[Any] = ()) -> RunEnded:
    """What to tell of a run as it was read after its outcome was written."""
    from_status, to_status = (
        (written[0].from_status, written[0].to_status) if written else (None,) * 2
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


def _answered(row: Any, *, changed: bool = True, ended: RunEnded | None = None) -> AttemptUpdate:
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
