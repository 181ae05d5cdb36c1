"""Lists over all campaigns: filters, counts, and the refusal of unknown parameters."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, get_without_key, instant_ahead, request_text


def test_every_call_refuses_unknown_parameters(api: RunningApi) -> None:
    """Each operation of the specification, before it reads or changes anything."""
    spec = get_without_key(f"{api.url}/openapi.json").json()
    refused = 0
    with api.client(Scope.ADMIN) as http:
        for path, item in spec["paths"].items():
            for method in item if path.startswith("/api/") else ():
                url = api.url + path.format(ref=1, run_id=uuid4(), key_id=1, name="log")
                answer = http.request(method, url, params={"colour": "red"})
                assert answer.status_code == 400, (method, path, answer.text)
                assert answer.json()["message"] == "Invalid parameters"
                assert answer.json()["errors"]["colour"][0].startswith("is unknown")
                refused += 1
    assert refused > 40


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("statsu=draft", "is unknown, did you mean status?"),
        ("to=2031-01-01", "is unknown, did you mean before?"),
        ("since=2031-01-01", "is unknown, did you mean from?"),
        ("per_page=2", "is unknown, did you mean limit?"),
        ("search=a", "is unknown, did you mean q?"),
        ("limit=1&limit=2", "is given twice"),
        ("from=tomorrow", "must be a date, or an instant"),
        ("before=2031-02-30", "there is no such day"),
        ("timezone=Mars", "must be an IANA time zone name"),
        ("q=", "at least 1 character"),
        ("q=%00", "pattern"),
        ("status=drfat", "should be"),
    ],
)
def test_a_faulty_parameter_is_named(api: RunningApi, given: str, fault: str) -> None:
    answer = api.http.get(f"/campaigns?{given}")
    assert answer.status_code == 400
    ((name, texts),) = answer.json()["errors"].items()
    assert name == given.partition("=")[0]
    assert fault in texts[0]


def test_a_scope_is_checked_before_the_parameters(api: RunningApi) -> None:
    with api.client(Scope.READ) as reader:
        assert reader.get("/keys?colour=red").status_code == 403


def test_campaigns_are_found_and_counted(api: RunningApi) -> None:
    mark = uuid4().hex
    made = [api.create_campaign(name=f"Letter {n} {mark}") for n in range(3)]
    page = api.http.get("/campaigns", params={"q": mark.upper(), "limit": 2}).json()
    assert [item["id"] for item in page["items"]] == [made[2]["id"], made[1]["id"]]
    assert (page["count"], page["more"]) == (3, False)
    rest = api.http.get(
        "/campaigns", params={"q": mark, "limit": 2, "cursor": page["next_cursor"]}
    ).json()
    assert [item["id"] for item in rest["items"]] == [made[0]["id"]]
    assert (rest["count"], rest["next_cursor"]) == (3, None)
    facets = api.http.get("/facets", params={"q": mark}).json()
    assert facets == {
        "status": {"draft": 3},
        "type": {"one_time": 3},
        "target": {"log": 3},
        "timezone": {"UTC": 3},
    }


def test_every_list_says_how_many_there_are(api: RunningApi) -> None:
    campaign = api.create_armed_campaign()
    lists = ["/campaigns", "/runs", "/events", "/upcoming", "/nodes", "/keys", "/audit-log"]
    lists += [f"/campaigns/{campaign['id']}/{name}" for name in ("runs", "events")]
    with api.client(Scope.ADMIN) as http:
        for path in lists:
            page = http.get(path).json()
            assert page["more"] is False, path
            assert page["count"] >= len(page["items"]), path
            if page["next_cursor"] is None:
                assert page["count"] == len(page["items"]), path


def test_runs_and_events_of_all_campaigns(api: RunningApi) -> None:
    mark = uuid4().hex
    campaign = api.create_campaign(name=mark)
    api.http.post(f"/campaigns/{campaign['id']}/start")
    api.database.wait_until("SELECT status = 'completed' FROM campaigns WHERE name = %s", mark)
    for params in ({"q": mark}, {"campaign": campaign["uuid"]}, {"q": mark, "target": "log"}):
        page = api.http.get("/runs", params=params).json()
        (run,) = page["items"]
        assert (run["campaign_name"], run["target"], page["count"]) == (mark, "log", 1)
    assert api.http.get("/runs", params={"q": run["id"]}).json()["items"] == [run]
    assert api.http.get("/runs", params={"q": mark, "status": "failed"}).json()["count"] == 0
    assert api.http.get("/runs", params={"campaign": 999_999}).status_code == 404
    claimed = {"campaign": campaign["id"], "before": run["claimed_at"]}
    assert api.http.get("/runs", params=claimed).json()["items"] == []
    events = api.http.get("/events", params={"event": "start", "limit": 500}).json()["items"]
    assert campaign["id"] in [event["campaign_id"] for event in events]
    ordinary = api.http.get("/events", params={"event": "run_ended", "limit": 500}).json()["items"]
    assert campaign["id"] not in [event["campaign_id"] for event in ordinary]
    assert api.http.get("/events", params={"actor": mark}).json()["count"] == 0


def test_the_state_of_the_cluster(api: RunningApi) -> None:
    status = api.http.get("/status").json()
    assert (status["nodes_live"], status["nodes_lost"], status["overdue"]) == (1, 0, 0)
    (node,) = api.http.get("/nodes").json()["items"]
    assert (node["live"], node["shards"]) == (True, 64)


def occurrences(api: RunningApi, **params: Any) -> dict[str, Any]:
    answer = api.http.get("/occurrences", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_occurrences_are_past_runs_and_those_to_come(api: RunningApi) -> None:
    mark = uuid4().hex
    campaign = api.create_armed_campaign(name=mark)
    key = {"Idempotency-Key": mark}
    run_id = api.http.post(f"/campaigns/{campaign['id']}/run_now", headers=key).json()["run_id"]
    api.database.wait_until("SELECT status <> 'executing' FROM campaigns WHERE name = %s", mark)
    stretch = {
        "from": request_text(instant_ahead(days=-1)),
        "before": request_text(instant_ahead(days=4)),
        "q": mark,
        "tz": "Asia/Tokyo",
    }
    listed = occurrences(api, **stretch)
    assert (listed["truncated"], listed["count"]) == (False, len(listed["items"]))
    past, *coming = listed["items"]
    assert (past["run_id"], past["run_status"]) == (run_id, "completed")
    assert len(coming) in (3, 4)
    assert {(item["run_status"], item["campaign_status"]) for item in coming} == {
        (None, "launched")
    }
    assert all(item["local"].endswith("T18:00:00") for item in coming)
    first = datetime.fromisoformat(coming[0]["at"])
    assert [datetime.fromisoformat(item["at"]) for item in coming] == [
        first + timedelta(days=n) for n in range(len(coming))
    ]
    cut = occurrences(api, **stretch, limit=2)
    assert (cut["truncated"], cut["items"]) == (True, listed["items"][:2])
    assert occurrences(api, **stretch, target="crm")["items"] == []
    api.http.post(f"/campaigns/{campaign['id']}/pause")
    assert occurrences(api, **stretch)["items"][-1]["campaign_status"] == "paused"


def test_occurrences_far_ahead_are_not_hidden_by_sooner_schedules(api: RunningApi) -> None:
    mark = uuid4().hex
    for n in range(3):
        soon = {"schedule_type": "scheduled", "scheduled_at": request_text(instant_ahead(hours=9))}
        made = api.create_campaign(name=f"{mark} {n}")
        api.http.post(f"/campaigns/{made['id']}/schedule", json=soon)
    late = api.create_campaign(name=f"{mark} late")
    body = {"schedule_type": "scheduled", "scheduled_at": "2032-01-01T00:00:00Z"}
    api.http.post(f"/campaigns/{late['id']}/schedule", json=body)
    stretch = {"from": "2031-12-31", "before": "2032-01-02", "q": mark}
    (item,) = occurrences(api, **stretch, limit=1)["items"]
    assert item["campaign_id"] == late["id"]


def test_drafts_are_occurrences_only_where_asked_for(api: RunningApi) -> None:
    mark = uuid4().hex
    draft = api.create_campaign(name=mark)
    body = {"startdate": "2032-05-01T00:00:00Z"}
    api.http.patch(f"/campaigns/{draft['uuid']}/update_schedule", json=body)
    stretch = {"from": "2032-05-01", "before": "2032-05-02", "q": mark}
    assert occurrences(api, **stretch)["items"] == []
    (item,) = occurrences(api, **stretch, drafts="true")["items"]
    assert (item["campaign_status"], item["at"]) == ("draft", "2032-05-01T00:00:00Z")


def test_a_stretch_needs_two_ends_in_order(api: RunningApi) -> None:
    assert api.http.get("/occurrences").status_code == 400
    params = {"from": "2031-01-02", "before": "2031-01-02"}
    answer = api.http.get("/occurrences", params=params)
    assert answer.json()["errors"] == {"before": ["is not after from"]}


LINES = {"Content-Type": "application/x-ndjson"}


def line(**campaign: Any) -> str:
    return json.dumps({"campaign": campaign, "schedule": None}) + "\n"


def test_import_reports_as_the_command_does(api: RunningApi) -> None:
    mark, known = uuid4().hex, str(uuid4())
    content = line(name=mark, uuid=known) + "\nnot json\n" + line(name=mark)
    answer = api.http.post("/import", content=content, headers=LINES)
    assert answer.json() == {
        "success": False,
        "loaded": 2,
        "unchanged": 0,
        "updated": 0,
        "bad": 1,
        "bad_lines": [{"line": 3, "reason": "is not JSON: Expecting value at column 1"}],
    }
    assert api.http.get("/campaigns", params={"q": mark}).json()["count"] == 2
    (row,) = api.database.rows(
        "SELECT * FROM audit_log WHERE action = 'campaigns.imported' ORDER BY id DESC LIMIT 1"
    )
    assert (row["actor"], row["note"]) == ("api:the write key", "2 campaigns loaded")
    renamed = line(name="another", uuid=known)
    first = api.http.post("/import", content=renamed, headers=LINES).json()
    assert "--update applies the line" in first["bad_lines"][0]["reason"]
    updated = api.http.post("/import?update=true", content=renamed, headers=LINES).json()
    assert (updated["success"], updated["updated"]) == (True, 1)


def test_an_import_is_made_once_for_a_key(api: RunningApi) -> None:
    mark = uuid4().hex
    headers = {**LINES, "Idempotency-Key": mark}
    content = line(name=f"{mark} 1") + line(name="x" * 201) + line(name=f"{mark} 2")
    first = api.http.post("/import", content=content, headers=headers)
    assert first.json()["loaded"] == 2
    again = api.http.post("/import", content=content, headers=headers)
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert api.http.get("/campaigns", params={"q": mark}).json()["count"] == 2
    other = api.http.post("/import?update=true", content=content, headers=headers)
    assert other.status_code == 422


def test_an_import_of_another_type_is_refused(api: RunningApi) -> None:
    assert api.http.post("/import", content="{}").status_code == 415
    assert api.http.post("/import", content=" \n", headers=LINES).status_code == 400
    large = "x" * (256 * 1024 + 1)
    assert api.http.post("/import", content=large, headers=LINES).status_code == 413


def test_an_export_can_be_imported(api: RunningApi) -> None:
    campaign = api.create_armed_campaign(name="for export")
    answer = api.http.get("/export")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = answer.text.splitlines()
    assert len(lines) == api.http.get("/campaigns").json()["count"]
    (mine,) = [each for each in lines if campaign["uuid"] in each]
    imported = api.http.post("/import", content=mine, headers=LINES).json()
    assert (imported["unchanged"], imported["bad"]) == (1, 0)
