"""The RFC 5545 text expands, in python-dateutil, to exactly the local dates that run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, Skip

ZONES = [
    "UTC", "America/New_York", "Australia/Lord_Howe", "America/Nuuk", "Africa/Casablanca",
    "Asia/Gaza",
    "Pacific/Apia", "Europe/Dublin", "America/Sao_Paulo", "Antarctica/Troll", "America/Asuncion",
]  # fmt: skip
NOW = datetime.fromisoformat("1999-12-31T00:00Z")
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def resolve(local: datetime, zone: ZoneInfo) -> datetime:
    """Wall-clock time to an instant by trying offsets and by search; does not use fold."""
    near = local.replace(tzinfo=UTC)
    offsets = {
        (near + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-27, 28)
    }
    passes = [near - offset for offset in offsets if offset is not None]
    fitting = [instant for instant in passes if wall(instant, zone) == local.replace(fold=0)]
    if fitting:
        return min(fitting)
    # A gap: the offset of the last instant whose wall clock has not reached the wanted time.
    low, high = near - timedelta(hours=27), near + timedelta(hours=27)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if wall(middle, zone) < local:
            low = middle
        else:
            high = middle
    offset = low.astimezone(zone).utcoffset()
    assert offset is not None
    return near - offset


def expand(text: str, zone: ZoneInfo, count: int) -> tuple[list[datetime], bool]:
    """Return the instants of the text's local dates, and whether these are all.

    dateutil expands the naive local dates, and this module's own resolver makes instants of them.
    """
    start, rule = text.removeprefix("DTSTART").split("\n")
    local = datetime.strptime(start.rsplit(":", 1)[1].rstrip("Z"), "%Y%m%dT%H%M%S")  # noqa: DTZ007
    parts = dict(part.split("=") for part in rule.removeprefix("RRULE:").split(";"))
    until = parts.pop("UNTIL", None)
    naive = ";".join(f"{name}={value}" for name, value in parts.items())
    instants: list[datetime] = []
    dates = list(islice(rrulestr(f"RRULE:{naive}", dtstart=local), count))
    for each in dates:
        instant = resolve(each, zone)
        if until and instant > datetime.strptime(until, "%Y%m%dT%H%M%S%z"):
            return instants, True
        if not instants or instant > instants[-1]:
            instants.append(instant)
    return instants, len(dates) < count


@st.composite
def bodies(draw: st.DrawFn) -> tuple[CampaignType, dict[str, Any]]:
    start = draw(st.datetimes(*map(datetime.fromisoformat, ("2000-01-01", "2040-01-01"))))
    start = start.replace(microsecond=0)
    timezone = draw(st.sampled_from(ZONES))
    interval = draw(st.integers(1, 14))
    end = start + timedelta(days=draw(st.integers(1, 2500)))
    ends = draw(st.sampled_from([None, end.date().isoformat(), end.isoformat(), f"{end:%FT%T}Z"]))
    if draw(st.booleans()):
        config: dict[str, Any] = {
            "frequency": draw(st.sampled_from(["daily", "weekly", "monthly"])),
            "interval": interval,
            "end_date": ends,
            "days_of_week": draw(st.none() | st.lists(st.integers(1, 7), min_size=1, max_size=4)),
            "day_of_month": draw(st.none() | st.integers(1, 31)),
            "time": draw(st.none() | st.times().map(lambda time: f"{time:%H:%M}")),
            "skip": draw(st.sampled_from(["backward", "omit", None])),
        }
        return CampaignType.RECURRING, {
            "schedule_type": "recurring",
            "scheduled_at": start.isoformat(),
            "timezone": timezone,
            "recurring_config": config,
        }
    body = {
        "startdate": start.isoformat(),
        "enddate": ends if ends and "T" in ends else None,
        "timezone": timezone,
        "repeating_schedule_attributes": {
            "interval_size": interval,
            "interval_unit": draw(st.sampled_from(["day", "week", "month"])),
            "day_of_month": draw(st.sampled_from(["nth_day", "nth_weekday", "last_day"])),
            "days_of_week": draw(st.lists(st.sampled_from(DAYS), max_size=4)),
        },
    }
    kinds = [CampaignType.RECURRING, CampaignType.SEGMENT_TRIGGERED, CampaignType.ONE_TIME]
    return draw(st.sampled_from(kinds)), body


def schedule_of(kind: CampaignType, body: dict[str, Any]) -> Schedule | None:
    read = read_schedule_body if "schedule_type" in body else read_update_body
    try:
        return read(body, BodyContext(NOW, kind, past=PastStarts.ANY)).schedule
    except InvalidInput as error:
        # An end before the first occurrence.
        if "never run" in str(error) or "must be after startdate" in str(error):
            return None
        raise


@settings(max_examples=600)
@given(bodies())
def test_the_text_means_the_dates_that_run(case: tuple[CampaignType, dict[str, Any]]) -> None:
    kind, body = case
    schedule = schedule_of(kind, body)
    if schedule is None:
        return
    text = rrule_text(schedule)
    first = schedule.first_event()
    assert first is not None
    if text is None:
        assert resolve(first.local, ZoneInfo(schedule.timezone)) != first.at
        return
    rrulestr(text)
    expected, ended = expand(text, ZoneInfo(schedule.timezone), 40)
    ours: list[datetime] = []
    event = first if first.kind is EventKind.FIRE else schedule.event_following(first)
    while event is not None and event.kind is EventKind.FIRE and len(ours) < len(expected) + 1:
        ours.append(event.at)
        event = schedule.event_following(event)
    assert ours[: len(expected)] == expected
    assert not ended or len(ours) == len(expected)
    assert schedule.occurrences(NOW, len(ours)) == ours


def text_of(timezone: str = "America/New_York", **config: Any) -> str | None:
    body = {
        "schedule_type": "recurring",
        "scheduled_at": config.pop("scheduled_at", "2026-01-31T09:00"),
        "timezone": timezone,
        "recurring_config": config,
    }
    schedule = schedule_of(CampaignType.RECURRING, body)
    assert schedule is not None
    return rrule_text(schedule)


START = "DTSTART;TZID=America/New_York:20260131T090000\n"


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"frequency": "daily"}, "FREQ=DAILY"),
        ({"frequency": "daily", "interval": 3}, "FREQ=DAILY;INTERVAL=3"),
        ({"frequency": "daily", "days_of_week": [7, 6]}, "FREQ=DAILY;BYDAY=SA,SU"),
        ({"frequency": "weekly", "interval": 2}, "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA"),
        ({"frequency": "monthly"}, "FREQ=MONTHLY;BYMONTHDAY=-1"),
        ({"frequency": "monthly", "skip": "omit"}, "FREQ=MONTHLY;BYMONTHDAY=31"),
        (
            {"frequency": "daily", "end_date": "2026-02-03"},
            "FREQ=DAILY;UNTIL=20260203T140000Z",
        ),
    ],
)
def test_rules_as_text(config: dict[str, Any], rule: str) -> None:
    assert text_of(**config) == f"{START}RRULE:{rule}"


@pytest.mark.parametrize(
    ("day", "part"),
    [(29, "28,29;BYSETPOS=-1"), (30, "28,29,30;BYSETPOS=-1"), (28, "28"), (1, "1")],
)
def test_days_that_short_months_lack(day: int, part: str) -> None:
    text = text_of(frequency="monthly", day_of_month=day)
    assert text is not None
    assert text.endswith(f"RRULE:FREQ=MONTHLY;BYMONTHDAY={part}")


def test_a_fifth_weekday_that_is_omitted_stays_the_fifth() -> None:
    body = {
        "startdate": "2026-01-29T09:00Z",
        "repeating_schedule_attributes": {"interval_unit": "month", "day_of_month": "nth_weekday"},
    }
    schedule = schedule_of(CampaignType.RECURRING, body)
    assert schedule is not None
    assert schedule.rule is not None
    omitting = schedule._replace(rule=schedule.rule._replace(skip=Skip.OMIT))
    text = rrule_text(omitting)
    assert text == "DTSTART:20260129T090000Z\nRRULE:FREQ=MONTHLY;BYDAY=5TH"


def updated(kind: CampaignType, **body: Any) -> str | None:
    schedule = schedule_of(kind, body)
    assert schedule is not None
    return rrule_text(schedule)


def test_update_forms_as_text() -> None:
    def monthly(start: str, **more: Any) -> str | None:
        attributes = {"interval_unit": "month", "day_of_month": "nth_weekday", **more}
        return updated(
            CampaignType.RECURRING, startdate=start, repeating_schedule_attributes=attributes
        )

    utc = "DTSTART:20260113T090000Z\nRRULE:FREQ=MONTHLY;BYDAY="
    assert monthly("2026-01-13T09:00Z") == utc + "2TU"
    assert monthly("2026-01-13T09:00Z", days_of_week=["thu", "tue"]) == utc + "2TU,2TH"
    fifth = monthly("2026-01-29T09:00Z")
    assert fifth == "DTSTART:20260129T090000Z\nRRULE:FREQ=MONTHLY;BYDAY=-1TH"
    assert (
        updated(CampaignType.ONE_TIME, startdate="2026-01-13T09:00", timezone="Europe/Paris")
        == "DTSTART;TZID=Europe/Paris:20260113T090000\nRRULE:FREQ=DAILY;COUNT=1"
    )
    continuous = updated(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-01-13T09:00",
        enddate="2026-01-13T10:01",
        timezone="Europe/Paris",
        recurring_schedule="continuously",
    )
    assert continuous == (
        "DTSTART:20260113T080000Z\nRRULE:FREQ=SECONDLY;INTERVAL=300;UNTIL=20260113T090000Z"
    )


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CampaignType.EVENT_TRIGGERED, {"startdate": "2026-01-13T09:00"}),
        (CampaignType.LIVE_CONTENT, {"startdate": "2026-01-13T09:00"}),
        (CampaignType.RECURRING, {"startdate": "2026-01-13T09:00:00.5"}),
        (CampaignType.ONE_TIME, {"startdate": "2026-01-13T09:00:00.000001"}),
        (
            CampaignType.RECURRING,
            {"startdate": "2026-11-01T01:30-05:00", "timezone": "America/New_York"},
        ),
        (CampaignType.ONE_TIME, {"startdate": "1582-10-15T09:00"}),
    ],
)
def test_what_cannot_be_said_has_no_text(kind: CampaignType, body: dict[str, Any]) -> None:
    assert updated(kind, **body) is None
