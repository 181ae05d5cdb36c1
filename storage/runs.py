"""Claims, finishes and releases runs: one statement for each batch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.attempt import (
    UNREAD,
    Attempt,
    AttemptKey,
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
    NotStarted,
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
from storage.engine import Database, rows_of
from storage.queries import query
from storage.session import PREPARED_AFTER

MAX_TAKEOVERS = 10
"""Number of lost nodes after which a run fails (docs/semantics.md#runs)."""

CLAIM_BYTES = 4 * 1024 * 1024
"""Bytes of payloads after which a claim postpones its other runs."""

_STATUS = {status.value: status for status in Status}
_RUN_STATUS = {status.value: status for status in RunStatus}


class RunStore:
    """The statements that claim, finish and release the runs of one node.

    Args:
        database: the database of the runs.
        node: this node's identity; every write names its id.
        now: an instant that replaces the database clock, for tests.
    """

    def __init__(self, database: Database, node: NodeIdentity, now: datetime | None = None) -> None:
        self._database = database
        self._node = node
        self.now = now

    async def _rows(self, name: str, **binds: Any) -> list[Any]:
        return await self._database.rows(name, **{"node": self._node.id, "now": self.now, **binds})

    async def warm(self) -> None:
        """Open every kept connection, and prepare the hot statements on it.

        A burst would wait for that otherwise: opening a connection and reading the catalogue for
        the first time costs as much as hundreds of runs.
        """
        if not self._database.prepares:
            return
        claim = {"node": self._node.id, "now": self.now, **_claim_binds([]), **_payload_binds(())}
        finish = {**finish_binds([]), "node": self._node.id}
        async with AsyncExitStack() as open_at_once:
            for _ in range(self._database.connections_kept):
                connection = await open_at_once.enter_async_context(self._database.statement())
                for _ in range(PREPARED_AFTER + 1):
                    await connection.execute(query("claim_events"), claim)
                    await lock_campaigns(connection, [])
                    await write_finish(connection, finish)

    async def claim(
        self, requests: Sequence[ClaimRequest], without_payload: Collection[str] = ()
    ) -> tuple[list[ClaimResult], list[int]]:
        """Claim events that are due by the database clock.

        Args:
            requests: the events, and what follows them.
            without_payload: targets whose runs are claimed without their payload.

        Returns:
            The claims that were won, and the indexes of events that remain due because the batch
            has too many bytes. Neither has the claims that were lost.
        """
        binds = {**_claim_binds(requests), **_payload_binds(without_payload)}
        results: list[ClaimResult] = []
        postponed: list[int] = []
        for row in await self._rows("claim_events", **binds):
            if row.made == "postponed":
                postponed = [number - 1 for number in row.numbers]
            else:
                results += _claim_results(row, requests)
        return results, postponed

    async def claim_attempts(
        self, pending: Sequence[PendingRun], without_payload: Collection[str] = ()
    ) -> tuple[list[Attempt], list[ExpiredAttempt], list[AttemptKey]]:
        """Start the next attempts of pending runs.

        Args:
            pending: the runs.
            without_payload: targets whose runs are claimed without their payload.

        Returns:
            The started attempts, the runs that are too late, and the keys of runs that remain due
            because the batch has too many bytes.
        """
        rows = await self._rows(
            "claim_attempts",
            campaign_ids=[item.campaign_id for item in pending],
            scheduled_fors=[item.scheduled_for for item in pending],
            max_takeovers=MAX_TAKEOVERS,
            **_payload_binds(without_payload),
        )
        started: list[Attempt] = []
        expired: list[ExpiredAttempt] = []
        postponed: list[AttemptKey] = []
        for row in rows:
            attempt = attempt_from(row, row.attempt)
            if row.verdict == "started":
                started.append(attempt)
            elif row.verdict == "postponed":
                postponed.append(attempt.key)
            else:
                expired.append(ExpiredAttempt(attempt, row.status, _late_outcome(row)))
        return started, expired, postponed

    async def finish(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult | None]:
        """Write outcomes, each guarded by (run, attempt, node, expected status).

        Returns:
            One result for each outcome; None where it was not written, because another node or a
            command changed the run first, or holds a lock (`find_blocked`).
        """
        # A run is written once in a batch, although it may have been found too late twice.
        places: dict[tuple[Any, ...], int] = {}
        rows: list[tuple[Any, ...]] = []
        started_ats: list[datetime | None] = []
        place_of = []
        for attempt, outcome, expected, started_at, *_ in finished:
            guard = (attempt.campaign_id, attempt.scheduled_for, attempt.number, expected)
            place = places.setdefault(guard, len(rows))
            if place == len(rows):
                rows.append((*guard, *columns_of(outcome)))
                started_ats.append(started_at)
            place_of.append(place)
        results: list[FinishResult | None] = [None] * len(rows)
        async with self._database.transaction() as connection:
            locked = await lock_campaigns(connection, [row[0] for row in rows])
            written = [place for place, row in enumerate(rows) if row[0] in locked]
            binds = finish_binds(
                [rows[place] for place in written],
                started_ats=[started_ats[place] for place in written],
                node=self._node.id,
            )
            for row in await write_finish(connection, {**binds, "now": self.now}):
                status, from_status, to_status, promoted, numbers = row
                same = _RUN_STATUS[status], _STATUS[from_status], _STATUS[to_status], promoted
                for number in numbers:
                    place = written[number - 1]
                    campaign_id, scheduled_for, *_ = rows[place]
                    results[place] = FinishResult(campaign_id, scheduled_for, *same)
        return [results[place] for place in place_of]

    async def find_blocked(
        self, attempts: Sequence[tuple[Attempt, str]]
    ) -> Mapping[AttemptKey, int | None]:
        """Return attempts whose outcome was not written because another session holds a lock.

        Args:
            attempts: each with the status that its run is expected to have.

        Returns:
            The process id of that session on the database server, None if unknown, by key.
        """
        binds = {
            "campaign_ids": bigints([attempt.campaign_id for attempt, _ in attempts]),
            "scheduled_fors": instants([attempt.scheduled_for for attempt, _ in attempts]),
            "attempts": smallints([attempt.number for attempt, _ in attempts]),
            "expected": texts([expected for _, expected in attempts]),
        }
        rows = await self._database.rows("find_blocked_attempts", **binds, node=self._node.id)
        return {(row.campaign_id, row.scheduled_for): row.blocking_pid for row in rows}

    async def find_finish_result(self, attempt: Attempt, outcome: Outcome) -> FinishResult | None:
        """Return the result that this node has written for an attempt, from its event.

        Call this when the reply to ``finish`` was lost. `promoted` is reported as True, because
        the true value is unknown and a needless recheck is harmless.
        """
        status = columns_of(outcome)[0]
        binds = {
            "campaign_id": attempt.campaign_id,
            "run_id": attempt.run_id,
            "event": f"run_{status}" if status.is_open else "run_ended",
            "since": attempt.claimed_at,
        }
        for row in await self._rows("find_finish_result", **binds):
            statuses = _STATUS[row.from_status], _STATUS[row.to_status]
            return FinishResult(attempt.campaign_id, attempt.scheduled_for, status, *statuses, True)
        return None

    async def release(
        self,
        attempts: Sequence[Attempt],
        dispositions: Sequence[str],
        cause: str = "given back by a stopping node",
    ) -> list[ReclaimedRun]:
        """Release executing runs; dispositions are ``not_started``, ``retrying`` and ``held``.

        Returns:
            The runs that this node still held, as they are now.
        """
        keys = [(item.campaign_id, item.scheduled_for, item.number) for item in attempts]
        return await self._release(keys, dispositions, cause)

    async def release_unacknowledged(
        self, in_flight: Collection[tuple[int, datetime]], since: datetime
    ) -> tuple[int, bool]:
        """Release runs that this node claimed since ``since`` without receiving the reply.

        Call this while the node claims nothing.

        Args:
            in_flight: (campaign id, scheduled for) of the claims whose reply arrived.
            since: an instant of the database clock.

        Returns:
            The number of released runs; and whether it is final, because no claim is in progress
            and no run is locked by another session.
        """
        async with self._database.transaction() as connection:
            fence = await rows_of(connection, query("fence_claims"), node=self._node.id)
            rows = await rows_of(
                connection, query("load_in_flight"), node=self._node.id, since=since
            )
        keys = [
            (row.campaign_id, row.scheduled_for, row.attempt)
            for row in rows
            if (row.campaign_id, row.scheduled_for) not in in_flight
        ]
        released, is_complete = 0, bool(fence)
        if keys:
            dispositions = ["not_started"] * len(keys)
            cause = "claimed, but the answer was lost"
            released = len(await self._release(keys, dispositions, cause))
            is_complete = is_complete and released == len(keys)
        return released, is_complete

    async def _release(
        self, keys: Sequence[tuple[int, datetime, int]], dispositions: Sequence[str], cause: str
    ) -> list[ReclaimedRun]:
        rows = await self._rows(
            "release_runs",
            campaign_ids=[campaign_id for campaign_id, _, _ in keys],
            scheduled_fors=[scheduled_for for _, scheduled_for, _ in keys],
            attempts=[number for _, _, number in keys],
            dispositions=list(dispositions),
            cause=cause,
        )
        return [reclaimed_from(row) for row in rows]


def _claim_binds(requests: Sequence[ClaimRequest]) -> dict[str, Any]:
    older: list[PassedOccurrence] = []
    slices: list[tuple[int, int]] = []  # first and last index into the arrays below, from 1
    for item in requests:
        slices.append((len(older) + 1, len(older) + len(item.older)))
        older.extend(item.older)
    bulk = [(item.armed.campaign_id, many) for item in requests for many in item.bulk]
    armed = [item.armed for item in requests]
    following = [item.next for item in requests]
    return {
        "campaign_ids": bigints([entry.campaign_id for entry in armed]),
        "revisions": bigints([entry.revision for entry in armed]),
        "armed_ats": instants([entry.event.at for entry in armed]),
        "kinds": texts([entry.event.kind for entry in armed]),
        "fire_ats": instants([item.fire_at for item in requests]),
        "run_ids": uuids([item.run_id for item in requests]),
        "start_befores": instants([item.start_before for item in requests]),
        "overlaps": texts([entry.schedule.overlap for entry in armed]),
        "missed_untils": instants([item.missed_until for item in requests]),
        "next_ats": instants([after.at if after else None for after in following]),
        "next_locals": wall_times([after.local if after else None for after in following]),
        "next_kinds": texts([after.kind if after else None for after in following]),
        "backlogs": booleans([item.backlog for item in requests]),
        "mores": booleans([item.more for item in requests]),
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


def _payload_binds(without_payload: Collection[str]) -> dict[str, Any]:
    return {"without_payload": texts(list(without_payload)), "max_bytes": CLAIM_BYTES}


def _claim_results(row: Any, requests: Sequence[ClaimRequest]) -> Iterator[ClaimResult]:
    made, from_status, to_status, target, now, numbers, names, payloads = row
    same = _STATUS[from_status], _STATUS[to_status], now, target, made
    if made != "executing":
        for number in numbers:
            yield ClaimResult(number - 1, *same, None)
        return
    for number, name, payload in zip(numbers, names, payloads, strict=True):
        item = requests[number - 1]
        assert item.fire_at is not None
        assert item.run_id is not None
        assert item.start_before is not None
        attempt = Attempt(
            item.armed.campaign_id,
            item.armed.campaign_uuid,
            name,
            item.run_id,
            item.fire_at,
            1,
            target,
            UNREAD if payload is None else {} if payload == "{}" else json.loads(payload),
            now,
            item.start_before,
        )
        yield ClaimResult(number - 1, *same, attempt)


def attempt_from(row: Any, number: int) -> Attempt:
    """Return the Attempt that a row of a claim holds."""
    return Attempt(
        campaign_id=row.campaign_id,
        campaign_uuid=row.uuid,
        campaign_name=row.name,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        number=number,
        target=row.target,
        payload=UNREAD if row.payload is None else row.payload,
        claimed_at=row.now,
        start_before=row.start_before,
        takeovers=row.takeovers,
        started_at=row.started_at,
    )


def reclaimed_from(row: Any) -> ReclaimedRun:
    """Return the ReclaimedRun that a row of a reclaiming statement holds."""
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


def _late_outcome(row: Any) -> Outcome:
    if row.verdict == "lost":
        return Reject(f"given up: its node was lost {row.takeovers} times")
    if row.attempt == 0:
        return Missed()
    return Reject("the next attempt would start later than misfire_grace_time")


def finish_binds(
    rows: Sequence[tuple[int, datetime, int, str, str, str | None, float | None]],
    *,
    started_ats: Sequence[datetime | None] | None = None,
    node: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Return the binds of ``finish_runs``.

    Args:
        rows: campaign id, scheduled for, attempt, expected status, and the outcome's
            ``columns_of``.
        started_ats: the start of each attempt, None if unknown.
        node: the node of the attempts; None if the attempt alone is the guard.
        actor: the caller, if not the node.
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
        "started_ats": instants(started_ats or [None] * len(rows)),
        "node": node,
        "actor": actor,
        "now": None,
    }


async def lock_campaigns(
    connection: AsyncConnection, campaign_ids: Collection[int]
) -> Collection[int]:
    """Lock campaigns until the transaction ends, except those that another session has locked.

    Returns:
        The ids of the locked campaigns.
    """
    wanted = set(campaign_ids)
    binds = {"campaign_ids": bigints(list(wanted)), "wanted": len(wanted)}
    locked: list[int] | None = await connection.scalar(query("lock_campaigns"), binds)
    return wanted if locked is None else set(locked)


async def write_finish(connection: AsyncConnection, binds: dict[str, Any]) -> Sequence[Any]:
    """Write outcomes of campaigns that the transaction has locked before."""
    rows: Sequence[Any] = (await connection.execute(query("finish_runs"), binds)).all()
    return rows


def columns_of(outcome: Outcome) -> tuple[RunStatus, str | None, float | None]:
    """Return status, error, and the seconds until the next attempt or the lease's end."""
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
            raise AssertionError("an unknown outcome is decided before it is written")
        case NotStarted():
            raise AssertionError("an attempt that did not start has no outcome to write")
