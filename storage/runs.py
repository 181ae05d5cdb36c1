"""Claiming and finishing runs: values in, one statement over a batch, values out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.attempt import (
    Attempt,
    ClaimResult,
    ExpiredAttempt,
    FinishedAttempt,
    FinishResult,
    PendingRun,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest, PassedOccurrence
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    Held,
    Missed,
    Outcome,
    OutcomeUnknown,
    Queued,
    Reject,
    Retry,
)
from daemon.runtime.node_identity import NodeIdentity
from storage.binary_arrays import (
    bigints,
    booleans,
    floats,
    instants,
    integers,
    smallints,
    texts,
    uuids,
    wall_times,
)
from storage.engine import PREPARED_AFTER, Database
from storage.queries import query

MAX_TAKEOVERS = 10
"""After so many lost nodes one run is given up (spec section 6)."""

_STATUS = {status.value: status for status in Status}
_RUN_STATUS = {status.value: status for status in RunStatus}


class RunStore:
    """The claim and finish statements for one node.

    Args:
        database: where to.
        node: this node's identity; every write names its id.
        now: an instant to use instead of the server's clock, for tests.
    """

    def __init__(self, database: Database, node: NodeIdentity, now: datetime | None = None) -> None:
        self._database = database
        self._node = node
        self.now = now

    async def _rows(self, name: str, binds: dict[str, Any]) -> Sequence[Any]:
        async with self._database.statement() as connection:
            result = await connection.execute(
                query(name),
                {"node": self._node.id, "now": self.now, **binds},
            )
            return result.all()

    async def warm(self) -> None:
        """Have every kept connection open, with the hot statements known to it and prepared.

        A burst would have to wait for that otherwise: opening a connection, and reading for the
        first time what the catalogue has on the tables, costs as much as hundreds of runs.
        """
        if not self._database.prepares:
            return
        claim = {"node": self._node.id, "now": self.now, **_claim_binds([])}
        finish = {**finish_binds([]), "node": self._node.id}
        async with AsyncExitStack() as open_at_once:
            for _ in range(self._database.connections_kept):
                connection = await open_at_once.enter_async_context(self._database.statement())
                for _ in range(PREPARED_AFTER + 1):
                    await connection.execute(query("claim_events"), claim)
                    await write_finish(connection, finish)

    async def claim(self, planned: Sequence[ClaimRequest]) -> list[ClaimResult]:
        """Win what is due, by the server's clock; what is missing from the answer was lost."""
        rows = await self._rows("claim_events", _claim_binds(planned))
        return [claimed for row in rows for claimed in _claimed(row, planned)]

    async def claim_attempts(
        self,
        waiting: Sequence[PendingRun],
    ) -> tuple[list[Attempt], list[ExpiredAttempt]]:
        """Start the next attempts of waiting runs, or say that they come too late."""
        rows = await self._rows(
            "claim_attempts",
            {
                "campaign_ids": [item.campaign_id for item in waiting],
                "scheduled_fors": [item.scheduled_for for item in waiting],
                "max_takeovers": MAX_TAKEOVERS,
            },
        )
        works = [(row, work_from(row, row.attempt)) for row in rows]
        return (
            [work for row, work in works if row.verdict == "started"],
            [
                ExpiredAttempt(work, row.status, _why_late(row))
                for row, work in works
                if row.verdict != "started"
            ],
        )

    async def finish(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult | None]:
        """Write outcomes, each guarded by (run, attempt, node, expected status).

        Returns:
            One for each outcome; None where the run was somebody else's by then.
        """
        # A run is written once a batch, though it may have been found too late twice.
        places: dict[tuple[Any, ...], int] = {}
        rows: list[tuple[Any, ...]] = []
        begun_ats: list[datetime | None] = []
        place_of = []
        for attempt, outcome, expected, started_at, *_ in finished:
            guard = (attempt.campaign_id, attempt.scheduled_for, attempt.number, expected)
            place = places.setdefault(guard, len(rows))
            if place == len(rows):
                rows.append((*guard, *columns_of(outcome)))
                begun_ats.append(started_at)
            place_of.append(place)
        written: list[FinishResult | None] = [None] * len(rows)
        async with self._database.transaction() as connection:
            binds = finish_binds(rows, begun_ats=begun_ats, node=self._node.id)
            for row in await write_finish(connection, {**binds, "now": self.now}):
                status, from_status, to_status, promoted, numbers = row
                alike = _RUN_STATUS[status], _STATUS[from_status], _STATUS[to_status], promoted
                for number in numbers:
                    campaign_id, at, *_ = rows[number - 1]
                    written[number - 1] = FinishResult(campaign_id, at, *alike)
        return [written[place] for place in place_of]

    async def find_finish_result(self, work: Attempt, outcome: Outcome) -> FinishResult | None:
        """What this node has written of an attempt already, by the event that was written with it.

        To be asked where the database's answer to ``finish`` was lost. Whether another run is due
        by that, nobody knows any more: it is said to be, so that somebody looks.
        """
        status = columns_of(outcome)[0]
        binds = {
            "campaign_id": work.campaign_id,
            "run_id": work.run_id,
            "event": f"run_{status}" if status.is_open else "run_ended",
            "since": work.claimed_at,
        }
        for row in await self._rows("load_written", binds):
            statuses = _STATUS[row.from_status], _STATUS[row.to_status]
            return FinishResult(work.campaign_id, work.scheduled_for, status, *statuses, True)
        return None

    async def release(
        self,
        attempts: Sequence[Attempt],
        dispositions: Sequence[str],
        cause: str = "given back by a stopping node",
    ) -> list[ReclaimedRun]:
        """Give executing runs back; dispositions ``not_started``, ``retrying``, ``held``.

        Returns:
            Those that were this node's to give back, as they are now.
        """
        keys = [(item.campaign_id, item.scheduled_for, item.number) for item in attempts]
        return await self._release(keys, dispositions, cause)

    async def release_unacknowledged(
        self, in_flight: Collection[tuple[int, datetime]], since: datetime
    ) -> tuple[int, bool]:
        """Give back, as not_started, what this node claimed since ``since`` and never heard of.

        To be called while the node claims nothing.

        Args:
            in_flight: (campaign id, scheduled for) of what it did hear of.
            since: by the server's clock.

        Returns:
            How many there were; and whether that is all, because no claim is under way any more.
        """
        async with self._database.transaction() as connection:
            fenced = (
                await connection.execute(query("fence_claims"), {"node": self._node.id})
            ).all()
            rows = (
                await connection.execute(
                    query("load_in_flight"), {"node": self._node.id, "since": since}
                )
            ).all()
        keys = [
            (row.campaign_id, row.scheduled_for, row.attempt)
            for row in rows
            if (row.campaign_id, row.scheduled_for) not in in_flight
        ]
        released = 0
        if keys:
            dispositions = ["not_started"] * len(keys)
            released = len(
                await self._release(keys, dispositions, "claimed, but the answer was lost")
            )
        return released, bool(fenced)

    async def _release(
        self, keys: Sequence[tuple[int, datetime, int]], dispositions: Sequence[str], cause: str
    ) -> list[ReclaimedRun]:
        rows = await self._rows(
            "release_runs",
            {
                "campaign_ids": [campaign_id for campaign_id, _, _ in keys],
                "scheduled_fors": [scheduled_for for _, scheduled_for, _ in keys],
                "attempts": [number for _, _, number in keys],
                "dispositions": list(dispositions),
                "cause": cause,
            },
        )
        return [taken_from(row) for row in rows]


