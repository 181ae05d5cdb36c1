"""iCalendar: events as closures, recurrences, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest

from daemon.calendar_sources.icalendar_text import IcalendarReading, read_icalendar
from daemon.domain.errors import InvalidInput
from daemon.domain.schedule.calendars import Closure
from tests.unit.domain.schedule.gates import NEXT_WINDOW, SEND, gate, verdict
from tests.unit.domain.schedule.schedules import recurring

TODAY = date(2026, 3, 1)
EASTERN = "DTSTART;TZID=America/New_York:20260303T180000"


def text(*events: str, head: str = "X-WR-TIMEZONE:America/New_York") -> bytes:
    """Return a calendar of events, whose lines are separated by spaces and a bar."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *filter(None, [head])]
    for event in events:
        lines += ["BEGIN:VEVENT", "UID:one", *event.split(" | "), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def read(*events: str, head: str = "X-WR-TIMEZONE:America/New_York") -> IcalendarReading:
    return read_icalendar("x", text(*events, head=head), TODAY)


def closed(*events: str, head: str = "X-WR-TIMEZONE:America/New_York") -> list[str]:
    """Return the closures in short."""
    return [
        f"{each.start.isoformat()} {each.end.isoformat()}".replace("+00:00", "Z").replace(
            ":00:00", ""
        )
        for each in read(*events, head=head).calendar.closed
    ]


def test_a14_a_weekly_event_closes_all_but_its_excluded_date() -> None:
    """Tuesdays from 18:00 to 23:00, and a campaign at 18:30."""
    found = read(
        f"{EASTERN} | DTEND;TZID=America/New_York:20260303T230000 | RRULE:FREQ=WEEKLY"
        " | EXDATE;TZID=America/New_York:20260317T180000"
    )
    weekly = recurring("America/New_York", "2026-03-03T18:30", frequency="weekly")
    of = gate(weekly, found.calendar)
    assert verdict(of, weekly, "2026-03-10T22:30:00Z")[:2] == (NEXT_WINDOW, "2026-03-11T03:00:00Z")
    assert verdict(of, weekly, "2026-03-17T22:30:00Z")[:2] == (SEND, "2026-03-17T22:30:00Z")
    assert found.calendar.covers_to == date(2028, 3, 1)
    assert len(found.calendar.closed) == 104


def test_dates_make_a_floating_calendar() -> None:
    """The end of an event on dates is excluded in iCalendar, and included here."""
    found = read(
        "DTSTART;VALUE=DATE:20260525 | SUMMARY:Pentecost Monday",
        "DTSTART;VALUE=DATE:20261224 | DTEND;VALUE=DATE:20261227",
        "DTSTART;VALUE=DATE:20261231 | DURATION:P2D",
        head="X-WR-CALNAME:France",
    ).calendar
    assert found.closed == (
        Closure(date(2026, 5, 25), date(2026, 5, 25), "Pentecost Monday"),
        Closure(date(2026, 12, 24), date(2026, 12, 26)),
        Closure(date(2026, 12, 31), date(2027, 1, 1)),
    )
    assert (found.timezone, found.covers_to, found.title) == (None, None, "France")


def test_times_are_readings_or_instants() -> None:
    """Floating ones are as written; those with a zone or in UTC are instants."""
    assert closed(
        "DTSTART:20260305T090000 | DTEND:20260305T100000",
        f"{EASTERN} | DURATION:PT1H",
        "DTSTART:20260305T090000Z | DTEND;TZID=America/New_York:20260305T050000",
    ) == [
        "2026-03-05T09 2026-03-05T10",
        "2026-03-03T23Z 2026-03-04T00Z",
        "2026-03-05T09Z 2026-03-05T10Z",
    ]


def test_recurrences_keep_their_wall_clock_time() -> None:
    """Across the clock change of 8 March."""
    assert closed(f"{EASTERN} | DURATION:PT1H | RRULE:FREQ=WEEKLY;COUNT=2") == [
        "2026-03-03T23Z 2026-03-04T00Z",
        "2026-03-10T22Z 2026-03-10T23Z",
    ]


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("20260310T220000Z", 2),
        ("20260310T215959Z", 1),
        ("20260310", 2),
        ("20260309", 1),
        ("20260310T180000", 2),
    ],
)
def test_the_end_of_a_recurrence_is_an_instant_or_a_date(until: str, expected: int) -> None:
    assert len(closed(f"{EASTERN} | DURATION:PT1H | RRULE:FREQ=WEEKLY;UNTIL={until}")) == expected


