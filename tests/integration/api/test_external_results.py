"""Results that are reported later: complete, fail, heartbeat. A late report changes nothing."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from daemon.domain.campaign.model import run_id
from tests.support.api_server import TIMEOUT_S, RunningApi


@pytest.fixture
def run(api: RunningApi) -> dict[str, Any]:
    """Return a run that its target has accepted, in its second attempt."""
    campaign = api.create_campaign()
    api.database.rows(
        "UPDATE campaigns SET status = 'executing', open_runs = 1, has_due = true WHERE id = %s",
        campaign["id"],
    )
    at = api.database.one("SELECT date_trunc('second', now())")
    identity = run_id(UUID(campaign["uuid"]), at)
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, cause, node,"
        " claimed_at, started_at, start_before, lease_until) VALUES"
        " (%s, %s, %s, 'executing', 2, 'start', 'elsewhere', now(), now(),"
        " now() + interval '1 hour', now() + interval '1 hour')",
        campaign["id"],
        at,
        identity,
    )
    return {"id": str(identity), "campaign": campaign}


def test_complete_ends_the_run_and_its_campaign(api: RunningApi, run: dict[str, Any]) -> None:
    """The run is completed, and with its last run the campaign. A repetition changes nothing."""
    for changed in (True, False):
        response = api.http.post(f"/runs/{run['id']}/complete", json={"attempt": 2})
        assert response.status_code == 200, response.text
        assert (response.json()["status"], response.json()["changed"]) == ("completed", changed)
    assert api.status_of(run["campaign"]) == "completed"
    (ended,) = [e for e in api.events_of(run["campaign"]) if e["event"] == "run_ended"]
    assert (ended["actor"], ended["to_status"]) == ("api:the write key", "completed")


def test_fail_without_a_retry_ends_the_run(api: RunningApi, run: dict[str, Any]) -> None:
    """No further attempt follows, and the error is stored."""
    body = {"attempt": 2, "error": "no such list", "retry": False}
    response = api.http.post(f"/runs/{run['id']}/fail", json=body)
    assert response.json()["status"] == "failed", response.text
    assert api.http.get(f"/runs/{run['id']}").json()["error"] == "no such list"
    assert api.status_of(run["campaign"]) == "failed"


@pytest.mark.parametrize("with_key", [False, True])
def test_a_reported_failure_pauses_where_the_schedule_asks_for_it(
    api: RunningApi, with_key: bool
) -> None:
    """The failure and the pause are one request, also with an Idempotency-Key."""
    campaign = api.create_campaign()
    path = f"/campaigns/{campaign['id']}"
    config = {"frequency": "daily", "time": "09:00"}
    body = {"schedule_type": "recurring", "recurring_config": config, "pause_after_failures": 1}
    assert api.http.post(f"{path}/schedule", json=body).status_code == 200
    at = api.database.one("SELECT date_trunc('second', now())")
    identity = run_id(UUID(campaign["uuid"]), at)
    api.database.rows(
        "UPDATE campaigns SET status = 'executing', open_runs = 1, has_due = true WHERE id = %s",
        campaign["id"],
    )
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, cause, node,"
        " claimed_at, started_at, start_before, lease_until) VALUES"
        " (%s, %s, %s, 'executing', 1, 'schedule', 'elsewhere', now(), now(),"
        " now() + interval '1 hour', now() + interval '1 hour')",
        campaign["id"],
        at,
        identity,
    )
    headers = {"Idempotency-Key": str(identity)} if with_key else {}
    failed = {"attempt": 1, "error": "no such list", "retry": False}
    response = api.http.post(f"/runs/{identity}/fail", json=failed, headers=headers)
    assert response.status_code == 200, response.text
    assert api.status_of(campaign) == "paused"
    event = api.events_of(campaign)[-1]
    assert (event["event"], event["cause"]) == ("pause", "1 runs in a row failed")
    assert event["actor"] == "api:the write key"
    api.process.wait_for("campaign_paused", campaign_id=campaign["id"])


def test_fail_with_a_retry_is_followed_by_another_attempt(
    api: RunningApi, run: dict[str, Any]
) -> None:
    """The target's settings decide that another attempt follows."""
    response = api.http.post(f"/runs/{run['id']}/fail", json={"attempt": 2, "error": "busy"})
    assert response.json()["status"] == "retrying", response.text
    assert response.json()["next_attempt_at"] is not None
    api.database.wait_until("SELECT status = 'completed' FROM runs WHERE id = %s", UUID(run["id"]))


def counted(api: RunningApi, name: str) -> float:
    """Return the value of a counter of the target of these runs."""
    (line,) = re.findall(
        rf'^campaignd_{name}_total{{target="log"}} (.*)$',
        httpx.get(f"{api.url}/metrics", timeout=TIMEOUT_S).text,
        re.M,
    )
    return float(line)