def _claim_binds(planned: Sequence[ClaimRequest]) -> dict[str, Any]:
    older: list[PassedOccurrence] = []
    slices: list[tuple[int, int]] = []  # of the arrays of older occurrences; from 1, both included
    for item in planned:
        slices.append((len(older) + 1, len(older) + len(item.older)))
        older.extend(item.older)
    bulk = [(item.armed.campaign_id, many) for item in planned for many in item.bulk]
    armed = [item.armed for item in planned]
    following = [item.next for item in planned]
    return {
        "campaign_ids": bigints([entry.campaign_id for entry in armed]),
        "revisions": bigints([entry.revision for entry in armed]),
        "armed_ats": instants([entry.event.at for entry in armed]),
        "kinds": texts([entry.event.kind for entry in armed]),
        "fire_ats": instants([item.fire_at for item in planned]),
        "run_ids": uuids([item.run_id for item in planned]),
        "start_befores": instants([item.start_before for item in planned]),
        "overlaps": texts([entry.schedule.overlap for entry in armed]),
        "missed_untils": instants([item.missed_until for item in planned]),
        "next_ats": instants([after.at if after else None for after in following]),
        "next_locals": wall_times([after.local if after else None for after in following]),
        "next_kinds": texts([after.kind if after else None for after in following]),
        "backlogs": booleans([item.backlog for item in planned]),
        "mores": booleans([item.more for item in planned]),
        "older_firsts": integers([first for first, _ in slices]),
        "older_lasts": integers([last for _, last in slices]),
        "older_ats": instants([old.at for old in older]),
        "older_run_ids": uuids([old.run_id for old in older]),
        "older_skipped": booleans([old.status == "skipped" for old in older]),
        "older_start_befores": instants([old.start_before for old in older]),
        "bulk_campaign_ids": bigints([campaign_id for campaign_id, _ in bulk]),
        "bulk_firsts": instants([many.first for _, many in bulk]),
        "bulk_lasts": instants([many.last for _, many in bulk]),
        "bulk_counts": bigints([many.count for _, many in bulk]),
        "bulk_causes": texts([many.cause for _, many in bulk]),
    }


