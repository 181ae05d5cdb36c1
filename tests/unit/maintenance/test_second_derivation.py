"""python-dateutil and the domain derive the same occurrences."""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body
from daemon.domain.schedule.schedule import CampaignType, Schedule
from daemon.maintenance.second_derivation import MOST_STEPS, derive_occurrences
from tests.support.builders import daily_body, daily_schedule, once_schedule
from tests.support.clocks import NOON, days

ZONES = ("UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
CONFIGS = st.one_of(
    st.fixed_dictionaries({"frequency": st.just("daily"), "interval": st.integers(1, 40)}),
    st.fixed_dictionaries(
        {
            "frequency": st.just("weekly"),
            "interval": st.integers(1, 5),
            "days_of_week": st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True),
        }
    ),
    st.fixed_dictionaries(
        {"frequency": st.just("monthly"), "interval": st.integers(1, 5)}
        | {"day_of_month": st.integers(1, 31)}
    ),
)


def schedule_of(config: dict[str, Any], zone: str, hour: int) -> Schedule:
    at = NOON.replace(hour=hour, minute=30)
    context = BodyContext(at, CampaignType.RECURRING, past=PastStarts.ANY)
    schedule = read_schedule_body(daily_body(at, config=config, timezone=zone), context).schedule
    assert schedule is not None
    return schedule


@given(CONFIGS, st.sampled_from(ZONES), st.integers(0, 23), st.integers(0, 900), st.integers(0, 60))
def test_both_derive_the_same(
    config: dict[str, Any], zone: str, hour: int, after: int, length: int
) -> None:
    """Over the nights of clock changes too, in the half-open interval (after, until]."""
    schedule = schedule_of(config, zone, hour)
    since = NOON + days(after)
    until = since + days(length)
    own = list(takewhile(lambda at: at <= until, schedule.occurrences(since, 100)))
    assert derive_occurrences(schedule, since, until) == own


def test_a_continuous_window_is_derived_by_elapsed_time() -> None:
    schedule = once_schedule()._replace(every_seconds=90)
    found = derive_occurrences(schedule, NOON, NOON + timedelta(seconds=270))
    assert found is not None
    assert [(at - NOON).total_seconds() for at in found] == [90, 180, 270]


@pytest.mark.parametrize("years", [1, 100])
def test_what_would_take_long_is_left_out(years: int) -> None:
    schedule = daily_schedule()
    until = NOON + days(365 * years)
    is_derived = derive_occurrences(schedule, until - days(1), until) is not None
    assert is_derived == (365 * years <= MOST_STEPS)
