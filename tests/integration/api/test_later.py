"""Runs that finish later: complete, fail, heartbeat; a late answer changes nothing."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from daemon.domain.campaign.model import run_id
from tests.support.api_server import TIMEOUT_S, Api


@pytest.fixture
def run(api: Api) -> dict[str, Any]:
    """A run that was accepted by its target, as its second attempt."""
    campaign = api.campaign()
    api.world.rows(
        "UPDATE campaigns SET status = 'executing', open_runs = 1, has_due = true WHERE id = %s",
        campaign["id"],
    )
    at = api.world.one("SELECT date_trunc('second', now())")
    identity = run_id(UUID(campaign["uuid"]), at)
    api.world.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, cause, node,"
        " claimed_at, started_at, start_before, lease_until) VALUES"
        " (%s, %s, %s, 'executing', 2, 'start', 'elsewhere', now(), now(),"
        " now() + interval '1 hour', now() + interval '1 hour')",
        campaign["id"],
        at,
        identity,
    )
    return {"id": str(identity), "campaign": campaign}


def test_complete(api: Api, run: dict[str, Any]) -> None:
    """The run and, as the last one, its campaign; saying so again changes nothing more."""
    for changed in (True, False):
        answer = api.http.post(f"/runs/{run['id']}/complete", json={"attempt": 2})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["status"], answer.json()["changed"]) == ("completed", changed)
    assert api.status(run["campaign"]) == "completed"
    (ended,) = [e for e in api.events(run["campaign"]) if e["event"] == "run_ended"]
    assert (ended["actor"], ended["to_status"]) == ("api:the write key", "completed")


def test_fail_for_good(api: Api, run: dict[str, Any]) -> None:
    """No further attempt; the reason is kept."""
    body = {"attempt": 2, "error": "no such list", "retry": False}
    answer = api.http.post(f"/runs/{run['id']}/fail", json=body)
    assert answer.json()["status"] == "failed", answer.text
    assert api.http.get(f"/runs/{run['id']}").json()["error"] == "no such list"
    assert api.status(run["campaign"]) == "failed"


def test_fail_and_another_attempt(api: Api, run: dict[str, Any]) -> None:
    """As the target's settings have it."""
    answer = api.http.post(f"/runs/{run['id']}/fail", json={"attempt": 2, "error": "busy"})
    assert answer.json()["status"] == "retrying", answer.text
    assert answer.json()["next_attempt_at"] is not None
    api.world.until("SELECT status = 'completed' FROM runs WHERE id = %s", UUID(run["id"]))


def counted(api: Api, name: str) -> float:
    """What the metrics say of the target of these runs."""
    (line,) = re.findall(
        rf'^campaignd_{name}_total{{target="log"}} (.*)$',
        httpx.get(f"{api.url}/metrics", timeout=TIMEOUT_S).text,
        re.M,
    )
    return float(line)


@pytest.mark.parametrize("with_key", [False, True])
def test_each_ending_has_one_line_and_is_counted_once(
    api: Api, run: dict[str, Any], with_key: bool
) -> None:
    """Whoever finishes it: the log and the metrics tell of it like of every other run."""
    headers = {"Idempotency-Key": run["id"]} if with_key else {}
    before = counted(api, "runs_finished"), counted(api, "runs_failed")
    for _ in range(2):
        path = f"/runs/{run['id']}/complete"
        assert api.http.post(path, json={"attempt": 2}, headers=headers).status_code == 200
    told = api.process.wait_for("run_finished", run_id=run["id"])
    assert {key: told[key] for key in ("campaign_id", "campaign_uuid", "attempt", "target")} == {
        "campaign_id": run["campaign"]["id"],
        "campaign_uuid": run["campaign"]["uuid"],
        "attempt": 2,
        "target": "log",
    }
    assert (told["to_status"], told["actor"]) == ("completed", "api:the write key")
    assert {"scheduled_for", "lateness_ms", "duration_ms", "node"} <= told.keys()
    assert (counted(api, "runs_finished"), counted(api, "runs_failed")) == (
        before[0] + 1,
        before[1],
    )
    lines = [line for line in api.process.events("run_finished") if line["run_id"] == run["id"]]
    assert len(lines) == 1


