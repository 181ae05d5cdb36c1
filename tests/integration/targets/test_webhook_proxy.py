"""Webhooks through HTTP proxies: plain requests, tunnels, and proxies named by the environment."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.domain.run.outcome import Delivered, Outcome, Retry
from daemon.targets import UnusableTarget
from daemon.targets.webhook import WebhookOptions, WebhookTarget
from daemon.targets.webhook_connection import proxy_of
from tests.support.builders import new_attempt
from tests.support.certificates import make_certificate
from tests.support.servers import Server, refusing_port

RECEIVER = "http://receiver.invalid/hook"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


async def deliver(url: str, **options: object) -> Outcome:
    target = WebhookTarget(
        WebhookOptions(url, timeout=10, **options),  # type: ignore[arg-type]
        lambda: datetime.now(UTC),
    )
    outcome = await target.deliver(new_attempt())
    await target.close()
    return outcome


@asynccontextmanager
async def tunnel(port: int, status: int = 200) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Yield the URL of a proxy that connects every tunnel to ``port``, and what it was sent."""
    heads: list[bytes] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status} Whatever\r\n\r\n".encode())
        if status != 200:
            writer.close()
            return
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://u:pw@127.0.0.1:{proxy.sockets[0].getsockname()[1]}", heads
    finally:
        proxy.close()


async def test_a_plain_request_through_a_proxy(server: Server) -> None:
    """The proxy gets the whole URL and its own credentials."""
    proxy = server.url.replace("http://", "http://user:pass@")
    assert await deliver(RECEIVER, proxy=proxy) == Delivered()
    (request,) = server.requests
    assert request.path == RECEIVER
    assert request.headers["host"] == "receiver.invalid"
    assert request.headers["proxy-authorization"].startswith("Basic ")


async def test_a_tunnel_through_a_proxy(tmp_path: Path) -> None:
    """The proxy of an https:// request sees no payload; the receiver's certificate is verified."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(tls=context) as server:
        async with tunnel(server.port) as (proxy, heads):
            outcome = await deliver(server.url, proxy=proxy)
            assert isinstance(outcome, Retry)
            assert "certificate" in outcome.reason
            assert await deliver(server.url, proxy=proxy, ca_file=certificate) == Delivered()
        assert len(server.requests) == 1
        assert "proxy-authorization" not in server.requests[0].headers
    assert all(head.startswith(b"CONNECT 127.0.0.1:") for head in heads)


async def test_a_proxy_that_refuses() -> None:
    """Nothing was delivered, so the run is retried even with `hold`."""
    async with tunnel(0, status=407) as (proxy, _):
        outcome = await deliver("https://receiver.invalid/hook", proxy=proxy)
    assert outcome == Retry("the proxy refused the connection: HTTP 407")


async def test_no_proxy_listens() -> None:
    """The reason does not show the proxy's password."""
    with refusing_port() as port:
        outcome = await deliver(RECEIVER, proxy=f"http://user:hunter2@127.0.0.1:{port}")
    assert isinstance(outcome, Retry)
    assert "hunter2" not in outcome.reason


async def test_the_environment_is_ignored_by_default(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `proxy = "env"` uses the environment's proxy."""
    with refusing_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        assert await deliver(server.url) == Delivered()
        assert isinstance(await deliver(server.url, proxy="env"), Retry)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert await deliver(server.url, proxy="env") == Delivered()


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("http://a.example/", {}, None),
        ("http://a.example/", {"http_proxy": "proxy:3128"}, "http://proxy:3128"),
        ("http://a.example/", {"HTTPS_PROXY": "http://proxy"}, None),
        ("https://a.example/", {"HTTPS_PROXY": "http://proxy"}, "http://proxy"),
        ("https://a.example/", {"ALL_PROXY": "https://proxy"}, "https://proxy"),
        ("https://u:p@a.example/", {"ALL_PROXY": "http://p", "NO_PROXY": ".example"}, None),
        ("https://a.example:8443/", {"ALL_PROXY": "http://p", "NO_PROXY": "a.example:8443"}, None),
        ("https://a.example/", {"ALL_PROXY": "http://p", "NO_PROXY": "*"}, None),
    ],
)
def test_the_proxy_of_the_environment(
    url: str,
    environment: dict[str, str],
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variables have the meaning that other programs give them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url, "env") == expected


def test_a_socks_proxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be used is an error of the configuration."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://proxy")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(UnusableTarget, match="socks5"):
        proxy_of(RECEIVER, "env")
