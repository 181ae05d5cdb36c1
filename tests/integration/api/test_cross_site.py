"""A page of another site cannot use the API with a key that the browser keeps."""

from __future__ import annotations

import base64

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
]


def _send(
    api: RunningApi, method: str, path: str, headers: dict[str, str], content: bytes = b""
) -> httpx.Response:
    basic = base64.b64encode(f"{api.keys[Scope.ADMIN]}:".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", **headers}
    return httpx.request(
        method, f"{api.url}/api/v1{path}", headers=headers, content=content, timeout=TIMEOUT_S
    )


@pytest.mark.parametrize("headers", FOREIGN)
def test_requests_of_other_sites_are_refused(api: RunningApi, headers: dict[str, str]) -> None:
    """Neither a command without a body, nor one with a JSON body, nor a read is served."""
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}"
    new = b'{"name": "sneaky", "scope": "admin"}'
    as_json = {**headers, "Content-Type": "application/json"}
    for response in (
        _send(api, "POST", f"{path}/pause", headers),
        _send(api, "DELETE", path, headers),
        _send(api, "GET", path, headers),
        _send(api, "POST", "/keys", as_json, new),
    ):
        assert response.status_code == 403
        assert response.json()["message"] == "Permission denied"
        assert "another site" in response.json()["detail"]
    assert api.status_of(campaign) == "scheduled"


def test_requests_of_the_own_page_are_served(api: RunningApi) -> None:
    """The page at /docs sends its own origin; a reverse proxy may have changed the Host."""
    for headers in (
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": api.url},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://campaigns.example"},
        {"Origin": api.url},
    ):
        assert _send(api, "GET", "/campaigns", headers).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"],
)
def test_only_bodies_declared_as_json_are_read(api: RunningApi, content_type: str) -> None:
    """Every call with a body refuses the types that a form can have, and a missing type."""
    campaign = f"/campaigns/{api.create_campaign()['id']}"
    run = "/runs/00000000-0000-0000-0000-000000000000"
    for method, path in (
        ("POST", "/campaigns"),
        ("POST", f"{campaign}/schedule"),
        ("POST", f"{campaign}/schedule/preview"),
        ("PATCH", f"{campaign}/update_schedule"),
        *(("POST", f"{run}/{last}") for last in ("complete", "fail", "heartbeat")),
        ("POST", "/keys"),
    ):
        for headers in ({"Content-Type": content_type}, {}):
            response = _send(api, method, path, headers, b'{"name": "x", "scope": "read"}')
            assert response.status_code == 415, (method, path)
            assert response.json()["message"] == "Unsupported media type"


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
def test_json_types_are_read(api: RunningApi, content_type: str) -> None:
    """Parameters and the case of the type do not matter."""
    headers = {"Content-Type": content_type}
    assert _send(api, "POST", "/campaigns", headers, b'{"name": "x"}').status_code == 201
