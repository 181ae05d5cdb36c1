"""Gates: the decision about single occurrences, by the numbered examples of the specification."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.formatting import utc_text
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.schedule import CampaignType, Schedule
from daemon.domain.schedule.timezones import resolve, wall_clock, zone
from tests.unit.domain.schedule.gates import (
    HOLD,
    NEXT_WINDOW,
    SEND,
    SKIP,
    closed_for,
    closed_on,
    gate,
    hours,
    office,
    verdict,
)
from tests.unit.domain.schedule.schedules import recurring, saved, window

NEW_YORK, PARIS, AUCKLAND = "America/New_York", "Europe/Paris", "Pacific/Auckland"
HOLIDAYS = Calendar(
    "us-holidays",
    (
        closed_on("2026-07-03", "Independence Day (observed)"),
        closed_on("2026-07-04", "Independence Day"),
    ),
)
LATE = datetime(2100, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def once(timezone: str, local: str) -> Schedule:
    return saved({"schedule_type": "scheduled", "scheduled_at": local, "timezone": timezone})


def evening() -> Schedule:
    """Return the campaign of A.1: daily 22:30 in New York."""
    return recurring(NEW_YORK, "2026-03-06T22:30")


def test_a1_what_falls_into_the_night_waits_for_the_morning() -> None:
    """The night of 8 March is an hour shorter."""
    daily = evening()
    day = gate(daily, hours=hours("08:00-21:00"))
    why = "deferred: outside its send window"
    assert verdict(day, daily, "2026-03-07T03:30:00Z") == (NEXT_WINDOW, "2026-03-07T13:00:00Z", why)
    assert verdict(day, daily, "2026-03-08T03:30:00Z") == (NEXT_WINDOW, "2026-03-08T12:00:00Z", why)


def test_a2_the_start_is_included_and_the_end_is_not() -> None:
    """In New York on 6 March."""
    times = ("21:00:00", "20:59:59.999999", "08:00:00", "07:59:59")
    found = []
    for time in times:
        one = once(NEW_YORK, f"2026-03-06T{time}")
        found.append(gate(one, hours=hours("08:00-21:00")).judge(one.anchor_at, one.anchor_local))
    assert [each.disposition is SEND for each in found] == [False, True, True, False]


def test_a3_a_closed_monday_moves_friday_evening_to_tuesday() -> None:
    """Another Friday goes to the Monday after it."""
    weekly = recurring(PARIS, "2026-05-08T17:00", frequency="weekly")
    monday = Calendar("fr", (closed_on("2026-05-25", "Pentecost Monday"),))
    days = gate(weekly, monday, hours=office())
    assert verdict(days, weekly, "2026-05-22T15:00:00Z")[:2] == (
        NEXT_WINDOW,
        "2026-05-26T07:00:00Z",
    )
    assert verdict(days, weekly, "2026-05-08T15:00:00Z")[:2] == (
        NEXT_WINDOW,
        "2026-05-11T07:00:00Z",
    )


def test_a4_after_midnight_belongs_to_the_day_on_which_it_began() -> None:
    """Friday 22:00 to 06:00."""
    one = once("UTC", "2026-06-05T22:00")
    night = gate(one, hours=hours("22:00-06:00", days=(5,)))
    assert night.opening(at("2026-06-05T22:00Z"), LATE) == at("2026-06-05T22:00Z")
    assert night.open_until(at("2026-06-05T22:00Z")) == at("2026-06-06T06:00Z")
    assert night.opening(at("2026-06-06T05:59:59.999999Z"), LATE) == at(
        "2026-06-06T05:59:59.999999Z"
    )
    assert night.opening(at("2026-06-06T06:00Z"), LATE) == at("2026-06-12T22:00Z")
    assert night.opening(at("2026-06-05T05:00Z"), LATE) == at("2026-06-05T22:00Z")


def test_a5_a_window_within_a_gap_does_not_open_that_day() -> None:
    """New York has no 02:00 to 03:00 on 8 March."""
    one = once(NEW_YORK, "2026-03-07T03:30")
    assert verdict(gate(one, hours=hours("02:00-03:00")), one, "2026-03-07T08:30:00Z")[:2] == (
        NEXT_WINDOW,
        "2026-03-09T06:00:00Z",
    )


def test_a6_a_window_that_begins_in_a_gap_opens_after_it() -> None:
    """The first reading within it is 03:00 EDT."""
    one = once(NEW_YORK, "2026-03-08T01:00")
    assert verdict(gate(one, hours=hours("02:30-05:00")), one, "2026-03-08T06:00:00Z")[:2] == (
        NEXT_WINDOW,
        "2026-03-08T07:00:00Z",
    )


def test_a7_a_window_in_an_overlap_is_open_in_both_passes() -> None:
    """Two hours, from 01:00 to 02:00."""
    one = once(NEW_YORK, "2026-11-01T00:00")
    hour = gate(one, hours=hours("01:00-02:00"))
    assert hour.opening(at("2026-11-01T04:00Z"), LATE) == at("2026-11-01T05:00:00Z")
    assert hour.open_until(at("2026-11-01T05:00Z")) == at("2026-11-01T07:00:00Z")


def test_a9_an_opening_after_the_end_skips() -> None:
    """The end is inclusive by local date."""
    weekly = recurring(NEW_YORK, "2026-05-29T18:00", frequency="weekly", end_date="2026-06-05")
    found = gate(weekly, hours=office())
    assert found.opening(at("2026-06-05T22:00:00Z"), LATE) == at("2026-06-08T13:00Z")
    assert verdict(found, weekly, "2026-06-05T22:00:00Z") == (
        SKIP,
        "2026-06-05T22:00:00Z",
        "skipped: its window opens after the end",
    )


def test_a10_a_wait_may_be_too_long() -> None:
    """90 minutes, with 3600 s allowed and with 5400 s."""
    daily = recurring(NEW_YORK, "2026-06-05T06:30")
    for allowed, expected in (
        (3600, (SKIP, "2026-06-05T10:30:00Z", "skipped: closed for longer than 3600 s")),
        (5400, (NEXT_WINDOW, "2026-06-05T12:00:00Z", "deferred: outside its send window")),
    ):
        found = gate(daily, hours=hours("08:00-21:00"), defer_at_most=allowed)
        assert verdict(found, daily, "2026-06-05T10:30:00Z") == expected


def test_a11_a_holiday_skips_or_moves_by_whole_days() -> None:
    """To Sunday at nine rather than to midnight, with hours to Monday."""
    weekdays = recurring(NEW_YORK, "2026-06-01T09:00", days_of_week=[1, 2, 3, 4, 5])
    friday = "2026-07-03T13:00:00Z"
    why = "closed by us-holidays (Independence Day (observed))"
    skipping = gate(weekdays, HOLIDAYS, outside=SKIP)
    assert verdict(skipping, weekdays, friday) == (SKIP, friday, f"skipped: {why}")
    holding = gate(weekdays, HOLIDAYS, outside=HOLD)
    assert verdict(holding, weekdays, friday) == (HOLD, friday, f"held: {why}")
    moving = gate(weekdays, HOLIDAYS)
    assert verdict(moving, weekdays, friday) == (
        NEXT_WINDOW,
        "2026-07-05T13:00:00Z",
        f"deferred: {why}",
    )
    with_hours = gate(weekdays, HOLIDAYS, hours=office())
    assert verdict(with_hours, weekdays, friday)[1] == "2026-07-06T13:00:00Z"


def test_a12_three_closed_days_share_the_next_one() -> None:
    """All are due with the occurrence of 27 December."""
    daily = recurring(PARIS, "2026-12-01T09:00")
    christmas = Calendar("fr", tuple(closed_on(f"2026-12-{day}") for day in (24, 25, 26)))
    found = gate(daily, christmas)
    for day in (24, 25, 26):
        assert verdict(found, daily, f"2026-12-{day}T08:00:00Z")[1] == "2026-12-27T08:00:00Z"
    assert verdict(found, daily, "2026-12-27T08:00:00Z")[0] is SEND


@pytest.mark.parametrize(
    ("timezone", "closed", "opening"),
    [
        (None, "2026-12-24T20:00:00Z", "2026-12-25T20:00:00Z"),
        (NEW_YORK, "2026-12-25T20:00:00Z", "2026-12-26T20:00:00Z"),
    ],
)
def test_a13_a_closed_date_is_one_of_the_calendars_zone(
    timezone: str | None, closed: str, opening: str
) -> None:
    """A floating calendar has the clock of the schedule, here in Auckland."""
    daily = recurring(AUCKLAND, "2026-12-01T09:00")
    found = gate(daily, Calendar("x", (closed_on("2026-12-25"),), timezone=timezone))
    assert verdict(found, daily, closed) == (NEXT_WINDOW, opening, "deferred: closed by x")
    others = {"2026-12-24T20:00:00Z", "2026-12-25T20:00:00Z"} - {closed}
    assert [verdict(found, daily, each)[0] for each in others] == [SEND]


def test_a15_a_retry_waits_for_the_opening() -> None:
    """The campaign of A.1: 21:00:20 is outside."""
    daily = evening()
    found = gate(daily, hours=hours("08:00-21:00"))
    assert found.opening(at("2026-06-06T01:00:20Z"), LATE, daily.anchor_local) == at(
        "2026-06-06T12:00:00Z"
    )


def test_a17_a_new_closed_date_moves_what_is_armed() -> None:
    """Friday 27 November to Monday, with the hours of an office."""
    weekdays = recurring(NEW_YORK, "2026-06-01T09:00", days_of_week=[1, 2, 3, 4, 5])
    before, after = (
        gate(weekdays, Calendar("us", closed), hours=office())
        for closed in (
            (closed_on("2026-11-26"),),
            (closed_on("2026-11-26"), closed_on("2026-11-27")),
        )
    )
    assert verdict(before, weekdays, "2026-11-27T14:00:00Z")[:2] == (SEND, "2026-11-27T14:00:00Z")
    assert verdict(after, weekdays, "2026-11-27T14:00:00Z")[1] == "2026-11-30T14:00:00Z"


def test_a18_a_run_by_an_operator_waits_too() -> None:
    """At 23:00 for 08:00 of the next day."""
    one = once(NEW_YORK, "2026-06-05T12:00")
    assert verdict(gate(one, hours=hours("08:00-21:00")), one, "2026-06-06T03:00:00Z")[1] == (
        "2026-06-06T12:00:00Z"
    )


# Beyond the numbered examples.


def test_an_excluded_date_skips_whatever_the_window_does_outside() -> None:
    """An excluded date is also one to which nothing is deferred."""
    daily = recurring("UTC", "2026-12-01T22:00")
    for outside in (NEXT_WINDOW, HOLD, SKIP):
        found = gate(
            daily,
            hours=hours("08:00-21:00"),
            except_dates=(at("2026-12-24").date(),),
            outside=outside,
        )
        excluded = (SKIP, "2026-12-24T22:00:00Z", "skipped: excluded date 2026-12-24")
        assert verdict(found, daily, "2026-12-24T22:00:00Z") == excluded
    moving = gate(daily, hours=hours("08:00-21:00"), except_dates=(at("2026-12-24").date(),))
    assert verdict(moving, daily, "2026-12-23T22:00:00Z")[1] == "2026-12-25T08:00:00Z"


def test_dates_are_judged_by_the_nominal_local_date() -> None:
    """Where the clock skips midnight, 00:30 of 29 March may start on the evening before."""
    timezone = "Asia/Beirut"
    daily = recurring(timezone, "2026-03-01T00:30")
    evening_before, nominal = at("2026-03-28T21:30:00Z"), at("2026-03-29T00:30")
    for closed, expected in (("2026-03-28", SEND), ("2026-03-29", SKIP)):
        for found in (
            gate(daily, Calendar("x", (closed_on(closed),)), outside=SKIP),
            gate(daily, except_dates=(at(closed).date(),)),
        ):
            assert found.judge(evening_before, nominal).disposition is expected
    moving = gate(daily, Calendar("x", (closed_on("2026-03-29"),)))
    assert utc_text(moving.judge(evening_before, nominal).due_at) == "2026-03-29T21:30:00Z"


def test_a_closure_with_times_moves_to_its_end() -> None:
    """Also where the end is within a closed date: then by whole days."""
    daily = recurring("UTC", "2026-06-01T09:00")
    span = closed_for("2026-06-05T08:00", "2026-06-05T11:30", "works")
    found = gate(daily, Calendar("x", (span,)))
    assert verdict(found, daily, "2026-06-05T09:00:00Z") == (
        NEXT_WINDOW,
        "2026-06-05T11:30:00Z",
        "deferred: closed by x (works)",
    )
    night = closed_for("2026-06-05T08:00Z", "2026-06-06T01:00Z")
    both = gate(daily, Calendar("x", (night, closed_on("2026-06-06")), timezone="UTC"))
    assert verdict(both, daily, "2026-06-05T09:00:00Z")[1] == "2026-06-07T09:00:00Z"


def test_what_is_moved_by_days_keeps_the_order_of_occurrences() -> None:
    """A day closed at that time only does not put it behind the occurrence of that day."""
    daily = recurring("UTC", "2026-06-01T09:00")
    closed = (closed_on("2026-06-04"), closed_for("2026-06-05T08:00", "2026-06-05T10:00"))
    found = gate(daily, Calendar("x", closed, timezone="UTC"))
    for day in (4, 5):
        assert verdict(found, daily, f"2026-06-0{day}T09:00:00Z")[1] == "2026-06-05T10:00:00Z"


def test_a_continuous_window_goes_on_at_the_end_of_a_closed_date() -> None:
    """Its runs have no time of day to keep, and due instants would go back."""
    ticks = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-06-01T00:00Z",
        recurring_schedule="continuously",
    )
    found = gate(ticks, Calendar("x", (closed_on("2026-06-05"),)))
    assert verdict(found, ticks, "2026-06-05T17:05:00Z")[1] == "2026-06-06T00:00:00Z"


def test_a_retry_on_a_closed_date_waits_for_the_time_of_day() -> None:
    """Not for the midnight after it, unless no time of day is given."""
    daily = recurring("UTC", "2026-06-01T09:00")
    found = gate(daily, Calendar("x", (closed_on("2026-06-05"),)))
    after_midnight = at("2026-06-05T00:10Z")
    assert found.opening(after_midnight, LATE, daily.anchor_local) == at("2026-06-06T09:00Z")
    assert found.opening(after_midnight, LATE) == at("2026-06-06T00:00Z")


def test_calendars_have_zones_and_hours_of_their_own() -> None:
    """Every one of them must be open."""
    one = once(PARIS, "2026-06-05T07:00")
    office_hours = Calendar("nyc", hours=office(), timezone=NEW_YORK)
    found = gate(one, office_hours, hours=hours("08:00-16:00"))
    assert found.has_hours
    assert verdict(found, one, "2026-06-05T06:00:00Z")[1:] == (
        "2026-06-05T13:00:00Z",
        "deferred: closed by nyc",
    )
    assert found.open_until(at("2026-06-05T13:00Z")) == at("2026-06-05T14:00Z")


def test_a_window_can_be_in_another_zone_than_the_schedule() -> None:
    """Nine o'clock in Paris is three o'clock in New York."""
    one = once(PARIS, "2026-06-05T09:00")
    found = gate(one, hours=office(), timezone=NEW_YORK)
    assert verdict(found, one, "2026-06-05T07:00:00Z")[1] == "2026-06-05T13:00:00Z"


def test_closures_that_overlap_are_one() -> None:
    """The label is that of the closure that began first."""
    daily = recurring("UTC", "2026-06-01T09:00")
    closed = tuple(
        closed_for(*span)
        for span in (
            ("2026-06-05T10:00Z", "2026-06-05T12:00Z", "second"),
            ("2026-06-05T08:00Z", "2026-06-05T11:00Z", "first"),
            ("2026-06-05T09:00Z", "2026-06-05T10:00Z", "within"),
        )
    )
    found = gate(daily, Calendar("x", closed))
    assert verdict(found, daily, "2026-06-05T10:30:00Z")[1:] == (
        "2026-06-05T12:00:00Z",
        "deferred: closed by x (first)",
    )


def test_a_gate_that_never_opens_skips() -> None:
    """The search ends; open_until of a gate that is always open ends, too."""
    daily = recurring("UTC", "2026-06-01T09:00")
    morning = Calendar("x", hours=hours("08:00-09:00"))
    never = gate(daily, morning, hours=hours("12:00-13:00"), defer_at_most=31_622_400)
    assert verdict(never, daily, "2026-06-05T09:00:00Z")[::2] == (
        SKIP,
        "skipped: closed for longer than 31622400 s",
    )
    always = gate(daily, hours=hours("00:00-24:00"))
    assert always.open_until(at("2026-06-05T09:00Z")) is None


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("text", ["9999-12-31T20:00:00Z", "0001-01-01T03:00:00Z"])
def test_the_calendars_two_ends_are_no_fault(timezone: str, text: str) -> None:
    """Nothing opens after the year 9999."""
    daily = recurring(timezone, "2026-06-01T09:00")
    local = at(text).replace(tzinfo=None)
    for found in (
        gate(daily, hours=hours("00:00-00:01")),
        gate(daily, Calendar("x", (closed_on(text[:10]),))),
        gate(daily, hours=hours("00:00-24:00")),
    ):
        found.judge(at(text), local)
        found.open_until(at(text))


def test_a_missing_calendar_is_a_fault_of_the_caller() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        gate(evening(), calendars=("nowhere",))


def test_resolved_openings_read_as_the_hours() -> None:
    """zoneinfo's own reading of an opening is the start of the window, on every normal day."""
    one = once(PARIS, "2026-01-01T00:00")
    found = gate(one, hours=hours("08:30-09:00"))
    for day in range(365):
        night = resolve(at("2026-01-01T00:00") + timedelta(days=day), zone(PARIS))
        opening = found.opening(night, LATE)
        assert opening is not None
        assert wall_clock(opening, zone(PARIS)).strftime("%H:%M") == "08:30"
        assert opening - night < timedelta(hours=10)