def _claimed(row: Any, planned: Sequence[ClaimRequest]) -> Iterator[ClaimResult]:
    made, from_status, to_status, target, now, numbers, names, payloads = row
    alike = _STATUS[from_status], _STATUS[to_status], now, target, made
    if made != "executing":
        for number in numbers:
            yield ClaimResult(number - 1, *alike, None)
        return
    for number, name, payload in zip(numbers, names, payloads, strict=True):
        item = planned[number - 1]
        assert item.fire_at is not None
        assert item.run_id is not None
        assert item.start_before is not None
        work = Attempt(
            item.armed.campaign_id,
            item.armed.campaign_uuid,
            name,
            item.run_id,
            item.fire_at,
            1,
            target,
            {} if payload == "{}" else json.loads(payload),
            now,
            item.start_before,
        )
        yield ClaimResult(number - 1, *alike, work)


def work_from(row: Any, number: int) -> Attempt:
    """The attempt that a row of a claim describes."""
    return Attempt(
        campaign_id=row.campaign_id,
        campaign_uuid=row.uuid,
        campaign_name=row.name,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        number=number,
        target=row.target,
        payload=row.payload,
        claimed_at=row.now,
        start_before=row.start_before,
        takeovers=row.takeovers,
        started_at=row.started_at,
    )


def taken_from(row: Any) -> ReclaimedRun:
    """The run that a row of a statement that takes runs back describes."""
    return ReclaimedRun(
        campaign_id=row.campaign_id,
        campaign_uuid=row.uuid,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        number=row.attempt,
        target=row.target,
        status=row.status,
        error=row.error,
    )


def _why_late(row: Any) -> Outcome:
    if row.verdict == "lost":
        return Reject(f"given up: its node was lost {row.takeovers} times")
    if row.attempt == 0:
        return Missed()
    return Reject("the next attempt would start later than misfire_grace_time")


def finish_binds(
    rows: Sequence[tuple[int, datetime, int, str, str, str | None, float | None]],
    *,
    begun_ats: Sequence[datetime | None] | None = None,
    node: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Binds of ``finish_runs``.

    Args:
        rows: campaign id, scheduled for, attempt, the status it is expected to be in, and what
            ``columns_of`` says of the outcome.
        begun_ats: when each attempt began, as far as known.
        node: whose attempts these are; None if the attempt alone is the guard.
        actor: who asked, if not the node.
    """
    columns = zip(*rows, strict=True) if rows else ((),) * 7
    ids, ats, attempts, expected, outcomes, errors, waits = columns
    return {
        "campaign_ids": bigints(ids),
        "scheduled_fors": instants(ats),
        "attempts": smallints(attempts),
        "expected": texts(expected),
        "outcomes": texts(outcomes),
        "errors": texts(errors),
        "waits": floats(waits),
        "begun_ats": instants(begun_ats or [None] * len(rows)),
        "node": node,
        "actor": actor,
        "now": None,
    }


async def write_finish(connection: AsyncConnection, binds: dict[str, Any]) -> Sequence[Any]:
    """Lock the campaigns, then write outcomes on what is true under the lock; in a transaction."""
    await connection.execute(query("lock_campaigns"), {"campaign_ids": binds["campaign_ids"]})
    rows: Sequence[Any] = (await connection.execute(query("finish_runs"), binds)).all()
    return rows


def columns_of(outcome: Outcome) -> tuple[RunStatus, str | None, float | None]:
    """Status, error, and the seconds until the next attempt or the end of the run's own lease."""
    match outcome:
        case Delivered():
            return RunStatus.COMPLETED, None, None
        case Reject(reason):
            return RunStatus.FAILED, reason, None
        case Missed():
            return RunStatus.MISSED, None, None
        case Accepted(seconds):
            return RunStatus.EXECUTING, None, seconds
        case Retry(reason, after):
            return RunStatus.RETRYING, reason, after
        case Held(reason):
            return RunStatus.HELD, reason, None
        case Queued():
            return RunStatus.QUEUED, None, None
        case OutcomeUnknown():
            raise AssertionError("what becomes of a lost attempt is decided before it is written")
