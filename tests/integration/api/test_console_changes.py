"""Changes that are made in the console, over HTTP and without a script."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi
from tests.support.waiting import utc_now

WEEKLY = {"kind": "weekly", "time": "09:00", "zone": "Europe/Paris", "weekdays": ["1"]}


@pytest.fixture
def ann(api: RunningApi) -> Iterator[httpx.Client]:
    """Yield a browser that has logged in with a key that may change campaigns."""
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as client:
        client.post("/login", data={"key": api.keys[Scope.WRITE]})
        yield client


def fields_of(page: str) -> dict[str, Any]:
    """Return the fields of the editor's form as a browser would send them."""
    form = page.split('data-preview="preview"')[1].split("</form>")[0]
    fields: dict[str, Any] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        attributes = dict(re.findall(r'([a-z]+)="([^"]*)"', tag))
        name, value = attributes.get("name"), attributes.get("value", "")
        if name is None:
            continue
        if attributes.get("type") == "radio":
            if "checked" in tag:
                fields[name] = value
        elif attributes.get("type") == "checkbox":
            if "checked" in tag:
                fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    for name, options in re.findall(r'<select [^>]*name="([a-z_]+)">(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', options)
        fields[name] = chosen[1] if chosen else re.findall(r'value="([^"]*)"', options)[0]
    fields["json"] = re.findall(r"<textarea id=\"json\"[^>]*>(.*?)</textarea>", form, re.S)[0]
    return fields


def schedule_of(api: RunningApi, campaign: dict[str, Any]) -> dict[str, Any]:
    """Return the campaign's schedule as the HTTP interface shows it."""
    shown: dict[str, Any] = api.http.get(f"/campaigns/{campaign['id']}/schedule").json()
    return shown


