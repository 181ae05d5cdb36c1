"""The two schedule endpoints, as the documents of their origin describe them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, instant_ahead, request_text
from tests.support.seed_calls import (
    patch_schedule,
    post_schedule,
)

# --- save-campaign-schedule ---------------------------------------------------------------------


def test_immediate_stays_draft(api: RunningApi) -> None:
    """The campaign remains a draft until it is started."""
    campaign = api.create_campaign()
    answer = post_schedule(api, campaign, schedule_type="immediate")
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert answer.json()["message"] == "Schedule saved"
    assert api.status_of(campaign) == "draft"
    assert api.http.post(f"/campaigns/{campaign['id']}/start").json()["status"] == "executing"


def test_immediate_clears_and_reverts(api: RunningApi) -> None:
    """An existing schedule is removed, and `scheduled` becomes `draft`."""
    campaign = api.create_armed_campaign()
    assert api.status_of(campaign) == "scheduled"
    assert post_schedule(api, campaign, schedule_type="immediate").json()["status"] == "draft"
    shown = api.http.get(f"/campaigns/{campaign['id']}/schedule").json()
    assert (shown["schedule_type"], shown["next_run_at"]) == ("immediate", None)


def test_scheduled_arms(api: RunningApi) -> None:
    """Once, at a date and time, in the named zone."""
    campaign = api.create_campaign()
    answer = post_schedule(
        api,
        campaign,
        schedule_type="scheduled",
        scheduled_at="2031-02-15T09:00:00",
        timezone="America/New_York",
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "message": "Schedule saved",
        "campaign_id": campaign["id"],
        "campaign_uuid": campaign["uuid"],
        "status": "scheduled",
        "timezone": "America/New_York",
        "next_run_at": "2031-02-15T14:00:00Z",
        "next_run_local": "2031-02-15T09:00:00",
        "notes": [],
    }
    assert api.status_of(campaign) == "scheduled"


def test_recurring_arms_with_every_option(api: RunningApi) -> None:
    """Every field of recurring_config; the stored schedule is as it was given."""
    campaign = api.create_campaign()
    body = {
        "schedule_type": "recurring",
        "scheduled_at": "2031-02-15T09:00:00",
        "recurring_config": {
            "frequency": "weekly",
            "interval": 2,
            "days_of_week": [1, 3, 5],
            "day_of_month": 3,
            "time": "10:30",
            "time_zone": "America/New_York",
            "end_date": "2031-12-31",
        },
    }
    answer = post_schedule(api, campaign, **body)
    assert answer.json()["status"] == "scheduled", answer.text
    shown = api.http.get(f"/campaigns/{campaign['uuid']}/schedule").json()
    assert {name: shown[name] for name in body} == body
    assert shown["next_run_at"] == "2031-02-17T15:30:00Z"
    assert shown["source"] == "schedule"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"schedule_type": "scheduled", "scheduled_at": "2020-02-15T09:00:00"},
            "Scheduled time is in the past",
        ),
        ({"schedule_type": "sometimes"}, "Invalid schedule configuration"),
        ({}, "Invalid schedule configuration"),
        ({"schedule_type": "scheduled"}, "Invalid schedule configuration"),
        ({"schedule_type": "recurring"}, "Invalid schedule configuration"),
        (
            {"schedule_type": "recurring", "recurring_config": {"frequency": "hourly"}},
            "Invalid schedule configuration",
        ),
        (
            {"schedule_type": "immediate", "colour": "red"},
            "Invalid schedule configuration",
        ),
    ],
)
def test_saves_that_are_a_400(api: RunningApi, body: dict[str, Any], message: str) -> None:
    """Fixed text in `message`, the reason in `detail`; the campaign is unchanged."""
    campaign = api.create_campaign()
    answer = post_schedule(api, campaign, **body)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert answer.json()["detail"] != message
    assert api.status_of(campaign) == "draft"


def test_save_for_no_campaign(api: RunningApi) -> None:
    """404 for any reference."""
    for ref in ("9000000000000000000", str(uuid4()), "nonsense", "-1", "1.5", "9" * 30):
        answer = api.http.post(f"/campaigns/{ref}/schedule", json={"schedule_type": "immediate"})
        assert (answer.status_code, answer.json()["message"]) == (404, "Campaign not found"), ref


def test_the_default_zone_is_utc(api: RunningApi) -> None:
    """Without a zone, the campaign's zone applies, which is UTC by default."""
    campaign = api.create_campaign()
    answer = post_schedule(
        api, campaign, schedule_type="scheduled", scheduled_at="2031-02-15T09:00:00"
    )
    assert answer.json()["next_run_at"] == "2031-02-15T09:00:00Z"
    parisian = api.create_campaign(timezone="Europe/Paris")
    answer = post_schedule(
        api, parisian, schedule_type="scheduled", scheduled_at="2031-02-15T09:00:00"
    )
    assert answer.json()["next_run_at"] == "2031-02-15T08:00:00Z"