def test_a_failure_that_others_tell_of_is_counted(api: Api, run: dict[str, Any]) -> None:
    """The alert on failing runs looks at this counter."""
    before = counted(api, "runs_failed")
    body = {"attempt": 2, "error": "no such list", "retry": False}
    assert api.http.post(f"/runs/{run['id']}/fail", json=body).status_code == 200
    told = api.process.wait_for("run_failed", run_id=run["id"])
    assert (told["level"], told["error"]) == ("error", "no such list")
    assert counted(api, "runs_failed") == before + 1


def test_a_stop_ends_runs(api: Api, run: dict[str, Any]) -> None:
    """With a line for each."""
    before = counted(api, "runs_cancelled")
    assert api.http.post(f"/campaigns/{run['campaign']['id']}/stop").status_code == 200
    told = api.process.wait_for("run_cancelled", run_id=run["id"])
    assert (told["attempt"], told["actor"]) == (2, "api:the write key")
    assert counted(api, "runs_cancelled") == before + 1


def test_heartbeat(api: Api, run: dict[str, Any]) -> None:
    """Longer, never shorter."""
    path = f"/runs/{run['id']}/heartbeat"
    before = api.world.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert api.http.post(path, json={"attempt": 2}).status_code == 200
    same = api.world.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert same == before
    assert api.http.post(path, json={"attempt": 2, "seconds": 7200}).status_code == 200
    longer = api.world.one("SELECT lease_until FROM runs WHERE id = %s", UUID(run["id"]))
    assert 3500 < (longer - before).total_seconds() < 3700


@pytest.mark.parametrize("say", ["complete", "fail", "heartbeat"])
def test_late_answers(api: Api, run: dict[str, Any], say: str) -> None:
    """Of an attempt that was taken over, or of a run that was stopped: 409."""
    body: dict[str, Any] = {"error": "x"} if say == "fail" else {}
    path = f"/runs/{run['id']}/{say}"
    for attempt in (1, 3):
        answer = api.http.post(path, json={"attempt": attempt, **body})
        assert answer.status_code == 409, answer.text
    api.http.post(f"/campaigns/{run['campaign']['id']}/stop")
    before = api.world.rows("SELECT * FROM runs WHERE id = %s", UUID(run["id"]))
    answer = api.http.post(path, json={"attempt": 2, **body})
    assert answer.status_code == 409
    assert "cancelled" in answer.json()["detail"]
    assert api.world.rows("SELECT * FROM runs WHERE id = %s", UUID(run["id"])) == before
    assert api.status(run["campaign"]) == "cancelled"


@pytest.mark.parametrize("say", ["complete", "fail", "heartbeat"])
def test_what_is_no_answer(api: Api, run: dict[str, Any], say: str) -> None:
    """400 for bodies, 404 for runs."""
    path = f"/runs/{run['id']}/{say}"
    for body in ({}, {"attempt": 0}, {"attempt": "2"}, {"attempt": 2, "colour": 1}, []):
        assert api.http.post(path, json=body).status_code == 400
    body = {"attempt": 1, "error": "x"} if say == "fail" else {"attempt": 1}
    for other in (str(uuid4()), "1", "x"):
        answer = api.http.post(f"/runs/{other}/{say}", json=body)
        assert (answer.status_code, answer.json()["message"]) == (404, "Run not found")


def test_once_with_a_key(api: Api, run: dict[str, Any]) -> None:
    """The same answer, also after the run has ended."""
    headers = {"Idempotency-Key": run["id"]}
    answers = [
        api.http.post(f"/runs/{run['id']}/complete", json={"attempt": 2}, headers=headers).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["changed"] is True
