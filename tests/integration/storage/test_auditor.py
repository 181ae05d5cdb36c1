"""The auditor over a real database: what it finds, and what it does not mistake for a finding."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.domain.auditor.finding import FindingKind
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.attempt import FinishedAttempt
from daemon.domain.run.outcome import Delivered
from daemon.maintenance.auditor import Auditor, AuditorOptions
from storage.audit_findings import AuditFindings
from storage.auditor_reads import AuditorReads
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, SettableClock, days, hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import ALL, TimedDatabase, store_continuous

NINE = datetime(2026, 6, 2, 9, tzinfo=NOON.tzinfo)


class Audited:
    """An auditor on a timed database, and the events that it emits."""

    def __init__(self, db: TimedDatabase) -> None:
        self.db = db
        self.clock = SettableClock()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.blocked: list[str] = []
        self.reads = AuditorReads(db.database)
        self.recorded = AuditFindings(db.database)
        self.auditor = Auditor(
            self.reads,
            self.recorded,
            AuditorOptions(days(1), days(2), days(1)),
            shards=lambda: ALL,
            blocked_targets=lambda: self.blocked,
            is_database_up=lambda: True,
            clock=self.clock,
            emit=lambda event, **fields: self.events.append((event, fields)),
        )

        async def do_not_wait(_seconds: float) -> bool:
            return False

        self.auditor._examiner._wait = do_not_wait
        self.clock.seconds += 120  # steady

    async def sweep(self) -> list[tuple[str, datetime | None]]:
        """Look at all campaigns at the database's time; return what is open then."""
        await self._set_time()
        await self.auditor.sweep_step()
        return await self.open()

    async def stuck(self) -> list[tuple[str, datetime | None]]:
        await self._set_time()
        await self.auditor.look_at_stuck()
        return await self.open()

    async def fresh(self) -> list[tuple[str, datetime | None]]:
        await self._set_time()
        await self.auditor.look_at_fresh()
        return await self.open()

    async def _set_time(self) -> None:
        self.reads.now = self.recorded.now = self.db.now
        # A creation is recorded at the database's own time.
        await self.db.rows("DELETE FROM campaign_events WHERE event = 'created'")

    async def open(self) -> list[tuple[str, datetime | None]]:
        found = await self.recorded.open_findings(limit=100)
        return sorted((each.kind.value, each.scheduled_for) for each in found)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]


@pytest.fixture
def audited(db: TimedDatabase) -> Audited:
    return Audited(db)


async def add_daily(db: TimedDatabase, **extras: Any) -> int:
    """Store a campaign that runs every day at 09:00 UTC."""
    return await db.add_scheduled(daily_body(NINE, **extras), kind="recurring")


async def run_events(db: TimedDatabase, node: DatabaseNode, *ends: datetime) -> None:
    """Let what is due at each of these instants run."""
    for at in ends:
        db.set_time(at)
        while won := await node.claim():
            for each in won:
                if each.attempt is not None:
                    await node.finish(each.attempt)


@pytest.fixture
async def daily(db: TimedDatabase, node: DatabaseNode) -> int:
    """A campaign that ran on the 2nd, 3rd and 4th of June, and is due on the 5th next."""
    campaign_id = await add_daily(db)
    await run_events(db, node, NINE, NINE + days(1), NINE + days(2))
    db.set_time(NINE + days(2) + hours(1))
    return campaign_id


async def test_schedules_of_every_kind_have_no_finding(
    db: TimedDatabase, node: DatabaseNode, audited: Audited, daily: int
) -> None:
    """H.1 without faults: recurring, one-off, a window with an end, and a paused campaign."""
    now = db.now
    await db.add_scheduled(once_body(now + hours(1)))
    window = await db.add_started(
        "segment_triggered",
        {
            "startdate": (now + hours(1)).isoformat(),
            "enddate": (now + hours(4)).isoformat(),
            "recurring_schedule": "continuously",
        },
    )
    await db.add_started("live_content", {"startdate": (now + hours(1)).isoformat()})
    paused = await db.add_scheduled(daily_body(now + hours(2)), kind="recurring")
    await db.control.pause(paused, "ann")
    for step in range(1, 60):
        await run_events(db, node, now + minutes(5 * step))
        if step % 12 == 0:
            assert await audited.sweep() == []
    assert await db.status_of(window) == "completed"
    await run_events(db, node, NINE + days(3), now + hours(27))
    assert await db.run_statuses_of(paused) == ["missed", "missed"]
    assert await audited.sweep() == []
    assert audited.logged("audit_round")[-1]["campaigns"] == 5
    assert max(each["occurrences"] for each in audited.logged("audit_pass")) > 20