@pytest.mark.parametrize(
    "zone",
    [
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "Europe/London",
        "Europe/Paris",
        "UTC",
    ],
)
def test_the_seeds_zones(api: RunningApi, zone: str) -> None:
    """Every zone of the documented table."""
    body = {"schedule_type": "scheduled", "scheduled_at": "2031-02-15T09:00", "timezone": zone}
    assert post_schedule(api, api.create_campaign(), **body).status_code == 200


# --- update-campaign-schedule -------------------------------------------------------------------


def test_update_start_and_end(api: RunningApi) -> None:
    """The first documented example, moved into the future; the status stays."""
    campaign = api.create_campaign(type="segment_triggered")
    answer = patch_schedule(
        api, campaign, startdate="2031-07-01T14:02:36.000Z", enddate="2031-07-03T14:02:36.000Z"
    )
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert api.status_of(campaign) == "draft"


def test_update_with_a_recurrence(api: RunningApi) -> None:
    """The second documented example, moved into the future."""
    campaign = api.create_campaign(type="recurring")
    answer = patch_schedule(
        api,
        campaign,
        repeating_schedule_attributes={
            "interval_size": 2,
            "interval_unit": "day",
            "day_of_month": "nth_day",
            "days_of_week": ["tue", "thu"],
        },
        startdate="2031-07-01T09:00:00.000Z",
        enddate="2031-07-15T18:00:00.000Z",
        recurring_schedule="daily",
    )
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert api.http.post(f"/campaigns/{campaign['id']}/start").json()["next_run_at"] == (
        "2031-07-01T09:00:00Z"
    )


@pytest.mark.parametrize(
    "kind", ["one_time", "recurring", "segment_triggered", "event_triggered", "live_content"]
)
def test_every_type_is_supported(api: RunningApi, kind: str) -> None:
    """The five documented types."""
    answer = patch_schedule(
        api, api.create_campaign(type=kind), startdate=request_text(instant_ahead())
    )
    assert answer.status_code == 200, answer.text


def test_dates_alone_leave_the_recurrence(api: RunningApi) -> None:
    """A field that a PATCH does not name stays."""
    attributes = {"interval_size": 3, "interval_unit": "week", "days_of_week": ["mon", "fri"]}
    campaign = api.create_campaign(type="recurring")
    patch_schedule(
        api,
        campaign,
        startdate="2031-07-01T09:00:00Z",
        repeating_schedule_attributes=attributes,
        overlap="queue",
    )
    answer = patch_schedule(
        api, campaign, startdate="2031-08-01T11:00:00Z", enddate="2031-12-01T00:00:00Z"
    )
    assert answer.status_code == 200
    shown = api.http.get(f"/campaigns/{campaign['id']}/schedule").json()
    assert shown["repeating_schedule_attributes"] == attributes
    assert (shown["overlap"], shown["startdate"]) == ("queue", "2031-08-01T11:00:00Z")
    assert "INTERVAL=3" in shown["rrule"]
    assert "BYDAY=MO,FR" in shown["rrule"]


def test_dates_alone_leave_a_saved_recurrence(api: RunningApi) -> None:
    """The same for a recurrence that was set with the other endpoint."""
    campaign = api.create_campaign()
    config = {"frequency": "weekly", "interval": 2, "days_of_week": [2, 4], "time": "06:30"}
    post_schedule(api, campaign, schedule_type="recurring", recurring_config=config)
    api.http.post(f"/campaigns/{campaign['id']}/pause")
    assert patch_schedule(api, campaign, startdate="2031-08-01T11:00:00Z").status_code == 200
    shown = api.http.get(f"/campaigns/{campaign['id']}/schedule").json()
    del config["time"]  # It is that of startdate now.
    assert shown["recurring_config"] == config
    assert "BYDAY=TU,TH" in shown["rrule"]


