"""The `update_schedule` body, merged into the campaign's schedule."""

from __future__ import annotations

from datetime import date, time
from typing import Any, ClassVar

import pytest

from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    PastStarts,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.schedule import (
    CampaignType,
    Frequency,
    Overlap,
    Rule,
    ScheduleSource,
    Skip,
)
from tests.unit.domain.requests.update_bodies import (
    EVENT,
    LIVE,
    NOW,
    ONE_TIME,
    RECURRING,
    SEGMENT,
    START,
    at,
    attributes,
    context,
    current,
    refusal,
    schedule,
    update,
)


class TestOverAnUpdateBody:
    FIRST: ClassVar[dict[str, Any]] = {
        "startdate": START,
        "enddate": "2025-09-01T00:00:00Z",
        "timezone": "Europe/Paris",
        "repeating_schedule_attributes": {"interval_unit": "week", "days_of_week": ["mon", "fri"]},
        "coalesce": False,
        "overlap": "allow",
        "misfire_grace_time": 60,
    }

    def over(
        self, body: dict[str, Any], kind: CampaignType = RECURRING, **more: Any
    ) -> ParsedSchedule:
        return update(body, kind, current=current(update(self.FIRST, kind)), **more)

    def test_what_is_absent_stays(self) -> None:
        saved = self.over({"startdate": "2025-08-01T10:00"})
        assert saved.body == {**self.FIRST, "startdate": "2025-08-01T10:00"}
        found = saved.schedule
        assert found is not None
        assert found.anchor_at == at("2025-08-01T08:00Z")
        assert (found.coalesce, found.overlap, found.misfire_grace_time) == (
            False,
            Overlap.ALLOW,
            60,
        )

    def test_field_by_field_inside_the_attributes_too(self) -> None:
        saved = self.over(attributes(interval_size=4, days_of_week=None))
        expected = {"interval_unit": "week", "interval_size": 4}
        assert saved.body["repeating_schedule_attributes"] == expected

    def test_null_clears(self) -> None:
        names = [name for name in self.FIRST if name != "startdate"]
        saved = self.over({"startdate": START, **dict.fromkeys(names)})
        assert saved.body == {"startdate": START}
        assert saved.schedule == schedule({"startdate": START})

    def test_null_clears_the_zone_to_the_campaigns(self) -> None:
        saved = self.over({"startdate": START, "timezone": None}, campaign_timezone="Asia/Tokyo")
        assert saved.schedule is not None
        assert saved.schedule.timezone == "Asia/Tokyo"

    def test_what_the_type_does_not_use_is_kept(self) -> None:
        saved = self.over({"startdate": "2025-08-01T10:00"}, EVENT)
        attributes_ = self.FIRST["repeating_schedule_attributes"]
        assert saved.body["repeating_schedule_attributes"] == attributes_

    def test_an_end_from_before_can_be_too_early(self) -> None:
        ctx = context(current=current(update(self.FIRST)))
        error = refusal({"startdate": "2025-09-01T02:00"}, ctx)
        assert (error.status, list(error.errors)) == (422, ["enddate"])

    def test_the_zone_of_the_schedule_stays_when_the_campaigns_changes(self) -> None:
        before = update({"startdate": START}, campaign_timezone="Asia/Tokyo")
        saved = update(
            {"startdate": START}, current=current(before), campaign_timezone="Europe/Rome"
        )
        assert saved.schedule is not None
        assert saved.schedule.timezone == "Asia/Tokyo"
        assert saved.body["timezone"] == "Asia/Tokyo"


