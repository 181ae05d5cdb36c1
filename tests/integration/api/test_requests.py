"""The answer to any request is one of those in the specification."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from daemon.domain.api_keys import Scope
from daemon.domain.campaign.payload import payload_size
from tests.support.api_server import (
    TIMEOUT_S,
    RunningApi,
    get_without_key,
    instant_ahead,
    request_text,
)

KIB = 1024

BAD_JSON = [
    b"",
    b" ",
    b"{",
    b"nonsense",
    b"[1,]",
    b"{'name': 'x'}",
    b'{"name": NaN}',
    b'{"name": Infinity}',
    b'{"name": "x", "payload": {"a": -Infinity}}',
    b'{"name": "x", "payload": {"a": 1e999}}',
    b'{"name": "x", "payload": {"a": 1e-999}}',
    b'{"name": "x", "payload": {"a": 12345678901234567890.123456789}}',
    b'{"name": "x", "payload": {"a": ' + b"9" * 5000 + b"}}",
    b'{"name": "\\ud800"}',
    b'{"name": "x", "payload": {"\\udc00": 1}}',
    b'{"name": "a\\u0000b"}',
    b'{"name": "x", "payload": {"a": ["\\u0000"]}}',
    b'{"name": "x", "name": "y"}',
    b'{"name": "x", "payload": {"a": 1, "a": 2}}',
    b'{"name": "x", "payload": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}",
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b'{"name": "\xff"}',
    b'\xef\xbb\xbf{"name": "x"}',
    b'{"name": "x"} {"name": "y"}',
    b"null",
    b"[]",
    b'"name"',
    b"1",
    b"true",
]


def test_what_is_no_json(api: RunningApi) -> None:
    """400 and the error body, on every route that takes a body."""
    campaign = api.create_campaign()
    run = uuid4()
    routes = [
        ("POST", "/campaigns"),
        ("POST", f"/campaigns/{campaign['id']}/schedule"),
        ("POST", f"/campaigns/{campaign['id']}/schedule/preview"),
        ("PATCH", f"/campaigns/{campaign['id']}/update_schedule"),
        ("POST", f"/runs/{run}/complete"),
        ("POST", f"/runs/{run}/fail"),
        ("POST", f"/runs/{run}/heartbeat"),
        ("POST", "/keys"),
    ]
    with api.client(Scope.ADMIN) as admin:
        for method, path in routes:
            for raw in BAD_JSON:
                answer = admin.request(method, path, content=raw)
                assert answer.status_code == 400, (method, path, raw[:60], answer.text)
                assert {"message", "detail"} <= answer.json().keys()
    assert api.status_of(campaign) == "draft"


def test_values_that_are_kept_as_they_are(api: RunningApi) -> None:
    """Any JSON that a payload may hold comes back equal."""
    payload = {
        "text": "é\n\t\"'\\ 漢字 🎉 \u2028",
        "numbers": [0, -1, 1.5, -1e-300, 0.1, 10**40, True, False, None],
        "": {"deep": [[[[[{}]]]]]},
    }
    campaign = api.create_campaign(name="é 🎉 " * 20, payload=payload)
    shown = api.http.get(f"/campaigns/{campaign['uuid']}").json()
    assert shown["payload"] == payload
    assert shown["name"] == "é 🎉 " * 20


def test_a_payload_is_measured_as_it_is_stored(api: RunningApi) -> None:
    """The size that is limited is that of every later response, message and claim."""
    payload = {"é\n\x7f\u2028": [1e308, 5e-324, -1e-7, 1e16, 0.1, "1e-9", -0.5, True, None, {}, []]}
    campaign = api.create_campaign(payload=payload)
    stored = "SELECT octet_length(payload::text) FROM campaigns WHERE id = %s"
    assert api.database.one(stored, campaign["id"]) == payload_size(payload)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "type": "daily"}, "type"),
        ({"name": "x", "timezone": "Europe/paris"}, "timezone"),
        ({"name": "x", "target": "nowhere"}, "target"),
        ({"name": "x", "payload": []}, "payload"),
        ({"name": "x", "payload": {"a": "x" * 65 * KIB}}, "payload"),
        ({"name": "x", "payload": {"a": [1e308] * 8_000}}, "payload"),
        ({"name": "x", "uuid": "7"}, "uuid"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
)
def test_campaigns_that_are_a_400(api: RunningApi, fields: dict[str, Any], field: str) -> None:
    """Every field at fault is named."""
    answer = api.http.post("/campaigns", json=fields)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_near_misses_name_the_likely_zone(api: RunningApi) -> None:
    """The error suggests the fix."""
    answer = api.http.post("/campaigns", json={"name": "x", "timezone": "Europe/paris"})
    assert "Europe/Paris" in answer.json()["detail"]


def test_a_uuid_of_ones_own(api: RunningApi) -> None:
    """The first request creates it; the second one is a lost race."""
    mine = str(uuid4())
    assert api.create_campaign(uuid=mine)["uuid"] == mine
    assert api.http.post("/campaigns", json={"name": "x", "uuid": mine}).status_code == 409


def test_bodies_over_the_limit(api: RunningApi) -> None:
    """413 with and without a length, before the whole body is read; 256 KiB are accepted."""
    fits = b'{"name": "x"}'.ljust(256 * KIB)
    assert api.http.post("/campaigns", content=fits).status_code == 201
    answer = api.http.post("/campaigns", content=fits + b" ")
    assert (answer.status_code, answer.json()["message"]) == (413, "Request body too large")

    def chunks() -> Any:
        for _ in range(300):
            yield b" " * KIB

    answer = api.http.post("/campaigns", content=chunks())
    assert answer.status_code == 413
    assert api.http.get("/upcoming").status_code == 200


def test_unknown_fields_are_refused_with_the_known_ones_once(api: RunningApi) -> None:
    """The list is in the detail once, however many fields are unknown."""
    campaign = api.create_campaign()
    answer = api.http.post(
        f"/campaigns/{campaign['id']}/schedule",
        json={"schedule_type": "immediate", "colour": 1, "size": 2, "shape": 3},
    )
    found = answer.json()
    assert (answer.status_code, list(found["errors"])) == (400, ["colour", "size", "shape"])
    assert found["detail"].startswith("colour is unknown; size is unknown; shape is unknown, known")
    assert found["detail"].count("schedule_type") == 1


def test_a_schedule_can_be_sent_back_as_it_was_read(api: RunningApi) -> None:
    """Read-only fields are ignored; the zone in force, and the local time, are named."""
    campaign = api.create_campaign(timezone="Asia/Kathmandu")
    path = f"/campaigns/{campaign['id']}"
    config = {"frequency": "daily", "interval": 2}
    body = {
        "schedule_type": "recurring",
        "scheduled_at": "2031-03-01T09:00:00.5",
        "recurring_config": config,
    }
    assert api.http.post(f"{path}/schedule", json=body).status_code == 200
    read = api.http.get(f"{path}/schedule").json()
    assert read["timezone"] == "Asia/Kathmandu"
    assert read["next_run_at"] == "2031-03-01T03:15:00.500000Z"
    assert read["next_run_local"] == "2031-03-01T09:00:00.500000"
    preview = api.http.post(f"{path}/schedule/preview", json=read).json()
    assert preview["occurrences"][0] == read["next_run_at"]
    assert api.http.post(f"{path}/schedule", json=read).status_code == 200
    again = api.http.get(f"{path}/schedule").json()
    same = read.keys() - {"revision", "saved_at"}
    assert {name: again[name] for name in same} == {name: read[name] for name in same}

    patch = {"startdate": "2031-03-01T09:00:00Z", "enddate": "2031-04-01T09:00:00Z"}
    window = api.create_campaign(type="event_triggered")
    path = f"/campaigns/{window['uuid']}"
    assert api.http.patch(f"{path}/update_schedule", json=patch).status_code == 200
    read = api.http.get(f"{path}/schedule").json()
    assert api.http.patch(f"{path}/update_schedule", json=read).status_code == 200


def test_a_pause_that_is_over_ends_within_seconds(api: RunningApi) -> None:
    """It has an end and a note; a node starts the campaign then."""
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}"
    assert api.http.get(path).json()["paused"] is None
    until = instant_ahead(seconds=2)
    body = {"until": request_text(until), "note": "a moment"}
    paused = api.http.post(f"{path}/pause", json=body).json()
    assert (paused["status"], paused["changed"]) == ("paused", True)
    found = api.http.get(path).json()["paused"]
    assert (found["until"], found["note"]) == (request_text(until), "a moment")
    assert found["by"].startswith("api:")
    api.database.wait_until(
        "SELECT status = 'scheduled' FROM campaigns WHERE id = %s", campaign["id"]
    )
    event = api.events_of(campaign)[-1]
    assert (event["event"], event["cause"], event["actor"]) == ("start", "until", "schedule")
    assert event["at"] >= until
    assert api.http.get(path).json()["paused"] is None
    for wrong, name in (
        ({"until": "soon"}, "until"),
        ({"until": "2020-01-01T00:00"}, "until"),
        ({"note": "x" * 501}, "note"),
        ({"because": "x"}, "because"),
    ):
        refused = api.http.post(f"{path}/pause", json=wrong)
        assert (refused.status_code, list(refused.json()["errors"])) == (400, [name])
    assert api.status_of(campaign) == "scheduled"


def test_a_recurrence_written_as_rrule_is_read_back_as_it_was_given(api: RunningApi) -> None:
    """It is stored, shown, saved again and changed as one that was given in fields."""
    campaign = api.create_campaign(type="recurring")
    path = f"/campaigns/{campaign['id']}"
    config = {"rrule": "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "time": "09:00"}
    body = {
        "schedule_type": "recurring",
        "scheduled_at": "2031-01-01T00:00:00Z",
        "recurring_config": config,
    }
    saved = api.http.post(f"{path}/schedule", json=body)
    assert (saved.status_code, saved.json()["next_run_at"]) == (200, "2031-11-27T09:00:00Z")
    read = api.http.get(f"{path}/schedule").json()
    assert read["recurring_config"] == config
    assert read["rrule"] == "DTSTART:20311127T090000Z\nRRULE:FREQ=MONTHLY;INTERVAL=12;BYDAY=4TH"
    assert api.http.post(f"{path}/schedule", json=read).status_code == 200
    patch = {
        "startdate": "2031-01-01T00:00:00Z",
        "repeating_schedule_attributes": {"days_of_week": ["fri"]},
    }
    updated = api.http.patch(f"/campaigns/{campaign['uuid']}/update_schedule", json=patch)
    assert updated.status_code == 200, updated.text
    read = api.http.get(f"{path}/schedule").json()
    assert read["recurring_config"]["rrule"] == "FREQ=YEARLY;BYMONTH=11;BYDAY=4FR"
    assert read["next_run_at"] == "2031-11-28T09:00:00Z"


def test_another_value_of_a_read_only_field_is_refused_in_one_sentence(api: RunningApi) -> None:
    """The error names the fields; nothing is saved."""
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}/schedule"
    read = api.http.get(path).json()
    for call, name in ((api.http.post, path), (api.http.post, f"{path}/preview")):
        answer = call(name, json={**read, "status": "paused", "rrule": "FREQ=DAILY"})
        found = answer.json()
        assert (answer.status_code, set(found["errors"])) == (400, {"status", "rrule"})
        assert found["detail"] == (
            "status, rrule: read-only, with another value; omit them or read the schedule again"
        )
    assert api.http.get(path).json() == read


def test_unknown_paths_and_methods(api: RunningApi) -> None:
    """In the same form as everything else."""
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/campaigns/1/nothing", 404),
        ("PUT", "/campaigns", 405),
        ("DELETE", "/campaigns", 405),
        ("POST", "/upcoming", 405),
    ):
        answer = api.http.request(method, path)
        assert answer.status_code == status, path
        assert answer.json().keys() == {"message", "detail"}
    assert api.http.put("/campaigns").headers["Allow"] == "GET, HEAD, POST"
    page = get_without_key(f"{api.url}/nothing")
    assert (page.status_code, "Not found" in page.text) == (404, True)


def test_a_slash_at_the_end(api: RunningApi) -> None:
    """Clients write the collection both ways."""
    assert api.http.get("/campaigns/").status_code == 200
    assert api.http.post("/campaigns/", json={"name": "x"}).status_code == 201


def test_ids_and_uuids_everywhere(api: RunningApi) -> None:
    """Every path takes either."""
    campaign = api.create_armed_campaign()
    for ref in (campaign["id"], campaign["uuid"], campaign["uuid"].upper()):
        for path in ("", "/schedule", "/runs", "/events"):
            assert api.http.get(f"/campaigns/{ref}{path}").status_code == 200
        body = {"startdate": "2031-01-01T00:00:00Z"}
        assert api.http.patch(f"/campaigns/{ref}/update_schedule", json=body).status_code == 200


def test_lists_by_page(api: RunningApi) -> None:
    """Every item once, whatever the size of the pages; filters; wrong parameters are a 400."""
    made = [api.create_campaign(type="live_content")["id"] for _ in range(7)]
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        parameters = {"type": "live_content", "status": "draft", "limit": "3", **cursor}
        page = api.http.get("/campaigns", params=parameters).json()
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == made[::-1]
    for parameters in (
        {"limit": "0"},
        {"limit": "many"},
        {"limit": "501"},
        {"cursor": "x"},
        {"cursor": "WyJ4Il0"},
        {"cursor": "é"},
        {"status": "gone"},
        {"type": "daily"},
    ):
        answer = api.http.get("/campaigns", params=parameters)
        assert answer.status_code == 400, parameters
        assert list(answer.json()["errors"]) == list(parameters)


def test_history(api: RunningApi) -> None:
    """Runs, events and upcoming occurrences, by page."""
    campaign = api.create_campaign()
    api.http.post(f"/campaigns/{campaign['id']}/start")
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"]
    )
    (run,) = api.http.get(f"/campaigns/{campaign['uuid']}/runs").json()["items"]
    assert api.http.get(f"/runs/{run['id']}").json() == run
    first = api.http.get(f"/campaigns/{campaign['id']}/events", params={"limit": 1}).json()
    rest = api.http.get(
        f"/campaigns/{campaign['id']}/events", params={"cursor": first["next_cursor"]}
    ).json()
    events = [item["event"] for item in first["items"] + rest["items"]]
    assert events[::-1][:2] == ["created", "start"]
    assert rest["next_cursor"] is None
    assert api.http.get(f"/runs/{uuid4()}").json()["message"] == "Run not found"
    armed = [api.create_armed_campaign()["id"] for _ in range(3)]
    coming, cursor = [], {}
    while True:
        page = api.http.get("/upcoming", params={"limit": 1, **cursor}).json()
        coming += [item["campaign_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert set(armed) <= set(coming)
    assert len(coming) == len(set(coming))


def test_a_page_of_long_items_ends_early(api: RunningApi) -> None:
    """A response has about 1 MiB at most; the cursor leads to every other item, once."""
    campaign = api.create_campaign()
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at,"
        " start_before, finished_at, error)"
        " SELECT %s, now() + n * interval '1 s', gen_random_uuid(), 'failed', 1, now(), now(),"
        " now(), repeat('🎉', 2000) FROM generate_series(1, 400) n RETURNING 1",
        campaign["id"],
    )
    found: list[str] = []
    pages, parameters = 0, {"limit": "500"}
    while True:
        response = api.http.get(f"/campaigns/{campaign['id']}/runs", params=parameters)
        assert KIB * KIB / 2 < len(response.content) < 1.1 * KIB * KIB or found
        page, pages = response.json(), pages + 1
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert len(found) == len(set(found)) == 400
    assert 3 < pages < 6


def test_preview_saves_nothing(api: RunningApi) -> None:
    """Both bodies, with the requested count."""
    campaign = api.create_campaign(timezone="America/New_York")
    body = {
        "schedule_type": "recurring",
        "scheduled_at": "2031-01-01T09:00",
        "recurring_config": {"frequency": "daily"},
    }
    path = f"/campaigns/{campaign['id']}/schedule/preview"
    answer = api.http.post(path, json=body, params={"count": 2})
    assert answer.json() == {
        "occurrences": ["2031-01-01T14:00:00Z", "2031-01-02T14:00:00Z"],
        "summary": "every day at 09:00 in New York, from 1 January 2031",
    }
    assert len(api.http.post(path, json=body, params={"count": 10_000}).json()["occurrences"]) == (
        10_000
    )
    assert len(api.http.post(path, json=body).json()["occurrences"]) == 10
    window = api.create_campaign(type="segment_triggered")
    answer = api.http.post(
        f"/campaigns/{window['id']}/schedule/preview",
        json={"startdate": "2031-01-01T09:00:00Z", "enddate": "2031-01-02T09:00:00Z"},
    )
    assert answer.json() == {
        "occurrences": ["2031-01-01T09:00:00Z", "2031-01-02T09:00:00Z"],
        "launch_at": "2031-01-01T09:00:00Z",
        "complete_at": "2031-01-02T09:00:00Z",
        "summary": (
            "every day at 09:00 UTC, from 1 January 2031 at 09:00, until 2 January 2031 at 09:00"
        ),
    }
    assert api.http.get(f"/campaigns/{campaign['id']}/schedule").json()["revision"] is None
    assert api.http.post(path, json=body, params={"count": 10_001}).status_code == 400


def test_the_lifecycle(api: RunningApi) -> None:
    """Each command, and that a refused one is a 400 and changes nothing."""
    campaign = api.create_armed_campaign()

    def send(command: str, **headers: str) -> tuple[int, str]:
        path = f"/campaigns/{campaign['id']}/{command}"
        answer = api.http.post(path, headers=headers)
        return answer.status_code, api.status_of(campaign)

    assert send("start") == (200, "scheduled")
    assert send("pause") == (200, "paused")
    assert send("pause") == (200, "paused")
    assert send("start") == (200, "scheduled")
    assert send("archive") == (400, "scheduled")
    assert send("stop") == (200, "cancelled")
    assert send("rerun") == (400, "cancelled")
    assert send("archive", **{"Idempotency-Key": "a"}) == (200, "archived")
    assert send("unarchive") == (200, "cancelled")
    assert send("rerun", **{"Idempotency-Key": "b"})[0] == 200
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"]
    )
    assert api.http.delete(f"/campaigns/{campaign['id']}").status_code == 400
    assert send("archive") == (200, "archived")
    assert api.http.delete(f"/campaigns/{campaign['id']}").json()["success"] is True
    assert api.http.get(f"/campaigns/{campaign['id']}").status_code == 404


def test_clearing(api: RunningApi) -> None:
    """DELETE of the schedule: draft again."""
    campaign = api.create_armed_campaign()
    answer = api.http.delete(f"/campaigns/{campaign['uuid']}/schedule")
    assert (answer.status_code, answer.json()["message"]) == (200, "Schedule cleared")
    assert api.status_of(campaign) == "draft"


def test_request_ids(api: RunningApi) -> None:
    """A usable one is kept, in the answer and in the log; otherwise there is a new one."""
    answer = api.http.get("/upcoming", headers={"X-Request-ID": "trace-1.a"})
    assert answer.headers["X-Request-ID"] == "trace-1.a"
    line = api.process.wait_for("http_request", request_id="trace-1.a")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/upcoming", 200)
    assert line["key"] == "the write key"
    for unusable in ("x" * 200, 'a"b', "a b", ""):
        answer = api.http.get("/upcoming", headers={"X-Request-ID": unusable})
        assert answer.headers["X-Request-ID"] not in ("", unusable)


def test_outside(api: RunningApi) -> None:
    """Health, metrics and documentation need no key, and the documentation no other host."""
    assert get_without_key(f"{api.url}/healthz").json() == {"status": "ok"}
    ready = get_without_key(f"{api.url}/readyz")
    assert (ready.status_code, ready.json()["checks"]["scheduler"]) == (200, "ok")
    assert "campaignd_http_requests_total" in get_without_key(f"{api.url}/metrics").text
    page = get_without_key(f"{api.url}/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert len(get_without_key(f"{api.url}/docs/{asset}").content) > 10_000
    assert get_without_key(f"{api.url}/docs/../secret").status_code == 404


def test_the_specification_is_complete(api: RunningApi) -> None:
    """Every operation is described, has every error, and examples for its body."""
    spec = get_without_key(f"{api.url}/openapi.json").json()
    for path, item in spec["paths"].items():
        for operation in item.values():
            assert operation["summary"]
            assert operation["description"]
            if path.startswith("/api/"):
                assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys()
            body = operation.get("requestBody")
            if body:
                assert all(each["examples"] for each in body["content"].values())
            assert [each["lang"] for each in operation["x-codeSamples"]] == ["Shell", "Python"]
            assert len(operation["tags"]) == 1
    assert "HTTPValidationError" not in json.dumps(spec)
    names = [each["operationId"] for item in spec["paths"].values() for each in item.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)+", name) for name in names)
    assert not [path for path in spec["paths"] if "{campaign" in path]
    used = {
        tag for item in spec["paths"].values() for each in item.values() for tag in each["tags"]
    }
    assert {tag["name"] for tag in spec["tags"]} == used


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/login"]
    + [f"/api/v1/{each}" for each in ("campaigns", "campaigns/0", "upcoming", "nothing")],
)
def test_head_is_get_without_a_body(api: RunningApi, path: str) -> None:
    """The status and the headers are those of GET, on a connection that stays open."""
    url, key = f"{api.url}{path}", {"Authorization": f"Bearer {api.keys[Scope.READ]}"}
    with httpx.Client(headers=key, timeout=TIMEOUT_S) as client:
        read, head = client.get(url), client.head(url)
        assert client.head(url).status_code == read.status_code == head.status_code
    assert head.content == b""
    assert head.headers.keys() == read.headers.keys()
    assert head.headers["content-type"] == read.headers["content-type"]


def test_head_is_refused_where_get_is(api: RunningApi) -> None:
    """HEAD is no way around the key, nor to a path that only takes other methods."""
    assert httpx.head(f"{api.url}/api/v1/campaigns", timeout=TIMEOUT_S).status_code == 401
    refused = api.http.head("/campaigns/1/start")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/healthz", "/api/v1/campaigns", "/api/v1/nothing", "/openapi.json", "/"]
)
def test_no_response_is_kept_or_guessed_at(api: RunningApi, path: str) -> None:
    """Caches keep no response, with a key or without, and browsers do not guess its type."""
    for key in (api.keys[Scope.READ], "wrong"):
        response = get_without_key(f"{api.url}{path}", headers={"Authorization": f"Bearer {key}"})
        assert response.headers.get_list("cache-control") == ["no-store"]
        assert response.headers.get_list("x-content-type-options") == ["nosniff"]
