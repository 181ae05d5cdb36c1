"""docs/from-cron.md: each recurrence runs when its line of a crontab does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from apscheduler.triggers.cron import CronTrigger

from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.preview import campaign_answer
from daemon.domain.requests import BodyContext, read_schedule_body
from daemon.domain.schedule.schedule import CampaignType

PAGE = (Path(__file__).parents[3] / "docs" / "from-cron.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([^|]+) \| ([^|]+) \| `(\{.+?\})`(?:, with `(.+)`)? \|$", PAGE, re.M)
BEFORE = datetime(2029, 12, 30, 12, tzinfo=UTC)
TESTS = {"tomorrow is the 1st": ("28-31", "last"), "it is Monday": ("1-7", "1st mon")}
"""The day of the month, where a line needs a test beside it, as APScheduler has it."""
COUNT = 40


def expected(line: str) -> list[str]:
    """Return when the line is due, computed by APScheduler."""
    fields = re.search(r"(\S+ \S+ \S+ \S+ [\w*,-]+)`", f"`{line}")
    assert fields is not None, line
    minute, hour, day, month, weekday = fields[1].lstrip("`").split()
    for test, (written, meant) in TESTS.items():
        if test in line:
            assert day == written
            day = meant
    zone = found[1] if (found := re.search(r"CRON_TZ=([\w/]+)", line)) else "UTC"
    trigger = CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=zone
    )
    due = [trigger.get_next_fire_time(None, BEFORE)]
    while len(due) < COUNT:
        due.append(trigger.get_next_fire_time(due[-1], due[-1]))
    return [f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in due]


def test_the_page_has_twelve_lines() -> None:
    assert len(ROWS) == 12


@pytest.mark.parametrize(("line", "words", "config", "beside"), ROWS, ids=[row[0] for row in ROWS])
def test_a_recurrence_runs_when_its_line_does(
    line: str, words: str, config: str, beside: str
) -> None:
    """Forty occurrences are the same, and the words are those that campaignd shows."""
    body: dict[str, Any] = {"schedule_type": "recurring", "recurring_config": json.loads(config)}
    body |= json.loads(f"{{{beside}}}")
    saved = read_schedule_body(body, BodyContext(BEFORE, CampaignType.ONE_TIME, "UTC"))
    campaign = Campaign(1, UUID(int=1), "a campaign", CampaignType.ONE_TIME, Status.DRAFT)
    answer = campaign_answer(saved, Snapshot(campaign, BEFORE), COUNT)
    assert answer["summary"].startswith(words)
    assert answer["occurrences"] == expected(line)
