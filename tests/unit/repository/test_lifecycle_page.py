"""docs/lifecycle.md agrees with the transition table in the code, and so does docs/semantics.md."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.domain.campaign.state_machine import (
    TABLE,
    Event,
    Facts,
    Status,
    final_status,
    transition,
)
from daemon.domain.schedule.schedule import CampaignType

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([a-z, ]+) \| `(\w+)` \| (?:(.+) )?\| (.+) \|$", PAGE, re.M)
FACTS = [
    Facts(
        type=kind,
        has_schedule=has_schedule,
        more_to_come=more,
        begun=begun,
        open_runs=open_runs,
        has_due=due,
        has_completed=completed,
        archived_from=origin,
    )
    for kind in (CampaignType.ONE_TIME, CampaignType.EVENT_TRIGGERED)
    for has_schedule in (True, False)
    for more in (True, False)
    for begun in (True, False)
    for open_runs in (0, 1)
    for due, completed in ((False, False), (True, False), (True, True))
    for origin in (Status.DRAFT, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
]


def test_the_diagram_has_the_transition_table() -> None:
    """The diagram's edges are the pairs of different statuses that the table allows."""
    edges = re.findall(r"^    (\w+) --> (\w+):", PAGE, re.M)
    possible = {
        (str(status), str(after))
        for status in Status
        for event in Event
        for facts in FACTS
        if (after := transition(status, event, facts)) is not None and after != status
    }
    assert len(edges) == len(set(edges))
    assert set(edges) == possible


def test_the_page_has_every_row_of_the_table() -> None:
    """Row by row: the statuses, the event, whether there is a condition, and the goal."""
    assert len(ROWS) == len(TABLE)
    for (before, event, condition, goal), row in zip(ROWS, TABLE, strict=True):
        assert set(before.split(", ")) == row.before, (before, event)
        assert event == row.event
        holds = [row.guard(facts) for facts in FACTS]
        assert bool(condition) == (not all(holds)), (before, event)
        for status in row.before:
            for facts in FACTS:
                after = row.goal(status, facts)
                expected = {
                    "the same": status,
                    "*final*": final_status(facts),
                    "the status before `archive`": facts.archived_from,
                    "no campaign": status,
                }.get(goal, goal)
                assert after == expected, (before, event, facts)
