"""Edit, copy, run now and delete a campaign over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api_server import RunningApi, instant_ahead, request_text
from tests.support.waiting import wait_until


def edit(api: RunningApi, campaign: dict[str, Any], body: Any, **headers: str) -> httpx.Response:
    return api.http.patch(f"/campaigns/{campaign['id']}", json=body, headers=headers)


def test_a_patch_changes_what_it_names(api: RunningApi) -> None:
    campaign = api.create_armed_campaign(payload={"template": "a", "draft": True})
    answer = edit(api, campaign, {"name": "new", "payload": {"draft": None, "n": 1}})
    assert answer.status_code == 200
    edited = answer.json()
    assert (edited["name"], edited["payload"]) == ("new", {"template": "a", "n": 1})
    assert (edited["changed"], edited["notes"]) == (["name", "payload"], [])
    shown = api.http.get(f"/campaigns/{campaign['uuid']}")
    same = {name: value for name, value in edited.items() if name not in ("changed", "notes")}
    assert shown.json() == same
    assert shown.headers["ETag"] == answer.headers["ETag"]
    assert api.events_of(campaign)[-1]["event"] == "amended"
    assert api.events_of(campaign)[-1]["actor"] == "api:the write key"


def test_a_lost_update_is_refused(api: RunningApi) -> None:
    campaign = api.create_campaign()
    tag = api.http.get(f"/campaigns/{campaign['id']}").headers["ETag"]
    assert edit(api, campaign, {"name": "first"}, **{"If-Match": tag}).status_code == 200
    second = edit(api, campaign, {"name": "second"}, **{"If-Match": tag})
    assert second.status_code == 412
    assert second.json()["detail"] == "the campaign was changed by another request; read it again"
    assert api.http.get(f"/campaigns/{campaign['id']}").json()["name"] == "first"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"target": "crn"}, {"target": ["is 'crn', must be one of log"]}),
        ({"name": None}, {"name": ["can't be blank"]}),
        ({"title": "x"}, {"title": ["is unknown, known are name, payload, target, timezone"]}),
    ],
)
def test_a_faulty_patch_names_the_field(
    api: RunningApi, body: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    campaign = api.create_campaign()
    answer = edit(api, campaign, body)
    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid campaign values")
    assert answer.json()["errors"] == errors


def test_an_archived_campaign_is_not_edited(api: RunningApi) -> None:
    campaign = api.create_campaign()
    api.http.post(f"/campaigns/{campaign['id']}/archive")
    answer = edit(api, campaign, {"name": "b"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "cannot change an archived campaign; unarchive it first"


def test_a_patch_is_made_once_for_a_key(api: RunningApi) -> None:
    campaign = api.create_campaign()
    key = {"Idempotency-Key": f"patch {campaign['id']}"}
    first = edit(api, campaign, {"name": "b"}, **key)
    api.http.patch(f"/campaigns/{campaign['id']}", json={"name": "c"})
    again = edit(api, campaign, {"name": "b"}, **key)
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert api.http.get(f"/campaigns/{campaign['id']}").json()["name"] == "c"


def test_a_copy_is_a_draft_with_the_schedule(api: RunningApi) -> None:
    campaign = api.create_armed_campaign(payload={"a": 1})
    answer = api.http.post(f"/campaigns/{campaign['id']}/copy")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["Location"] == f"/api/v1/campaigns/{made['id']}"
    assert (made["status"], made["name"], made["payload"]) == (
        "draft",
        "Copy of a campaign",
        {"a": 1},
    )
    assert made["hint"] == "It is a draft: start it, and it runs by its schedule."
    schedules = [
        api.http.get(f"/campaigns/{ref}/schedule").json() for ref in (campaign["id"], made["id"])
    ]
    assert schedules[0]["recurring_config"] == schedules[1]["recurring_config"]
    named = api.http.post(f"/campaigns/{campaign['id']}/copy", json={"name": "June"}).json()
    assert named["name"] == "June"
    assert api.http.post("/campaigns/999999/copy").status_code == 404


def test_run_now_sends_once_and_the_schedule_goes_on(api: RunningApi) -> None:
    campaign = api.create_armed_campaign()
    before = api.http.get(f"/campaigns/{campaign['id']}").json()["next_run_at"]
    path = f"/campaigns/{campaign['id']}/run_now"
    assert api.http.post(path).json()["message"] == "Idempotency-Key required"
    key = {"Idempotency-Key": f"now {campaign['id']}"}
    done = api.http.post(path, headers=key).json()
    assert api.http.post(path, headers=key).json() == done
    run_path = f"/runs/{done['run_id']}"
    wait_until("the run", lambda: api.http.get(run_path).json()["status"] == "completed")
    (run,) = api.http.get(f"/campaigns/{campaign['id']}/runs").json()["items"]
    assert (run["id"], run["target"]) == (done["run_id"], "log")
    assert api.http.get(f"/campaigns/{campaign['id']}").json()["next_run_at"] == before
    rows = api.database.rows(
        "SELECT action FROM audit_log WHERE object_id = %s ORDER BY id", str(campaign["id"])
    )
    assert rows[-1]["action"] == "campaign.run_now"


def test_only_drafts_and_archived_campaigns_are_deleted(api: RunningApi) -> None:
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}"
    refused = api.http.delete(path)
    assert refused.status_code == 400
    assert refused.json()["detail"] == (
        "cannot delete a scheduled campaign (allowed: draft, archived)"
    )
    api.http.post(f"{path}/stop")
    api.http.post(f"{path}/archive")
    assert api.http.delete(path).json()["success"] is True
    assert api.http.get(path).status_code == 404


def test_a_failed_run_is_retried_and_only_a_held_one_released(api: RunningApi) -> None:
    campaign = api.create_campaign()
    identity = "8f14e45f-ceea-4e7a-9c3b-2d4f6a7b8c9d"
    api.database.rows(
        "UPDATE campaigns SET status = 'failed', has_due = true WHERE id = %s", campaign["id"]
    )
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at,"
        " start_before, finished_at, error) VALUES (%s, now(), %s, 'failed', 1, now(), now(),"
        " now(), 'no')",
        campaign["id"],
        identity,
    )
    assert api.http.post(f"/runs/{identity}/release").status_code == 409
    done = api.http.post(f"/runs/{identity}/retry").json()
    assert (done["message"], done["campaign_status"]) == ("Run retried", "executing")
    wait_until(
        "the retry", lambda: api.http.get(f"/runs/{identity}").json()["status"] == "completed"
    )
    assert api.http.post(f"/runs/{identity}/retry").status_code == 400
    assert api.http.post(f"/runs/{identity[:-1]}0/retry").status_code == 404


def test_hints_say_what_to_do(api: RunningApi) -> None:
    draft = api.create_campaign()
    assert draft["hint"] == "It is a draft: save a schedule, or start it to run it once now."
    window = api.create_campaign(type="event_triggered")
    assert window["hint"] == "It is a draft: save a schedule, then start it."
    armed = api.create_armed_campaign()
    path = f"/campaigns/{armed['id']}"
    assert api.http.get(path).json()["hint"] is None
    api.http.post(f"{path}/pause")
    assert api.http.get(path).json()["hint"] == "It is paused: start it to resume it."


def test_explain_answers_as_the_command_does(api: RunningApi) -> None:
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}/explain"
    shown = api.http.get(path).json()
    assert (shown["explained"], shown["armed"], len(shown["next"])) == ([], True, 3)
    at = shown["next"][0]["local"][:16]
    (explained,) = api.http.get(path, params={"at": at}).json()["explained"]
    assert explained["why"] == "it is still ahead, and will run"
    draft = api.create_campaign()
    body = {"startdate": request_text(instant_ahead())}
    saved = api.http.patch(f"/campaigns/{draft['uuid']}/update_schedule", json=body)
    assert saved.status_code == 200
    at = body["startdate"]
    (explained,) = api.http.get(f"/campaigns/{draft['id']}/explain", params={"at": at}).json()[
        "explained"
    ]
    assert explained["why"] == ("the campaign is draft: it will not run; start it, and it will run")
    faulty = api.http.get(path, params={"at": "2031-02-30T09:00"})
    assert faulty.status_code == 400
    assert "February 2031 has 28 days" in faulty.json()["errors"]["at"][0]
