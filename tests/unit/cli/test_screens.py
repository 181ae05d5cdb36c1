"""The tables as people see them, at 80 and at 200 columns, against the files in `screens/`.

`UPDATE_SCREENS=1 pytest tests/unit/cli/test_screens.py` writes the files again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest

from daemon.cli.commands import audit_log, campaigns, runs, status, upcoming
from daemon.cli.output import print_fields, print_table
from daemon.cli.screen import Screen, printing_to
from daemon.domain.audit import AuditRecord
from daemon.domain.campaign.model import Campaign, Run
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.read_models import CampaignSummary, NodeState, RunDetail, UpcomingEvent
from daemon.domain.schedule.schedule import CampaignType, EventKind
from daemon.domain.schedule.timezones import wall_clock, zone

SCREENS = Path(__file__).with_name("screens")
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
TERMINAL = Screen(
    NOW,
    width=80,
    is_for_people=True,
    has_short_ids=True,
    zone=zone("Europe/Paris"),
)
NAMES = [
    "Weekly letter",
    "Cart abandonment reminder for customers of the winter sale, wave 2",
    "秋の便り",
]
RUN_IDS = [UUID(int=number * 0x0FEB472A_1111_2222_3333_444455556666 + 7) for number in (1, 2, 3)]


def campaign(number: int) -> Campaign:
    return Campaign(
        id=number * 40_000,
        uuid=UUID(int=number),
        name=NAMES[number % 3],
        type=CampaignType.RECURRING,
        status=[Status.SCHEDULED, Status.PAUSED, Status.FAILED][number % 3],
        timezone="America/New_York",
        target="crm",
    )


def summaries() -> list[CampaignSummary]:
    return [
        CampaignSummary(
            campaign(number),
            NOW + timedelta(days=number * 30, hours=1),
            None,
            NOW + timedelta(days=400) if number == 3 else None,
            None,
        )
        for number in (1, 2, 3)
    ]


def run(number: int) -> RunDetail:
    at = NOW - timedelta(hours=number * 7, microseconds=250)
    outcome = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.HELD][number % 3]
    error = "the receiver answered 503 Service Unavailable, 12 attempts in 2 hours"
    return RunDetail(
        Run(
            id=RUN_IDS[number - 1],
            campaign_id=number * 40_000,
            scheduled_for=at,
            status=outcome,
            attempt=number,
            claimed_at=at,
            start_before=at,
            started_at=at + timedelta(milliseconds=30, seconds=number**5),
            error=error if outcome is RunStatus.FAILED else None,
        ),
        UUID(int=number),
        NAMES[number % 3],
        "crm",
    )


def event(number: int) -> UpcomingEvent:
    at = NOW + timedelta(hours=number * 20)
    return UpcomingEvent(
        number,
        UUID(int=number),
        NAMES[number % 3],
        CampaignType.RECURRING,
        Status.SCHEDULED,
        EventKind.FIRE,
        at,
        wall_clock(at, zone("Asia/Kathmandu")),
        "Asia/Kathmandu",
    )


def audit_row(number: int) -> AuditRecord:
    return AuditRecord(
        id=number,
        at=NOW - timedelta(days=number),
        actor="api:marketing-automation",
        command=None,
        address="2001:db8::7334",
        action="campaign.schedule_saved",
        object="campaign",
        object_id=str(number),
        object_name=NAMES[number % 3],
        outcome="refused" if number == 2 else "done",
        request_id=None,
        note="the scheduled time is in the past" if number == 2 else None,
    )


def node(number: int) -> NodeState:
    return NodeState(
        id=f"eu-west-1-worker-{number}@7f3bc864ce90",
        name=f"eu-west-1-worker-{number}",
        host="host",
        pid=1,
        version="0.1.0",
        tzdata="2026f",
        live=number == 1,
        draining=False,
        started_at=NOW,
        heartbeat_age=number * 2.5,
        lease_left=12.0,
        skew_ms=-3,
        shards=64,
        schema_version="0005",
    )


NUMBERS = (1, 2, 3)
TABLES: dict[str, Callable[[], None]] = {
    "campaigns": lambda: listing(campaigns._LISTING, summaries()),
    "runs": lambda: listing(runs._LISTING, [run(number) for number in NUMBERS]),
    "upcoming": lambda: listing(upcoming._LISTING, [event(number) for number in NUMBERS]),
    "audit-log": lambda: listing(audit_log._LISTING, [audit_row(number) for number in NUMBERS]),
    "nodes": lambda: print_table(
        status._NODE_COLUMNS, [status._node_row(node(number)) for number in (1, 2)], ""
    ),
    "fields": lambda: print_fields(
        {
            "uuid": str(UUID(int=2**127)),
            "status": Status.SCHEDULED,
            "next": NOW + timedelta(minutes=3),
            "payload": '{"subject": "A subject of some length", "url": "https://example.org/long/path"}',
        }.items()
    ),
}


def listing(found: object, items: list[object]) -> None:
    print_table(found.columns, [found.row(item) for item in items], "")  # type: ignore[attr-defined]


def shown(draw: Callable[[], None], screen: Screen) -> str:
    with redirect_stdout(StringIO()) as out, printing_to(screen):
        draw()
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_at_this_width_is_as_in_its_file(name: str, width: int) -> None:
    text = shown(TABLES[name], replace(TERMINAL, width=width))
    file = SCREENS / f"{name}-{width}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text("utf-8")


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_instant_and_no_id_is_cut(width: int) -> None:
    """Whatever the width: only names and errors give way, and every line that can be fits."""
    text = shown(TABLES["runs"], replace(TERMINAL, width=width))
    for found in RUN_IDS:
        assert str(found)[:8] in text
    instants = re.findall(r"(?:Sat 28|Fri 27) Nov \d\d:\d\d(?::\d\d)? \(\d+ hours ago\)", text)
    assert len(instants) == 3
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width


def test_a_pipe_gets_whole_ids_and_instants_in_utc() -> None:
    """No zone, width or colour of a machine changes what a program reads."""
    text = shown(TABLES["runs"], Screen(NOW))
    assert str(RUN_IDS[0]) in text
    assert "2026-11-28T04:59:59.999750Z" in text
    assert NAMES[1] in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4


def test_an_outcome_has_its_colour() -> None:
    text = shown(TABLES["runs"], replace(TERMINAL, has_colour=True, width=200))
    assert "\x1b[31mfailed\x1b[0m" in text
    assert "\x1b[32mcompleted\x1b[0m" in text
    assert "\x1b[33mheld\x1b[0m" in text