def test_single_occurrences_are_moved_added_and_left_out() -> None:
    """An event with a RECURRENCE-ID stands in its place; a cancelled one removes it."""
    series = f"{EASTERN} | DURATION:PT1H | RRULE:FREQ=WEEKLY;COUNT=4"
    assert closed(
        f"{series} | RDATE;TZID=America/New_York:20260305T180000",
        "RECURRENCE-ID;TZID=America/New_York:20260310T180000"
        " | DTSTART;TZID=America/New_York:20260311T120000 | DURATION:PT1H",
        "RECURRENCE-ID:20260317T220000Z | DTSTART:20260317T220000Z | DURATION:PT1H"
        " | STATUS:CANCELLED",
    ) == [
        "2026-03-03T23Z 2026-03-04T00Z",
        "2026-03-05T23Z 2026-03-06T00Z",
        "2026-03-24T22Z 2026-03-24T23Z",
        "2026-03-11T16Z 2026-03-11T17Z",
    ]


def test_dates_are_excluded_from_events_with_times_too() -> None:
    """Some programs write them so."""
    series = f"{EASTERN} | DURATION:PT1H | RRULE:FREQ=WEEKLY;COUNT=2"
    assert len(closed(f"{series} | EXDATE;VALUE=DATE:20260310")) == 1
    days = "DTSTART;VALUE=DATE:20260303 | RRULE:FREQ=DAILY;COUNT=3 | EXDATE;VALUE=DATE:20260304"
    assert closed(days, head="") == ["2026-03-03 2026-03-03", "2026-03-05 2026-03-05"]


def test_what_closes_nothing_is_counted() -> None:
    """Free time, cancelled events, and events without length."""
    found = read(
        f"{EASTERN} | DURATION:PT1H | TRANSP:TRANSPARENT",
        f"{EASTERN} | DURATION:PT1H | STATUS:CANCELLED",
        EASTERN,
        "DTSTART;VALUE=DATE:20260303 | DTEND;VALUE=DATE:20260303",
        "DTSTART;VALUE=DATE:20260305 | TRANSP:OPAQUE | STATUS:CONFIRMED",
    )
    assert found.left_out == 4
    assert len(found.calendar.closed) == 1


def test_events_are_read_from_yesterday_to_two_years_ahead() -> None:
    """Also one that began long before and goes on."""
    assert closed(
        "DTSTART;VALUE=DATE:20260227",
        "DTSTART;VALUE=DATE:20260228",
        "DTSTART;VALUE=DATE:20280301",
        "DTSTART;VALUE=DATE:20280302",
        "DTSTART;VALUE=DATE:20250101 | DTEND;VALUE=DATE:20260401",
        "DTSTART;VALUE=DATE:19990228 | RRULE:FREQ=YEARLY",
    ) == [
        "2026-02-28 2026-02-28",
        "2028-03-01 2028-03-01",
        "2025-01-01 2026-03-31",
        "2026-02-28 2026-02-28",
        "2027-02-28 2027-02-28",
        "2028-02-28 2028-02-28",
    ]
    assert read_icalendar("x", text(), date(2028, 2, 29)).calendar.closed == ()


def test_a_zone_can_be_given() -> None:
    """It is used instead of the text's own."""
    raw = text("DTSTART:20260305T090000 | DURATION:PT1H")
    assert read_icalendar("x", raw, TODAY).calendar.timezone == "America/New_York"
    assert read_icalendar("x", raw, TODAY, "Europe/Paris").calendar.timezone == "Europe/Paris"
    bare = text("DTSTART;VALUE=DATE:20260305", head="")
    assert read_icalendar("x", bare, TODAY, "Europe/Paris").calendar.timezone == "Europe/Paris"


def test_a_zone_defined_in_the_text_is_used() -> None:
    """By its VTIMEZONE, where its name is none of IANA's."""
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Our Time\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:+0300\r\nTZOFFSETTO:+0300\r\nTZNAME:OUR\r\nEND:STANDARD\r\nEND:VTIMEZONE"
    )
    found = read(
        "DTSTART;TZID=Our Time:20260305T090000 | DURATION:PT1H",
        head=f"X-WR-TIMEZONE:UTC\r\n{zone}",
    )
    assert found.calendar.closed[0].start == datetime(2026, 3, 5, 6, tzinfo=UTC)


