"""Limits of one connection: slow, endless and broken requests."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.support.api_server import RunningApi, get_without_key, running_server
from tests.support.postgres import fresh_database
from tests.support.raw_http import connect_and_send, read_all, status_of, unfinished_post


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[RunningApi]:
    """Yield a server with small limits."""
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
        running_server(directory, url, "api", **limits) as found,
        # A kept connection is closed after a second, perhaps just when a request is sent.
        found.client(limits=httpx.Limits(max_keepalive_connections=0)) as found.http,
    ):
        yield found


def test_a_slow_head_times_out(strict: RunningApi) -> None:
    """A byte now and then does not keep the connection open."""
    began = time.monotonic()
    connection = connect_and_send(strict, b"GET / HTTP/1.1\r\n")
    response = b""
    connection.settimeout(0.2)
    while True:
        try:
            connection.sendall(b"X: y\r\n")
            response = connection.recv(65536)
            break
        except TimeoutError:
            continue
    assert status_of(response) == 408
    assert time.monotonic() - began < 20
    connection.close()


def test_a_silent_connection_is_closed(strict: RunningApi) -> None:
    """The server closes the connection without a response."""
    assert read_all(connect_and_send(strict)) == b""


def test_an_idle_connection_is_closed(strict: RunningApi) -> None:
    """The connection is kept after a response, then closed."""
    connection = connect_and_send(strict, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_slow_body_times_out(strict: RunningApi) -> None:
    """The request is refused with 408, and nothing was created."""
    connection = connect_and_send(
        strict, unfinished_post(strict, b"\r\nContent-Length: 100\r\n\r\n{")
    )
    assert status_of(read_all(connection)) == 408
    assert strict.http.get("/campaigns").json()["items"] == []


@pytest.mark.parametrize("path", ["/api/v1/campaigns", "/login"])
def test_an_endless_body_is_refused(strict: RunningApi, path: str) -> None:
    """A body is refused at the limit and not read forever, also without a key."""
    head = b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = unfinished_post(strict, head).replace(b"/api/v1/campaigns", path.encode())
    connection = connect_and_send(strict, text)
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


def test_a_long_head_is_refused(strict: RunningApi) -> None:
    """The head is refused with 431 before it is complete."""
    connection = connect_and_send(strict, b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000)
    assert status_of(read_all(connection)) == 431


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 16_384 + b"\r\n\r\n",
        b"GET /" + b"y" * 16_384 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 3_000 + b"\r\n",
    ],
)
def test_a_head_that_arrives_at_once_is_counted(strict: RunningApi, head: bytes) -> None:
    """The limit of 16 KiB does not depend on the packets, nor on requests before."""
    assert status_of(read_all(connect_and_send(strict, head))) == 431
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    responses = read_all(connect_and_send(strict, first + head))
    assert responses.startswith(b"HTTP/1.1 200")
    assert status_of(responses[responses.index(b"HTTP/1.1 431") :]) == 431


def test_a_head_within_the_limit_is_served(strict: RunningApi) -> None:
    """Exactly 16 KiB are accepted."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    head += b"y" * (16 * 1024 - len(head) - 4) + b"\r\n\r\n"
    assert read_all(connect_and_send(strict, head)).startswith(b"HTTP/1.1 200")


def _post(more: bytes) -> bytes:
    return b"POST /api/v1/campaigns HTTP/1.1\r\nHost: x" + more


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BOTH = b"\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (_post(BOTH), "both a Content-Length and a Transfer-Encoding"),
        (_post(BOTH).replace(b"HTTP/1.1", b"HTTP/1.0"), "both a Content-Length"),
        (
            _post(b"\r\nTransfer-Encoding: chunked\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
            "HTTP/1.0",
        ),
        (b"GET /healthz HTTP/1.1\nHost: x\n\n", "carriage return"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "carriage return"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\n", "carriage return"),
        (b"\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "carriage return"),
        (_post(b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n"), "carriage return"),
        (_post(b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n"), "carriage return"),
        (_post(b"\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), "valid"),
        (_post(b"\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1"), "valid"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "valid"),
        (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", "valid"),
    ],
)
def test_an_ambiguous_end_is_refused(strict: RunningApi, text: bytes, detail: str) -> None:
    """A request that a proxy may read otherwise gets a 400, and its connection is closed."""
    response = read_all(connect_and_send(strict, text + SMUGGLED))
    assert status_of(response) == 400
    assert detail.encode() in response
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"X-Content-Type-Options: nosniff" in response


@pytest.mark.parametrize(
    "text",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5, b"GET\r\n\r\n"],
)
def test_bytes_that_are_not_http_are_refused(strict: RunningApi, text: bytes) -> None:
    """The response is a 400 in the form of every other error."""
    assert status_of(read_all(connect_and_send(strict, text))) == 400


def test_a_broken_body_is_refused(strict: RunningApi) -> None:
    """The response is a 400, and the server continues."""
    broken = unfinished_post(strict, b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert status_of(read_all(connect_and_send(strict, broken))) == 400
    assert strict.http.get("/upcoming").status_code == 200


def test_connections_are_limited(strict: RunningApi) -> None:
    """Connections above the limit are refused until others end."""
    slow = [connect_and_send(strict, b"GET /") for _ in range(40)]
    responses = [read_all(connection) for connection in slow]
    # A refusal may be lost to the reset that follows; connections that are not refused time out.
    assert sum(b" 408 " in response for response in responses) <= 20
    refused = [response for response in responses if b" 503 " in response]
    assert all(b"Retry-After" in response for response in refused)
    assert get_without_key(f"{strict.url}/healthz").status_code == 200


def test_an_upgrade_is_ignored(strict: RunningApi) -> None:
    """The server has no web sockets."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert get_without_key(f"{strict.url}/healthz", headers=headers).status_code == 200


def test_the_log_is_clean(strict: RunningApi) -> None:
    """None of the requests above is logged as an error of the server."""
    assert strict.process.events_named("api_error") == []
    assert strict.process.events_named("library_message") == []


def test_a_long_request_times_out(strict: RunningApi) -> None:
    """The request is refused with 503, and its transaction is rolled back."""
    campaign = strict.create_campaign()
    with psycopg.connect(strict.database.url) as blocker:
        blocker.execute("SELECT FROM campaigns WHERE id = %s FOR UPDATE", (campaign["id"],))
        response = strict.http.post(f"/campaigns/{campaign['id']}/archive")
    assert response.status_code == 503
    assert "too long" in response.json()["detail"]
    assert strict.status_of(campaign) == "draft"
    assert strict.http.post(f"/campaigns/{campaign['id']}/archive").status_code == 200
