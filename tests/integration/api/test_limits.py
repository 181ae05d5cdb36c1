"""Limits of the API: many requests, rate limits, time limits, and an unavailable database."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, get_without_key, running_server
from tests.support.postgres import private_server
from tests.support.processes import CAMPAIGND, Daemons
from tests.support.raw_http import connect_and_send, read_all, unfinished_post
from tests.support.waiting import wait_until


def test_rates_are_limited(tmp_path: Path, database_url: str) -> None:
    """The limit applies to each key, and without a key to each address."""
    # Limits by the hour, so that no window ends during the test.
    limits = {"api__rate_limit": "20/hour", "api__failure_limit": "5/hour"}
    with running_server(tmp_path, database_url, "api", **limits) as api:
        responses = [api.http.get("/upcoming") for _ in range(30)]
        assert [response.status_code for response in responses] == [200] * 20 + [429] * 10
        assert responses[0].headers["RateLimit-Limit"] == "20"
        assert responses[0].headers["RateLimit-Remaining"] == "19"
        assert responses[0].headers["RateLimit-Policy"] == "20;w=3600"
        late = responses[-1]
        assert late.json()["message"] == "Rate limit exceeded"
        assert 1 <= int(late.headers["Retry-After"]) <= 3600
        assert late.headers["RateLimit-Remaining"] == "0"
        with api.client(Scope.READ) as other:
            assert other.get("/upcoming").status_code == 200
        with api.client(None) as without_key:
            statuses = [without_key.get("/upcoming").status_code for _ in range(8)]
            assert statuses == [401] * 5 + [429] * 3
        with api.client(Scope.ADMIN) as other:  # the same address, with a key
            assert other.get("/upcoming").status_code == 200


def test_requests_in_flight_are_limited(tmp_path: Path, database_url: str) -> None:
    """Requests above the limit are refused with 503 and Retry-After."""
    limits = {"api__max_requests": 3, "api__pool_size": 1}
    with running_server(tmp_path, database_url, "api", **limits) as api:
        campaign = api.create_campaign()
        with psycopg.connect(database_url) as blocker:
            blocker.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", (campaign["id"],))

            async def send() -> list[httpx.Response]:
                headers = {"Authorization": f"Bearer {api.keys[Scope.WRITE]}"}
                async with httpx.AsyncClient(
                    base_url=api.url, headers=headers, timeout=TIMEOUT_S
                ) as client:
                    path = f"/api/v1/campaigns/{campaign['id']}/archive"
                    sent = [asyncio.ensure_future(client.post(path)) for _ in range(8)]
                    responses = [await each for each in islice(asyncio.as_completed(sent), 5)]
                    assert (await client.get("/healthz")).status_code == 200
                    blocker.rollback()
                    await asyncio.wait(sent)
                    return responses

            responses = asyncio.run(send())
        assert {response.status_code for response in responses} == {503}
        assert "Retry-After" in responses[0].headers
        assert responses[0].json()["message"].startswith("Service Unavailable")


def test_connections_of_one_address_are_limited(tmp_path: Path, database_url: str) -> None:
    """Connections of one address above its limit are refused; those of another one are served."""
    with running_server(tmp_path, database_url, "api", api__max_connections_per_address=5) as api:
        open_ones = [connect_and_send(api, b"GET /") for _ in range(4)]
        late = [connect_and_send(api, b"GET /") for _ in range(4)]
        responses = [read_all(connection) for connection in late[2:]]
        assert all(b"of one address" in response for response in responses if response)
        other = socket.create_connection(("127.0.0.1", api.port), TIMEOUT_S, ("127.0.0.2", 0))
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 " in read_all(other)
        for connection in (*open_ones, *late):
            connection.close()
        api.http.close()
        wait_until("a place", lambda: get_without_key(f"{api.url}/healthz").status_code == 200)


def test_a_lack_of_descriptors_is_logged_now_and_then(tmp_path: Path, database_url: str) -> None:
    """New connections wait, the log stays short, and the server serves again afterwards."""
    with running_server(tmp_path, database_url, "api") as api:
        assert api.http.get("/upcoming").status_code == 200
        soft, hard = resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536) or hard == resource.RLIM_INFINITY
        resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE, (60, hard))
        idle = [connect_and_send(api) for _ in range(120)]
        api.process.wait_for("api_accept_failed")
        time.sleep(2.5)
        assert len(api.process.lines) < 60
        assert len(api.process.events_named("api_accept_failed")) == 1
        assert api.process.events_named("library_message") == []
        for connection in idle:
            connection.close()
        wait_until("a response", lambda: get_without_key(f"{api.url}/healthz").status_code == 200)


def test_slow_bodies_hold_no_slot(tmp_path: Path, database_url: str) -> None:
    """Slow bodies of one key or address delay no other key; one key has a quarter of the slots."""
    with running_server(tmp_path, database_url, "api", api__max_requests=8) as api:
        assert api.http.get("/upcoming").status_code == 200  # warms the server up
        more = b"\r\nContent-Length: 100\r\n\r\n{"
        preview = unfinished_post(api, more).replace(
            b"/campaigns", b"/campaigns/1/schedule/preview"
        )
        preview = preview.replace(api.keys[Scope.WRITE].encode(), api.keys[Scope.READ].encode())
        login = unfinished_post(api, more).replace(b"/api/v1/campaigns", b"/login")
        slow = [connect_and_send(api, text) for text in (preview, login) for _ in range(12)]
        try:
            time.sleep(0.2)
            began = time.monotonic()
            assert api.http.post("/campaigns", json={"name": "x"}).status_code == 201
            assert time.monotonic() - began < 0.9
            with api.client(Scope.READ) as same_key:
                refused = same_key.get("/upcoming")
            assert refused.status_code == 503
            assert "one key" in refused.json()["detail"]
        finally:
            for connection in slow:
                connection.close()


def test_a_short_burst_of_requests_waits(tmp_path: Path, database_url: str) -> None:
    """The requests wait for each other, and none is refused."""
    with running_server(tmp_path, database_url, "api", api__max_requests=2) as api:

        async def send() -> list[int]:
            headers = {"Authorization": f"Bearer {api.keys[Scope.READ]}"}
            async with httpx.AsyncClient(
                base_url=api.url, headers=headers, timeout=TIMEOUT_S
            ) as client:
                requests = (client.get("/api/v1/upcoming") for _ in range(8))
                return [response.status_code for response in await asyncio.gather(*requests)]

        assert api.http.get("/upcoming").status_code == 200  # warms the server up
        assert asyncio.run(send()) == [200] * 8


def test_unexpected_errors_do_not_reach_the_client(tmp_path: Path, superuser_url: str) -> None:
    """The response has the fixed message, and only the log has the error."""
    with running_server(tmp_path, superuser_url, "api") as api:
        campaign = api.create_campaign()
        api.database.rows("ALTER TABLE schedule_definitions RENAME TO hidden")
        save = api.http.post(
            f"/campaigns/{campaign['id']}/schedule",
            json={"schedule_type": "immediate"},
            headers={"X-Request-ID": "the-fault"},
        )
        assert (save.status_code, save.json()["message"]) == (500, "Failed to save schedule")
        other = api.http.post(f"/campaigns/{campaign['id']}/start")
        assert other.status_code == 500
        assert other.json()["message"] == (
            "Internal Server Error - Please contact support for more information."
        )
        for response in (save, other):
            assert "hidden" not in response.text
            assert "Traceback" not in response.text
            assert "schedule_definitions" not in response.text
        event = api.process.wait_for("api_error", request_id="the-fault")
        assert "schedule_definitions" in event["error"]


def test_requests_are_refused_while_the_database_is_unavailable(tmp_path: Path) -> None:
    """Requests are refused with 503 and Retry-After until the database is back."""
    with (
        private_server() as server,
        running_server(tmp_path, server.url, "run", api__request_timeout=5) as api,
    ):
        assert api.http.get("/upcoming").status_code == 200
        server.end_by_signal(9)
        response = api.http.get("/upcoming")
        assert response.status_code == 503
        assert response.json()["message"].startswith("Service Unavailable")
        assert "Retry-After" in response.headers
        for text in (response.text, get_without_key(f"{api.url}/readyz").text):
            assert "127.0.0.1" not in text
            assert "port" not in text
            assert "socket" not in text
        assert get_without_key(f"{api.url}/readyz").status_code == 503
        assert get_without_key(f"{api.url}/healthz").status_code == 200
        server.start()
        wait_until("the database", lambda: api.http.get("/upcoming").status_code == 200)
        wait_until("readiness", lambda: get_without_key(f"{api.url}/readyz").status_code == 200)


@pytest.mark.parametrize("command", ["run", "api"])
def test_a_port_in_use_stops_the_start(tmp_path: Path, database_url: str, command: str) -> None:
    """The command prints one line and exits with 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = Daemons(tmp_path).environment(
            database_url, api__enabled="true", api__port=port, log__level="critical"
        )
        done = subprocess.run(
            [CAMPAIGND, command], env=env, capture_output=True, text=True, timeout=150
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"port {port}: Address already in use" in done.stderr


def test_without_the_api_nothing_of_it_is_loaded(tmp_path: Path, database_url: str) -> None:
    """`campaignd run --no-api` imports no web framework."""
    daemons = Daemons(tmp_path)
    try:
        env = {**daemons.environment(database_url, api__enabled="true"), "PYTHONVERBOSE": "1"}
        process = daemons.start_command("run", "--no-api", env=env)
        process.wait_for("ready")
        loaded = b"\n".join(process.lines)
        for name in (b"import 'fastapi'", b"import 'uvicorn'", b"import 'daemon.api'"):
            assert name not in loaded
        assert process.stop() == 0
    finally:
        daemons.end_all()


def test_secrets_are_not_disclosed(tmp_path: Path, superuser_url: str) -> None:
    """Logs, responses and process arguments contain no key, hash or database URL."""
    with running_server(tmp_path, superuser_url, "run", log__level="debug") as api:
        responses: list[Any] = []
        for client in [api.client(scope) for scope in (None, *Scope)]:
            with client:
                paths = ("/campaigns", "/campaigns/1", "/keys", "/runs/1", "/nothing")
                responses += [client.get(path) for path in paths]
                responses.append(client.post("/campaigns", content=b"{"))
        secret = api.create_key("short-lived")
        get_without_key(
            f"{api.url}/api/v1/upcoming", headers={"Authorization": f"Bearer {secret}x"}
        )
        api.database.rows("ALTER TABLE api_keys RENAME TO hidden")
        responses.append(api.http.get("/upcoming"))
        assert responses[-1].status_code == 500
        api.process.wait_for("api_error")
        digests = [bytes(row["digest"]) for row in api.database.rows("SELECT digest FROM hidden")]
        disclosed = b"\n".join(api.process.lines).decode()
        disclosed += "\n".join(response.text + str(response.headers) for response in responses)
        disclosed += Path(f"/proc/{api.process.pid}/cmdline").read_text()
    for key in (*api.keys.values(), secret):
        assert key not in disclosed
        assert key.removeprefix("cdk_") not in disclosed
    for digest in digests:
        assert digest.hex() not in disclosed
        assert repr(digest)[2:-1] not in disclosed
    assert superuser_url not in disclosed


if sys.platform != "linux":  # pragma: no cover
    pytest.skip("reads /proc", allow_module_level=True)
