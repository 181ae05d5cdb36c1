"""The calendar of runs to come, read back by `icalendar` as a calendar program reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import icalendar
import pytest

from daemon.calendar_sources.feed import MAX_EVENTS, write_feed
from daemon.domain.campaign.state_machine import Status
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.requests import BodyContext, read_update_body
from daemon.domain.schedule.schedule import CampaignType
from tests.support.builders import daily_schedule

CAMPAIGN = UUID("09d6d2b1-684b-41c7-80d5-7001ce2653ac")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SAVED_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def daily(number: int = 1, **changes: Any) -> ScheduledCampaign:
    """Return a campaign that runs daily at 09:00 in Paris."""
    first = datetime(2026, 5, 2, 7, tzinfo=UTC)
    made = ScheduledCampaign(
        number,
        CAMPAIGN,
        "Letter",
        CampaignType.RECURRING,
        Status.LAUNCHED,
        "log",
        daily_schedule(first, "Europe/Paris"),
        datetime(2026, 6, 2, 7, tzinfo=UTC),
        17,
        SAVED_AT,
    )
    return made._replace(**changes)


def read(*campaigns: ScheduledCampaign, days: int = 3) -> icalendar.Calendar:
    text = write_feed("coming", campaigns, NOW, NOW + timedelta(days=days))
    return icalendar.Calendar.from_ical(text)


def events(calendar: icalendar.Calendar) -> list[Any]:
    return list(calendar.walk("VEVENT"))


def test_i_1_each_occurrence_is_an_event_with_the_id_of_its_run() -> None:
    text = write_feed("coming", [daily()], NOW, NOW + timedelta(days=3))
    calendar = icalendar.Calendar.from_ical(text)
    found = events(calendar)
    assert len(found) == 3
    assert found[0]["uid"] == "9e5da30d-b4ae-5b10-b73e-1723e4c2d565@campaignd"
    assert b"\r\nDTSTART:20260602T070000Z\r\n" in text
    assert b"\r\nDURATION:PT15M\r\n" in text
    assert b"\r\nREFRESH-INTERVAL;VALUE=DURATION:PT15M\r\n" in text
    assert (found[0].decoded("dtstamp"), found[0]["sequence"]) == (SAVED_AT, 17)
    assert (found[0]["transp"], found[0]["status"]) == ("TRANSPARENT", "CONFIRMED")
    assert found[0]["description"] == "2026-06-02 09:00 Europe/Paris\ntarget log"
    assert (calendar["name"], calendar["version"]) == ("coming", "2.0")
    assert "x-wr-caldesc" not in calendar


def test_i_2_the_runs_of_a_paused_campaign_are_tentative() -> None:
    found = events(read(daily(status=Status.PAUSED)))
    assert [each["status"] for each in found] == ["TENTATIVE"] * 3
    assert [each["summary"] for each in found] == ["Letter [paused]"] * 3


def test_i_6_the_soonest_5000_are_listed() -> None:
    # Each campaign has runs on 100 days, and the last ones come later on each day.
    later = [timedelta(minutes=number) for number in range(60)]
    many = [
        daily(
            number,
            schedule=daily_schedule(datetime(2026, 5, 2, 7, tzinfo=UTC) + step, "Europe/Paris"),
            next_at=datetime(2026, 6, 2, 7, tzinfo=UTC) + step,
        )
        for number, step in enumerate(later)
    ]
    calendar = read(*many, days=100)
    found = events(calendar)
    assert len(found) == MAX_EVENTS
    assert calendar["x-wr-caldesc"] == "the first 5000"
    starts = [each.decoded("dtstart") for each in found]
    assert starts == sorted(starts)
    assert starts[-1] == datetime(2026, 8, 24, 7, 19, tzinfo=UTC)


@pytest.mark.parametrize("name", ['Sale; 50%, "now"\nand a line break', "ü" * 200, "\\n;,:"])
def test_i_7_a_name_is_escaped_and_folded(name: str) -> None:
    text = write_feed(name, [daily(campaign_name=name)], NOW, NOW + timedelta(days=3))
    assert max(map(len, text.split(b"\r\n"))) <= 75
    calendar = icalendar.Calendar.from_ical(text)
    assert events(calendar)[0]["summary"] == name


def test_a_window_is_one_event_from_its_opening_to_its_closing() -> None:
    ctx = BodyContext(NOW, CampaignType.LIVE_CONTENT)
    body = {"startdate": "2026-06-02T07:00Z", "enddate": "2026-06-03T07:00Z"}
    schedule = read_update_body(body, ctx).schedule
    assert schedule is not None
    window = daily(type=CampaignType.LIVE_CONTENT, schedule=schedule)
    (found,) = events(read(window, days=9))
    assert found.decoded("dtstart") == datetime(2026, 6, 2, 7, tzinfo=UTC)
    assert found.decoded("dtend") == datetime(2026, 6, 3, 7, tzinfo=UTC)
    assert events(read(window, days=0)) == []