def test_buttons_change_the_status_and_the_history_names_the_key(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_armed_campaign(name="Paused by ann")
    page = ann.post(f"/campaigns/{made['id']}/pause")
    assert page.url.path == f"/campaigns/{made['id']}"
    assert "Paused. What falls due is missed" in page.text
    assert f'action="/campaigns/{made["id"]}/start" data-undo' in page.text
    assert api.status_of(made) == "paused"
    assert api.events_of(made)[-1]["actor"] == "web:the write key"
    assert "Started again." in ann.post(f"/campaigns/{made['id']}/start").text
    assert api.status_of(made) == "scheduled"
    ann.post(f"/campaigns/{made['id']}/run_now")
    api.database.wait_until(
        "SELECT count(*) = 1 FROM runs WHERE campaign_id = %s AND status = 'completed'", made["id"]
    )
    audited = api.database.rows("SELECT actor FROM audit_log WHERE object_id = %s", str(made["id"]))
    assert {"actor": "web:the write key"} in audited


def test_a_pause_may_end_by_itself_and_say_why(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign(name="On holiday", timezone="Europe/Paris")
    path = f"/campaigns/{made['id']}"
    sent = {"until": "2031-08-24T00:00", "note": "summer holidays"}
    page = ann.post(f"{path}/pause", data=sent).text
    assert "Sat 23 Aug 2031, 22:00" in page
    assert "summer holidays" in page
    assert "web:the write key" in page
    refused = ann.post(f"{path}/pause", data={"until": "2001-01-01T00:00"})
    assert refused.status_code == 400
    assert "must be after" in refused.text
    ann.post(f"{path}/stop", data={"name": "On holiday", "note": "not any more"})
    assert "not any more" in ann.get(f"{path}/history").text


def test_what_cannot_be_undone_asks_for_the_name(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign(name="Stopped by ann")
    for wrong in ({}, {"name": ""}, {"name": "stopped by ann"}):
        refused = ann.post(f"/campaigns/{made['id']}/stop", data=wrong)
        assert refused.status_code == 400
        assert "is not that of the campaign" in refused.text
    assert api.status_of(made) == "scheduled"
    ann.post(f"/campaigns/{made['id']}/stop", data={"name": "Stopped by ann"})
    assert api.status_of(made) == "cancelled"
    ann.post(f"/campaigns/{made['id']}/archive")
    gone = ann.post(f"/campaigns/{made['id']}/delete", data={"name": "Stopped by ann"})
    assert "Deleted." in gone.text
    assert ann.get(f"/campaigns/{made['id']}").status_code == 404


def test_a_command_that_the_status_forbids_is_refused_with_the_reason(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_campaign()
    refused = ann.post(f"/campaigns/{made['id']}/pause")
    assert refused.status_code == 400
    assert "cannot pause a draft campaign" in refused.text
    assert ann.post(f"/campaigns/{made['id']}/explode").status_code == 404


def test_buttons_are_drawn_only_for_keys_that_may_press_them(api: RunningApi) -> None:
    made = api.create_armed_campaign()
    paths = ("/campaigns", f"/campaigns/{made['id']}")
    with httpx.Client(base_url=api.url, follow_redirects=True, timeout=TIMEOUT_S) as reader:
        reader.post("/login", data={"key": api.keys[Scope.READ]})
        for path in paths:
            page = reader.get(path).text
            assert re.findall(r'<form [^>]*action="([^"]*)"', page) in (
                ["/logout"],
                ["/logout", "/campaigns"],
            )
        for refused in (
            reader.post(f"/campaigns/{made['id']}/pause"),
            reader.post("/campaigns/many", data={"command": "pause", "id": [made["id"]]}),
            reader.get("/campaigns/new"),
            reader.post(f"/campaigns/{made['id']}/reschedule", data=WEEKLY),
        ):
            assert refused.status_code == 403
    assert api.status_of(made) == "scheduled"


def test_forms_of_other_sites_change_nothing(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        refused = ann.post(f"/campaigns/{made['id']}/pause", headers=headers)
        assert refused.status_code == 403
    assert api.status_of(made) == "scheduled"


def test_a_command_on_many_names_how_many_were_changed(api: RunningApi, ann: httpx.Client) -> None:
    armed = [api.create_armed_campaign(name="Of many") for _ in range(2)]
    draft = api.create_campaign(name="Of many")
    ids = [each["id"] for each in (*armed, draft)]
    sent = {"command": "pause", "id": ids, "next": "/campaigns?q=of+many"}
    page = ann.post("/campaigns/many", data=sent)
    assert "2 paused. 1 could not be changed" in page.text
    assert page.url.params["q"] == "of many"
    assert [api.status_of(each) for each in armed] == ["paused", "paused"]


def test_create_saves_the_content_and_the_schedule(api: RunningApi, ann: httpx.Client) -> None:
    content = {"name": "Made by ann", "target": "log", "payload": '{"list": "all"}'}
    page = ann.post("/campaigns/new", data={**content, **WEEKLY, "coalesce": "coalesce"})
    assert "Created." in page.text
    assert "Every Monday at 09:00 in Paris." in page.text
    made = api.http.get(f"/campaigns/{page.url.path.rsplit('/', 1)[1]}").json()
    assert (made["status"], made["payload"]) == ("scheduled", {"list": "all"})


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({**WEEKLY, "name": ""}, "name"),
        ({**WEEKLY, "name": "n", "payload": "{"}, "payload"),
        ({**WEEKLY, "name": "n", "target": "nowhere"}, "target"),
        ({**WEEKLY, "name": "n", "weekdays": []}, "recurring_config.days_of_week"),
        ({**WEEKLY, "name": "n", "zone": "Paris"}, "recurring_config.time_zone"),
        ({**WEEKLY, "name": "n", "interval": "x"}, "recurring_config.interval"),
        ({"kind": "once", "day": "2020-01-01", "time": "09:00", "name": "n"}, "scheduled_at"),
        ({"kind": "json", "json": "[", "name": "n"}, "JSON"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_created(
    api: RunningApi, ann: httpx.Client, sent: dict[str, Any], shown: str
) -> None:
    before = api.database.one("SELECT count(*) FROM campaigns")
    page = ann.post("/campaigns/new", data={"target": "log", "payload": "{}", **sent})
    assert page.url.path == "/campaigns/new"
    assert 'role="alert"' in page.text
    assert shown in page.text.split('role="alert"')[1].split("</div>")[0]
    assert api.database.one("SELECT count(*) FROM campaigns") == before


BODIES: dict[str, dict[str, Any]] = {
    "once": {"schedule_type": "scheduled", "scheduled_at": "2031-02-15T09:00:00"},
    "daily": {
        "schedule_type": "recurring",
        "overlap": "queue",
        "recurring_config": {"frequency": "daily", "interval": 3, "time": "07:30"},
        "scheduled_at": "2031-01-05T07:30:00",
    },
    "weekly": {
        "schedule_type": "recurring",
        "recurring_config": {
            "frequency": "weekly",
            "time": "09:00",
            "days_of_week": [2, 4],
            "time_zone": "America/New_York",
            "end_date": "2031-12-31",
        },
    },
    "monthly": {
        "schedule_type": "recurring",
        "recurring_config": {
            "frequency": "monthly",
            "time": "09:00",
            "day_of_month": 31,
            "skip": "omit",
        },
    },
    "nth": {
        "startdate": "2031-02-12T09:00:00",
        "repeating_schedule_attributes": {
            "interval_size": 2,
            "interval_unit": "month",
            "days_of_week": ["wed"],
            "day_of_month": "nth_weekday",
        },
    },
    "json": {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00", "days_of_week": [1, 2]},
    },
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_editor_shows_a_schedule_and_saving_it_unchanged_changes_nothing(
    api: RunningApi, ann: httpx.Client, kind: str
) -> None:
    """What the fields cannot express is shown as JSON."""
    made = api.create_campaign(type="recurring" if kind == "nth" else "one_time")
    path = f"/campaigns/{made['id']}"
    if kind == "nth":
        saved = api.http.patch(f"{path}/update_schedule", json=BODIES[kind])
    else:
        saved = api.http.post(f"{path}/schedule", json=BODIES[kind])
    assert saved.status_code == 200, saved.text
    before = api.database.rows(
        "SELECT kind, timezone, anchor_at, rrule, ends_at, overlap, misfire_grace_time"
        " FROM schedule_definitions WHERE campaign_id = %s",
        made["id"],
    )
    fields = fields_of(ann.get(f"{path}/reschedule").text)
    assert fields["kind"] == kind
    if kind == "json":
        fields["json"] = json.dumps(BODIES[kind])
    page = ann.post(f"{path}/reschedule", data=fields)
    assert page.url.path == path, page.text
    after = api.database.rows(
        "SELECT kind, timezone, anchor_at, rrule, ends_at, overlap, misfire_grace_time"
        " FROM schedule_definitions WHERE campaign_id = %s",
        made["id"],
    )
    assert after == before


def test_a_move_says_what_it_adds_and_drops_before_it_is_saved(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_armed_campaign(name="Moved", timezone="Europe/Paris")
    page = ann.get(f"/campaigns/{made['id']}/reschedule?time=10:00").text
    assert "In the next 30 days this adds 30 and drops 30 runs." in page
    assert schedule_of(api, made)["recurring_config"]["time"] == "09:00"
    saved = ann.post(f"/campaigns/{made['id']}/reschedule", data=fields_of(page))
    assert "Every day at 10:00 in Paris." in saved.text
    assert schedule_of(api, made)["recurring_config"]["time"] == "10:00"


def test_a_move_can_be_undone(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign(name="Moved and back")
    path = f"/campaigns/{made['id']}"
    moved = ann.post(
        f"{path}/reschedule", data=fields_of(ann.get(f"{path}/reschedule?time=10:00").text)
    )
    undo = moved.text.split("data-undo>")[1].split("</form>")[0]
    sent = {
        name: html.unescape(value)
        for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', undo)
    }
    assert schedule_of(api, made)["recurring_config"]["time"] == "10:00"
    ann.post(f"{path}/reschedule", data=sent)
    assert schedule_of(api, made)["recurring_config"]["time"] == "09:00"


def test_a_move_whose_undoing_would_change_more_offers_no_undo(
    api: RunningApi, ann: httpx.Client
) -> None:
    """Of a recurrence every second week, the former body alone would count from another week."""
    made = api.create_campaign(name="Every second week")
    days = utc_now().isoweekday() % 7 + 1
    config = {"frequency": "weekly", "interval": 2, "time": "09:00", "days_of_week": [days]}
    body = {"schedule_type": "recurring", "recurring_config": config}
    api.http.post(f"/campaigns/{made['id']}/schedule", json=body)
    api.database.rows(
        "UPDATE schedule_definitions SET first_on = first_on - 7,"
        " anchor_at = anchor_at - interval '7 days',"
        " anchor_local = anchor_local - interval '7 days'"
        " WHERE campaign_id = %s",
        made["id"],
    )
    path = f"/campaigns/{made['id']}"
    moved = ann.post(
        f"{path}/reschedule", data=fields_of(ann.get(f"{path}/reschedule?time=10:00").text)
    )
    assert "The schedule was saved." in moved.text
    assert "data-undo" not in moved.text


def test_the_preview_names_clock_changes_and_runs_of_the_same_target(
    api: RunningApi, ann: httpx.Client
) -> None:
    """A time that does not exist on one day of the year; and a run ten minutes after another."""
    day = (utc_now() + timedelta(days=3)).date()
    other = api.create_campaign(name="The other one")
    body = {"schedule_type": "scheduled", "scheduled_at": f"{day}T04:10:00Z"}
    assert api.http.post(f"/campaigns/{other['id']}/schedule", json=body).status_code == 200
    fields = {"kind": "daily", "time": "02:30", "zone": "Europe/Berlin", "preview": "fragment"}
    part = ann.post("/campaigns/new", data={**fields, "name": "x", "target": "log"}).text
    assert "<html" not in part
    assert "Every day at 02:30 in Berlin." in part
    assert "does not exist in Europe/Berlin, because clocks go forward" in part
    once = {"kind": "once", "day": str(day), "time": "04:00", "zone": "UTC", "target": "log"}
    part = ann.post("/campaigns/new", data={**once, "name": "x", "preview": "fragment"}).text
    assert "The other one goes to the same target within 15 minutes." in part


def test_two_people_who_change_a_schedule_see_both_versions(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_armed_campaign(name="Of two")
    path = f"/campaigns/{made['id']}/reschedule"
    hers = fields_of(ann.get(f"{path}?time=10:00").text)
    config = {"frequency": "daily", "time": "11:00"}
    body = {"schedule_type": "recurring", "recurring_config": config}
    api.http.post(f"/campaigns/{made['id']}/schedule", json=body)
    conflict = ann.post(path, data=hers)
    assert conflict.status_code == 412
    assert "api:the write key changed the schedule" in conflict.text
    assert "Every day at 10:00" in conflict.text
    assert "Every day at 11:00" in conflict.text
    assert schedule_of(api, made)["recurring_config"]["time"] == "11:00"
    revision = re.findall(r'name="revision" value="(\d+)"', conflict.text)[0]
    assert ann.post(path, data={**hers, "revision": revision}).status_code == 200
    assert schedule_of(api, made)["recurring_config"]["time"] == "10:00"


def test_two_people_who_edit_a_campaign_see_both_versions(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_campaign(name="First name")
    path = f"/campaigns/{made['id']}/edit"
    tag = re.findall(r'name="tag" value="(\d+)"', ann.get(path).text)[0]
    sent = {"target": "log", "timezone": "UTC", "payload": "{}", "tag": tag}
    assert "Saved." in ann.post(path, data={**sent, "name": "Second name"}).text
    conflict = ann.post(path, data={**sent, "name": "Third name"})
    assert conflict.status_code == 412
    for shown in ("Third name", "Second name", "web:the write key"):
        assert shown in conflict.text
    assert api.http.get(f"/campaigns/{made['id']}").json()["name"] == "Second name"


def test_an_invalid_edit_is_shown_again_with_its_faults(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_campaign(name="Kept")
    path = f"/campaigns/{made['id']}/edit"
    tag = re.findall(r'name="tag" value="(\d+)"', ann.get(path).text)[0]
    sent = {"name": "", "target": "log", "timezone": "UTC", "payload": "{", "tag": tag}
    refused = ann.post(path, data=sent)
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    assert api.http.get(f"/campaigns/{made['id']}").json()["name"] == "Kept"


def test_a_copy_is_a_draft_with_the_same_schedule(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign(name="Original")
    page = ann.post(f"/campaigns/{made['id']}/copy")
    assert "This is the copy." in page.text
    assert "Copy of Original" in page.text
    assert "Every day at 09:00" in page.text


def test_a_failed_run_is_retried_and_a_held_one_released(
    api: RunningApi, ann: httpx.Client
) -> None:
    made = api.create_campaign(name="Retried")
    api.http.post(f"/campaigns/{made['id']}/start")
    api.database.wait_until("SELECT status = 'completed' FROM campaigns WHERE id = %s", made["id"])
    api.database.rows(
        "UPDATE runs SET status = 'failed', error = 'no answer' WHERE campaign_id = %s", made["id"]
    )
    api.database.rows(
        "UPDATE campaigns SET status = 'failed', has_completed = false WHERE id = %s", made["id"]
    )
    run = api.database.one("SELECT id FROM runs WHERE campaign_id = %s", made["id"])
    assert "Try again" in ann.get(f"/runs/{run}").text
    assert "The run is tried again." in ann.post(f"/runs/{run}/retry").text
    api.database.wait_until("SELECT status = 'completed' FROM runs WHERE id = %s", run)
    assert ann.post(f"/runs/{run}/release").status_code == 409
    assert ann.post(f"/runs/{run}/nothing").status_code == 404


def test_today_retries_the_failed_runs_of_a_target_and_decides_on_held_ones(
    api: RunningApi, ann: httpx.Client
) -> None:
    runs = {}
    for status in ("failed", "held"):
        made = api.create_campaign(name=f"The {status} one of today")
        api.http.post(f"/campaigns/{made['id']}/start")
        api.database.wait_until(
            "SELECT status = 'completed' FROM campaigns WHERE id = %s", made["id"]
        )
        runs[status] = api.database.one("SELECT id FROM runs WHERE campaign_id = %s", made["id"])
        ended = "finished_at" if status == "failed" else "NULL"
        api.database.rows(
            f"UPDATE runs SET status = '{status}', error = 'no answer', finished_at = {ended}"
            " WHERE campaign_id = %s",
            made["id"],
        )
        campaign = "failed" if status == "failed" else "executing"
        api.database.rows(
            "UPDATE campaigns SET status = %s, has_completed = false, open_runs = %s WHERE id = %s",
            campaign,
            int(status == "held"),
            made["id"],
        )
    page = ann.get("/").text
    assert f'action="/runs/{runs["held"]}/release"' in page
    since = re.findall(r'name="since" value="([^"]*)"', page)[0]
    done = ann.post("/runs/many", data={"target": "log", "since": since})
    assert re.search(r"\d+ are tried again", done.text)
    api.database.wait_until("SELECT status = 'completed' FROM runs WHERE id = %s", runs["failed"])
    ann.post(f"/runs/{runs['held']}/release", data={"next": "/"})
    api.database.wait_until("SELECT status = 'completed' FROM runs WHERE id = %s", runs["held"])


def test_a_target_is_tested_and_resumed(api: RunningApi, ann: httpx.Client) -> None:
    assert 'action="/targets/log/test"' in ann.get("/targets").text
    assert "Test message to log: delivered" in ann.post("/targets/log/test").text
    assert "The target was resumed" in ann.post("/targets/log/resume").text
    assert ann.post("/targets/nowhere/resume").status_code == 404
    assert ann.post("/targets/nowhere/test").status_code == 404


def test_a_live_page_hears_of_an_edit_and_of_a_run(api: RunningApi, ann: httpx.Client) -> None:
    made = api.create_armed_campaign()
    with ann.stream("GET", "/stream") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"].startswith("no-store")
        lines = stream.iter_lines()
        api.http.post(f"/campaigns/{made['id']}/pause")
        assert next(line for line in lines if line.startswith("event")) == "event: change"


def test_a_stream_needs_a_session(api: RunningApi) -> None:
    answer = httpx.get(f"{api.url}/stream", timeout=TIMEOUT_S)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fstream"
