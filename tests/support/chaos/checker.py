"""Checks what must be true after an episode, from the inputs, the histories and the receiver.

The check follows Jepsen's analysis of Chronos: every expected occurrence has exactly one run, and
no other run exists. What each run and campaign records about itself must agree with the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from daemon.domain.campaign.state_machine import ARMED, Status
from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.auditing import audit_errors
from tests.support.chaos.editor import Edit
from tests.support.chaos.receiver import Request
from tests.support.chaos.workload import NeverOracle, Oracle, PlannedCampaign
from tests.support.histories import check_histories

PROMPT = timedelta(seconds=2)
"""Maximum lateness of a claim while no fault is present."""
MAX_ATTEMPTS = 3
HELD_BY_THAW = "held: due while frozen"

Row = dict[str, Any]


@dataclass
class Findings:
    """The findings of one check."""

    occurrences: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    repeated_deliveries: int = 0
    takeovers: int = 0
    latest_healthy_s: float = 0.0
    judged_for_lateness: int = 0

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.unexpected or self.doubled or self.stuck or self.wrong)

    def problems(self) -> list[str]:
        named = {name: getattr(self, name) for name in ("lost", "unexpected", "doubled", "stuck")}
        named["wrong"] = self.wrong
        return [f"{name}: {each}" for name, found in named.items() for each in found]


QUIET = """
    SELECT NOT EXISTS (SELECT 1 FROM runs r JOIN campaigns c ON c.id = r.campaign_id
                       WHERE r.finished_at IS NULL
                         AND (c.status <> 'paused' OR r.status NOT IN ('queued', 'retrying')))
       AND NOT EXISTS (SELECT 1 FROM timers t JOIN campaigns c ON c.id = t.campaign_id
                       WHERE t.fire_at < clock_timestamp() - interval '1 second')
"""
"""True when nothing is overdue and no run is open, but those that wait for a paused campaign."""

STUCK_RUNS = """
    SELECT r.campaign_id, r.scheduled_for, r.status, r.attempt, r.takeovers, r.node, r.claimed_at,
           r.next_attempt_at, c.status AS campaign,
           EXISTS (SELECT 1 FROM nodes n WHERE n.id = r.node) AS node_lives
    FROM runs r JOIN campaigns c ON c.id = r.campaign_id
    WHERE r.finished_at IS NULL AND (c.status <> 'paused' OR r.status NOT IN ('queued', 'retrying'))
"""

COUNTERS = """
    SELECT c.id, c.status, c.open_runs, c.held_runs, c.queued_runs, c.more_to_come, r.held,
           c.has_due, c.has_completed,
           r.is_open, r.waiting, t.campaign_id IS NOT NULL AS has_timer,
           coalesce(d.kind = 'window' AND (d.ends_at IS NULL OR d.ends_at > clock_timestamp())
                    AND c.status IN ('scheduled', 'launched', 'executing', 'paused'), false)
               AS window_open, t.revision IS DISTINCT FROM d.revision AS other_revision
    FROM campaigns c
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE finished_at IS NULL) AS is_open,
               count(*) FILTER (WHERE status = 'held' AND attempt = 0) AS held,
               count(*) FILTER (WHERE status = 'queued' AND next_attempt_at IS NULL) AS waiting
        FROM runs WHERE campaign_id = c.id
    ) AS r
    LEFT JOIN timers t ON t.campaign_id = c.id
    LEFT JOIN schedule_definitions d ON d.campaign_id = c.id
