"""Held runs, and an operator's decisions on them: to release, to drop or to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import Conflict
from daemon.domain.read_models import RunDetail
from daemon.domain.run.attempt import AttemptUpdate, RunEnded
from daemon.domain.run.held import (
    ERROR_PREFIXES,
    HeldReason,
    HeldSelector,
    require_confirmation,
)
from storage.audit_log import record_in_transaction
from storage.binary_arrays import bigints, instants
from storage.brakes import require_not_frozen
from storage.campaign_reads import of_campaign, run_detail_from
from storage.engine import Connections, rows_of
from storage.notice import notify_nodes
from storage.outcome_rows import finish_binds, note_details, write_finish
from storage.queries import query
from storage.run_results import RUN_ROWS, require_run, run_ended_from, update_from
from storage.tables import campaigns, runs

BATCH = 500
"""Runs decided in one transaction. Their ids fit into one notification."""

Decision = Literal["release", "drop", "fail"]
HeldKey = tuple[datetime, int, datetime]
"""The position of a held run in a list: claimed, campaign id, scheduled."""

_ACTIONS = {
    "release": Action.RUN_RELEASED,
    "drop": Action.RUN_DROPPED,
    "fail": Action.RUN_FAILED,
}
_REASON = sa.case(
    *(
        (runs.c.error.startswith(prefix, autoescape=True), reason.value)
        for prefix, reason in ERROR_PREFIXES.items()
    ),
    else_=HeldReason.ATTEMPT.value,
)
# The index of the rare statuses has the held runs; most databases have none.
_IS_HELD = runs.c.rare_status == RunStatus.HELD
_KEY = (runs.c.claimed_at, runs.c.campaign_id, runs.c.scheduled_for)


class HeldRuns:
    """The held runs of one database.

    Args:
        database: the database of the runs.
        default_grace: seconds in which a released run of a campaign without a schedule may start.
    """

    def __init__(self, database: Connections, default_grace: int = 3600) -> None:
        self._database = database
        self._grace = default_grace
        self.now: datetime | None = None
        """An instant that replaces the database clock, for tests."""

    async def count_by_reason(self) -> dict[HeldReason, int]:
        """Count the held runs by the reason for which they wait."""
        counted = sa.select(_REASON.label("reason"), sa.func.count().label("runs"))
        async with self._database.statement() as connection:
            rows = await rows_of(connection, counted.where(_IS_HELD).group_by("reason"))
        found = {row.reason: row.runs for row in rows}
        return {reason: found.get(reason.value, 0) for reason in HeldReason}

    async def page(
        self, where: HeldSelector, *, limit: int, after: HeldKey | None = None
    ) -> list[RunDetail]:
        """Return held runs, the one that waits longest first."""
        statement = (
            sa.select(runs, *of_campaign())
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            .where(_IS_HELD, *_conditions(where))
            .order_by(*_KEY)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(_after(_KEY, after))
        async with self._database.statement() as connection:
            return [run_detail_from(row) for row in await rows_of(connection, statement)]

    async def count(self, where: HeldSelector, decision: Decision) -> int:
        """Return how many runs a decision is about."""
        statement = (
            sa.select(sa.func.count())
            .select_from(runs.join(campaigns, campaigns.c.id == runs.c.campaign_id))
            .where(*_decidable(where, decision))
        )
        async with self._database.statement() as connection:
            return await connection.scalar(statement) or 0

    async def decide(
        self, run_id: UUID, decision: Decision, actor: str, note: str | None = None
    ) -> AttemptUpdate:
        """Release, drop or fail one held run.

        A released run is due now, and its grace starts again. A dropped run is missed; a run that
        has attempts cannot be dropped, and one without cannot fail.

        Raises:
            NotFound: the run does not exist.
            Conflict: the run is not held, or the decision does not fit it.
        """
        async with self._database.transaction() as connection:
            this_run = RUN_ROWS.where(runs.c.id == run_id)
            row = require_run((await connection.execute(this_run)).all(), run_id)
            await _lock_campaigns(connection, [row.campaign_id])
            found = await connection.execute(this_run.with_for_update(of=runs))
            row = require_run(found.all(), run_id)
            _require_decidable(row, decision)
            (ended,) = await self._write(connection, [row], decision, actor, note) or (None,)
            row = (await connection.execute(this_run)).one()
            entry = AuditEntry(
                _ACTIONS[decision], "run", str(run_id), row.campaign_name, actor=actor, note=note
            )
            await record_in_transaction(connection, entry)
        return update_from(row, ended=ended)

    async def decide_many(
        self,
        where: HeldSelector,
        decision: Decision,
        actor: str,
        confirm: int | None,
        note: str | None = None,
    ) -> tuple[int, list[RunEnded]]:
        """Release or drop all held runs to which the conditions apply, `BATCH` at a time.

        What is done stays done if a later batch fails, and the call may be repeated.

        Returns:
            The number of runs, and those of them that have ended.

        Raises:
            ConfirmationRequired: there are more than ``confirm`` runs; nothing was changed.
        """
        require_confirmation(await self.count(where, decision), confirm)
        done, ended = 0, list[RunEnded]()
        keys = (runs.c.campaign_id, runs.c.scheduled_for)
        wanted = RUN_ROWS.where(*_decidable(where, decision))
        following = wanted.order_by(*keys).limit(BATCH)
        while True:
            async with self._database.transaction() as connection:
                rows = (await connection.execute(following)).all()
                if not rows:
                    return done, ended
                last = rows[-1].campaign_id, rows[-1].scheduled_for
                following = wanted.where(_after(keys, last)).order_by(*keys).limit(BATCH)
                await _lock_campaigns(connection, [row.campaign_id for row in rows])
                again = wanted.where(runs.c.id.in_([row.id for row in rows]))
                found = (await connection.execute(again.with_for_update(of=runs))).all()
                if found:
                    ended += await self._write(connection, found, decision, actor, note)
                    done += len(found)
                    text = f"{len(found)} runs: {where}{f'; {note}' if note else ''}"
                    entry = AuditEntry(_ACTIONS[decision], "runs", actor=actor, note=text)
                    await record_in_transaction(connection, entry)

    async def _write(
        self,
        connection: AsyncConnection,
        rows: Sequence[Any],
        decision: Decision,
        actor: str,
        note: str | None,
    ) -> list[RunEnded]:
        """Write a decision on runs that are locked, with their campaigns; return what has ended."""
        ended: list[RunEnded] = []
        if decision == "release":
            await require_not_frozen(connection, *{row.target for row in rows})
            binds = {
                "campaign_ids": bigints([row.campaign_id for row in rows]),
                "scheduled_fors": instants([row.scheduled_for for row in rows]),
                "default_grace": self._grace,
            }
            binds |= {"actor": actor, "details": note_details(note), "now": self.now}
            await connection.execute(query("release_held"), binds)
        else:
            status = RunStatus.MISSED if decision == "drop" else RunStatus.FAILED
            error = f"{'dropped' if decision == 'drop' else 'failed'} by {actor}"
            outcomes = [
                (row.campaign_id, row.scheduled_for, row.attempt, "held", status.value, error, None)
                for row in rows
            ]
            finish = finish_binds(outcomes, actor=actor, note=note) | {"now": self.now}
            for result in await write_finish(connection, finish):
                for number in result.numbers:
                    row = rows[number - 1]
                    found = run_ended_from(row, actor, [result])
                    ended.append(replace(found, status=status, error=error, duration=None))
        await notify_nodes(connection, *sorted({row.campaign_id for row in rows}))
        return ended


def _after(keys: Sequence[Any], after: Sequence[Any]) -> sa.ColumnElement[bool]:
    bound = [sa.literal(value, column.type) for value, column in zip(after, keys, strict=True)]
    return sa.tuple_(*keys) > sa.tuple_(*bound)


async def _lock_campaigns(connection: AsyncConnection, campaign_ids: Sequence[int]) -> None:
    """Lock campaigns in order of their ids, as far as ``lock_timeout`` allows."""
    locked = sa.select(campaigns.c.id).where(campaigns.c.id.in_(sorted(set(campaign_ids))))
    await connection.execute(locked.order_by(campaigns.c.id).with_for_update())


def _decidable(where: HeldSelector, decision: Decision) -> list[sa.ColumnElement[bool]]:
    conditions = [_IS_HELD, *_conditions(where)]
    return [*conditions, runs.c.attempt == 0] if decision == "drop" else conditions


def _conditions(where: HeldSelector) -> list[sa.ColumnElement[bool]]:
    equal: dict[Any, object] = {
        campaigns.c.target: where.target,
        campaigns.c.type: where.type,
        campaigns.c.status: where.status,
        _REASON: where.reason,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if where.from_ is not None:
        conditions.append(runs.c.scheduled_for >= where.from_)
    if where.before is not None:
        conditions.append(runs.c.scheduled_for < where.before)
    if where.campaign is not None:
        is_uuid = isinstance(where.campaign, UUID)
        conditions.append((campaigns.c.uuid if is_uuid else campaigns.c.id) == where.campaign)
    if where.name is not None:
        conditions.append(campaigns.c.name.like(_like_pattern(where.name), escape="\\"))
    return conditions


def _like_pattern(shell_pattern: str) -> str:
    """Return a pattern with ``*`` and ``?`` as one of LIKE."""
    escaped = "".join(f"\\{each}" if each in "\\%_" else each for each in shell_pattern)
    return escaped.replace("*", "%").replace("?", "_")


def _require_decidable(row: Any, decision: Decision) -> None:
    if row.status != RunStatus.HELD:
        detail = f"run {row.id} is {row.status}; only a held run can be decided on"
        raise Conflict(detail, message="Not held")
    if decision == "drop" and row.attempt > 0:
        raise Conflict(
            f"attempt {row.attempt} of this run may have taken effect; release it, or let it fail "
            "with release --fail",
            message="Not allowed",
        )
    if decision == "fail" and row.attempt == 0:
        raise Conflict(
            f"no attempt of run {row.id} was made: release it, or drop it", message="Not allowed"
        )
