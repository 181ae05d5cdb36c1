"""`recurring_config.rrule`: RFC 5545 text as another spelling of a recurrence."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.requests.context import CurrentSchedule
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import CampaignType
from tests.unit.domain.requests.save_bodies import at, recurring, refusal

FIELD = "recurring_config.rrule"
JANUARY = at("2026-01-15T12:00Z")


def saved(
    rrule: str, now: datetime = JANUARY, start: str | None = None, **config: Any
) -> ParsedSchedule:
    body: dict[str, Any] = {
        "schedule_type": "recurring",
        "recurring_config": {"rrule": rrule, "time": "09:00", **config},
    }
    if start is not None:
        body["scheduled_at"] = start
    return read_schedule_body(body, BodyContext(now, CampaignType.ONE_TIME))


def dates(result: ParsedSchedule, now: datetime = JANUARY, count: int = 3) -> list[str]:
    assert result.schedule is not None
    return [f"{each:%F}" for each in result.schedule.occurrences(now, count)]


def fault(rrule: str, **config: Any) -> str:
    body = recurring(frequency=None, rrule=rrule, **config)
    (text,) = refusal(body).errors[FIELD]
    return text


def changed(before: ParsedSchedule, **patch: Any) -> ParsedSchedule:
    assert before.schedule is not None
    current = CurrentSchedule(before.source, before.body, before.schedule)
    ctx = BodyContext(JANUARY, CampaignType.RECURRING, current=current)
    start = f"{before.schedule.anchor_at:%FT%TZ}"
    return read_update_body({"startdate": start, **patch}, ctx)


@pytest.mark.parametrize(
    ("skip", "expected"),
    [
        ("", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        (";SKIP=OMIT", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        (";SKIP=BACKWARD", ["2026-01-31", "2026-02-28", "2026-03-31"]),
    ],
)
def test_i_9_a_month_without_the_day_is_left_out_unless_skip_is_backward(
    skip: str, expected: list[str]
) -> None:
    assert dates(saved(f"FREQ=MONTHLY;BYMONTHDAY=31{skip}")) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency", "daily"),
        ("interval", 2),
        ("days_of_week", [1]),
        ("day_of_month", 1),
        ("skip", "omit"),
    ],
)
def test_i_10_a_field_that_rrule_stands_for_is_refused_beside_it(name: str, value: object) -> None:
    config: dict[str, Any] = {"frequency": None, name: value}
    error = refusal(recurring(rrule="FREQ=DAILY", **config))
    assert error.status == 400
    assert error.detail == f"{FIELD} stands for {name}: give one of them"


def test_i_11_count_is_refused_by_name() -> None:
    text = fault("FREQ=DAILY;COUNT=3")
    assert text.startswith("has COUNT, which is not supported; supported are FREQ, INTERVAL,")


def test_i_12_weeks_that_begin_on_another_day_are_refused_by_name() -> None:
    text = fault("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO")
    assert text.startswith("has WKST=SU with INTERVAL=2, which is not supported")
    # With an interval of 1, all weeks count, whatever day they begin on.
    assert dates(saved("FREQ=WEEKLY;WKST=SU;BYDAY=SU,MO")) == [
        "2026-01-18", "2026-01-19", "2026-01-25",
    ]  # fmt: skip


def test_i_13_until_is_the_end_date() -> None:
    rule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;UNTIL="
    for until in ("20260710T235959", "20260710", "20260710T090000Z"):
        result = saved(rule + until, start="2026-07-07T09:00:00")
        expected = ["2026-07-07", "2026-07-08", "2026-07-09", "2026-07-10"]
        assert dates(result, count=9) == expected
    # An end in between excludes what is later on its date.
    early = saved(rule + "20260710T085959", start="2026-07-07T09:00:00")
    assert dates(early, count=9) == ["2026-07-07", "2026-07-08", "2026-07-09"]


def test_i_14_the_stored_body_is_as_given_and_a_patch_works_as_over_frequency() -> None:
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;UNTIL=20261231"
    result = saved(rule, start="2026-07-07T09:00:00")
    assert result.body["recurring_config"] == {"rrule": rule, "time": "09:00"}
    fields = {
        "frequency": "weekly",
        "interval": 2,
        "days_of_week": [2, 4],
        "time": "09:00",
        "end_date": "2026-12-31",
    }
    body = {
        "schedule_type": "recurring",
        "scheduled_at": "2026-07-07T09:00:00",
        "recurring_config": fields,
    }
    over_fields = read_schedule_body(body, BodyContext(JANUARY, CampaignType.ONE_TIME))
    assert over_fields.schedule == result.schedule
    for attributes in (
        {"interval_size": 3},
        {"interval_unit": "day"},
        {"interval_unit": "month", "day_of_month": "last_day"},
        {"interval_unit": "month", "day_of_month": "nth_weekday"},
        {"days_of_week": ["wed"]},
        None,
    ):
        patch = {"repeating_schedule_attributes": attributes}
        after, expected = changed(result, **patch), changed(over_fields, **patch)
        assert after.schedule is not None
        assert expected.schedule is not None
        assert after.schedule == expected.schedule
    kept = changed(result, enddate="2026-08-01T00:00:00")
    assert kept.body["recurring_config"] == {
        "rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH",
        "time": "09:00",
        "end_date": "2026-08-01T00:00:00",
    }
    assert changed(result, overlap="allow").body["recurring_config"] == {
        "rrule": rule,
        "time": "09:00",
    }


def test_a_patch_keeps_an_ordinal_that_it_does_not_name() -> None:
    last_friday = saved("FREQ=MONTHLY;BYDAY=-1FR", start="2026-01-30T09:00:00")
    kept = changed(last_friday, enddate="2027-01-01T00:00:00Z")
    assert dates(kept) == ["2026-01-30", "2026-02-27", "2026-03-27"]
    slower = changed(last_friday, repeating_schedule_attributes={"interval_size": 2})
    assert slower.body["recurring_config"]["rrule"] == "FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR"
    assert dates(slower) == ["2026-01-30", "2026-03-27", "2026-05-29"]
    monday = changed(last_friday, repeating_schedule_attributes={"days_of_week": ["mon"]})
    assert dates(monday) == ["2026-02-23", "2026-03-30", "2026-04-27"]
    by_day = changed(last_friday, repeating_schedule_attributes={"day_of_month": "nth_day"})
    assert by_day.body["recurring_config"] == {
        "frequency": "monthly",
        "days_of_week": [5],
        "time": "09:00",
    }
    assert dates(by_day) == ["2026-01-30", "2026-02-28", "2026-03-30"]
    thanksgiving = saved("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", start="2026-11-26T09:00:00")
    friday = changed(thanksgiving, repeating_schedule_attributes={"days_of_week": ["fri"]})
    assert friday.body["recurring_config"]["rrule"] == "FREQ=YEARLY;BYMONTH=11;BYDAY=4FR"
    assert dates(friday) == ["2026-11-27", "2027-11-26", "2028-11-24"]
    no_days = changed(thanksgiving, repeating_schedule_attributes={"days_of_week": None})
    assert dates(no_days) == ["2026-11-26", "2027-11-26", "2028-11-26"]


@pytest.mark.parametrize(
    ("rrule", "start", "expected"),
    [
        (
            "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH",
            "2026-07-07T09:00:00",
            ["2026-07-07", "2026-07-09", "2026-07-21", "2026-07-23", "2026-08-04"],
        ),
        ("freq=yearly;bymonth=11;byday=4th", None, ["2026-11-26", "2027-11-25", "2028-11-23"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", None, ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", None, ["2028-02-29", "2032-02-29"]),
        (
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;RSCALE=GREGORIAN;SKIP=BACKWARD",
            None,
            ["2026-02-28", "2027-02-28", "2028-02-29"],
        ),
        ("FREQ=MONTHLY;BYDAY=5FR;SKIP=BACKWARD", None, ["2026-01-30", "2026-05-29", "2026-07-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", None, ["2026-01-30", "2026-02-28"]),
        ("FREQ=MONTHLY", "2026-01-31T09:00:00", ["2026-01-31", "2026-03-31"]),
        ("FREQ=WEEKLY\r\n", "2026-01-16T09:00:00", ["2026-01-16", "2026-01-23"]),
        ("FREQ=DAILY;INTERVAL=\r\n 3", "2026-01-16T09:00:00", ["2026-01-16", "2026-01-19"]),
    ],
)
def test_examples(rrule: str, start: str | None, expected: list[str]) -> None:
    assert dates(saved(rrule, start=start), count=len(expected)) == expected


def test_the_anchor_stays_when_the_same_rule_is_saved_again() -> None:
    first = saved("FREQ=YEARLY;INTERVAL=2;BYMONTH=11;BYDAY=4TH", at("2026-01-01T00:00Z"))
    assert first.schedule is not None
    current = CurrentSchedule(first.source, first.body, first.schedule)
    later = at("2027-06-01T00:00Z")
    ctx = BodyContext(later, CampaignType.RECURRING, current=current)
    again = read_schedule_body(first.body, ctx)
    assert dates(again, later, 1) == ["2028-11-23"]
    config = {
        **first.body["recurring_config"],
        "rrule": "FREQ=YEARLY;INTERVAL=2;BYMONTH=10;BYDAY=4TH",
    }
    other = read_schedule_body({**first.body, "recurring_config": config}, ctx)
    assert dates(other, later, 1) == ["2027-10-28"]


@pytest.mark.parametrize(
    ("rrule", "part"),
    [
        ("", "can't be blank"),
        ("\n", "has 0 lines"),
        ("X" * 501, "at most 500 characters"),
        ("DTSTART:20260707T090000\nRRULE:FREQ=DAILY", "has DTSTART: say scheduled_at"),
        ("DTSTART;TZID=Europe/Paris:20260707T090000", "has DTSTART: say scheduled_at"),
        ("FREQ=DAILY;DTSTART=20260707", "has DTSTART: say scheduled_at"),
        ("FREQ=DAILY\nEXDATE:20260707T090000", "has EXDATE: say send_window.except_dates"),
        ("FREQ=DAILY\nRDATE:20260707T090000", "has RDATE, which is not supported"),
        ("FREQ=DAILY\nFREQ=WEEKLY", "has 2 lines, must be one rule"),
        ("INTERVAL=2", "has no FREQ"),
        ("FREQ=HOURLY", "has FREQ=HOURLY, which is not supported; supported are DAILY, WEEKLY"),
        ("FREQ=DAILY;FREQ=DAILY", "has FREQ twice"),
        ("FREQ=DAILY;", "has ''"),
        ("FREQ=DAILY;INTERVAL", "has 'INTERVAL'"),
        ("FREQ=DAILY;INTERVAL=0", "has INTERVAL=0, must be from 1 to 999"),
        ("FREQ=DAILY;INTERVAL=1000", "must be from 1 to 999"),
        ("FREQ=YEARLY;INTERVAL=84;BYMONTH=1;BYMONTHDAY=1", "must be from 1 to 83"),
        ("FREQ=DAILY;BYHOUR=9", "has BYHOUR"),
        ("FREQ=DAILY;BYMINUTE=0", "has BYMINUTE"),
        ("FREQ=YEARLY;BYWEEKNO=20", "has BYWEEKNO"),
        ("FREQ=YEARLY;BYYEARDAY=100", "has BYYEARDAY"),
        ("FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1", "must have an ordinal"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=-1", "has BYSETPOS"),
        ("FREQ=MONTHLY;BYMONTHDAY=28,30;BYSETPOS=-1", "has BYSETPOS"),
        ("FREQ=MONTHLY;BYMONTHDAY=28,29;BYSETPOS=1", "has BYSETPOS"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,15", "must be one day"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "must be a day 1 to 31 or -1"),
        ("FREQ=MONTHLY;BYMONTHDAY=-2", "must be a day 1 to 31 or -1"),
        ("FREQ=MONTHLY;BYMONTHDAY=x", "must be a day 1 to 31 or -1"),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "must have an ordinal"),
        ("FREQ=MONTHLY;BYDAY=1FR;BYMONTHDAY=13", "has BYMONTHDAY beside BYDAY"),
        ("FREQ=WEEKLY;BYMONTHDAY=13", "has BYMONTHDAY without months"),
        ("FREQ=WEEKLY;BYDAY=1FR", "which has an ordinal: say FREQ=MONTHLY"),
        ("FREQ=MONTHLY;BYDAY=6FR", "must have an ordinal 1 to 5 or -1"),
        ("FREQ=MONTHLY;BYDAY=-2FR", "must have an ordinal 1 to 5 or -1"),
        ("FREQ=MONTHLY;BYDAY=1FR,2MO", "must have the same ordinal for all days"),
        ("FREQ=WEEKLY;BYDAY=XX", "must be days MO to SU"),
        ("FREQ=MONTHLY;BYMONTH=1;BYMONTHDAY=1", "has BYMONTH without FREQ=YEARLY"),
        ("FREQ=YEARLY;BYMONTHDAY=1", "needs BYMONTH"),
        ("FREQ=YEARLY;BYMONTH=1", "needs BYMONTHDAY, or BYDAY with an ordinal"),
        ("FREQ=YEARLY;BYMONTH=1,2;BYMONTHDAY=1", "must be one month 1 to 12"),
        ("FREQ=YEARLY;BYMONTH=13;BYMONTHDAY=1", "must be one month 1 to 12"),
        ("FREQ=DAILY;UNTIL=20260230", "has UNTIL=20260230, must be YYYYMMDD"),
        ("FREQ=DAILY;UNTIL=2026-07-01", "must be YYYYMMDD"),
        ("FREQ=DAILY;SKIP=FORWARD", "has SKIP=FORWARD, which is not supported"),
        ("FREQ=DAILY;RSCALE=CHINESE", "has RSCALE=CHINESE"),
        ("FREQ=DAILY;WKST=XX", "has WKST=XX, must be MO"),
        ("FREQ=DAILY;\x1b[31m=1", "has \\x1b[31M, which is not supported"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(rrule: str, part: str) -> None:
    assert part in fault(rrule)


def test_what_follows_from_scheduled_at_is_asked_for_without_it() -> None:
    assert fault("FREQ=WEEKLY") == "needs BYDAY without scheduled_at"
    assert fault("FREQ=MONTHLY") == "needs BYMONTHDAY without scheduled_at"
    never = recurring(frequency=None, rrule="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")
    assert "no occurrence before the year 10000" in refusal(never).detail
    both = fault("FREQ=DAILY;UNTIL=20270101", end_date="2027-01-01")
    assert both == "has UNTIL: give it or end_date"


def test_one_of_frequency_and_rrule_is_required() -> None:
    error = refusal(recurring(frequency=None))
    assert error.errors == {"recurring_config.frequency": ["can't be blank"]}


DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
SOME_DAYS = st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True)
ORDINALS = st.sampled_from([1, 2, 3, 4, 5, -1, "+2"])


@st.composite
def rrules(draw: st.DrawFn) -> tuple[str, str]:
    """Return a rule that is accepted, and the same for dateutil, which has no SKIP."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    interval = draw(st.integers(1, 30) | st.integers(1, 83 if frequency == "YEARLY" else 999))
    parts = [f"FREQ={frequency}"]
    if interval > 1 or draw(st.booleans()):
        parts.append(f"INTERVAL={interval}")
    parts.append("WKST=" + draw(st.sampled_from(DAYS if interval == 1 else ["MO"])))
    oracle = list(parts)
    if frequency == "YEARLY":
        month = f"BYMONTH={draw(st.integers(1, 12))}"
        parts.append(month)
        oracle.append(month)
    if frequency in ("DAILY", "WEEKLY"):
        if frequency == "WEEKLY" or draw(st.booleans()):
            parts.append("BYDAY=" + ",".join(draw(SOME_DAYS)))
            oracle.append(parts[-1])
    elif draw(st.booleans()):
        ordinal = draw(ORDINALS)
        parts.append("BYDAY=" + ",".join(f"{ordinal}{day}" for day in draw(SOME_DAYS)))
        oracle.append(parts[-1])
    else:
        day = draw(st.just(-1) | st.integers(1, 28) | st.integers(28, 31))
        last = ",".join(map(str, range(28, day + 1)))
        kind = draw(st.sampled_from(["", "SKIP=OMIT", "SKIP=BACKWARD", "BYSETPOS=-1"]))
        if kind == "BYSETPOS=-1" and day >= 28:
            parts.append(f"BYMONTHDAY={last};{kind}")
        else:
            parts.append(f"BYMONTHDAY={day}" + (f";{kind}" if kind.startswith("SKIP") else ""))
        backward = kind in ("SKIP=BACKWARD", "BYSETPOS=-1") and day > 28
        oracle.append(f"BYMONTHDAY={last};BYSETPOS=-1" if backward else f"BYMONTHDAY={day}")
    if draw(st.booleans()):
        end = draw(st.dates(date(2026, 1, 1), date(2060, 1, 1)))
        form = draw(st.sampled_from(["%Y%m%d", "%Y%m%dT090000", "%Y%m%dT085959Z"]))
        parts.append(f"UNTIL={end:{form}}")
        # A date includes its whole day; dateutil takes its midnight.
        oracle.append(parts[-1].rstrip("Z") + ("T235959" if form == "%Y%m%d" else ""))
    order = draw(st.permutations(parts))
    return draw(st.sampled_from(["", "RRULE:"])) + ";".join(order), ";".join(oracle)


