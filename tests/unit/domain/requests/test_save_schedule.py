"""The `schedule` body and its meaning."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import (
    CurrentSchedule,
    ParsedSchedule,
    PastStarts,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.requests.notes import notes_on
from daemon.domain.schedule.schedule import (
    CampaignType,
    Frequency,
    Kind,
    Overlap,
    Rule,
    Schedule,
    ScheduleSource,
    Skip,
)
from tests.unit.domain.requests.save_bodies import (
    ABSENT,
    CTX,
    at,
    recurring,
    schedule,
)


def test_immediate_clears_whatever_the_type() -> None:
    for kind in CampaignType:
        body = {"schedule_type": "immediate", "scheduled_at": "2020-01-01T00:00Z", "timezone": None}
        saved = read_schedule_body(body, CTX._replace(campaign_type=kind))
        stored = {"schedule_type": "immediate", "scheduled_at": "2020-01-01T00:00Z"}
        assert saved == ParsedSchedule(None, kind, ScheduleSource.SCHEDULE, stored)


def test_scheduled() -> None:
    body = {
        "schedule_type": "scheduled",
        "scheduled_at": "2026-07-01T09:00:00",
        "timezone": "America/New_York",
    }
    saved = read_schedule_body(body, CTX._replace(campaign_type=CampaignType.RECURRING))
    assert saved.campaign_type is CampaignType.ONE_TIME
    assert saved.body == body
    assert saved.schedule == Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=Kind.ONCE,
        timezone="America/New_York",
        anchor_at=at("2026-07-01T13:00Z"),
        anchor_local=at("2026-07-01T09:00"),
    )


def test_recurring() -> None:
    config = {
        "frequency": "weekly",
        "interval": 2,
        "days_of_week": [5, 1, 3, 1],
        "time": "09:30",
        "time_zone": "America/New_York",
        "end_date": "2026-12-31",
    }
    body = {"schedule_type": "recurring", "recurring_config": config}
    saved = read_schedule_body(body, CTX)
    assert saved.campaign_type is CampaignType.RECURRING
    assert saved.body == body
    rule = Rule(Frequency.WEEKLY, 2, date(2026, 6, 10), time(9, 30), (1, 3, 5))
    assert saved.schedule == Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=Kind.RECURRING,
        timezone="America/New_York",
        anchor_at=at("2026-06-10T13:30Z"),
        anchor_local=at("2026-06-10T09:30"),
        rule=rule,
        ends_at=at("2027-01-01T04:59:59.999999Z"),
        ends_on=date(2026, 12, 31),
    )


@pytest.mark.parametrize(
    ("body", "zone"),
    [
        (recurring(time_zone="Asia/Tokyo", top_timezone="Europe/Paris"), "Asia/Tokyo"),
        (recurring(top_timezone="Europe/Paris"), "Europe/Paris"),
        (recurring(time_zone=None), "America/Chicago"),
        (
            {
                "schedule_type": "scheduled",
                "scheduled_at": "2026-07-01T09:00",
                "recurring_config": {"time_zone": "Asia/Tokyo"},
            },
            "America/Chicago",
        ),
    ],
)
def test_zones_in_their_order(body: dict[str, Any], zone: str) -> None:
    found = schedule(body, CTX._replace(campaign_timezone="America/Chicago"))
    assert found.timezone == zone


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            recurring(time=ABSENT, top_scheduled_at="2026-07-01T10:20:30"),
            Rule(Frequency.DAILY, 1, date(2026, 7, 1), time(10, 20, 30)),
            id="time of a naive scheduled_at as written",
        ),
        pytest.param(
            recurring(
                time=ABSENT, time_zone="Asia/Tokyo", top_scheduled_at="2026-07-01T20:00:00.000001Z"
            ),
            Rule(Frequency.DAILY, 1, date(2026, 7, 2), time(5, 0, 0, 1)),
            id="else in the zone",
        ),
        pytest.param(
            recurring(frequency="weekly", top_scheduled_at="2026-07-04T08:00"),
            Rule(Frequency.WEEKLY, 1, date(2026, 7, 4), time(9), (6,)),
            id="weekly on scheduled_at's weekday",
        ),
        pytest.param(
            recurring(
                frequency="weekly", time_zone="Asia/Tokyo", top_scheduled_at="2026-07-04T20:00Z"
            ),
            Rule(Frequency.WEEKLY, 1, date(2026, 7, 5), time(9), (7,)),
            id="which is the zone's",
        ),
        pytest.param(
            recurring(frequency="monthly", top_scheduled_at="2026-07-31T08:00"),
            Rule(Frequency.MONTHLY, 1, date(2026, 7, 31), time(9), (), 31),
            id="monthly on its day",
        ),
        pytest.param(
            recurring(frequency="monthly", day_of_month=30, skip="omit", days_of_week=[2]),
            Rule(Frequency.MONTHLY, 1, date(2026, 6, 30), time(9), (), 30, None, Skip.OMIT),
            id="days_of_week does not apply to monthly",
        ),
        pytest.param(
            recurring(days_of_week=[6, 7], interval=2),
            Rule(Frequency.DAILY, 2, date(2026, 6, 13), time(9), (6, 7)),
            id="but limits daily",
        ),
        pytest.param(
            recurring(time="12:00"),
            Rule(Frequency.DAILY, 1, date(2026, 6, 11), time(12)),
            id="without an anchor, strictly after now",
        ),
    ],
)
def test_rules(body: dict[str, Any], expected: Rule) -> None:
    assert schedule(body).rule == expected


def test_recurring_config_beside_another_type_is_not_read() -> None:
    for junk in ("junk", {"x": [1]}, 7):
        body = {
            "schedule_type": "scheduled",
            "scheduled_at": "2026-07-01T09:00Z",
            "recurring_config": junk,
        }
        saved = read_schedule_body(body, CTX)
        assert saved.schedule is not None
        assert "recurring_config" not in saved.body


def test_null_is_absent() -> None:
    body = recurring(
        interval=None, days_of_week=None, day_of_month=None, time_zone=None, end_date=None,
        skip=None, top_timezone=None, top_scheduled_at=None, top_coalesce=None, top_overlap=None,
        top_misfire_grace_time=None,
    )  # fmt: skip
    assert schedule(body) == schedule(recurring())
    assert read_schedule_body(body, CTX).body == recurring()


def test_a_date_may_lie_at_the_end_of_time() -> None:
    found = schedule(recurring(end_date="9999-12-31", time_zone="America/New_York"))
    assert found.ends_on == date(9999, 12, 31)


def test_extensions_are_taken_and_kept_from_before() -> None:
    extras = {"misfire_grace_time": 60, "coalesce": False, "overlap": "queue"}
    body = {"schedule_type": "scheduled", "scheduled_at": "2026-07-01T09:00Z"}
    first = read_schedule_body({**body, **extras}, CTX)
    assert first.schedule is not None
    kept = (first.schedule.misfire_grace_time, first.schedule.coalesce, first.schedule.overlap)
    assert kept == (60, False, Overlap.QUEUE)
    current = CurrentSchedule(first.source, first.body, first.schedule)
    again = read_schedule_body({**body, "overlap": None}, CTX._replace(current=current))
    assert again.schedule == first.schedule
    # The kept values are written out, so that the stored body has the same meaning on its own.
    assert again.body == {**body, **extras}
    changed = schedule({**body, "coalesce": True}, CTX._replace(current=current))
    assert (changed.coalesce, changed.misfire_grace_time) == (True, 60)
    assert schedule(body, CTX._replace(misfire_grace_time=7)).misfire_grace_time == 7


def test_an_anchor_gives_a_stored_recurrence_its_first_occurrence_again() -> None:
    body = recurring(interval=3, time_zone="America/New_York")
    first = schedule(body)
    later = CTX._replace(now=at("2027-01-01T00:00Z"), past=PastStarts.ANY)
    assert schedule(body, later) != first
    assert schedule(body, later._replace(anchor=first.anchor_local)) == first


EVERY_OTHER_WEEK = {"frequency": "weekly", "interval": 2, "days_of_week": [6], "time": "09:00"}
START = "2026-11-28T09:00:00Z"


class TestARecurrenceSavedAgain:
    """After its first run, on Saturday the 28th; the next one is on the 12th of December."""

    LATER = at("2026-11-28T10:00Z")

    def again(
        self, before: dict[str, Any], body: dict[str, Any]
    ) -> tuple[ParsedSchedule, list[str]]:
        first = read_schedule_body(before, CTX._replace(now=at("2026-11-27T00:00Z")))
        assert first.schedule is not None
        current = CurrentSchedule(first.source, first.body, first.schedule)
        saved = read_schedule_body(body, CTX._replace(now=self.LATER, current=current))
        assert saved.schedule is not None
        return saved, notes_on(saved, current)

    def body(self, start: str | None = START, **config: Any) -> dict[str, Any]:
        body = {"schedule_type": "recurring", "recurring_config": {**EVERY_OTHER_WEEK, **config}}
        return body if start is None else {**body, "scheduled_at": start}

    @pytest.mark.parametrize("same", [START, "2026-11-28T10:00:00+01:00", None])
    @pytest.mark.parametrize("before", [START, None])
    @pytest.mark.parametrize("more", [{}, {"end_date": "2027-06-30"}, {"skip": "omit"}])
    def test_keeps_its_start_and_its_phase(
        self, before: str | None, same: str | None, more: dict[str, Any]
    ) -> None:
        saved, notes = self.again(self.body(before), self.body(same, **more))
        assert saved.schedule is not None
        assert saved.schedule.occurrences(self.LATER, 1) == [at("2026-12-12T09:00Z")]
        assert saved.body.get("scheduled_at") == (same or before)
        assert notes == []

    @pytest.mark.parametrize(
        "other",
        [
            {"interval": 3}, {"days_of_week": [5]}, {"days_of_week": [6, 7]}, {"time": "09:01"},
            {"frequency": "daily"}, {"time_zone": "Asia/Tokyo"},
        ],
    )  # fmt: skip
    def test_starts_anew_with_another_rule_and_says_so(self, other: dict[str, Any]) -> None:
        saved, notes = self.again(self.body(), self.body(None, **other))
        assert saved.schedule is not None
        assert self.LATER < saved.schedule.anchor_at < at("2026-12-06T00:00Z")
        (note,) = notes
        assert note.startswith("The rule has changed, so its intervals count anew, from 2026-1")

    def test_says_nothing_where_no_interval_counts(self) -> None:
        _, notes = self.again(self.body(interval=1), self.body(None, interval=1, time="10:30"))
        assert notes == []

    def test_may_name_its_start_beside_another_rule(self) -> None:
        saved, notes = self.again(self.body(), self.body(interval=3))
        assert saved.schedule is not None
        assert saved.schedule.occurrences(self.LATER, 1) == [at("2026-12-19T09:00Z")]
        assert notes == []

    def test_keeps_the_start_that_the_other_body_gave(self) -> None:
        attributes = {"interval_unit": "week", "interval_size": 2}
        patch = {"startdate": START, "repeating_schedule_attributes": attributes}
        early = CTX._replace(now=at("2026-11-27T00:00Z"), campaign_type=CampaignType.RECURRING)
        first = read_update_body(patch, early)
        assert first.schedule is not None
        current = CurrentSchedule(first.source, first.body, first.schedule)
        saved = read_schedule_body(self.body(None), CTX._replace(now=self.LATER, current=current))
        assert saved.schedule is not None
        assert saved.schedule.rule == first.schedule.rule
        assert saved.body["scheduled_at"] == START

    def test_may_not_start_at_another_past_instant(self) -> None:
        with pytest.raises(InvalidInput, match="present start of this recurrence") as error:
            self.again(self.body(), self.body("2026-11-28T09:00:01Z"))
        assert error.value.message == "Scheduled time is in the past"

    def test_needs_an_occurrence_that_is_left(self) -> None:
        with pytest.raises(InvalidInput, match="would never run: none is left after 2026-11-28"):
            self.again(self.body(), self.body(end_date="2026-12-11"))

    def test_is_no_excuse_for_a_one_off(self) -> None:
        once = {"schedule_type": "scheduled", "scheduled_at": START}
        for before in (once, self.body()):
            with pytest.raises(InvalidInput, match="must be after"):
                self.again(before, once)


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"schedule_type": "x"}, True), ({"schedule_type": None}, True), ({"startdate": 1}, False),
     ([], False), ("schedule_type", False), (None, False)],
)  # fmt: skip
def test_bodies_are_told_apart(body: object, expected: bool) -> None:
    assert is_schedule_body(body) is expected
