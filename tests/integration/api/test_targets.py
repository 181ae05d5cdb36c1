"""The state of targets over HTTP, test messages, and the end of a pause."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.api_server import RunningApi, running_server
from tests.support.configured_targets import write_configuration
from tests.support.postgres import fresh_database
from tests.support.processes import Daemons
from tests.support.servers import Server, answer_with
from tests.support.waiting import wait_until

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def api(
    receiver: Server,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    template_database: str,
) -> Iterator[RunningApi]:
    """`campaignd run` with a webhook that pauses after each failure, for twice as long."""
    directory: Path = tmp_path_factory.mktemp("targets")
    hook = {"type": "webhook", "url": f"{receiver.url}/hook", "secrets": [SECRET]}
    hook |= {"pause_after": 1, "pause_longest": 3600.0, "max_attempts": 20}
    hook |= {"backoff_first": 0.05, "backoff_longest": 0.2}
    configuration = write_configuration(Daemons(directory), crm=hook, queue={"type": "postgres"})
    with (
        fresh_database(postgres_server, template_database) as (_, url),
        running_server(directory, url, CAMPAIGND_CONFIG=configuration) as found,
    ):
        yield found


def target(api: RunningApi, name: str = "crm") -> dict[str, Any]:
    answer = api.http.get(f"/targets/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pause_of(api: RunningApi, seconds: float) -> dict[str, Any] | None:
    """Return the target if it is paused for longer than some seconds from now."""
    found = target(api)
    until = found["paused_until"]
    if until is None:
        return None
    left = datetime.fromisoformat(until) - datetime.now(UTC)
    return found if left.total_seconds() > seconds - 1 else None


def test_a_test_message_says_so_and_is_signed(api: RunningApi, receiver: Server) -> None:
    answer = api.http.post("/targets/crm/test").json()
    assert (answer["success"], answer["outcome"], answer["detail"]) == (True, "delivered", None)
    request = receiver.requests[-1]
    message = Webhook(SECRET).verify(request.body, request.headers)
    assert (message["type"], message["data"]["campaign_id"]) == ("campaign.test", 0)
    assert message["data"]["run_id"] == answer["run_id"]
    assert message["data"]["payload"] == {"test": True, "sent_by": "api:the write key"}
    assert api.http.get("/runs", params={"target": "crm"}).json()["count"] == 0
    (row,) = api.database.rows("SELECT * FROM audit_log WHERE action = 'target.tested'")
    assert (row["object_id"], row["outcome"]) == ("crm", "done")


def test_a_test_that_fails_says_why(api: RunningApi, receiver: Server) -> None:
    receiver.default = answer_with(410)
    answer = api.http.post("/targets/crm/test").json()
    receiver.default = answer_with(200)
    assert (answer["success"], answer["outcome"]) == (False, "rejected")
    assert "410" in answer["detail"]
    refused = api.http.post("/targets/queue/test")
    assert (refused.status_code, refused.json()["message"]) == (400, "Target not tested")
    for call in ("", "/test", "/resume"):
        send = api.http.post if call else api.http.get
        missing = send(f"/targets/nothing{call}")
        assert (missing.status_code, missing.json()["message"]) == (404, "Target not found")


def test_a_pause_is_shown_explained_and_ended(api: RunningApi, receiver: Server) -> None:
    receiver.default = answer_with(503)
    campaign = api.create_campaign(target="crm")
    path = f"/campaigns/{campaign['id']}"
    api.http.post(f"{path}/start")
    paused = wait_until("a pause of 4 s", lambda: pause_of(api, 3))
    assert "503" in paused["error"]
    assert paused["paused_until"] is not None
    assert [node["circuit"] for node in paused["nodes"]] == ["open"]
    (explained,) = api.http.get(f"{path}/explain").json()["explained"]
    assert f"its target crm is paused until {paused['paused_until']}: " in explained["why"]
    metrics = api.http.get(f"{api.url}/metrics").text
    assert 'campaignd_target_paused{target="crm"} 1.0' in metrics

    receiver.default = answer_with(200)
    assert api.http.post("/targets/crm/resume").json()["message"] == "Target resumed"
    wait_until("the run", lambda: api.status_of(campaign) == "completed")
    closed = wait_until("the end", lambda: (found := target(api))["circuit"] == "closed" and found)
    assert (closed["error"], closed["paused_until"]) == (None, None)
    assert closed["last_hour"]["completed"] == 1
    assert closed["last_hour"]["success_rate"] == 1.0
    assert 'campaignd_target_paused{target="crm"} 0.0' in api.http.get(f"{api.url}/metrics").text
    (row,) = api.database.rows("SELECT * FROM audit_log WHERE action = 'target.resumed'")
    assert (row["actor"], row["object_id"]) == ("api:the write key", "crm")


def test_all_targets_are_listed(api: RunningApi) -> None:
    listed = api.http.get("/targets").json()
    assert [item["name"] for item in listed["items"]] == ["crm", "log", "queue"]
    assert listed["count"] == 3