"""


@dataclass
class CampaignHistory:
    """The rows of one campaign."""

    made: PlannedCampaign
    campaign: Row
    runs: list[Row]
    events: list[Row]


def check_episode(
    database: CampaignDatabase,
    campaigns: Sequence[PlannedCampaign],
    edits: Sequence[Edit],
    requests: Sequence[Request],
    at_fault: Sequence[tuple[datetime, datetime]],
    frozen: Sequence[tuple[datetime, datetime]] = (),
) -> Findings:
    """Check everything, once the database is quiet.

    Args:
        frozen: from when to when nothing may have begun.
    """
    found = Findings()
    by_id: dict[str, dict[Any, list[Row]]] = {}
    for table, order in (("runs", "scheduled_for"), ("campaign_events", "id")):
        by_id[table] = defaultdict(list)
        for row in database.rows(f"SELECT * FROM {table} ORDER BY campaign_id, {order}"):
            by_id[table][row["campaign_id"]].append(row)
    rows = {row["uuid"]: row for row in database.rows("SELECT * FROM campaigns")}
    now = database.one("SELECT clock_timestamp()")
    oracles = {edit.actor: edit.oracle for edit in edits}
    for made in campaigns:
        row = rows[made.uuid]
        history = CampaignHistory(
            made, row, by_id["runs"][row["id"]], by_id["campaign_events"][row["id"]]
        )
        _check_occurrences(history, oracles, now, found)
        _check_runs(history, found)
        _check_lateness(history, at_fault, found)
    _check_answers(database, edits, found)
    _check_freezes(requests, frozen, found)
    _compare_with_auditor(database, found)
    _check_counters(database, found)
    _check_deliveries(by_id["runs"].values(), rows.values(), requests, found)
    try:
        check_histories(database)
    except AssertionError as error:
        found.wrong.append(f"history: {error}")
    return found


def stuck_rows(database: CampaignDatabase) -> list[str]:
    """Return the runs that are still open and the timers that are overdue."""
    runs = [str(row) for row in database.rows(STUCK_RUNS)]
    timers = database.rows(
        "SELECT * FROM timers WHERE fire_at < clock_timestamp() - interval '1 second'"
    )
    return runs + [str(row) for row in timers]


def expected_occurrences(
    history: CampaignHistory, oracles: dict[str, Oracle | None], now: datetime
) -> dict[datetime, str]:
    """Return the instants that must have a run, computed from the edits in the history."""
    wanted: dict[datetime, str] = {}
    oracle: Oracle = NeverOracle()
    since: datetime | None = None

    def close_period(until: datetime) -> None:
        if since is not None:
            wanted.update((at, "schedule") for at in oracle.occurrences_between(since, until))

    for event in history.events:
        at, name, to_status = event["at"], event["event"], event["to_status"]
        if name in ("schedule_saved", "schedule_updated"):
            close_period(at)
            oracle = oracles.get(event["actor"]) or history.made.oracle
            since = at if to_status in set(ARMED) else None
        elif name == "schedule_cleared":
            close_period(at)
            oracle, since = NeverOracle(), None
        elif name == "start" and event["from_status"] == Status.DRAFT:
            if event["run_id"] is not None:
                wanted[at] = "start"
            else:
                since = at
        elif name == "stop":
            close_period(at)
            since = None
        elif name == "rerun":
            wanted[at] = "rerun"
    close_period(now)
    return wanted


def _check_occurrences(
    history: CampaignHistory, oracles: dict[str, Oracle | None], now: datetime, found: Findings
) -> None:
    wanted = expected_occurrences(history, oracles, now)
    found.occurrences += len(wanted)
    passed = {
        (at.fromisoformat(event["details"]["from"]), at.fromisoformat(event["details"]["to"]))
        for at in [datetime]
        for event in history.events
        if event["event"] == "passed" and event["details"]
    }
    have = {run["scheduled_for"]: run for run in history.runs}
    for at in wanted.keys() - have.keys():
        if not any(first <= at <= last for first, last in passed):
            found.lost.append(f"{history.made.name} {at.isoformat()} ({wanted[at]})")
    for at, run in have.items():
        if wanted.get(at) != run["cause"]:
            found.unexpected.append(f"{history.made.name} {run}")


def _check_runs(history: CampaignHistory, found: Findings) -> None:
    """Check each run by itself and against the other runs of its campaign."""
    per_run: dict[UUID, Counter[str]] = defaultdict(Counter)
    causes: dict[UUID, list[str]] = defaultdict(list)
    for event in history.events:
        if event["run_id"] is not None and event["cause"] != "has its run already":
            per_run[event["run_id"]][event["event"]] += 1
            causes[event["run_id"]].append(event["cause"] or "")
    for run in history.runs:
        name = f"{history.made.name} {run['scheduled_for'].isoformat()} {run['status']}"
        events = per_run[run["id"]]
        found.runs[run["status"]] += 1
        found.takeovers += run["takeovers"]
        if events["fire"] > 1 or events["run_ended"] > 1 or events["passed"] > 1:
            found.doubled.append(f"{name}: {dict(events)}")
        ends = events["run_ended"] + events["passed"]
        if run["finished_at"] is not None and ends != 1:
            found.wrong.append(f"{name}: ends {ends} times: {dict(events)}")
        if run["attempt"] - run["takeovers"] > MAX_ATTEMPTS:
            found.wrong.append(f"{name}: {run['attempt']} attempts, {run['takeovers']} lost")
        if run["started_at"] is not None and run["started_at"] < run["scheduled_for"]:
            found.wrong.append(f"{name}: started early, {run['started_at']}")
        why = " ".join(causes[run["id"]])
        if HELD_BY_THAW in causes[run["id"]] and not any(
            word in why for word in ("released", "dropped by", "cancelled")
        ):
            found.wrong.append(f"{name}: held, and no one has decided: {why}")
        if run["status"] == "missed" and not _is_rightly_missed(run, why):
            found.wrong.append(f"{name}: {why}; {run}")
        if run["status"] == "skipped" and not _is_rightly_skipped(run, why, history.runs):
            others = [
                (other["scheduled_for"], other["status"], other["claimed_at"], other["finished_at"])
                for other in history.runs
            ]
            found.wrong.append(f"{name}: {why}; beside {others}")
        if run["status"] == "failed" and not run["error"]:
            found.wrong.append(f"{name}: no reason")
    if history.made.extras.get("overlap", "skip") != "allow":
        _check_one_at_a_time(history, found)


def _is_rightly_missed(run: Row, why: str) -> bool:
    late = run["finished_at"] > run["start_before"]
    reasons = ("missed: paused", "came first", "due while frozen", "dropped by")
    return late or any(reason in why for reason in reasons)


def _is_rightly_skipped(run: Row, why: str, runs: Iterable[Row]) -> bool:
    others = [other for other in runs if other is not run]
    if "coalesced" in why:
        return any(
            other["claimed_at"] >= run["claimed_at"]
            and other["scheduled_for"] > run["scheduled_for"]
            for other in others
        )
    # For a run that waited or was taken over, `claimed_at` is its latest claim: it fired before.
    return any(
        other["scheduled_for"] <= run["claimed_at"] <= (other["finished_at"] or run["claimed_at"])
        and other["status"] != "skipped"
        # Only a run that was open and became too late later, not one that was missed at once.
        and (other["status"] != "missed" or other["finished_at"] > other["claimed_at"])
        for other in others
    )


def _check_one_at_a_time(history: CampaignHistory, found: Findings) -> None:
    # A run that was held is in no other's way, so that it may run beside another.
    released = {event["run_id"] for event in history.events if event["cause"] == "released"}
    begun = sorted(
        (
            run
            for run in history.runs
            if run["started_at"] is not None and run["id"] not in released
        ),
        key=lambda run: run["started_at"],
    )
    for before, after in pairwise(begun):
        if before["finished_at"] is None or after["started_at"] < before["finished_at"]:
            found.wrong.append(f"{history.made.name}: overlap of {before} and {after}")


def _check_lateness(
    history: CampaignHistory, at_fault: Sequence[tuple[datetime, datetime]], found: Findings
) -> None:
    """Check that claims without a fault were in time; a claim may wait for the run before it."""
    extras = history.made.extras
    if history.made.is_continuous and not extras["coalesce"] and extras["overlap"] != "allow":
        return
    for run in history.runs:
        at = run["scheduled_for"]
        if run["cause"] != "schedule" or run["attempt"] > 1 or run["status"] == "cancelled":
            continue
        if run["start_before"] < at or any(a <= at + PROMPT and at <= b for a, b in at_fault):
            continue
        if extras.get("overlap") == "queue":
            continue  # `claimed_at` is when the run left the queue.
        late = (run["claimed_at"] - at).total_seconds()
        found.judged_for_lateness += 1
        found.latest_healthy_s = max(found.latest_healthy_s, late)
        if late > PROMPT.total_seconds():
            found.wrong.append(
                f"{history.made.name}: {late:.3f} s late although all was well: {run}"
            )


def _check_answers(database: CampaignDatabase, edits: Sequence[Edit], found: Findings) -> None:
    """Check that accepted edits took place, and that refused edits did not."""
    happened = Counter(row["actor"] for row in database.rows("SELECT actor FROM campaign_events"))
    for edit in edits:
        if edit.outcome == "broken":
            found.wrong.append(f"an answer that is a fault of the daemon's: {edit}")
        if edit.outcome == "refused" and happened[edit.actor]:
            found.wrong.append(f"refused, but it happened: {edit}")
        changes = edit.name in ("save", "update", "rerun", "stop", "pause")
        if edit.outcome == "done" and changes and not happened[edit.actor]:
            found.wrong.append(f"done, but it left no trace: {edit}")


def _check_freezes(
    requests: Sequence[Request], frozen: Sequence[tuple[datetime, datetime]], found: Findings
) -> None:
    """Check that nothing was sent while everything was frozen."""
    for since, until in frozen:
        for request in requests:
            if since < request.at < until:
                found.wrong.append(f"sent in a freeze from {since} to {until}: {request}")


def _check_counters(database: CampaignDatabase, found: Findings) -> None:
    for row in database.rows(COUNTERS):
        good = (
            row["open_runs"] == row["is_open"]
            and row["held_runs"] == row["held"]
            and row["queued_runs"] == row["waiting"]
            and row["more_to_come"] == (row["has_timer"] or row["window_open"])
            and not (row["has_timer"] and row["other_revision"])
            and (row["status"] != "completed" or row["has_completed"] or not row["has_due"])
            and (row["status"] != "failed" or (row["has_due"] and not row["has_completed"]))
        )
        if not good:
            found.wrong.append(f"counters: {row}")


def _check_deliveries(
    runs: Iterable[list[Row]],
    campaigns: Iterable[Row],
    requests: Sequence[Request],
    found: Findings,
) -> None:
    """Compare the receiver's log with the rows."""
    targets = {row["id"]: row["target"] for row in campaigns}
    known = {run["id"]: run for several in runs for run in several}
    of_run: dict[UUID, list[Request]] = defaultdict(list)
    for request in requests:
        of_run[request.run_id].append(request)
    for run_id, came in of_run.items():
        run = known.get(run_id)
        if run is None:
            found.wrong.append(f"delivered, but there is no such run: {came}")
            continue
        attempts = Counter(request.attempt for request in came)
        if max(attempts.values()) > 1:
            found.doubled.append(f"one attempt came twice: {came}")
        if max(attempts) > run["attempt"]:
            found.wrong.append(f"attempt {max(attempts)} came, the run has {run['attempt']}: {run}")
        if run["status"] in ("missed", "skipped"):
            found.wrong.append(f"delivered, but {run['status']}: {run}")
        if min(request.at for request in came) < run["scheduled_for"]:
            found.wrong.append(f"delivered early: {came}")
        found.repeated_deliveries += sum(request.status == 200 for request in came) > 1
    for run in known.values():
        is_sent = run["status"] == "completed" and targets[run["campaign_id"]] != "log"
        if is_sent and not any(request.status == 200 for request in of_run[run["id"]]):
            found.wrong.append(f"completed, but it never arrived: {run}")


def _compare_with_auditor(database: CampaignDatabase, found: Findings) -> None:
    """Check that the auditor, which knows neither the inputs nor the receiver, finds no error."""
    found.wrong += [f"the auditor finds: {each}" for each in audit_errors(database.url)]