class TestAStartThatIsOver:
    LATER = at("2025-07-20T00:00Z")

    def context(self, kind: CampaignType, body: dict[str, Any], **more: Any) -> BodyContext:
        before = current(update(body, kind))
        return BodyContext(self.LATER, kind, current=before, **more)

    @pytest.mark.parametrize("kind", list(CampaignType))
    @pytest.mark.parametrize("same", [START, "2025-07-01T11:00:00+02:00", "2025-07-01T09:00"])
    def test_is_fine_when_it_is_the_one_there_is(self, kind: CampaignType, same: str) -> None:
        saved = read_update_body({"startdate": same}, self.context(kind, {"startdate": START}))
        assert saved.body == {"startdate": same}

    @pytest.mark.parametrize("kind", list(CampaignType))
    def test_is_refused_when_it_is_another(self, kind: CampaignType) -> None:
        ctx = self.context(kind, {"startdate": START})
        error = refusal({"startdate": "2025-07-02T09:00Z"}, ctx)
        assert (error.status, list(error.errors)) == (422, ["startdate"])

    def test_the_same_text_is_the_same_also_in_another_zone(self) -> None:
        ctx = self.context(RECURRING, {"startdate": "2025-07-01T09:00"})
        saved = read_update_body({"startdate": "2025-07-01T09:00", "timezone": "Asia/Tokyo"}, ctx)
        assert saved.schedule is not None
        assert saved.schedule.anchor_at == at("2025-07-01T00:00Z")

    def test_a_recurrence_must_have_something_to_come(self) -> None:
        ctx = self.context(RECURRING, {"startdate": START})
        error = refusal({"startdate": START, "enddate": "2025-07-19T00:00Z"}, ctx)
        assert (error.status, list(error.errors)) == (422, ["enddate"])
        read_update_body({"startdate": START, "enddate": "2025-07-21T00:00Z"}, ctx)

    def test_a_window_may_be_ended(self) -> None:
        for kind in (SEGMENT, EVENT, LIVE):
            ctx = self.context(kind, {"startdate": START})
            saved = read_update_body({"startdate": START, "enddate": "2025-07-19T00:00Z"}, ctx)
            assert saved.schedule is not None
            assert saved.schedule.event_after(self.LATER) is None

    def test_is_fine_in_an_import_save_for_a_one_off(self) -> None:
        for kind in CampaignType:
            ctx = BodyContext(self.LATER, kind, past=PastStarts.RECURRENCES)
            if kind is ONE_TIME:
                assert refusal({"startdate": START}, ctx).status == 422
            else:
                read_update_body({"startdate": START}, ctx)
            read_update_body({"startdate": START}, ctx._replace(past=PastStarts.ANY))


