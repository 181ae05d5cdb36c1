"""docs/history.md names every value that the code writes into `campaign_events`, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon.domain.campaign.state_machine import (
    ARMED,
    OPEN_RUN,
    TABLE,
    Event,
    RunStatus,
    Status,
    statuses_that_allow,
)
from daemon.domain.schedule.schedule import CampaignType, EventKind
from daemon.telemetry.events import EVENTS
from storage.bulk.planner import UNKNOWN_OUTCOME
from tests.support.documented_history import ROWS, is_documented

ROOT = Path(__file__).parents[3]
MODULES = [
    *ROOT.glob("storage/**/*.py"),
    ROOT / "daemon" / "domain" / "run" / "claim_plan.py",
    ROOT / "daemon" / "domain" / "brakes.py",
    ROOT / "daemon" / "domain" / "campaign" / "commands.py",
    ROOT / "daemon" / "pipeline" / "canceller.py",
    ROOT / "daemon" / "pipeline" / "brake_watch.py",
]
STATUSES = {*Status, *RunStatus, *(kind for kind in EventKind if kind is not EventKind.FIRE)}


def in_sql() -> set[str]:
    """Return every word that the statements write into event rows, or compare with them."""
    found: set[str] = set()
    for file in ROOT.glob("storage/sql/*.sql"):
        statement = re.sub(r"--.*", "", file.read_text("utf-8"))
        for logged in re.findall(r"INSERT INTO campaign_events\b(.*?)\n\)\s", statement, re.S):
            found.update(re.findall(r"'([^']+)'", logged))
    # A reason follows the first, the status of an open run the second; the third is a verdict. A
    # node follows the last.
    found -= {": ", "run_", "started", " of "}
    return {*(f"run_{status}" for status in OPEN_RUN), *found} - STATUSES


def in_modules(pattern: str) -> set[str]:
    """Return the texts that the modules write, each up to its first value."""
    sources = (file.read_text("utf-8") for file in MODULES)
    return {name for source in sources for name in re.findall(pattern, source)}


def beginning(cause: str) -> str:
    """Return a documented cause up to its first placeholder."""
    return re.split(r"[A-Z]", cause, maxsplit=1)[0]


EVENTS_IN_MODULES = in_modules(r'event="(\w+)"') | in_modules(r'"(imported)"')
CAUSES_IN_MODULES = in_modules(
    r'(?:(?:cause|_CAUSE)(?:: str)? ?= ?f?|self\._release\(.*, )"([^"{]+)'
)


def test_every_event() -> None:
    known = {*Event, *(f"run_{status}" for status in OPEN_RUN), "attempt", "overtaken", "run_ended"}
    known |= {"deferred", "recomputed"}
    written = (in_sql() & known) | EVENTS_IN_MODULES
    assert {row.event for row in ROWS} == written | EVENTS_IN_MODULES | (
        set(Event) - {Event.DELETE}
    )


def test_every_cause() -> None:
    outcomes = {"completed", "failed: ", "missed", "retrying: ", "held: ", "queued", "executing"}
    outcomes |= {"missed: dropped by ", "skipped: ", "deferred: "}
    documented = {beginning(row.cause) for row in ROWS if row.cause is not None}
    events = {row.event for row in ROWS}
    documented.remove("")  # that of a failed resumption is the reason alone
    assert documented == (in_sql() - events) | CAUSES_IN_MODULES | outcomes


def test_documented_rows_are_recognised() -> None:
    assert is_documented("run_ended", "failed: HTTP 500\nin two lines")
    assert is_documented("passed", "missed: stop came first")
    assert is_documented("stop", None)
    assert is_documented("imported", UNKNOWN_OUTCOME)
    assert not is_documented("stop", "because")
    assert not is_documented("fire", None)
    assert not is_documented("run_held", "released")


def test_the_log_events_named_exist() -> None:
    for row in ROWS:
        assert set(re.findall(r"`(\w+)`", row.logged)) <= EVENTS.keys(), row


@pytest.mark.parametrize("event", sorted({row.event for row in TABLE} - {Event.DELETE}))
def test_the_statuses(event: Event) -> None:
    """The page has the statuses of the table; starting a live campaign changes nothing."""
    before = {
        status
        for row in ROWS
        if row.event == event
        for way in row.statuses.split(";")
        for status in re.findall(r"\w+", way.partition("→")[0])
    } - {"as", "above"}
    allowed = {status for kind in CampaignType for status in statuses_that_allow(event, kind)}
    if event is Event.SCHEDULE_CLEARED:
        assert set(Status) - before & set(Status) == allowed
    else:
        assert before == (allowed - (ARMED - {Status.PAUSED}) if event is Event.START else allowed)