def test_folded_lines_and_a_byte_order_mark_are_read() -> None:
    raw = text("DTSTART;VALUE=DATE:20260305 | SUMMARY:a lon\r\n g label")
    found = read_icalendar("x", b"\xef\xbb\xbf" + raw, TODAY).calendar
    assert found.closed[0].label == "a long label"


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "Found no components"),
        (b"{}", "line 1 is '{}', must be NAME:VALUE"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "Found no components"),
        (b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", "line 1 must be BEGIN:VCALENDAR"),
        (text("DTSTART;VALUE=DATE:20260305 | hello there"), "line 8 is 'hello there'"),
        (text("SUMMARY:x"), "line 5: DTSTART is missing"),
        (text("DTSTART:2026"), "line 7: DTSTART is malformed"),
        (text(f"{EASTERN} | RRULE:FREQ=SOMETIMES"), "line 8: RRULE is malformed"),
        (text(f"{EASTERN} | RRULE:FREQ=HOURLY"), "line 8: RRULE has FREQ 'HOURLY', must be one of"),
        (text(f"{EASTERN} | RRULE:FREQ=DAILY;BYDAY=XX"), "line 8: RRULE is malformed"),
        (text(f"{EASTERN} | RRULE:FREQ=DAILY;SKIP=FORWARD"), "line 8: RRULE is malformed"),
        (text("DTSTART;TZID=Mars/Base:20260305T090000"), "line 7: DTSTART is in the time zone"),
        (text(f"{EASTERN} | EXDATE;TZID=Mars/Base:20260305T090000"), "EXDATE is in the time zone"),
        (text(f"{EASTERN} | DTEND;VALUE=DATE:20260305"), "line 8: DTEND must be a date or a time"),
        (
            text(f"{EASTERN} | RDATE;VALUE=PERIOD:20260305T090000Z/PT1H"),
            "line 8: RDATE has a period, which is not supported",
        ),
        (
            text(f"{EASTERN} | RECURRENCE-ID;RANGE=THISANDFUTURE:20260305T090000Z"),
            "line 8: RECURRENCE-ID has RANGE",
        ),
        (text("DTSTART:20260305T090000 | DURATION:PT1H", head=""), "timezone can't be blank"),
        (text(head="X-WR-TIMEZONE:Mars"), "X-WR-TIMEZONE is 'Mars'"),
    ],
)
def test_what_cannot_be_understood_is_refused(raw: bytes, part: str) -> None:
    """With the number of the line; nothing is closed by a guess."""
    with pytest.raises(InvalidInput) as refusal:
        read_icalendar("x", raw, TODAY)
    assert (refusal.value.status, refusal.value.message) == (400, "Invalid calendar")
    assert part in refusal.value.detail


def test_too_much_is_refused() -> None:
    """More than 1 MiB, more than 10,000 entries, and what takes too long."""
    ten_a_day = ",".join(str(hour) for hour in range(24))
    many = f"{EASTERN} | DURATION:PT1M | RRULE:FREQ=DAILY;BYHOUR={ten_a_day}"
    slow = f"{EASTERN} | DURATION:PT1M | RRULE:FREQ=DAILY;INTERVAL=2"
    seconds = count()
    for raw, clock in (
        (b"x" * 1_048_577, lambda: 0.0),
        (text(many), lambda: 0.0),
        (text(slow), lambda: float(next(seconds))),
    ):
        with pytest.raises(InvalidInput) as refusal:
            read_icalendar("x", raw, TODAY, clock=clock)
        assert refusal.value.status == 413


def test_the_name_and_the_given_zone_are_checked() -> None:
    with pytest.raises(InvalidInput, match="name is 'X'"):
        read_icalendar("X", text(), TODAY)
    with pytest.raises(InvalidInput, match="timezone is 'Mars'"):
        read_icalendar("x", text(), TODAY, "Mars")


def test_a_yearly_date_is_closed_each_year() -> None:
    """Counted against a walk over two years."""
    found = read("DTSTART;VALUE=DATE:20001225 | RRULE:FREQ=YEARLY", head="").calendar.closed
    days = [TODAY + timedelta(days=number) for number in range(-1, 732)]
    christmas = [day for day in days if (day.month, day.day) == (12, 25)]
    assert [each.start for each in found] == christmas