class TestOverAScheduleBody:
    CONFIG: ClassVar[dict[str, Any]] = {
        "frequency": "weekly",
        "interval": 2,
        "days_of_week": [1, 3],
        "time": "08:30",
        "end_date": "2025-12-31",
    }
    FIRST: ClassVar[dict[str, Any]] = {
        "schedule_type": "recurring",
        "timezone": "Europe/Paris",
        "recurring_config": CONFIG,
    }

    def over(
        self, body: dict[str, Any], first: dict[str, Any] | None = None, **more: Any
    ) -> ParsedSchedule:
        before = read_schedule_body(first or self.FIRST, BodyContext(NOW, RECURRING))
        return update({"startdate": START, **body}, current=current(before), **more)

    def config(self, **fields: Any) -> dict[str, Any]:
        saved = self.over({"repeating_schedule_attributes": fields})
        assert saved.source is ScheduleSource.SCHEDULE
        config = saved.body["recurring_config"]
        assert isinstance(config, dict)
        return config

    def moved(self, startdate: str, /, patch: Any = None, **config: Any) -> Rule:
        """Return the rule of a recurrence at 09:00 UTC that a PATCH gives another startdate."""
        body = {"schedule_type": "recurring", "recurring_config": {"time": "09:00", **config}}
        given = {"startdate": startdate, **(patch or {})}
        schedule = self.over(given, body).schedule
        assert schedule is not None
        assert schedule.rule is not None
        return schedule.rule

    def test_another_startdate_gives_its_time_of_day_and_the_rest_stays(self) -> None:
        saved = self.over({})
        assert saved.source is ScheduleSource.SCHEDULE
        config = {name: value for name, value in self.CONFIG.items() if name != "time"}
        expected = {**self.FIRST, "scheduled_at": START, "recurring_config": config}
        assert saved.body == expected
        assert saved.schedule is not None
        assert saved.schedule.rule == Rule(Frequency.WEEKLY, 2, date(2025, 7, 2), time(11), (1, 3))

    @pytest.mark.parametrize(
        ("config", "patch"),
        [
            ({"frequency": "daily"}, {}),
            ({"frequency": "daily"}, {"repeating_schedule_attributes": None}),
            ({"frequency": "weekly", "days_of_week": [1]}, {}),
            (
                {"frequency": "weekly", "days_of_week": [1]},
                {"repeating_schedule_attributes": {"days_of_week": ["mon"]}},
            ),
            ({"frequency": "monthly", "day_of_month": 15}, {}),
            (
                {"frequency": "monthly", "day_of_month": 15},
                {"repeating_schedule_attributes": {"day_of_month": "nth_weekday"}},
            ),
        ],
    )
    def test_the_first_run_is_at_another_startdate(
        self, config: dict[str, Any], patch: dict[str, Any]
    ) -> None:
        rule = self.moved("2027-03-01T14:30:00Z", patch, **config)
        assert (rule.first_on, rule.time) == (date(2027, 3, 1), time(14, 30))

    def test_another_startdate_gives_the_weekday_where_none_is_set(self) -> None:
        weekly = {
            "schedule_type": "recurring",
            "scheduled_at": "2025-06-04T08:00:00Z",
            "recurring_config": {"frequency": "weekly", "time": "09:00"},
        }
        saved = self.over({"startdate": "2025-07-03T14:30:00Z"}, weekly)
        assert saved.schedule is not None
        assert saved.schedule.rule == Rule(
            Frequency.WEEKLY, 1, date(2025, 7, 3), time(14, 30), (4,)
        )

    def test_the_last_day_of_the_month_and_what_only_the_other_body_has_stay(self) -> None:
        last = self.moved("2027-03-01T14:30Z", frequency="monthly", day_of_month=31)
        assert (last.first_on, last.month_day) == (date(2027, 3, 31), 31)
        omit = self.moved("2027-03-30T14:30Z", frequency="monthly", day_of_month=31, skip="omit")
        assert (omit.first_on, omit.month_day, omit.skip) == (date(2027, 3, 30), 30, Skip.OMIT)

    @pytest.mark.parametrize(
        ("first", "same"),
        [
            ({}, "2025-06-02T08:30:00+02:00"),
            ({}, "2025-06-02T06:30:00Z"),
            ({}, "2025-06-02T08:30"),
            ({"scheduled_at": START}, START),
            ({"scheduled_at": START}, "2025-07-01T11:00"),
        ],
    )
    def test_the_startdate_that_the_schedule_has_changes_nothing(
        self, first: dict[str, Any], same: str
    ) -> None:
        before = read_schedule_body({**self.FIRST, **first}, BodyContext(NOW, RECURRING)).schedule
        saved = self.over({"startdate": same}, {**self.FIRST, **first})
        assert saved.body["recurring_config"] == self.CONFIG
        assert saved.schedule == before

    def test_the_same_wall_clock_time_in_another_zone_keeps_the_time_of_day(self) -> None:
        saved = self.over({"startdate": "2025-06-02T08:30", "timezone": "Asia/Tokyo"})
        assert saved.schedule is not None
        assert saved.schedule.rule == Rule(
            Frequency.WEEKLY, 2, date(2025, 6, 2), time(8, 30), (1, 3)
        )

    def test_enddate_becomes_end_date_and_null_removes_it(self) -> None:
        given = self.over({"enddate": "2025-08-01T00:00Z"})
        assert given.body["recurring_config"]["end_date"] == "2025-08-01T00:00Z"
        assert given.schedule is not None
        assert (given.schedule.ends_on, given.schedule.ends_at) == (None, at("2025-08-01T00:00Z"))
        cleared = self.over({"enddate": None})
        assert "end_date" not in cleared.body["recurring_config"]
        assert cleared.schedule is not None
        assert cleared.schedule.ends_at is None

    def test_attributes_are_translated(self) -> None:
        rest = {"end_date": "2025-12-31"}
        weekly = {"frequency": "weekly", "interval": 2, "days_of_week": [1, 3], **rest}
        assert self.config(interval_size=5) == {**weekly, "interval": 5}
        assert self.config(days_of_week=["sun", "tue"]) == {**weekly, "days_of_week": [2, 7]}
        assert self.config(interval_unit="month", days_of_week=[], day_of_month="last_day") == {
            "frequency": "monthly", "interval": 2, "day_of_month": 31, **rest,
        }  # fmt: skip
        assert self.config(interval_unit="month", days_of_week=None, day_of_month="nth_day") == {
            "frequency": "monthly", "interval": 2, **rest,
        }  # fmt: skip
        assert self.config(interval_unit=None, interval_size=None, days_of_week=None) == {
            "frequency": "daily", **rest,
        }  # fmt: skip

    def test_the_last_day_is_in_every_month(self) -> None:
        monthly = {"frequency": "monthly", "day_of_month": 30, "skip": "omit", "time": "08:30"}
        saved = self.over(
            {"repeating_schedule_attributes": {"day_of_month": "last_day"}},
            {"schedule_type": "recurring", "recurring_config": monthly},
        )
        expected = {"frequency": "monthly", "day_of_month": 31}
        assert saved.body["recurring_config"] == expected

    def test_what_came_from_outside_the_body_is_written_out(self) -> None:
        bare = {"schedule_type": "recurring", "recurring_config": self.CONFIG}
        before = current(
            read_schedule_body(
                bare, BodyContext(NOW, RECURRING, "Asia/Tokyo", misfire_grace_time=60)
            )
        )
        saved = update({"startdate": START}, current=before, campaign_timezone="Asia/Seoul")
        assert saved.schedule is not None
        assert saved.schedule.timezone == saved.body["timezone"] == "Asia/Tokyo"
        assert saved.schedule.misfire_grace_time == saved.body["misfire_grace_time"] == 60
        zoned = {**bare, "recurring_config": {**self.CONFIG, "time_zone": "Asia/Tokyo"}}
        before = current(
            read_schedule_body(zoned, BodyContext(NOW, RECURRING, misfire_grace_time=60))
        )
        saved = update({"startdate": START}, current=before)
        assert saved.schedule is not None
        assert saved.schedule.misfire_grace_time == 60
        assert "timezone" not in saved.body

    def test_null_attributes_clear_the_recurrence(self) -> None:
        saved = self.over({"repeating_schedule_attributes": None})
        expected = {"frequency": "daily", "end_date": "2025-12-31"}
        assert saved.body["recurring_config"] == expected

    def test_an_nth_weekday_needs_the_other_form(self) -> None:
        saved = self.over(
            {
                "repeating_schedule_attributes": {
                    "interval_unit": "month",
                    "day_of_month": "nth_weekday",
                }
            }
        )
        assert saved.source is ScheduleSource.UPDATE_SCHEDULE
        assert saved.body == {
            "startdate": START,
            "enddate": "2025-12-31T23:59:59.999999",
            "timezone": "Europe/Paris",
            "repeating_schedule_attributes": {
                "interval_size": 2,
                "interval_unit": "month",
                "day_of_month": "nth_weekday",
                "days_of_week": ["mon", "wed"],
            },
        }
        assert saved.schedule is not None
        assert saved.schedule.ends_at == at("2025-12-31T22:59:59.999999Z")
        assert saved.schedule.rule is not None
        assert saved.schedule.rule.nth == 1

    def test_but_not_where_it_does_not_apply(self) -> None:
        assert self.config(day_of_month="nth_weekday") == self.config()

    def test_the_zone_is_replaced_or_cleared(self) -> None:
        first = {**self.FIRST, "recurring_config": {**self.CONFIG, "time_zone": "Asia/Tokyo"}}
        given = self.over({"timezone": "Asia/Seoul"}, first)
        assert given.schedule is not None
        assert given.schedule.timezone == given.body["timezone"] == "Asia/Seoul"
        cleared = self.over({"timezone": None}, first, campaign_timezone="Asia/Dhaka")
        assert cleared.schedule is not None
        assert cleared.schedule.timezone == "Asia/Dhaka"
        assert self.over({}, first).body["recurring_config"]["time_zone"] == "Asia/Tokyo"

    def test_errors_use_this_bodys_words(self) -> None:
        ctx = context(current=current(read_schedule_body(self.FIRST, BodyContext(NOW, RECURRING))))
        error = refusal({"startdate": START, "enddate": START}, ctx)
        assert (error.status, list(error.errors)) == (422, ["enddate"])
        late = refusal({"startdate": "2026-01-01T00:00"}, ctx)
        assert (late.status, list(late.errors)) == (422, ["enddate"])

    def test_a_one_off_becomes_an_update_body(self) -> None:
        first = {
            "schedule_type": "scheduled",
            "scheduled_at": "2025-06-10T09:00",
            "timezone": "Asia/Tokyo",
            "overlap": "queue",
        }
        before = current(read_schedule_body(first, BodyContext(NOW, ONE_TIME)))
        saved = update({"startdate": START}, ONE_TIME, current=before)
        assert saved.source is ScheduleSource.UPDATE_SCHEDULE
        assert saved.body == {"startdate": START, "timezone": "Asia/Tokyo", "overlap": "queue"}
        late = BodyContext(at("2025-06-20T00:00Z"), ONE_TIME, current=before)
        read_update_body({"startdate": "2025-06-10T09:00"}, late)

    def test_a_schedule_of_another_kind_counts_as_none(self) -> None:
        before = current(read_schedule_body(self.FIRST, BodyContext(NOW, RECURRING)))
        saved = update({"startdate": START}, SEGMENT, current=before)
        assert saved.body == {"startdate": START}
        assert saved.schedule == schedule({"startdate": START}, SEGMENT)
