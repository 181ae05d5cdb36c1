"""The page and the log behind a trusted reverse proxy, played by a client with its headers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from daemon.api.console.session import COOKIE
from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi, get_without_key, running_server
from tests.support.postgres import fresh_database


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[RunningApi]:
    """Yield a server that trusts a proxy on this machine."""
    settings = {
        "api__trusted_proxies": "127.0.0.1",
        "api__public_url": "https://campaigns.example",
        "api__hosts": "127.0.0.1",
    }
    with (
        fresh_database(postgres_server, template_database) as (_, url),
        running_server(tmp_path_factory.mktemp("proxied"), url, "api", **settings) as found,
    ):
        yield found


def _log_in(api: RunningApi, key: str, client: str = "203.0.113.1") -> httpx.Response:
    headers = {
        "X-Forwarded-For": client,
        "X-Forwarded-Proto": "https",
        "Origin": "https://campaigns.example",
    }
    return httpx.post(f"{api.url}/login", data={"key": key}, headers=headers, timeout=TIMEOUT_S)


def test_the_cookie_is_secure(proxied: RunningApi) -> None:
    """The browser sends the cookie by HTTPS only, and to this host only; it opens the page."""
    response = _log_in(proxied, proxied.keys[Scope.READ])
    assert response.status_code == 303
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=")
    for attribute in ("Secure", "Path=/", "HttpOnly", "SameSite=strict"):
        assert attribute in cookie
    page = get_without_key(f"{proxied.url}/", headers={"Cookie": cookie.partition(";")[0]})
    assert "Ended last" in page.text


def test_failures_of_one_client_lock_out_no_other(proxied: RunningApi) -> None:
    """The limit counts failures of the client behind the proxy; successes are not counted."""
    for _ in range(25):
        assert _log_in(proxied, proxied.keys[Scope.READ], "203.0.113.2").status_code == 303
    failures = [_log_in(proxied, "cdk_wrong", "203.0.113.3") for _ in range(25)]
    assert {failed.status_code for failed in failures[:20]} == {403}
    assert failures[-1].status_code == 429
    assert "Retry-After" in failures[-1].headers
    assert _log_in(proxied, proxied.keys[Scope.READ], "203.0.113.3").status_code == 429
    assert _log_in(proxied, proxied.keys[Scope.READ], "203.0.113.4").status_code == 303


def test_the_log_has_the_client(proxied: RunningApi) -> None:
    """`remote` is the client's address."""
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "from-afar"}
    proxied.http.get("/upcoming", headers=headers)
    event = proxied.process.wait_for("http_request", request_id="from-afar")
    assert event["remote"] == "203.0.113.9"


def test_the_last_use_of_a_key_has_the_client(proxied: RunningApi) -> None:
    """Of the API and of the page, whose session has the address too."""
    last = "SELECT last_used_from = '203.0.113.7' FROM api_keys WHERE name = %s"
    secret = proxied.create_key("from afar", Scope.READ)
    headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "203.0.113.7"}
    assert get_without_key(f"{proxied.url}/api/v1/upcoming", headers=headers).status_code == 200
    proxied.database.wait_until(last, "from afar")
    secret = proxied.create_key("from a browser afar", Scope.READ)
    assert _log_in(proxied, secret, "203.0.113.7").status_code == 303
    proxied.database.wait_until(last, "from a browser afar")
    assert proxied.database.one("SELECT count(*) FROM sessions WHERE address = '203.0.113.7'") == 1


def test_other_hosts_are_refused(proxied: RunningApi) -> None:
    """A name that points here without being ours serves neither metrics nor the API's document."""
    for path in ("/metrics", "/openapi.json", "/", "/api/v1/upcoming"):
        response = get_without_key(f"{proxied.url}{path}", headers={"Host": "evil.example"})
        assert (response.status_code, response.json()["message"]) == (421, "Unknown host")
    assert (
        get_without_key(f"{proxied.url}/metrics", headers={"Host": "campaigns.example"}).status_code
        == 200
    )
    assert (
        get_without_key(f"{proxied.url}/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
    )
