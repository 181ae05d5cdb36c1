"""The zones that an error suggests for names that are no zones."""

from __future__ import annotations

import re

import pytest

from daemon.domain.schedule.timezones import is_zone, zone_names
from daemon.domain.schedule.zone_hints import likely_zone, zone_hint

NONE = ", such as America/New_York or UTC"


@pytest.mark.parametrize(
    ("written", "likely"),
    [
        ("america/new_york", "America/New_York"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("America/New York", "America/New_York"),
        ("utc", "UTC"),
        ("new york", "America/New_York"),
        ("Europe/Berln", "Europe/Berlin"),
        ("Australia/Sidney", "Australia/Sydney"),
        ("Asia/Bagdad", "Asia/Baghdad"),
        ("Singapor", "Singapore"),
        ("America/Port_au_Prince", "America/Port-au-Prince"),
        ("Tokyo", "Asia/Tokyo"),
        ("Asia/Moscow", "Europe/Moscow"),
        ("Asia/Japan", "Japan"),
        ("America/Eastern", "America/New_York"),
        ("America/Central", "America/Chicago"),
        ("America/Pacific", "America/Los_Angeles"),
        ("Eastern Time (US & Canada)", "America/New_York"),
        ("(UTC-05:00) Eastern Time (US & Canada)", "America/New_York"),
        ("Pacific Daylight Time", "America/Los_Angeles"),
        ("Central European Summer Time", "Europe/Warsaw"),
    ],
)
def test_a_name_with_a_likely_meaning_gets_its_zone(written: str, likely: str) -> None:
    assert zone_hint(written) == f"; did you mean {likely}?"
    assert is_zone(likely)


@pytest.mark.parametrize(
    "written",
    [
        "CEST", "AEST", "EEST", "PST", "Europe/Germany", "America/Seattle", "Europe/Milan",
        "Asia/Beijing", "Australia/Eastern", "America/South", "Europe/Munich", "Factory",
        "localtime", "posixrules", "../../etc/passwd", "", "Mars/Phobos", "x" * 1000, "UTC+",
    ],
)  # fmt: skip
def test_a_name_without_a_clear_meaning_gets_no_zone(written: str) -> None:
    assert zone_hint(written) == NONE


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("Eastern Standard Time", "America/New_York"),
        ("india standard time", "Asia/Kolkata"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Myanmar Standard Time", "Asia/Yangon"),
    ],
)
def test_a_windows_name_is_called_so(written: str, zone: str) -> None:
    assert zone_hint(written) == f"; that is a Windows name, did you mean {zone}?"


@pytest.mark.parametrize("base", ["GMT", "UTC", "", "Etc/UTC", "utc"])
@pytest.mark.parametrize("hours", [*range(-12, 0), *range(1, 15)])
def test_a_whole_offset_gets_the_zone_of_that_offset_with_a_word_on_its_sign(
    base: str, hours: int
) -> None:
    hint = zone_hint(f"{base}{hours:+}")
    found = re.search(r"\((Etc/GMT[+-][0-9]+) is always UTC([+-][0-9]+): its sign is rev", hint)
    assert found is not None
    assert int(found[2]) == hours
    assert found[1] == f"Etc/GMT{-hours:+}"
    assert found[1] in zone_names()


@pytest.mark.parametrize(
    "written",
    ["+02:00", "-0530", "Z", "UTC+05:30", "GMT+15", "UTC-13", "Etc/GMT+02", "+00:00", "UTC+0"],
)
def test_an_offset_is_said_to_be_no_zone(written: str) -> None:
    assert zone_hint(written).startswith(
        "; an offset is no zone: put it into the datetime, or name a place"
    )


def test_every_windows_name_has_a_zone() -> None:
    table = pytest.importorskip("tzlocal.windows_tz").win_tz
    assert [name for name in table if not is_zone(likely_zone(name) or "")] == []
