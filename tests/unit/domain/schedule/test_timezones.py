"""Zones: exact names, gaps and overlaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.requests.datetimes import (
    describe_impossible,
    end_of_day,
    parse_date,
    parse_datetime,
    resolve_datetime,
)
from daemon.domain.schedule import timezones


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_exact_names_are_zones(name: str) -> None:
    assert timezones.is_zone(name)
    assert timezones.zone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "utc", "europe/berlin", "Europe/berlin", "", " UTC", "UTC ", "Europe", "Europe/",
        "localtime", "Factory", "../../etc/passwd", "/usr/share/zoneinfo/UTC", "posixrules",
        "Mars/Phobos", "UTC\0",
        "Europe\\Berlin", "a" * 5000,
    ],
)  # fmt: skip
def test_other_names_are_refused_before_any_file_is_opened(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timezones.zone_names()
    monkeypatch.setattr(timezones, "ZoneInfo", lambda key: pytest.fail(f"opened {key}"))
    assert not timezones.is_zone(name)
    with pytest.raises(KeyError):
        timezones.zone(name)


@pytest.mark.parametrize(
    ("timezone", "local", "instant"),
    [
        ("America/New_York", "2026-03-08T01:59:59", "2026-03-08T06:59:59Z"),
        ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:30Z"),  # gap: 03:30 EDT
        ("America/New_York", "2026-03-08T03:30", "2026-03-08T07:30Z"),
        ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30Z"),  # overlap: first pass
        ("America/New_York", "2026-11-01T02:00", "2026-11-01T07:00Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:45Z"),  # half-hour gap
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45Z"),  # half-hour overlap
        ("Europe/Dublin", "2026-03-29T01:30", "2026-03-29T01:30Z"),  # negative DST in winter
        ("Europe/Dublin", "2026-10-25T01:30", "2026-10-25T00:30Z"),
        ("America/Nuuk", "2024-03-30T23:30", "2024-03-31T01:30Z"),
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T20:00Z"),  # a day that never was
        ("Pacific/Apia", "2011-12-31T10:00", "2011-12-30T20:00Z"),
        ("Africa/Casablanca", "2024-04-14T02:30", "2024-04-14T02:30Z"),  # gap at Ramadan's end
    ],
)
def test_wall_clock_time_becomes_an_instant(timezone: str, local: str, instant: str) -> None:
    assert timezones.resolve(at(local), timezones.zone(timezone)) == at(instant)


@given(
    local=st.datetimes(),
    timezone=st.sampled_from(
        ["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/El_Aaiun", "UTC"]
    ),
)
def test_an_instant_is_the_one_that_astimezone_finds(local: datetime, timezone: str) -> None:
    zone = timezones.zone(timezone)
    try:
        expected = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        with pytest.raises(OverflowError):
            timezones.resolve(local, zone)
        return
    found = timezones.resolve(local, zone)
    assert (found, found.tzinfo, found.fold) == (expected, UTC, 0)


def test_a_fold_that_travels_along_does_not_pick_the_second_pass() -> None:
    second = timezones.wall_clock(at("2026-11-01T06:30Z"), timezones.zone("America/New_York"))
    assert (second, second.fold) == (at("2026-11-01T01:30"), 0)
    resolved = timezones.resolve(second.replace(fold=1), timezones.zone("America/New_York"))
    assert resolved == at("2026-11-01T05:30Z")


@pytest.mark.parametrize(
    ("timezone", "day", "last"),
    [
        ("UTC", "2026-01-01", "2026-01-01T23:59:59.999999Z"),
        ("America/New_York", "2026-01-01", "2026-01-02T04:59:59.999999Z"),
        # The hour before midnight comes twice: the day lasts until the second time.
        ("America/Asuncion", "2024-03-23", "2024-03-24T03:59:59.999999Z"),
        # The hour before midnight is missing.
        ("America/Nuuk", "2024-03-30", "2024-03-31T01:59:59.999999Z"),
        ("America/New_York", "9999-12-31", "9999-12-31T23:59:59.999999Z"),
        ("Asia/Tokyo", "0001-01-01", "0001-01-01T14:41:00.999999Z"),
    ],
)
def test_a_day_ends_with_its_last_microsecond(timezone: str, day: str, last: str) -> None:
    written = parse_date(day)
    assert written is not None
    assert end_of_day(written, timezones.zone(timezone)) == at(last)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04", "2026-01-02T03:04:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.5", "2026-01-02T03:04:05.500000"),
        ("2026-01-02T03:04:05.1234569", "2026-01-02T03:04:05.123456"),
        ("2026-01-02T03:04:05.99999999999999999999", "2026-01-02T03:04:05.999999"),
        ("2026-01-02T03:04Z", "2026-01-02T03:04:00+00:00"),
        ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04+05:30", "2026-01-02T03:04:00+05:30"),
        ("2026-01-02T03:04:05-0330", "2026-01-02T03:04:05-03:30"),
        ("2026-01-02T03:04:05.1234567-0330", "2026-01-02T03:04:05.123456-03:30"),
        ("2026-01-02T03:04-00:00", "2026-01-02T03:04:00+00:00"),
        ("2024-02-29T00:00", "2024-02-29T00:00:00"),
        ("0001-01-01T00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_datetimes_are_read(text: str, expected: str) -> None:
    assert parse_datetime(text) == at(expected)
    read = parse_datetime(text)
    assert read is not None
    assert (read.tzinfo is None) == (at(expected).tzinfo is None)


IMPOSSIBLE = [
    ("2027-02-29T09:00:00Z", "there is no such day: February 2027 has 28 days"),
    ("2027-04-31T09:00", "there is no such day: April 2027 has 30 days"),
    ("2027-02-29", "there is no such day: February 2027 has 28 days"),
    ("2027-03-00T09:00", "there is no such day: March 2027 has 31 days"),
    ("2027-03-01T24:00:00Z", "there is no hour 24: midnight is 00:00 of the next day"),
    ("2027-03-01T24:01", "there is no hour 24"),
    ("2027-03-01T25:00", "there is no hour 25"),
    ("2027-13-01T09:00:00Z", "there is no month 13"),
    ("2027-00-01T09:00:00Z", "there is no month 0"),
    ("2027-03-01T09:60:00Z", "there is no minute 60"),
    ("2027-03-01T09:00:60.5Z", "there is no second 60"),
    ("2027-03-01T09:00+24:00", "there is no offset +24:00"),
    ("2027-03-01T09:00:00.25-0560", "there is no offset -05:60"),
    ("0000-03-01T09:00", "there is no year 0"),
]


@pytest.mark.parametrize(("text", "why"), IMPOSSIBLE)
def test_a_datetime_that_does_not_exist_is_malformed_and_says_why(text: str, why: str) -> None:
    assert (parse_datetime(text), parse_date(text)) == (None, None)
    assert describe_impossible(text) == why


@pytest.mark.parametrize("text", ["2027-02-28T09:00", "2027-3-1T25:00", "today", "9" * 5000])
def test_other_text_is_not_said_to_be_impossible(text: str) -> None:
    assert describe_impossible(text) is None


MALFORMED = [
    "", "now", "2026-01-02", "2026-01-02 03:04", "2026-01-02t03:04", "2026-01-02T03:04z",
    "2026-1-2T03:04", "20260102T030405", "20260102T03:04", "2026-01-02T0304", "2026-01-02T03",
    "2026-01-02T3:04", "2026-01-02T03:4", "2026-01-02T03:04:5", "2026-01-02T03:04:05.",
    "2026-01-02T03:04:05,5", "2026-01-02T03:04.5", "2026-01-02T24:00", "2026-01-02T03:60",
    "2026-01-02T03:04:60", "2026-13-02T03:04", "2026-00-02T03:04", "2026-01-00T03:04",
    "2026-01-32T03:04", "2026-02-29T03:04", "2026-04-31T03:04", "0000-01-01T00:00",
    "10000-01-01T00:00", "+2026-01-02T03:04", "-2026-01-02T03:04", "2026-01-02T03:04+05",
    "2026-01-02T03:04+5:30", "2026-01-02T03:04+24:00", "2026-01-02T03:04+05:60",
    "2026-01-02T03:04 +05:30", "2026-01-02T03:04+05:30:15", "2026-01-02T03:04UTC",
    "2026-01-02T03:04ZZ", "2026-01-02T03:04\n", " 2026-01-02T03:04", "2026-01-02T03:04 ",
    "2026-W01-5T03:04", "2026-002T03:04", "٢٠٢٦-01-02T03:04", "2026-01-02T03:04:05.١",
    "2026-01-02T03:04−05:00", "2026-01-02T03:04:05." + "1" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_other_forms_are_malformed(text: str) -> None:
    assert parse_datetime(text) is None
    assert text == "2026-01-02" or parse_date(text) is None


def test_settle_keeps_a_naive_time_as_written_and_converts_an_aware_one() -> None:
    new_york = timezones.zone("America/New_York")
    gap = at("2026-03-08T02:30")
    assert resolve_datetime(gap, new_york) == (at("2026-03-08T07:30Z"), gap)
    assert resolve_datetime(at("2026-03-08T07:30Z"), new_york) == (
        at("2026-03-08T07:30Z"),
        at("2026-03-08T03:30"),
    )
    with pytest.raises(OverflowError):
        resolve_datetime(at("9999-12-31T23:00-02:00"), new_york)


def test_every_accepted_zone_loads_and_resolves_at_the_edges_of_time() -> None:
    for name in timezones.zone_names():
        zone = timezones.zone(name)
        for text in ("1970-01-01T00:00", "2026-07-01T12:00", "9998-12-31T23:59"):
            offset = at(text).replace(tzinfo=UTC) - timezones.resolve(at(text), zone)
            assert abs(offset) < timedelta(hours=27), name
