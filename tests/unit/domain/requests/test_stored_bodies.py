"""Every stored body has one of the two forms and the same meaning when it is read again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import (
    BodyContext,
    PastStarts,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    ScheduleSource,
)
from tests.unit.domain.requests.update_bodies import (
    DAYS,
    NOW,
    at,
    current,
)

TEXTS = st.datetimes(at("2025-06-03T00:00"), at("2030-01-01T00:00")).flatmap(
    lambda when: st.sampled_from([f"{when:%FT%H:%M}", when.isoformat(), f"{when:%FT%T}-03:30"])
)
ZONES = st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
EXTRAS = {
    "misfire_grace_time": st.none() | st.integers(1, 9999),
    "coalesce": st.none() | st.booleans(),
    "overlap": st.sampled_from([None, "skip", "queue", "allow"]),
    "timezone": st.none() | ZONES,
}


def sometimes(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


ATTRIBUTES = sometimes(
    interval_size=st.none() | st.integers(1, 6),
    interval_unit=st.sampled_from([None, "day", "week", "month"]),
    days_of_week=st.none() | st.lists(st.sampled_from(DAYS), max_size=3),
    day_of_month=st.sampled_from([None, "nth_day", "nth_weekday", "last_day"]),
)
PATCHES = st.fixed_dictionaries(
    {"startdate": TEXTS},
    optional={
        "enddate": st.none() | TEXTS,
        "recurring_schedule": st.sampled_from([None, "daily", "continuously"]),
        "repeating_schedule_attributes": st.none() | ATTRIBUTES,
        **EXTRAS,
    },
)
CONFIGS = st.fixed_dictionaries(
    {
        "frequency": st.sampled_from(["daily", "weekly", "monthly"]),
        "time": st.times().map(lambda time: f"{time:%H:%M}"),
        "days_of_week": st.lists(st.integers(1, 7), min_size=1, max_size=3),
        "day_of_month": st.integers(1, 31),
    },
    optional={
        "interval": st.none() | st.integers(1, 6),
        "time_zone": st.none() | ZONES,
        "end_date": st.none() | TEXTS | TEXTS.map(lambda text: text[:10]),
        "skip": st.sampled_from([None, "omit", "backward"]),
    },
)
SAVES = st.fixed_dictionaries(
    {"schedule_type": st.sampled_from(["scheduled", "recurring"]), "recurring_config": CONFIGS},
    optional={"scheduled_at": TEXTS, **EXTRAS},
)


@settings(max_examples=500)
@given(
    st.sampled_from(CampaignType),
    st.lists(SAVES | PATCHES | PATCHES, min_size=1, max_size=4),
    st.sampled_from(["UTC", "Asia/Kathmandu"]),
)
def test_what_is_stored_means_the_same_when_read_again(
    kind: CampaignType, bodies: list[dict[str, Any]], timezone: str
) -> None:
    ctx = BodyContext(NOW, kind, timezone)
    statuses: list[int] = []
    for body in bodies:
        read = read_schedule_body if is_schedule_body(body) else read_update_body
        try:
            saved = read(body, ctx)
        except InvalidInput as refused:
            statuses.append(refused.status if refused.errors else 0)
            continue
        assert saved.schedule is not None
        assert is_schedule_body(saved.body) is (saved.source is ScheduleSource.SCHEDULE)
        assert saved.schedule.source is saved.source
        again = BodyContext(
            NOW + timedelta(days=20_000),
            saved.campaign_type,
            timezone,
            anchor=saved.schedule.anchor_local,
            past=PastStarts.ANY,
        )
        reread = read_schedule_body if saved.source is ScheduleSource.SCHEDULE else read_update_body
        assert reread(saved.body, again) == saved
        first = saved.schedule.first_event()
        assert first is not None
        assert first.kind is (EventKind.OPEN if kind.is_window else EventKind.FIRE)
        ctx = ctx._replace(campaign_type=saved.campaign_type, current=current(saved))
    assert set(statuses) <= {400, 422}
