"""Brokers with TLS: a wrong certificate ends the connection before anything is sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.domain.run.outcome import Retry
from daemon.targets import UnusableTarget
from daemon.targets.broker import BrokerOptions, BrokerTarget
from tests.support.builders import new_attempt
from tests.support.certificates import make_certificate

SCHEMES = {
    "amqps": "amqps://user:secretpw@127.0.0.1:{port}//",
    "pyamqp with ssl": "pyamqp://user:secretpw@127.0.0.1:{port}//?ssl=1",
    "amqps unverified by its URL": "amqps://user:secretpw@127.0.0.1:{port}//?ssl_cert_reqs=none",
    "rediss": "rediss://:secretpw@127.0.0.1:{port}/0",
    "redis with ssl": "redis://:secretpw@127.0.0.1:{port}/0?ssl_check_hostname=false",
    "rediss unverified by its URL": "rediss://:secretpw@127.0.0.1:{port}/0?ssl_cert_reqs=none",
    "the second of two": "rediss://:x@127.0.0.1:1/0;rediss://:secretpw@127.0.0.1:{port}/0",
}


@contextmanager
def tls_server(certificate: Path, key: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a TLS server, and what clients sent after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.settimeout(5)
                with contextlib.suppress(OSError), connection:
                    secured = context.wrap_socket(connection, server_side=True)
                    if data := secured.recv(1000):
                        received.append(data)
                    secured.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], received
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


async def connect(url: str, **options: object) -> object:
    target = BrokerTarget(BrokerOptions(url, timeout=2, concurrency=1, **options))  # type: ignore[arg-type]
    outcome = await target.deliver(new_attempt())
    await target.close()
    return outcome


@pytest.mark.parametrize("url", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("wrong", ["authority", "host name"])
async def test_a_wrong_certificate(url: str, wrong: str, tmp_path: Path) -> None:
    """Neither the password nor the payload reaches a server that another party runs."""
    address = "127.0.0.1" if wrong == "authority" else "192.0.2.1"
    certificate, key = make_certificate(tmp_path, address)
    trusted = {"ca_file": certificate} if wrong == "host name" else {}
    with tls_server(certificate, key) as (port, received):
        outcome = await connect(url.format(port=port), **trusted)
    assert isinstance(outcome, Retry), outcome
    assert received == []
    if "127.0.0.1:1/" not in url:
        assert "certificate" in outcome.reason.lower()


@pytest.mark.parametrize("url", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("accepted", ["authority", "unverified"])
async def test_an_accepted_certificate(url: str, accepted: str, tmp_path: Path) -> None:
    """A private authority is trusted through `ca_file`; `verify_tls = false` accepts anyone."""
    certificate, key = make_certificate(tmp_path)
    options = {"ca_file": certificate} if accepted == "authority" else {"verify_tls": False}
    with tls_server(certificate, key) as (port, received):
        await connect(url.format(port=port), **options)
    assert received[0].startswith((b"AMQP", b"*"))


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("rediss://h/0", {"ca_file": Path("/no/such")}, "ca_file /no/such"),
        ("memory://", {"verify_tls": False}, "apply only to RabbitMQ and Redis"),
        ("memory://", {"ca_file": Path("/x")}, "apply only to RabbitMQ and Redis"),
    ],
)
def test_settings_without_effect_are_refused(
    url: str, options: dict[str, object], reason: str
) -> None:
    """A setting that cannot be applied is an error of the configuration."""
    with pytest.raises(UnusableTarget, match=reason):
        BrokerTarget(BrokerOptions(url, **options))  # type: ignore[arg-type]
