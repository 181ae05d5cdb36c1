"""Freeze and thaw over HTTP: who may, what the answers say, and where it is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi


@pytest.fixture(autouse=True)
def thawed(api: RunningApi) -> Iterator[None]:
    """Let no freeze outlive its test."""
    yield
    for body in ({}, {"target": "log"}):
        thaw(api, body)


def thaw(api: RunningApi, body: dict[str, Any] | None = None) -> httpx.Response:
    return post(api, Scope.ADMIN, "/thaw", body)


def post(
    api: RunningApi, scope: Scope, path: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    with api.client(scope) as client:
        return client.post(path, json=body or {})


def ready(api: RunningApi) -> dict[str, Any]:
    answer = httpx.get(f"{api.url}/readyz", timeout=TIMEOUT_S)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def test_a_freeze_is_obeyed_before_the_answer_and_seen_everywhere(api: RunningApi) -> None:
    done = api.http.post("/freeze", json={"note": "incident"})
    assert done.status_code == 200, done.text
    found = done.json()
    assert (found["scope"], found["changed"], found["until"]) == ("*", True, None)
    assert found["applied"]["all"] is True
    assert [node["applied"] for node in found["applied"]["nodes"]] == [True]
    (item,) = api.http.get("/freeze").json()["items"]
    assert (item["scope"], item["by"], item["note"], item["waiting"]) == (
        "*",
        "api:the write key",
        "incident",
        0,
    )
    assert ready(api)["frozen"] == "all"
    text = httpx.get(f"{api.url}/metrics", timeout=TIMEOUT_S).text
    assert 'campaignd_frozen{scope="*"} 1.0' in text
    assert 'campaignd_frozen_since_timestamp_seconds{scope="*"}' in text
    assert 'campaignd_held_runs{reason="frozen"} 0.0' in text
    assert api.http.post("/freeze").json()["changed"] is False


def test_nothing_begins_until_it_is_thawed(api: RunningApi) -> None:
    """A run by a person is refused; a run that waited begins at the end."""
    waiting = api.create_campaign()
    api.http.post("/freeze", json={"target": "log"})
    refused = api.http.post(f"/campaigns/{waiting['id']}/start")
    assert (refused.status_code, refused.json()["message"]) == (409, "Frozen")
    assert "frozen since" in refused.json()["detail"]
    done = thaw(api, {"target": "log"})
    assert done.json() == {
        "success": True,
        "scope": "target:log",
        "held": 0,
        "skipped": 0,
        "left_to_policy": 0,
    }
    assert "frozen" not in ready(api)
    assert api.http.post(f"/campaigns/{waiting['id']}/start").status_code == 200
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", waiting["id"]
    )


def test_g1_13_letting_go_is_an_admins(api: RunningApi) -> None:
    api.http.post("/freeze")
    refused = api.http.post("/thaw")
    assert (refused.status_code, refused.json()["message"]) == (403, "Permission denied")
    assert post(api, Scope.READ, "/freeze").status_code == 403
    assert thaw(api).status_code == 200
    again = thaw(api)
    assert (again.status_code, again.json()["message"]) == (409, "Not frozen")


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({"target": "lgo"}, 422, "target is 'lgo', must be "),
        (
            {"until": "2020-01-01T00:00:00Z"},
            422,
            "until is 2020-01-01T00:00:00Z, must be",
        ),
        ({"until": "2100-01-01T00:00:00Z"}, 422, "within 366 days"),
        ({"until": "2031-01-01T00:00:00"}, 400, "until is "),
        ({"targets": "log"}, 400, "targets"),
    ],
)
def test_a_freeze_is_checked(
    api: RunningApi, body: dict[str, Any], status: int, fault: str
) -> None:
    refused = api.http.post("/freeze", json=body)
    assert (refused.status_code, refused.json()["message"]) == (status, "Invalid freeze values")
    assert fault in refused.json()["detail"]
    assert api.http.get("/freeze").json() == {"items": []}