@settings(max_examples=400)
@given(rrules(), st.datetimes(*map(datetime.fromisoformat, ("2026-01-01", "2040-01-01"))))
def test_accepted_rules_have_the_occurrences_of_dateutil(
    rules: tuple[str, str], start: datetime
) -> None:
    text, oracle = rules
    now = at("2025-12-31T00:00Z")
    nearest = ";".join(
        part for part in oracle.split(";") if not part.startswith(("INTER", "UNTIL"))
    )
    nine = start.replace(hour=9, minute=0, second=0, microsecond=0)
    if nine < start.replace(microsecond=0):
        nine += timedelta(days=1)
    first = next(iter(rrulestr(nearest, dtstart=nine)), None)
    expected = [] if first is None else list(islice(rrulestr(oracle, dtstart=first), 30))
    if not expected:
        with pytest.raises(InvalidInput, match=r"never run|no occurrence"):
            saved(text, now, f"{start:%FT%T}")
        return
    result = saved(text, now, f"{start:%FT%T}")
    assert result.schedule is not None
    found = result.schedule.occurrences(now, 30)
    assert [each.replace(tzinfo=None) for each in found] == expected
    # What the derived field shows can be given back.
    shown = rrule_text(result.schedule)
    assert shown is not None
    begin, rule = shown.split("\n")
    again = saved(rule, now, f"{datetime.fromisoformat(begin.removeprefix('DTSTART:')):%FT%TZ}")
    assert again.schedule is not None
    assert again.schedule.occurrences(now, 30) == found
    assert rrule_text(again.schedule) == shown
