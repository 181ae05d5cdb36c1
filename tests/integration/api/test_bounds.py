"""Nobody holds the daemon: slow clients, many at once, too fast, a database that is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from daemon.domain.api_keys import Scope
from tests.conftest import fresh_database
from tests.support.api_server import TIMEOUT_S, Api, get, serving
from tests.support.daemons import CAMPAIGND, Daemons, wait_until
from tests.support.private_server import private_server


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[Api]:
    """A server with small limits."""
    limits = {
        "api__header_timeout": 2,
        "api__body_timeout": 2,
        "api__keep_alive": 1,
        "api__request_timeout": 5,
        "api__max_connections": 20,
    }
    directory = tmp_path_factory.mktemp("strict")
    with (
        fresh_database(postgres_server, template_database) as (_, url),
        serving(directory, url, "api", **limits) as found,
        # A kept one is closed after a second: perhaps just when the next request is sent.
        found.client(limits=httpx.Limits(max_keepalive_connections=0)) as found.http,
    ):
        yield found


def connect(api: Api, text: bytes = b"") -> socket.socket:
    """A connection on which this much was sent."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=TIMEOUT_S)
    if text:
        connection.sendall(text)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    with connection:
        chunks = []
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                chunks.append(chunk)
        return b"".join(chunks)


def status_of(answer: bytes) -> int:
    """The status of a raw answer, whose body is an error's."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body).keys() >= {"message", "detail"}
    return int(head.split()[1])


def request(api: Api, more: bytes = b"") -> bytes:
    """The head of a POST, without its end."""
    key = api.keys[Scope.WRITE].encode()
    return b"POST /api/v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + more


def test_a_slow_head(strict: Api) -> None:
    """A byte now and then does not keep the connection."""
    began = time.monotonic()
    connection = connect(strict, b"GET / HTTP/1.1\r\n")
    answer = b""
    connection.settimeout(0.2)
    while True:
        try:
            connection.sendall(b"X: y\r\n")
            answer = connection.recv(65536)
            break
        except TimeoutError:
            continue
    assert status_of(answer) == 408
    assert time.monotonic() - began < 20
    connection.close()


def test_a_silent_connection(strict: Api) -> None:
    """Closed, without a word."""
    assert read_all(connect(strict)) == b""


def test_an_idle_connection(strict: Api) -> None:
    """Kept for a while after an answer, then closed."""
    connection = connect(strict, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_slow_body(strict: Api) -> None:
    """408, and nothing was created."""
    connection = connect(strict, request(strict, b"\r\nContent-Length: 100\r\n\r\n{"))
    assert status_of(read_all(connection)) == 408
    assert strict.http.get("/campaigns").json()["items"] == []


@pytest.mark.parametrize("path", ["/api/v1/campaigns", "/login"])
def test_a_body_that_never_ends(strict: Api, path: str) -> None:
    """Refused as soon as it is too long, and not read for ever; also from a stranger."""
    head = b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = request(strict, head).replace(b"/api/v1/campaigns", path.encode())
    connection = connect(strict, text)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with connection:
        try:
            while sent < 200:
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass
        assert sent < 200 or status_of(connection.recv(65536)) == 413


def test_a_long_head(strict: Api) -> None:
    """431 before it is read whole."""
    connection = connect(strict, b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000)
    assert status_of(read_all(connection)) == 431


@pytest.mark.parametrize(
    "text",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5, b"GET\r\n\r\n"],
)
def test_what_is_no_http(strict: Api, text: bytes) -> None:
    """400 in the form of every other error."""
    assert status_of(read_all(connect(strict, text))) == 400


def test_a_broken_body(strict: Api) -> None:
    """400, and the server lives."""
    broken = request(strict, b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert status_of(read_all(connect(strict, broken))) == 400
    assert strict.http.get("/upcoming").status_code == 200


def test_many_connections(strict: Api) -> None:
    """Slow ones beyond the limit are sent away; those that end make room."""
    slow = [connect(strict, b"GET /") for _ in range(40)]
    answers = [read_all(connection) for connection in slow]
    # A refusal may be lost to the reset that follows it; what is not refused timed out.
    assert sum(b" 408 " in answer for answer in answers) <= 20
    refused = [answer for answer in answers if b" 503 " in answer]
    assert all(b"Retry-After" in answer for answer in refused)
    assert get(f"{strict.url}/healthz").status_code == 200


def test_an_upgrade_is_not_taken(strict: Api) -> None:
    """There are no web sockets here."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert get(f"{strict.url}/healthz", headers=headers).status_code == 200


