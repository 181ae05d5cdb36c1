"""Public holidays as a calendar, and what is refused."""

from __future__ import annotations

import sys
from datetime import date
from typing import Any

import pytest

from daemon.calendar_sources.public_holidays import read_holidays
from daemon.domain.errors import InvalidInput, Refused
from daemon.domain.schedule.calendars import Closure

US: dict[str, Any] = {"country": "US", "from": 2026, "to": 2028}


def test_the_holidays_of_a_country_close_a_floating_calendar() -> None:
    """Those of all years, each with its name."""
    found = read_holidays("us-holidays", {**US, "language": "en_US"})
    assert (found.name, found.timezone, found.covers_to) == (
        "us-holidays",
        None,
        date(2028, 12, 31),
    )
    day = date(2026, 7, 3)
    assert Closure(day, day, "Independence Day (observed)") in found.closed
    assert {each.start.year for each in found.closed} == {2026, 2027, 2028}
    assert list(found.closed) == sorted(found.closed)


def test_subdivisions_and_categories_have_their_own() -> None:
    """California has Cesar Chavez Day; unofficial days are asked for by their category."""
    california = read_holidays("x", {**US, "subdivision": "CA"})
    assert date(2026, 3, 31) in {each.start for each in california.closed}
    unofficial = read_holidays("x", {**US, "categories": ["unofficial"]})
    assert date(2026, 2, 14) in {each.start for each in unofficial.closed}


@pytest.mark.parametrize(
    ("body", "path", "text"),
    [
        ({"from": 2026, "to": 2026}, "country", "can't be blank"),
        ({**US, "country": "QQ"}, "country", "is 'QQ', must be an ISO 3166-1 code"),
        ({**US, "subdivision": "XX"}, "subdivision", "is 'XX', must be one of AK, AL"),
        ({**US, "country": "VA", "subdivision": "X"}, "subdivision", "absent"),
        ({**US, "categories": ["public", "odd"]}, "categories[1]", "is 'odd', must be one of"),
        ({**US, "language": "xx"}, "language", "is 'xx', must be one of en_US"),
        ({**US, "to": 2025}, "to", "is 2025, must be from 2026 to 2045"),
        ({**US, "to": 2046}, "to", "is 2046, must be from 2026 to 2045"),
        ({**US, "from": "2026"}, "from", "must be an integer"),
        ({**US, "years": 3}, "years", "is unknown"),
    ],
)
def test_a_faulty_request_is_refused(body: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_holidays("x", body)
    assert [*refusal.value.errors] == [path]
    assert text in refusal.value.errors[path][0]


def test_the_package_is_asked_for_by_name_when_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(Refused, match=r"install campaignd\[holidays\]") as refusal:
        read_holidays("x", US)
    assert refusal.value.status == 501
