"""Checks that the events of campaigns follow the transition table."""

from __future__ import annotations

import functools
import itertools

from daemon.domain.campaign.state_machine import Event, Facts, Status, transition
from daemon.domain.schedule.schedule import CampaignType
from tests.support.campaign_database import CampaignDatabase
from tests.support.documented_history import is_documented


def check_histories(database: CampaignDatabase) -> None:
    """Check that each campaign's events form one chain that ends in its status.

    Every step must be in the transition table and in docs/history.md.
    """
    rows = database.rows(
        """
        SELECT e.campaign_id, e.event, e.from_status, e.to_status, e.cause, c.status,
               lead(e.id) OVER chain IS NULL AS is_last,
               lag(e.to_status) OVER chain AS before, lag(e.id) OVER chain IS NULL AS is_first
        FROM campaign_events e JOIN campaigns c ON c.id = e.campaign_id
        WHERE e.event <> 'overtaken'  -- written by a node that reads no status
        WINDOW chain AS (PARTITION BY e.campaign_id ORDER BY e.id)
        ORDER BY e.campaign_id, e.id
        """
    )
    for row in rows:
        assert is_documented(row["event"], row["cause"]), row
        assert row["is_first"] or row["from_status"] == row["before"], row
        assert not row["is_last"] or row["to_status"] == row["status"], row
        if row["event"] == Event.PASSED and row["from_status"] == row["to_status"]:
            continue  # One of several that passed at once; the status moves with the last one.
        event = row["event"]
        if event == "run_held" and row["from_status"] != row["to_status"]:
            event = Event.FIRE  # an occurrence that is held instead of started
        if event in set(Event):
            goals = _possible_goals(event, row["from_status"])
            assert row["to_status"] in goals, row
        else:  # An event of a run or an attempt: the campaign does not move.
            assert row["event"] in _STILL or row["from_status"] is None, row
            assert row["from_status"] in (None, row["to_status"]), row


_STILL = {"attempt", "run_retrying", "run_executing", "run_held", "run_queued"}


@functools.cache
def _possible_goals(event: str, before: str) -> frozenset[str]:
    """Return every status that the transition table can lead to, whatever the facts."""
    facts = [
        Facts(
            type=campaign_type,
            has_schedule=bits[0],
            more_to_come=bits[1],
            begun=bits[2],
            open_runs=int(bits[3]),
            has_due=bits[4],
            has_completed=bits[5],
        )
        for campaign_type in CampaignType
        for bits in itertools.product((False, True), repeat=6)
    ]
    goals = (transition(Status(before), Event(event), each) for each in facts)
    return frozenset(goal.value for goal in goals if goal is not None)