def test_a_launched_event_triggered_campaign_may_change(api: RunningApi) -> None:
    """And it is the only type that may, once launched."""
    for kind, status in (("event_triggered", 200), ("live_content", 422)):
        campaign = api.create_campaign(type=kind)
        started = request_text(instant_ahead(seconds=4))
        assert (
            patch_schedule(
                api, campaign, startdate=started, enddate=request_text(instant_ahead())
            ).status_code
            == 200
        )
        api.http.post(f"/campaigns/{campaign['id']}/start")
        api.database.wait_until(
            "SELECT status = 'launched' FROM campaigns WHERE id = %s", campaign["id"]
        )
        answer = patch_schedule(
            api, campaign, startdate=started, enddate=request_text(instant_ahead(days=9))
        )
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("status", ["completed", "archived", "executing", "cancelled", "failed"])
def test_statuses_that_can_not_be_updated(api: RunningApi, status: str) -> None:
    """422 with the documented text; nothing changes."""
    campaign = api.create_campaign()
    columns = {
        "completed": "has_due = true, has_completed = true",
        "failed": "has_due = true",
        "archived": "archived_from = 'draft'",
        "executing": "open_runs = 1, has_due = true",
        "cancelled": "has_due = false",
    }
    api.database.rows(
        f"UPDATE campaigns SET status = '{status}', {columns[status]} WHERE id = %s",
        campaign["id"],
    )
    answer = patch_schedule(api, campaign, startdate=request_text(instant_ahead()))
    assert (answer.status_code, answer.json()["message"]) == (422, "Invalid schedule values")
    assert status in answer.json()["detail"]
    assert api.status_of(campaign) == status


def test_a_missing_startdate(api: RunningApi) -> None:
    """400 with the field's own list of texts."""
    for body in ({}, {"startdate": None}, {"enddate": "2031-07-01T00:00:00Z"}):
        answer = patch_schedule(api, api.create_campaign(), **body)
        assert answer.status_code == 400
        assert answer.json()["errors"] == {"startdate": ["can't be blank"]}


def test_a_missing_name(api: RunningApi) -> None:
    """The other documented example of a 400."""
    answer = api.http.post("/campaigns", json={})
    assert (answer.status_code, answer.json()["errors"]) == (400, {"name": ["can't be blank"]})


@pytest.mark.parametrize(
    "body",
    [
        {"startdate": "2031-07-03T00:00:00Z", "enddate": "2031-07-01T00:00:00Z"},
        {"startdate": "2020-07-03T00:00:00Z"},
        {"startdate": "2031-07-03T00:00:00Z", "timezone": "Mars/Olympus"},
        {
            "startdate": "2031-07-03T00:00:00Z",
            "repeating_schedule_attributes": {"interval_unit": "year"},
        },
        {
            "startdate": "2031-07-03T00:00:00Z",
            "repeating_schedule_attributes": {"interval_size": 0},
        },
    ],
)
def test_updates_that_are_a_422(api: RunningApi, body: dict[str, Any]) -> None:
    """Well-formed, but not supported."""
    answer = patch_schedule(api, api.create_campaign(type="recurring"), **body)
    assert (answer.status_code, answer.json()["message"]) == (422, "Invalid schedule values")


def test_update_without_a_valid_key(api: RunningApi) -> None:
    """401 with the documented body."""
    with api.client(None) as stranger:
        answer = stranger.patch(f"/campaigns/{uuid4()}/update_schedule", json={})
    assert (answer.status_code, answer.json()["message"]) == (401, "Not authorized")


def test_update_with_too_small_a_scope(api: RunningApi) -> None:
    """403 with the documented body, before anything is looked up."""
    with api.client(Scope.READ) as reader:
        answer = reader.patch(f"/campaigns/{uuid4()}/update_schedule", content=b"{")
    assert (answer.status_code, answer.json()["message"]) == (403, "Permission denied")


def test_update_for_no_campaign(api: RunningApi) -> None:
    """404 with the documented body."""
    answer = api.http.patch(
        f"/campaigns/{uuid4()}/update_schedule", json={"startdate": request_text(instant_ahead())}
    )
    assert (answer.status_code, answer.json()["message"]) == (404, "Campaign not found")