def test_the_log_is_clean(strict: Api) -> None:
    """Nothing of all this is an error of ours."""
    assert strict.process.events("api_error") == []
    assert strict.process.events("library_message") == []


def test_the_rate_limit(tmp_path: Path, database_url: str) -> None:
    """For each key, whatever address it comes from; and for each address without a key."""
    # By the hour, lest one ends in the middle.
    limits = {"api__rate_limit": "20/hour", "api__failure_limit": "5/hour"}
    with serving(tmp_path, database_url, "api", **limits) as api:
        answers = [api.http.get("/upcoming") for _ in range(30)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
        assert answers[0].headers["RateLimit-Limit"] == "20"
        assert answers[0].headers["RateLimit-Remaining"] == "19"
        assert answers[0].headers["RateLimit-Policy"] == "20;w=3600"
        late = answers[-1]
        assert late.json()["message"] == "Rate limit exceeded"
        assert 1 <= int(late.headers["Retry-After"]) <= 3600
        assert late.headers["RateLimit-Remaining"] == "0"
        with api.client(Scope.READ) as other:
            assert other.get("/upcoming").status_code == 200
        with api.client(None) as stranger:
            statuses = [stranger.get("/upcoming").status_code for _ in range(8)]
            assert statuses == [401] * 5 + [429] * 3
        with api.client(Scope.ADMIN) as other:  # of the same address, with a key
            assert other.get("/upcoming").status_code == 200


def test_more_requests_than_are_taken_at_once(tmp_path: Path, database_url: str) -> None:
    """503 with Retry-After for the others, in the form of every error."""
    limits = {"api__max_requests": 3, "api__pool_size": 1}
    with serving(tmp_path, database_url, "api", **limits) as api:
        campaign = api.campaign()
        with psycopg.connect(database_url) as blocker:
            blocker.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", (campaign["id"],))

            async def send() -> list[httpx.Response]:
                headers = {"Authorization": f"Bearer {api.keys[Scope.WRITE]}"}
                async with httpx.AsyncClient(
                    base_url=api.url, headers=headers, timeout=TIMEOUT_S
                ) as client:
                    path = f"/api/v1/campaigns/{campaign['id']}/archive"
                    sent = [asyncio.ensure_future(client.post(path)) for _ in range(8)]
                    answers = [await each for each in islice(asyncio.as_completed(sent), 5)]
                    assert (await client.get("/healthz")).status_code == 200
                    blocker.rollback()
                    await asyncio.wait(sent)
                    return answers

            answers = asyncio.run(send())
        assert {answer.status_code for answer in answers} == {503}
        assert "Retry-After" in answers[0].headers
        assert answers[0].json()["message"].startswith("Service Unavailable")


def test_a_moment_of_too_many(tmp_path: Path, database_url: str) -> None:
    """They wait for each other, and none is refused."""
    with serving(tmp_path, database_url, "api", api__max_requests=2) as api:

        async def send() -> list[int]:
            headers = {"Authorization": f"Bearer {api.keys[Scope.READ]}"}
            async with httpx.AsyncClient(
                base_url=api.url, headers=headers, timeout=TIMEOUT_S
            ) as client:
                asked = (client.get("/api/v1/upcoming") for _ in range(8))
                return [answer.status_code for answer in await asyncio.gather(*asked)]

        assert api.http.get("/upcoming").status_code == 200  # what the first one costs is paid
        assert asyncio.run(send()) == [200] * 8


def test_a_request_that_takes_too_long(strict: Api) -> None:
    """503 after the time that a request may take; its transaction is rolled back."""
    campaign = strict.campaign()
    with psycopg.connect(strict.world.url) as blocker:
        blocker.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", (campaign["id"],))
        answer = strict.http.post(f"/campaigns/{campaign['id']}/archive")
    assert answer.status_code == 503
    assert "too long" in answer.json()["detail"]
    assert strict.status(campaign) == "draft"
    assert strict.http.post(f"/campaigns/{campaign['id']}/archive").status_code == 200


def test_faults_of_ours(tmp_path: Path, database_url: str) -> None:
    """500 with the fixed texts; the log has what happened, the answer has not."""
    with serving(tmp_path, database_url, "api") as api:
        campaign = api.campaign()
        api.world.rows("ALTER TABLE schedule_definitions RENAME TO hidden")
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
        for answer in (save, other):
            assert "hidden" not in answer.text
            assert "Traceback" not in answer.text
            assert "schedule_definitions" not in answer.text
        told = api.process.wait_for("api_error", request_id="the-fault")
        assert "schedule_definitions" in told["error"]


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """503 with Retry-After on everything that needs it, and as before once it is back."""
    with (
        private_server() as server,
        serving(tmp_path, server.url, "run", api__request_timeout=5) as api,
    ):
        assert api.http.get("/upcoming").status_code == 200
        server.crash(9)
        answer = api.http.get("/upcoming")
        assert answer.status_code == 503
        assert answer.json()["message"].startswith("Service Unavailable")
        assert "Retry-After" in answer.headers
        for text in (answer.text, get(f"{api.url}/readyz").text):
            assert "127.0.0.1" not in text
            assert "port" not in text
            assert "socket" not in text
        assert get(f"{api.url}/readyz").status_code == 503
        assert get(f"{api.url}/healthz").status_code == 200
        server.start()
        wait_until("the database", lambda: api.http.get("/upcoming").status_code == 200)
        wait_until("readiness", lambda: get(f"{api.url}/readyz").status_code == 200)


@pytest.mark.parametrize("command", ["run", "api"])
def test_a_port_in_use(tmp_path: Path, database_url: str, command: str) -> None:
    """One clear line, and exit code 2."""
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
        process = daemons.command("run", "--no-api", env=env)
        process.wait_for("ready")
        loaded = b"\n".join(process.lines)
        for name in (b"import 'fastapi'", b"import 'uvicorn'", b"import 'daemon.api'"):
            assert name not in loaded
        assert process.stop() == 0
    finally:
        daemons.end()


def test_secrets_are_told_nowhere(tmp_path: Path, database_url: str) -> None:
    """Keys, their hashes and the database's address: not in logs, answers or process arguments."""
    with serving(tmp_path, database_url, "run", log__level="debug") as api:
        answers: list[Any] = []
        for client in [api.client(scope) for scope in (None, *Scope)]:
            with client:
                paths = ("/campaigns", "/campaigns/1", "/keys", "/runs/1", "/nothing")
                answers += [client.get(path) for path in paths]
                answers.append(client.post("/campaigns", content=b"{"))
        secret = api.new_key("short-lived")
        get(f"{api.url}/api/v1/upcoming", headers={"Authorization": f"Bearer {secret}x"})
        api.world.rows("ALTER TABLE api_keys RENAME TO hidden")
        answers.append(api.http.get("/upcoming"))
        assert answers[-1].status_code == 500
        api.process.wait_for("api_error")
        digests = [bytes(row["digest"]) for row in api.world.rows("SELECT digest FROM hidden")]
        told = b"\n".join(api.process.lines).decode()
        told += "\n".join(answer.text + str(answer.headers) for answer in answers)
        told += Path(f"/proc/{api.process.pid}/cmdline").read_text()
    for key in (*api.keys.values(), secret):
        assert key not in told
        assert key.removeprefix("cdk_") not in told
    for digest in digests:
        assert digest.hex() not in told
        assert repr(digest)[2:-1] not in told
    assert database_url not in told


if sys.platform != "linux":  # pragma: no cover
    pytest.skip("reads /proc", allow_module_level=True)
