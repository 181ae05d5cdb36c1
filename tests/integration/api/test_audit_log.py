"""The audit log over HTTP: who changed what, what was refused, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi, instant_ahead, request_text


@pytest.fixture
def auditor(api: RunningApi) -> Iterator[httpx.Client]:
    """Yield a client of an admin key."""
    with api.client(Scope.ADMIN) as client:
        yield client


def rows(auditor: httpx.Client, **filters: Any) -> list[dict[str, Any]]:
    """Return the rows of the audit log, oldest first."""
    response = auditor.get("/audit-log", params={"limit": 200, **filters})
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items[::-1]


def test_every_change_of_a_campaign_is_recorded(api: RunningApi, auditor: httpx.Client) -> None:
    """Each change has one row with the actor, the address, the request and the object."""
    body = {"schedule_type": "scheduled", "scheduled_at": request_text(instant_ahead(hours=1))}
    with api.client(Scope.WRITE) as writer:
        campaign = writer.post("/campaigns", json={"name": "spring", "type": "one_time"}).json()
        path = f"/campaigns/{campaign['id']}"
        writer.post(f"{path}/schedule", json=body)
        for command in ("pause", "start", "start", "stop", "archive", "unarchive", "rerun"):
            headers = {"Idempotency-Key": command}
            assert writer.post(f"{path}/{command}", headers=headers).status_code == 200
        ended = "SELECT status = 'completed' FROM campaigns WHERE id = %s"
        api.database.wait_until(ended, campaign["id"])
        assert writer.post(f"{path}/archive").status_code == 200
        deleted = writer.delete(path, headers={"X-Request-ID": "the-last-one"})
        assert deleted.is_success, deleted.text
    found = rows(auditor, object_id=campaign["id"], actor="api:the write key")
    assert [row["action"] for row in found] == [
        *("campaign.created", "schedule.saved", "campaign.paused", "campaign.started"),
        *("campaign.stopped", "campaign.archived", "campaign.unarchived", "campaign.rerun"),
        *("campaign.archived", "campaign.deleted"),
    ]
    assert {(row["address"], row["outcome"]) for row in found} == {("127.0.0.1", "done")}
    assert {(row["object"], row["object_id"], row["object_name"]) for row in found} == {
        ("campaign", str(campaign["id"]), "spring")
    }
    assert found[-1]["request_id"] == "the-last-one"


def test_a_change_that_is_refused_or_rolled_back_leaves_no_row(
    api: RunningApi, auditor: httpx.Client
) -> None:
    """The row belongs to the transaction of the change."""
    campaign = api.create_campaign()
    before = rows(auditor)
    with api.client(Scope.WRITE) as writer:
        refused = writer.post(f"/campaigns/{campaign['id']}/pause")
        assert refused.status_code == 400
        late = {"schedule_type": "scheduled", "scheduled_at": request_text(instant_ahead(hours=-1))}
        assert writer.post(f"/campaigns/{campaign['id']}/schedule", json=late).status_code == 400
    assert rows(auditor) == before


def test_keys_are_recorded_without_their_secrets(api: RunningApi, auditor: httpx.Client) -> None:
    """Creating, rotating and revoking a key are recorded; the log line names the object too."""
    made = auditor.post("/keys", json={"name": "sneaky", "scope": "admin"}).json()
    rotated = auditor.post(f"/keys/{made['id']}/rotate").json()
    auditor.delete(f"/keys/{made['id']}")
    found = rows(auditor, object_id=made["id"], actor="api:the admin key")
    assert [row["action"] for row in found] == ["key.created", "key.rotated", "key.revoked"]
    assert {row["object_name"] for row in found} == {"sneaky"}
    assert found[0]["note"] == "scope admin"
    for secret in (made["key"], rotated["key"]):
        assert secret not in str(found)


def test_a_refused_scope_is_recorded_once_a_minute(api: RunningApi, auditor: httpx.Client) -> None:
    """A client that repeats itself fills no table."""
    campaign = api.create_campaign()
    with api.client(Scope.READ) as reader:
        for _ in range(5):
            assert reader.post(f"/campaigns/{campaign['id']}/start").status_code == 403
        assert reader.get("/audit-log").status_code == 403
    found = rows(auditor, action="request.refused")
    assert [(row["actor"], row["object_id"], row["outcome"]) for row in found] == [
        ("api:the read key", f"POST /api/v1/campaigns/{campaign['id']}/start", "refused"),
        ("api:the read key", "GET /api/v1/audit-log", "refused"),
    ]
    assert found[0]["note"] == "the scope write is required"


def test_sessions_of_the_page_are_recorded(api: RunningApi, auditor: httpx.Client) -> None:
    """A log-in, a refused one and a log-out are recorded, the refused one once a minute."""
    with httpx.Client(base_url=api.url, timeout=TIMEOUT_S) as browser:
        for _ in range(3):
            assert browser.post("/login", data={"key": "wrong"}).status_code == 403
        assert browser.post("/login", data={"key": api.keys[Scope.READ]}).status_code == 303
        browser.post("/logout")
    found = [row for row in rows(auditor) if row["action"].startswith("session.")]
    assert [(row["action"], row["actor"], row["object_name"]) for row in found] == [
        ("session.refused", "anonymous", None),
        ("session.started", "web:the read key", "the read key"),
        ("session.ended", "web:the read key", "the read key"),
    ]


def test_the_log_is_read_by_pages_and_filters(api: RunningApi, auditor: httpx.Client) -> None:
    """Newest first, each row once; a filter that is no instant is refused."""
    names = [f"campaign {number}" for number in range(5)]
    author = {"Authorization": f"Bearer {api.create_key('the author')}"}
    for name in names:
        api.http.post("/campaigns", json={"name": name}, headers=author)
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, "actor": "api:the author"} | ({"cursor": cursor} if cursor else {})
        page = auditor.get("/audit-log", params=params).json()
        seen += [row["object_name"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names[::-1]
    assert rows(auditor, since=request_text(instant_ahead(hours=1))) == []
    assert (
        len(rows(auditor, since=request_text(instant_ahead(hours=-1)), actor="api:the author")) == 5
    )
    assert rows(auditor, actor="api:another key") == []
    assert rows(auditor, since="2100-01-01") == []
    refused = auditor.get("/audit-log", params={"since": "yesterday"})
    assert refused.status_code == 400
    assert refused.json()["errors"]["since"][0].startswith(
        "is 'yesterday', must be a date, or an instant"
    )


def test_the_request_line_names_what_was_changed(api: RunningApi, auditor: httpx.Client) -> None:
    """The line of the log has the action and its object, although the path is a pattern."""
    campaign = api.create_campaign(name="gone")
    with api.client(Scope.WRITE) as writer:
        writer.delete(f"/campaigns/{campaign['id']}", headers={"X-Request-ID": "deleted"})
        writer.get("/campaigns", headers={"X-Request-ID": "listed"})
    deleted = api.process.wait_for("http_request", request_id="deleted")
    assert deleted["action"] == "campaign.deleted"
    assert (deleted["object_id"], deleted["object_name"]) == (str(campaign["id"]), "gone")
    assert "action" not in api.process.wait_for("http_request", request_id="listed")
