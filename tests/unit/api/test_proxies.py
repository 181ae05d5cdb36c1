"""Only trusted proxies may state the address and the scheme of a client."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.api.cross_site import is_cross_site
from daemon.api.proxies import Proxies, Site

PROXIES = Proxies(["10.0.0.0/8", "127.0.0.1", "::1"])


def _scope(client: str, path: str = "/", **headers: str) -> dict[str, Any]:
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"type": "http", "client": (client, 1), "scheme": "http", "path": path, "headers": pairs}


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.1", "10.9.9.9", "10.9.9.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7, unknown", "127.0.0.1"),
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),
    ],
)
def test_the_client_behind_proxies(client: str, forwarded: str, expected: str) -> None:
    """The last address that no trusted proxy has is the client's."""
    scope = _scope(client, x_forwarded_for=forwarded)
    PROXIES.apply_forwarded_headers(scope)
    assert scope["client"][0] == expected


def test_the_scheme_of_a_proxy() -> None:
    """A trusted proxy states the scheme; any other client cannot."""
    for client, scheme in (("127.0.0.1", "https"), ("192.0.2.1", "http")):
        scope = _scope(client, x_forwarded_proto="https")
        PROXIES.apply_forwarded_headers(scope)
        assert scope["scheme"] == scheme


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("campaigns.example", "/", True),
        ("Campaigns.Example:8443", "/metrics", True),
        ("inner", "/", True),
        ("[::1]:8080", "/", False),
        ("evil.example", "/metrics", False),
        ("", "/", False),
        ("[", "/", False),
        ("10.0.0.7:8080", "/healthz", True),
    ],
)
def test_hosts(host: str, path: str, expected: bool) -> None:
    """Only the names of `hosts` and of `public_url` are served; probes are served by any name."""
    site = Site("https://campaigns.example", ["inner"])
    assert site.is_host_allowed(_scope("192.0.2.1", path, host=host)) is expected
    assert Site("https://campaigns.example").is_host_allowed(_scope("192.0.2.1", path, host=host))


def test_the_public_url_is_the_own_site() -> None:
    """A proxy that sends its own Host makes no request cross-site."""
    headers = {"host": "127.0.0.1:8080", "origin": "https://campaigns.example"}
    assert is_cross_site(headers)
    assert not is_cross_site(headers, "campaigns.example")
    assert is_cross_site({"host": "127.0.0.1:8080", "origin": "null"}, "")
