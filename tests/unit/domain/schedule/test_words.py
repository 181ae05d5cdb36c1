"""A schedule in words means exactly the occurrences of the schedule.

`read_phrase` is an independent reader: it lists dates from the phrase alone, day by day, without
the recurrence arithmetic of the domain.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.requests.context import ParsedSchedule
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.schedule.timezones import resolve, wall_clock, zone
from daemon.domain.schedule.words import MONTHS, WEEKDAYS, schedule_in_words
from tests.unit.domain.schedule.schedules import at, recurring, saved, window

NOW = at("2026-11-28T12:00Z")
ORDINALS = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
]  # fmt: skip
ZONES = {"in New York": "America/New_York", "in Paris": "Europe/Paris", "UTC": "UTC"}
SPAN = timedelta(days=3000)
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def number_of(text: str) -> int:
    """Return the number of "every", "second", "third" or "14th"."""
    if text in ORDINALS:
        return ORDINALS.index(text) + 1
    return int(re.sub(r"\D", "", text))


def day_of(text: str, this_year: int | None) -> date:
    day, month, *year = text.split()
    return date(int(year[0]) if year else this_year or 0, MONTHS.index(month) + 1, int(day))


def days_of(text: str) -> set[int]:
    """Return the weekdays (Monday 0) of "Monday to Friday" or "Monday, Tuesday and Sunday"."""
    found = [WEEKDAYS.index(word) for word in re.findall("|".join(WEEKDAYS), text)]
    return set(range(found[0], found[1] + 1)) if " to " in text else set(found)


class Phrase:
    """The dates, the time, the zone and the end that a phrase states."""

    def __init__(self, text: str, now: datetime | None) -> None:
        found = re.fullmatch(
            r"(?P<dates>.+?),? at (?P<time>\d\d:\d\d) (?P<zone>in [A-Z][A-Za-z ]+|UTC)"
            r"(, from (?P<first>\d+ \w+( \d{4})?)( at \d\d:\d\d)?)?"
            r"(, until (?P<end>\d+ \w+( \d{4})?)( at (?P<until>[\d:]+))?)?",
            text,
        )
        assert found, text
        self.zone = zone(ZONES[found["zone"]])
        year = None if now is None else wall_clock(now, self.zone).year
        self.time = time.fromisoformat(found["time"])
        self.dates = found["dates"]
        self.first = found["first"] and day_of(found["first"], year)
        self.end = date.max
        self.until = datetime.combine(date.max, time.max)
        if found["end"]:
            self.end = day_of(found["end"], year)
            if found["until"]:
                self.until = datetime.combine(self.end, time.fromisoformat(found["until"]))

    def matches(self, day: date, first: date) -> bool:
        text = self.dates
        if text == "every day":
            return True
        if monthly := re.fullmatch(
            r"on (.+) of every (?:(\w+) )?month"
            r"( that has it| \(in a shorter month, its last day\))?",
            text,
        ):
            months = (day.year - first.year) * 12 + day.month - first.month
            return not months % number_of(monthly[2] or "first") and self.is_month_day(
                day, monthly[1], monthly[3]
            )
        if daily := re.fullmatch(r"every (\w+) day(, only on (.+))?", text):
            on_day = not daily[3] or day.weekday() in days_of(daily[3])
            return on_day and (day - first).days % number_of(daily[1]) == 0
        weeks = ((day - timedelta(day.weekday())) - (first - timedelta(first.weekday()))).days // 7
        if weekly := re.fullmatch(r"(?:on )?(.+) of every (\w+) week", text):
            on_day = weekly[1] == "every day" or day.weekday() in days_of(weekly[1])
            return on_day and weeks % number_of(weekly[2]) == 0
        if one := re.fullmatch(r"every (?:(second|\w+th|\w+rd|\w+st|\w+nd) )?(\w+day)", text):
            return day.weekday() in days_of(one[2]) and not weeks % number_of(one[1] or "first")
        return day.weekday() in days_of(text)

    @staticmethod
    def is_month_day(day: date, which: str, note: str | None) -> bool:
        length = monthrange(day.year, day.month)[1]
        if which == "the last day":
            return day.day == length
        if number := re.fullmatch(r"the (\d+)\w\w", which):
            wanted = int(number[1])
            return day.day == (min(wanted, length) if note and "shorter" in note else wanted)
        for ordinal, name in re.findall(r"the (\w+) (\w+day)", which):
            if day.weekday() == WEEKDAYS.index(name):
                nth = (day.day - 1) // 7 + 1
                if day.day + 7 > length if ordinal == "last" else nth == number_of(ordinal):
                    return True
        return False

    def occurrences(self, now: datetime, until: datetime) -> list[datetime]:
        local_now = wall_clock(now, self.zone)
        first = self.first or local_now.date()
        found = []
        for number in range((until - now).days):
            day = first + timedelta(number)
            local = datetime.combine(day, self.time)
            instant = resolve(local, self.zone)
            if day > self.end or wall_clock(instant, self.zone) > self.until or instant > until:
                break
            if instant > now and self.matches(day, first):
                found.append(instant)
        return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[CampaignType, dict[str, Any]]:
    start = draw(st.datetimes(at("2026-11-29"), at("2029-12-31"))).replace(second=0, microsecond=0)
    end = start + timedelta(days=draw(st.integers(1, 1500)))
    ends = draw(st.sampled_from([None, end.date().isoformat(), end.isoformat()]))
    name = draw(st.sampled_from(sorted(ZONES.values())))
    # Small numbers above all: large ones have few occurrences.
    interval = draw(st.sampled_from([1, 1, 1, 2, 3, 5, 10, 11, 12, 23]))
    if draw(st.booleans()):
        config = {
            "frequency": draw(st.sampled_from(["daily", "weekly", "monthly"])),
            "interval": interval,
            "end_date": ends,
            "days_of_week": draw(st.none() | st.lists(st.integers(1, 7), min_size=1, max_size=7)),
            "day_of_month": draw(st.none() | st.integers(1, 31)),
            "time": f"{draw(st.times()):%H:%M}",
            "skip": draw(st.sampled_from(["backward", "omit", None])),
        }
        starts = draw(st.booleans()) or (
            config["frequency"] != "daily"
            and not config["days_of_week" if config["frequency"] == "weekly" else "day_of_month"]
        )
        return CampaignType.RECURRING, {
            "schedule_type": "recurring",
            "scheduled_at": start.isoformat() if starts else None,
            "timezone": name,
            "recurring_config": config,
        }
    return draw(st.sampled_from([CampaignType.RECURRING, CampaignType.SEGMENT_TRIGGERED])), {
        "startdate": start.isoformat(),
        "enddate": ends if ends and "T" in ends else None,
        "timezone": name,
        "repeating_schedule_attributes": {
            "interval_size": interval,
            "interval_unit": draw(st.sampled_from(["day", "week", "month"])),
            "day_of_month": draw(st.sampled_from(["nth_day", "nth_weekday", "last_day"])),
            "days_of_week": draw(st.lists(st.sampled_from(DAYS), max_size=7)),
        },
    }


def schedule_of_body(kind: CampaignType, body: dict[str, Any]) -> ParsedSchedule | None:
    """Return the meaning of a body; None for a recurrence that would never run."""
    read = read_schedule_body if "schedule_type" in body else read_update_body
    try:
        return read(body, BodyContext(NOW, kind, past=PastStarts.ANY))
    except InvalidInput as error:
        if "never run" in str(error) or "must be after startdate" in str(error):
            return None
        raise


@settings(max_examples=300)
@given(cases(), st.booleans())
def test_the_phrase_means_the_occurrences(
    case: tuple[CampaignType, dict[str, Any]], brief: bool
) -> None:
    """Also the brief phrase, which leaves out what the reader knows by the date of today."""
    parsed = schedule_of_body(*case)
    if parsed is None or parsed.schedule is None:
        return
    schedule = parsed.schedule
    phrase = schedule_in_words(schedule, NOW if brief else None)
    count = 12
    wanted = schedule.occurrences(NOW, count)
    until = NOW + SPAN
    found = Phrase(phrase, NOW if brief else None).occurrences(NOW, until)[:count]
    assert found == [instant for instant in wanted if instant <= until], phrase


@pytest.mark.parametrize(
    ("config", "phrase"),
    [
        (
            {"frequency": "weekly", "interval": 2, "days_of_week": [1], "end_date": "2026-12-31"},
            "every second Monday at 09:00 in Paris, from 30 November, until 31 December",
        ),
        ({"frequency": "daily"}, "every day at 09:00 in Paris"),
        ({"frequency": "weekly", "days_of_week": [1, 3]}, "every Monday and Wednesday"),
        ({"frequency": "weekly", "days_of_week": [1, 2, 3, 4, 5]}, "Monday to Friday"),
        (
            {"frequency": "weekly", "interval": 3, "days_of_week": [2, 4]},
            "on Tuesday and Thursday of every third week",
        ),
        ({"frequency": "monthly", "day_of_month": 31}, "on the last day of every month"),
        (
            {"frequency": "monthly", "day_of_month": 30},
            "on the 30th of every month (in a shorter month, its last day)",
        ),
        (
            {"frequency": "monthly", "day_of_month": 31, "skip": "omit"},
            "on the 31st of every month that has it",
        ),
    ],
)
def test_a_rule_reads_as_a_person_would_say_it(config: dict[str, Any], phrase: str) -> None:
    body = {"schedule_type": "recurring", "recurring_config": {"time": "09:00", **config}}
    text = schedule_in_words(saved({**body, "timezone": "Europe/Paris"}, now=NOW), NOW)
    assert text.startswith(phrase), text


def test_a_start_that_has_passed_is_left_out_today_and_stays_in_the_lasting_phrase() -> None:
    schedule = recurring("UTC", "2026-11-02T09:00", frequency="weekly", interval=2)
    assert schedule_in_words(schedule, NOW) == "every second Monday at 09:00 UTC"
    lasting = "every second Monday at 09:00 UTC, from 2 November 2026"
    assert schedule_in_words(schedule) == lasting


def test_a_single_run_and_windows_have_their_ends_in_words() -> None:
    once = window(
        CampaignType.ONE_TIME, NOW, startdate="2026-11-30T09:00:30", timezone="America/New_York"
    )
    assert schedule_in_words(once, NOW) == "once on Monday 30 November at 09:00:30 in New York"
    ends = {"startdate": "2026-12-01T08:00", "enddate": "2027-01-31T18:00", "timezone": "UTC"}
    live = window(CampaignType.LIVE_CONTENT, NOW, **ends)
    open_from = "from 1 December at 08:00 UTC, until 31 January 2027 at 18:00"
    assert schedule_in_words(live, NOW) == f"open {open_from}"
    steady = window(CampaignType.SEGMENT_TRIGGERED, NOW, **ends, recurring_schedule="continuously")
    assert schedule_in_words(steady, NOW) == f"every 5 minutes {open_from}"
    daily = window(CampaignType.SEGMENT_TRIGGERED, NOW, **ends)
    assert schedule_in_words(daily, NOW) == (
        "every day at 08:00 UTC, from 1 December at 08:00, until 31 January 2027 at 18:00"
    )


def test_a_policy_for_clock_changes_is_part_of_the_phrase() -> None:
    schedule = recurring("Europe/Paris", "2026-11-29T02:30", time="02:30")._replace(
        dst=DaylightSaving(Gap.SKIP, Fold.BOTH)
    )
    assert schedule_in_words(schedule, NOW).endswith(
        "; a time that the clocks skip is left out"
        "; a time that the clocks repeat means both its passes"
    )


def test_a_zone_that_is_no_city_keeps_its_name() -> None:
    for name, words in (("Etc/GMT+5", "in Etc/GMT+5"), ("EST5EDT", "in EST5EDT")):
        text = schedule_in_words(recurring(name, "2026-11-27T09:00"), NOW)
        assert text == f"every day at 09:00 {words}", text