async def test_h2_a_deleted_row_is_missing(db: TimedDatabase, audited: Audited, daily: int) -> None:
    at = NINE + days(1)
    await db.rows("DELETE FROM runs WHERE scheduled_for = :at", at=at)
    assert await audited.sweep() == [("missing", at)]
    (logged,) = audited.logged("audit_finding")
    assert (logged["level"], logged["campaign_id"]) == ("error", daily)
    assert f"campaignd explain {daily} --at 2026-06-03T09:00:00Z" in logged["remedy"]
    assert await audited.sweep() == [("missing", at)]
    assert len(audited.logged("audit_finding")) == 1, "each finding is logged once"


async def test_h2_within_a_minute_if_the_campaign_ran_just_now(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    """The fresh pass looks at an hour of the campaigns with runs claimed in two minutes."""
    db.set_time(NOON)
    campaign_id = await store_continuous(db, 60, hours(3))
    start = NOON + hours(1)
    await run_events(db, node, *(start + minutes(number) for number in range(5)))
    await db.rows("DELETE FROM runs WHERE scheduled_for = :at", at=start + minutes(2))
    db.advance(seconds(30))
    assert await audited.fresh() == [("missing", start + minutes(2))]
    assert audited.auditor.fresh_share == 1
    assert audited.logged("audit_finding")[0]["campaign_id"] == campaign_id


async def test_h3_a_row_at_no_occurrence_is_extra(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    at = NINE + days(1) + hours(1)
    await db.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at,"
        " start_before, finished_at)"
        " VALUES (:id, :at, gen_random_uuid(), 'completed', 1, :at, :at, :at)",
        id=daily,
        at=at,
    )
    assert await audited.sweep() == [("extra", at)]


async def test_h4_a_moved_timer_is_wrong_and_then_a_row_is_missing(
    db: TimedDatabase, node: DatabaseNode, audited: Audited, daily: int
) -> None:
    await db.rows(
        "UPDATE timers SET fire_at = fire_at + interval '1 day', local = local + interval '1 day'"
    )
    assert await audited.sweep() == [("wrong_timer", NINE + days(4))]
    db.set_time(NINE + days(3) + hours(1))
    assert await audited.sweep() == [
        ("missing", NINE + days(3)),
        ("wrong_timer", NINE + days(4)),
    ]


async def test_h4_also_before_the_first_run(db: TimedDatabase, audited: Audited) -> None:
    await add_daily(db)
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 day'")
    assert await audited.sweep() == [("wrong_timer", NINE + days(1))]


async def test_h5_a_deleted_timer(db: TimedDatabase, audited: Audited, daily: int) -> None:
    await db.rows("DELETE FROM timers")
    assert await audited.sweep() == [("no_timer", None)]


async def test_h6_a_counter_without_its_run(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    await db.rows("UPDATE campaigns SET open_runs = 1, status = 'executing'")
    assert await audited.sweep() == [("counts", None)]
    (logged,) = audited.logged("audit_finding")
    assert logged["details"] == {"open_runs": {"recorded": 1, "counted": 0}}


async def test_h7_two_nodes_begin_the_same_attempt(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    run = (await db.runs_of(daily))[1]
    for actor in ("node-a", "node-b"):
        await db.rows(
            "INSERT INTO campaign_events (campaign_id, at, event, cause, actor, run_id,"
            " scheduled_for) VALUES (:id, :at, 'attempt', 'attempt 2', :actor, :run, :at)",
            id=daily,
            at=run.scheduled_for,
            actor=actor,
            run=run.id,
        )
    assert await audited.sweep() == [("double_attempt", run.scheduled_for)]
    (logged,) = audited.logged("audit_finding")
    assert logged["run_id"] == run.id
    assert logged["details"] == {"attempt": 2, "nodes": ["node-a", "node-b"]}


async def test_an_attempt_given_back_is_made_by_another_node(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    """A stopping node gives a run back that it had not started."""
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    assert await node.release(won.attempt, disposition="not_started") == 1
    other = await db.register_node("other")
    (again,), _ = await other.claim_attempts()
    await other.finish(again)
    assert await audited.sweep() == []


async def test_h9_a_freeze_excuses_what_is_due(db: TimedDatabase, audited: Audited) -> None:
    """500 overdue campaigns: no finding while frozen, nor just after."""
    for _ in range(3):
        await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(2))
    await db.rows(
        "INSERT INTO brakes (scope, frozen_at, frozen_by, changed_at)"
        " VALUES ('*', :at, 'cli:ann', :at)",
        at=NOON,
    )
    assert await audited.stuck() == []
    await db.rows("UPDATE brakes SET frozen_at = NULL, frozen_by = NULL, changed_at = :at",
                  at=db.now - seconds(30))  # fmt: skip
    assert await audited.stuck() == []
    db.advance(seconds(60))
    assert await audited.stuck() == [("stuck_timer", NOON + hours(1))] * 3


async def test_h10_a_paused_target_excuses_what_is_due(db: TimedDatabase, audited: Audited) -> None:
    """After it resumed, 60 seconds without a claim are a finding."""
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(2))
    audited.blocked = ["log"]
    assert await audited.stuck() == []
    audited.blocked = []
    audited.clock.seconds += 59
    assert await audited.stuck() == []
    audited.clock.seconds += 2
    assert await audited.stuck() == [("stuck_timer", NOON + hours(1))]


async def test_nothing_is_stuck_within_a_minute(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1) + seconds(59))
    assert await audited.stuck() == []
    db.advance(seconds(2))
    assert await audited.stuck() == [("stuck_timer", NOON + hours(1))]
    await node.claim()
    assert await audited.stuck() == []
    assert [each["campaign_id"] for each in audited.logged("audit_cleared")] == [campaign_id]


async def test_a_retry_that_no_node_makes_is_stuck(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await node.release(won.attempt)
    db.advance(seconds(61))
    assert await audited.stuck() == [("stuck_run", NOON + hours(1))]
    await db.control.pause(campaign_id, "ann")
    assert await audited.stuck() == []


async def test_an_executing_run_of_no_node_is_stuck(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    await node.claim()
    assert await audited.sweep() == []
    await db.rows("UPDATE runs SET node = 'nobody'")
    assert await audited.sweep() == [("stuck_run", NOON + hours(1))]
    assert await audited.stuck() == [("stuck_run", NOON + hours(1))], "the other pass keeps it"


async def test_a_run_held_for_a_day_is_noticed(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await node.release(won.attempt, disposition="held")
    db.advance(hours(23))
    assert await audited.stuck() == []
    db.advance(hours(2))
    assert await audited.stuck() == [("held", NOON + hours(1))]
    assert audited.logged("audit_finding")[0]["level"] == "warning"


async def test_h11_a_stretch_is_counted(
    db: TimedDatabase, node: DatabaseNode, audited: Audited
) -> None:
    """150 occurrences that passed as one stretch are no finding; 149 would be one."""
    await store_continuous(db, 60, hours(9), misfire_grace_time=60)
    await run_events(db, node, NOON + hours(1), NOON + hours(1) + minutes(152))
    (stretch,) = await db.rows("SELECT * FROM campaign_events WHERE details ? 'count'")
    assert stretch.details["count"] == 150
    assert await audited.sweep() == []
    await db.rows(
        "UPDATE campaign_events SET details = jsonb_set(details, '{count}', '149')"
        " WHERE details ? 'count'"
    )
    assert await audited.sweep() == [("miscounted", stretch.scheduled_for)]


async def test_h12_an_edit_begins_a_new_chain(
    db: TimedDatabase, node: DatabaseNode, audited: Audited, daily: int
) -> None:
    """Rows before the edit are by the old time, and today's new time is left out."""
    await db.control.save_schedule(daily, daily_body(NINE + days(2) + hours(3)), "ann")
    await run_events(db, node, NINE + days(2) + hours(3))
    assert await audited.sweep() == []
    await db.control.save_schedule(
        daily, daily_body(NINE + days(3) + hours(4), timezone="America/New_York"), "ann"
    )
    await run_events(db, node, NINE + days(3), NINE + days(3) + hours(4), NINE + days(4) + hours(4))
    assert await audited.sweep() == []


async def test_h13_a_row_put_back_clears_the_finding(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    at = NINE + days(1)
    await db.rows("CREATE TEMP TABLE kept AS SELECT * FROM runs WHERE scheduled_for = :at", at=at)
    (kept,) = [run for run in await db.runs_of(daily) if run.scheduled_for == at]
    await db.rows("DELETE FROM runs WHERE scheduled_for = :at", at=at)
    assert await audited.sweep() == [("missing", at)]
    assert audited.auditor.open[FindingKind.MISSING] == 1
    await db.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at,"
        " started_at, start_before, finished_at) VALUES"
        " (:campaign_id, :scheduled_for, :id, :status, 1, :claimed_at, :claimed_at, :start_before,"
        " :finished_at)",
        **{
            name: getattr(kept, name)
            for name in (
                *("campaign_id", "scheduled_for", "id", "status", "claimed_at", "start_before"),
                "finished_at",
            )
        },
    )
    assert await audited.fresh() == [], "campaigns with findings are looked at every minute"
    (cleared,) = audited.logged("audit_cleared")
    assert (cleared["kind"], cleared["scheduled_for"]) == ("missing", at)
    assert audited.auditor.open[FindingKind.MISSING] == 0


async def test_only_what_two_looks_see_is_a_finding(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    """A row that appears within the five seconds between them was never missing."""
    at = NINE + days(1)
    await db.rows("UPDATE runs SET cause = 'start' WHERE scheduled_for = :at", at=at)
    await db.rows(
        "UPDATE runs SET scheduled_for = scheduled_for + interval '1 s' WHERE scheduled_for = :at",
        at=at,
    )

    async def put_back(_seconds: float) -> bool:
        await db.rows("UPDATE runs SET scheduled_for = :at WHERE cause = 'start'", at=at)
        return False

    audited.auditor._examiner._wait = put_back
    assert await audited.sweep() == []


async def test_pruned_history_is_not_missing(
    db: TimedDatabase, node: DatabaseNode, audited: Audited, daily: int
) -> None:
    await run_events(db, node, NINE + days(3))
    await db.rows("DELETE FROM runs WHERE scheduled_for < :at", at=NINE + days(3))
    await db.rows("DELETE FROM campaign_events WHERE at < :at", at=NINE + days(3))
    assert await audited.sweep() == []


async def test_schedules_of_an_older_release_are_judged_from_their_oldest_run_on(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    """Since when they were armed is unknown."""
    await db.rows("UPDATE schedule_definitions SET armed_from = NULL")
    assert await audited.sweep() == []
    await db.rows("DELETE FROM runs WHERE scheduled_for = :at", at=NINE + days(1))
    assert await audited.sweep() == []
    db.set_time(NINE + days(2) + hours(1))
    await db.rows("DELETE FROM timers")
    assert await audited.sweep() == [("no_timer", None)]


async def test_findings_of_a_deleted_campaign_are_cleared(
    db: TimedDatabase, audited: Audited, daily: int
) -> None:
    await db.rows("DELETE FROM timers")
    assert await audited.sweep() == [("no_timer", None)]
    await db.rows("DELETE FROM campaigns")
    assert await audited.fresh() == []


async def test_the_auditor_locks_no_row(db: TimedDatabase, audited: Audited, daily: int) -> None:
    """It looks at a campaign that another session has locked, and waits for nothing."""
    async with db.database.transaction() as connection:
        await connection.exec_driver_sql("SELECT 1 FROM campaigns, timers FOR UPDATE")
        assert await audited.sweep() == []
        assert await audited.stuck() == []


async def test_h8_an_attempt_that_another_node_overtook_is_noticed(
    db: TimedDatabase, audited: Audited
) -> None:
    """Its node woke after its lease: the receiver may have the run twice, and nothing is wrong."""
    first, second = await db.register_node("first", 5), await db.register_node("second")
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    await first.beat(5)
    (won,) = await first.claim()
    db.advance(seconds(10))
    await second.take_over(first)
    (again,), _ = await second.claim_attempts()
    await second.finish(again)
    assert won.attempt is not None
    late = FinishedAttempt(won.attempt, Delivered(), RunStatus.EXECUTING)
    assert await first.firing.finish([late]) == []
    await first.firing.record_overtaken([late])
    assert await audited.sweep() == [("overtaken", NOON + hours(1))]
    (logged,) = audited.logged("audit_finding")
    assert (logged["level"], logged["details"]) == ("warning", {"attempt": 1, "node": "first"})
    event = (await db.events_of(logged["campaign_id"]))[-1]
    assert (event.event, event.cause) == ("overtaken", "attempt 1 of first: completed")


async def test_a_stopped_run_is_not_overtaken(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await db.control.stop(campaign_id, "ann")
    assert won.attempt is not None
    late = FinishedAttempt(won.attempt, Delivered(), RunStatus.EXECUTING)
    assert await node.firing.finish([late]) == []
    await node.firing.record_overtaken([late])
    assert "overtaken" not in [event.event for event in await db.events_of(campaign_id)]
