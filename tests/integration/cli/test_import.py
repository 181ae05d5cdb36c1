"""`campaignd import` of many campaigns: its duration and its progress bar."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

CAMPAIGND = Path(sys.executable).with_name("campaignd")
MANY = 100_000
LIMIT_S = 60
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
TABLES = ("campaigns", "schedule_definitions", "timers", "campaign_events", "runs")


def lines(count: int) -> Iterator[str]:
    """Yield campaigns of every type in equal numbers, without uuids."""
    start, end = "2090-05-03T09:30", "2095-05-03T09:30:00Z"
    for number in range(count):
        often = {"interval_unit": "month", "day_of_month": "nth_weekday"}
        kind, body = (
            ("one_time", {"schedule_type": "scheduled", "scheduled_at": f"{start}:00+02:00"}),
            (
                "recurring",
                {
                    "schedule_type": "recurring",
                    "recurring_config": {
                        "frequency": "weekly",
                        "interval": number % 50 + 1,
                        "days_of_week": [number % 7 + 1],
                        "time": f"{number % 24:02}:{number % 60:02}",
                    },
                },
            ),
            ("recurring", {"startdate": start, "repeating_schedule_attributes": often}),
            ("segment_triggered", {"startdate": start, "enddate": end}),
            ("event_triggered", {"startdate": start}),
            ("live_content", {"startdate": start, "enddate": end}),
        )[number % 6]
        campaign: dict[str, Any] = {"name": f"campaign {number}", "type": kind}
        campaign["timezone"] = ZONES[number % len(ZONES)]
        campaign["payload"] = {"segment": number}
        yield json.dumps({"campaign": campaign, "schedule": body}) + "\n"


def environment(url: str) -> dict[str, str]:
    return os.environ | {"CAMPAIGND_DATABASE_URL": url, "TERM": "xterm", "COLUMNS": "100"}


def versions(url: str) -> list[tuple[Any, ...]]:
    """Return figures that any write to a row changes, for every table of an import."""
    with psycopg.connect(url) as connection:
        return [
            connection.execute(
                f"SELECT count(*), sum(xmin::text::bigint), sum(hashtext(ctid::text)) FROM {table}"
            ).fetchall()[0]
            for table in TABLES
        ]


@pytest.mark.machine
@pytest.mark.alone
def test_a_hundred_thousand_campaigns(database_url: str, tmp_path: Path) -> None:
    """The first import takes less than a minute, the second one writes nothing."""
    file = tmp_path / "campaigns.jsonl"
    with file.open("w") as sink:
        sink.writelines(lines(MANY))
    came_to, took, left = [], [], []
    for _ in range(2):
        began = time.monotonic()
        done = subprocess.run(
            [CAMPAIGND, "import", file],
            capture_output=True,
            text=True,
            env=environment(database_url),
            check=False,
        )
        took.append(time.monotonic() - began)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        came_to.append(done.stderr)
        left.append(versions(database_url))
    assert came_to == [
        f"{MANY} loaded, 0 unchanged, 0 updated, 0 bad\n",
        f"0 loaded, {MANY} unchanged, 0 updated, 0 bad\n",
    ]
    assert [row[0] for row in left[0]] == [MANY, MANY, MANY, MANY, 0]
    assert left[0] == left[1]
    assert max(took) < LIMIT_S, took


def test_the_progress_bar(database_url: str, tmp_path: Path) -> None:
    """On a terminal: the number of campaigns, a bar and the time; bad lines are above it."""
    file = tmp_path / "campaigns.jsonl"
    file.write_text("".join(lines(30)) + "nope\n")
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [CAMPAIGND, "import", file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=environment(database_url),
    ) as process:
        os.close(follower)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(leader, 65536):
                shown += part
        os.close(leader)
        assert process.wait() == 1
    text = shown.decode()
    assert "line 31: is not JSON" in text
    assert "30 loaded, 0 unchanged, 0 updated, 1 bad\r\n" in text
    drawn, before, after = text.rpartition("30 campaigns")
    assert before, "the number of campaigns"
    assert "  0%" in drawn
    assert re.match(r".*━.*100%.*\d:\d\d:\d\d", after)
    assert after.endswith("\x1b[2K"), "the bar is erased in the end"