@pytest.mark.parametrize("with_key", [False, True])
def test_each_end_is_logged_and_counted_once(
    api: RunningApi, run: dict[str, Any], with_key: bool
) -> None:
    """The end of a run is logged and counted once, also when a client reports it twice."""
    headers = {"Idempotency-Key": run["id"]} if with_key else {}
    before = counted(api, "runs_finished"), counted(api, "runs_failed")
    for _ in range(2):
        path = f"/runs/{run['id']}/complete"
        assert api.http.post(path, json={"attempt": 2}, headers=headers).status_code == 200
    event = api.process.wait_for("run_finished", run_id=run["id"])
    assert {key: event[key] for key in ("campaign_id", "campaign_uuid", "attempt", "target")} == {
        "campaign_id": run["campaign"]["id"],
        "campaign_uuid": run["campaign"]["uuid"],
        "attempt": 2,
        "target": "log",
    }
    assert (event["to_status"], event["actor"]) == ("completed", "api:the write key")
    assert {"scheduled_for", "lateness_ms", "duration_ms", "node"} <= event.keys()
    assert (counted(api, "runs_finished"), counted(api, "runs_failed")) == (
        before[0] + 1,
        before[1],
    )
    lines = [
        line for line in api.process.events_named("run_finished") if line["run_id"] == run["id"]
    ]
    assert len(lines) == 1


def test_a_reported_failure_is_counted(api: RunningApi, run: dict[str, Any]) -> None:
    """The alert on failing runs reads this counter."""
    before = counted(api, "runs_failed")
    body = {"attempt": 2, "error": "no such list", "retry": False}
    assert api.http.post(f"/runs/{run['id']}/fail", json=body).status_code == 200
    event = api.process.wait_for("run_failed", run_id=run["id"])
    assert (event["level"], event["error"]) == ("error", "no such list")
    assert counted(api, "runs_failed") == before + 1


def test_a_stop_cancels_the_run(api: RunningApi, run: dict[str, Any]) -> None:
    """Each run that a stop cancels is logged."""
    before = counted(api, "runs_cancelled")
    assert api.http.post(f"/campaigns/{run['campaign']['id']}/stop").status_code == 200
    event = api.process.wait_for("run_cancelled", run_id=run["id"])
    assert (event["attempt"], event["actor"]) == (2, "api:the write key")
    assert counted(api, "runs_cancelled") == before + 1


def test_a_heartbeat_extends_the_lease(api: RunningApi, run: dict[str, Any]) -> None:
    """A heartbeat extends the lease and never shortens it."""
    path = f"/runs/{run['id']}/heartbeat"
    before = api.database.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert api.http.post(path, json={"attempt": 2}).status_code == 200
    same = api.database.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert same == before
    assert api.http.post(path, json={"attempt": 2, "seconds": 7200}).status_code == 200
    longer = api.database.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert 3500 < (longer - before).total_seconds() < 3700


def test_a_heartbeat_of_an_attempt_that_its_node_has_in_hand_changes_nothing(
    api: RunningApi, run: dict[str, Any]
) -> None:
    """It gets no lease, at whose end the run would be taken from a node that lives."""
    identity = UUID(run["id"])
    api.database.rows("UPDATE runs SET lease_until = NULL WHERE id = %s", identity)
    before = api.database.rows("SELECT * FROM runs WHERE id = %s", identity)
    response = api.http.post(f"/runs/{run['id']}/heartbeat", json={"attempt": 2, "seconds": 1})
    assert response.status_code == 200, response.text
    assert (response.json()["changed"], response.json()["lease_until"]) == (False, None)
    assert api.database.rows("SELECT * FROM runs WHERE id = %s", identity) == before


@pytest.mark.parametrize("call", ["complete", "fail", "heartbeat"])
def test_late_reports_are_refused(api: RunningApi, run: dict[str, Any], call: str) -> None:
    """A report is refused with 409 for a run that was taken over or stopped."""
    body: dict[str, Any] = {"error": "x"} if call == "fail" else {}
    path = f"/runs/{run['id']}/{call}"
    for attempt in (1, 3):
        response = api.http.post(path, json={"attempt": attempt, **body})
        assert response.status_code == 409, response.text
    api.http.post(f"/campaigns/{run['campaign']['id']}/stop")
    before = api.database.rows("SELECT * FROM runs WHERE id = %s", UUID(run["id"]))
    response = api.http.post(path, json={"attempt": 2, **body})
    assert response.status_code == 409
    assert "cancelled" in response.json()["detail"]
    assert api.database.rows("SELECT * FROM runs WHERE id = %s", UUID(run["id"])) == before
    assert api.status_of(run["campaign"]) == "cancelled"


@pytest.mark.parametrize("call", ["complete", "fail", "heartbeat"])
def test_invalid_reports_are_refused(api: RunningApi, run: dict[str, Any], call: str) -> None:
    """Invalid bodies are refused with 400, and unknown runs with 404."""
    path = f"/runs/{run['id']}/{call}"
    for body in ({}, {"attempt": 0}, {"attempt": "2"}, {"attempt": 2, "colour": 1}, []):
        assert api.http.post(path, json=body).status_code == 400
    body = {"attempt": 1, "error": "x"} if call == "fail" else {"attempt": 1}
    for other in (str(uuid4()), "1", "x"):
        response = api.http.post(f"/runs/{other}/{call}", json=body)
        assert (response.status_code, response.json()["message"]) == (404, "Run not found")


def test_a_repetition_with_an_idempotency_key_returns_the_same_response(
    api: RunningApi, run: dict[str, Any]
) -> None:
    """A repetition with the same key returns the same response, also after the run has ended."""
    headers = {"Idempotency-Key": run["id"]}
    responses = [
        api.http.post(f"/runs/{run['id']}/complete", json={"attempt": 2}, headers=headers).json()
        for _ in range(2)
    ]
    assert responses[0] == responses[1]
    assert responses[0]["changed"] is True
