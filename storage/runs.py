"""Claims, finishes and releases runs: one statement for each batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import repeat
from typing import Any

import sqlalchemy as sa

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
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.outcome import Missed, Outcome, Reject
from daemon.domain.run.pending_gate import Reopening, judge_pending
from daemon.runtime.node_identity import NodeIdentity
from storage.binary_arrays import bigints, instants, smallints, texts, uuids, wall_times
from storage.calendar_rows import load_calendars
from storage.claim_rows import (
    claim_binds,
    latest,
    payload_binds,
)
from storage.engine import rows_of
from storage.firing_database import FiringDatabase
from storage.outcome_rows import (
    columns_of,
    finish_binds,
    lock_campaigns,
    write_finish,
)
from storage.queries import query
from storage.run_rows import RUN_STATUS, STATUS, attempt_from, reclaimed_from
from storage.schedule_rows import schedule_from
from storage.session import PREPARED_AFTER
from storage.tables import schedule_definitions

MAX_TAKEOVERS = 10
"""Number of lost nodes after which a run fails (docs/semantics.md#runs)."""


class RunStore:
    """The statements that claim, finish and release the runs of one node.

    Args:
        database: the database of the runs.
        node: this node's identity; every write names its id.
        now: an instant that replaces the database clock, for tests.
    """

    def __init__(
        self, database: FiringDatabase, node: NodeIdentity, now: datetime | None = None
    ) -> None:
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
        async with AsyncExitStack() as open_at_once:
            for _ in range(self._database.connections_kept):
                await open_at_once.enter_async_context(self._database.driver())
        kept = range(self._database.connections_kept)
        for _ in range(PREPARED_AFTER + 1):
            await asyncio.gather(*(self._claim_and_finish_nothing() for _ in kept))

    async def _claim_and_finish_nothing(self) -> None:
        await self.claim_plain([])
        await self.claim([])
        await self.finish_plain([])

    async def claim_plain(
        self, requests: Sequence[ClaimRequest], without_payload: Collection[str] = ()
    ) -> list[ClaimResult]:
        """Claim plain requests of idle campaigns by the short statement.

        Args:
            requests: events for which `ClaimRequest.is_plain` holds, due in a moment at the latest.
            without_payload: targets whose runs are claimed without their payload.

        Returns:
            The claims that were won. `claim` decides on the others.

        Raises:
            psycopg.errors.UniqueViolation: a run exists already; nothing was claimed.
        """
        armed = [item.armed for item in requests]
        following = [item.next for item in requests]
        rows = await self._rows(
            "claim_plain",
            campaign_ids=bigints([event.campaign_id for event in armed]),
            revisions=bigints([event.revision for event in armed]),
            run_ids=uuids([item.run_id for item in requests]),
            fire_ats=instants([item.fire_at for item in requests]),
            start_befores=instants([item.start_before for item in requests]),
            next_ats=instants([event and event.at for event in following]),
            next_locals=wall_times([event and event.local for event in following]),
            due_at=latest(event.due_at for event in armed),
            **payload_binds(without_payload),
        )
        return [_claim_result(row, requests) for row in rows]

    async def claim(
        self, requests: Sequence[ClaimRequest], without_payload: Collection[str] = ()
    ) -> tuple[list[ClaimResult], list[int]]:
        """Claim events that are due by the database clock, or in a moment.

        Args:
            requests: the events, and what follows them.
            without_payload: targets whose runs are claimed without their payload.

        Returns:
            The claims that were won, and the indexes of events that remain due because the batch
            has too many bytes. Neither has the claims that were lost.
        """
        binds = {**claim_binds(requests), **payload_binds(without_payload)}
        results: list[ClaimResult] = []
        postponed: list[int] = []
        for row in await self._rows("claim_events", **binds):
            if row.made == "postponed":
                postponed = [number - 1 for number in row.numbers]
            else:
                results.append(_claim_result(row, requests))
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
            due_at=latest(item.at for item in pending),
            max_takeovers=MAX_TAKEOVERS,
            **payload_binds(without_payload),
        )
        started: list[Attempt] = []
        expired: list[ExpiredAttempt] = []
        postponed: list[AttemptKey] = []
        closed: list[Any] = []
        for row in rows:
            attempt = attempt_from(row, row.attempt)
            if row.verdict == "started":
                started.append(attempt._replace(due_at=row.due_at, open_until=row.open_until))
            elif row.verdict == "closed":
                closed.append(row)
            elif row.verdict == "postponed":
                postponed.append(attempt.key)
            else:
                expired.append(ExpiredAttempt(attempt, row.status, _late_outcome(row)))
        if closed:
            expired += await self._judge_closed(closed)
        return started, expired, postponed

    async def _judge_closed(self, rows: Sequence[Any]) -> list[ExpiredAttempt]:
        """Move runs to the next opening of their send window; return those that end or are held."""
        ids = [row.campaign_id for row in rows]
        async with self._database.transaction() as connection:
            definition = schedule_definitions.c
            found = await connection.execute(
                sa.select(schedule_definitions).where(definition.campaign_id.in_(ids))
            )
            schedules = {row.campaign_id: schedule_from(row) for row in found}
            calendars = await load_calendars(connection)
        expired: list[ExpiredAttempt] = []
        moved: list[tuple[Any, Reopening]] = []
        for row in rows:
            decision = judge_pending(
                schedules.get(row.campaign_id),
                calendars,
                row.scheduled_for,
                row.attempt,
                row.start_before,
                row.now,
            )
            if isinstance(decision, Reopening):
                moved.append((row, decision))
            else:
                attempt = attempt_from(row, row.attempt)
                expired.append(ExpiredAttempt(attempt, row.status, decision))
        if moved:
            await self._database.rows(
                "move_to_opening",
                campaign_ids=bigints([row.campaign_id for row, _ in moved]),
                scheduled_fors=instants([row.scheduled_for for row, _ in moved]),
                attempts=smallints([row.attempt for row, _ in moved]),
                openings=instants([each.at for _, each in moved]),
                start_befores=instants([each.start_before for _, each in moved]),
                open_untils=instants([each.open_until for _, each in moved]),
                now=rows[0].now,
                node=self._node.id,
            )
        return expired

    async def finish_plain(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        """Write plain outcomes of campaigns with one open run by the short statement.

        Args:
            finished: first attempts of this node that delivered their run.

        Returns:
            What was written. `finish` decides on the others.
        """
        rows = await self._rows(
            "finish_plain",
            campaign_ids=bigints([item.attempt.campaign_id for item in finished]),
            scheduled_fors=instants([item.attempt.scheduled_for for item in finished]),
            started_ats=instants([item.started_at for item in finished]),
        )
        return [_finish_result(row, row.numbers) for row in rows]

    async def finish(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        """Write outcomes, each guarded by (run, attempt, node, expected status).

        Returns:
            What was written. An outcome is missing because another node or a command changed the
            run first, or holds a lock (`find_blocked`).
        """
        # A run is written once in a batch, although it may have been found too late twice.
        places: dict[tuple[Any, ...], list[int]] = {}
        rows: list[tuple[Any, ...]] = []
        started_ats: list[datetime | None] = []
        for place, (attempt, outcome, expected, started_at, *_) in enumerate(finished):
            guard = (attempt.campaign_id, attempt.scheduled_for, attempt.number, expected)
            if guard in places:
                places[guard].append(place)
                continue
            places[guard] = [place]
            rows.append((*guard, *columns_of(outcome)))
            started_ats.append(started_at)
        async with self._database.transaction() as connection:
            locked = await lock_campaigns(connection, [row[0] for row in rows])
            written = [number for number, row in enumerate(rows) if row[0] in locked]
            binds = finish_binds(
                [rows[number] for number in written],
                started_ats=[started_ats[number] for number in written],
                node=self._node.id,
            )
            found = await write_finish(connection, {**binds, "now": self.now})
        guards = [rows[number][:4] for number in written]
        return [
            _finish_result(
                row, [place + 1 for number in row.numbers for place in places[guards[number - 1]]]
            )
            for row in found
        ]

    async def record_overtaken(self, finished: Sequence[FinishedAttempt]) -> None:
        """Record refused outcomes of runs that another node had by then, in the history."""
        await self._database.rows(
            "record_overtaken",
            campaign_ids=bigints([each.attempt.campaign_id for each in finished]),
            scheduled_fors=instants([each.attempt.scheduled_for for each in finished]),
            attempts=smallints([each.attempt.number for each in finished]),
            takeovers=smallints([each.attempt.takeovers for each in finished]),
            outcomes=texts([columns_of(each.outcome)[0] for each in finished]),
            node=self._node.id,
            now=self.now,
        )

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
            return FinishResult([0], status, STATUS[row.from_status], STATUS[row.to_status], True)
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


def _claim_result(row: Any, requests: Sequence[ClaimRequest]) -> ClaimResult:
    """Return the result that a row of a claim holds for those of the requests that it names."""
    made, from_status, to_status, target, now, numbers, names, payloads = row
    places = [number - 1 for number in numbers]
    attempts: Sequence[Attempt] = ()
    if made == "executing":
        won = [requests[place] for place in places]
        attempts = [
            *map(
                Attempt,
                [item.armed.campaign_id for item in won],
                [item.armed.campaign_uuid for item in won],
                names,
                [item.run_id for item in won],
                [item.fire_at for item in won],
                repeat(1),
                repeat(target),
                map(_payload, payloads),
                repeat(now),
                [item.start_before for item in won],
            )
        ]
        if any(item.gated is not None for item in won):
            attempts = [*map(_gated_attempt, attempts, won)]
    return ClaimResult(places, STATUS[from_status], STATUS[to_status], now, target, made, attempts)


def _gated_attempt(attempt: Attempt, request: ClaimRequest) -> Attempt:
    gated = request.gated
    if gated is None:
        return attempt
    return attempt._replace(due_at=gated.due_at, open_until=gated.open_until)


def _payload(text: str | None) -> dict[str, Any]:
    if text is None:
        return UNREAD
    return {} if text == "{}" else json.loads(text)


def _finish_result(row: Any, numbers: Sequence[int]) -> FinishResult:
    return FinishResult(
        [number - 1 for number in numbers],
        RUN_STATUS[row.status],
        STATUS[row.from_status],
        STATUS[row.to_status],
        row.promoted,
    )


def _late_outcome(row: Any) -> Outcome:
    if row.verdict == "lost":
        return Reject(f"given up: its node was lost {row.takeovers} times")
    if row.attempt == 0:
        return Missed()
    return Reject("the next attempt would start later than misfire_grace_time")
