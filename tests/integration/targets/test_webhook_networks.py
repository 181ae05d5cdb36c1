"""Bounds of webhooks: the networks that they may reach, and client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.domain.run.outcome import Delivered, Outcome, Retry
from daemon.targets import UnusableTarget
from daemon.targets.webhook import WebhookOptions, WebhookTarget
from daemon.targets.webhook_connection import Networks
from tests.support.builders import new_attempt
from tests.support.certificates import make_certificate
from tests.support.servers import Server


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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize(
    ("networks", "allowed"),
    [
        ({"deny_networks": ["127.0.0.0/8", "::1/128"]}, False),
        ({"allow_networks": ["203.0.113.0/24"]}, False),
        ({"allow_networks": ["127.0.0.0/8"], "deny_networks": ["127.0.0.1/32"]}, False),
        ({"allow_networks": ["127.0.0.0/8"]}, True),
    ],
)
async def test_the_address_that_is_connected_to_is_checked(
    server: Server, host: str, networks: dict[str, object], allowed: bool
) -> None:
    """A name is no way around the networks, nor is another form of the address."""
    outcome = await deliver(f"http://{host}:{server.port}/hook", **networks)
    if allowed:
        assert outcome == Delivered()
    else:
        assert isinstance(outcome, Retry)
        assert "is in no allowed network" in outcome.reason
    assert len(server.requests) == allowed


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "fe80::1%eth0"],
)
def test_every_form_of_a_denied_address(address: str) -> None:
    """IPv6 addresses that stand for an IPv4 address are denied with it."""
    assert not Networks([], ["10.0.0.0/8", "fe80::/10"]).permit(address)
    assert Networks([], ["192.0.2.0/24"]).permit(address)


async def test_a_client_certificate(tmp_path: Path) -> None:
    """A receiver that asks for a certificate accepts the one that is configured."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    with Server(tls=context) as server:
        assert await deliver(server.url, ca_file=certificate) != Delivered()
        given = {"client_cert": certificate, "client_key": key}
        assert await deliver(server.url, ca_file=certificate, **given) == Delivered()
        assert await deliver(server.url, verify_tls=False, client_cert=both) == Delivered()


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("https://h/", {"client_cert": Path("/no/such")}, "client_cert /no/such"),
        ("https://h/", {"client_key": Path("/no/such")}, "client_key needs client_cert"),
        ("http://h/", {"client_cert": Path("/x")}, "begins with https://"),
    ],
)
async def test_a_certificate_that_cannot_be_used(
    url: str, options: dict[str, object], reason: str
) -> None:
    """The error is raised when the target is built."""
    with pytest.raises(UnusableTarget, match=reason):
        await deliver(url, **options)
