"""The documented nginx configuration in front of the API."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from daemon.api.console.session import COOKIE
from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, running_server
from tests.support.certificates import make_certificate
from tests.support.machines.debian import install_or_skip
from tests.support.waiting import free_port, wait_until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"^```nginx\n(.*?)^```$", TEXT, re.M | re.S)


def test_the_nginx_example(tmp_path: Path, database_url: str) -> None:
    """The page can be used by HTTPS; its cookie is secure, and the log has the client's address."""
    nginx = install_or_skip("nginx-light", "nginx")
    settings = {
        "api__trusted_proxies": "127.0.0.1",
        "api__public_url": "https://campaigns.example",
    }
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    with running_server(tmp_path, database_url, "api", **settings) as api:
        server = EXAMPLE
        for old, new in (
            ("443", f"127.0.0.1:{port}"),
            ("/etc/ssl/campaigns.pem", str(certificate)),
            ("/etc/ssl/private/campaigns.key", str(key)),
            ("127.0.0.1:8080", f"127.0.0.1:{api.port}"),
        ):
            assert old in server
            server = server.replace(old, new)
        paths = "".join(
            f"{each}_temp_path {tmp_path}/{each};\n"
            for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(
            f"daemon off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{paths}{server}\n}}\n"
        )
        process = subprocess.Popen([nginx, "-e", "stderr", "-c", str(configuration)])
        try:
            url = f"https://127.0.0.1:{port}"
            with httpx.Client(
                base_url=url, verify=False, timeout=TIMEOUT_S, headers={"Host": "campaigns.example"}
            ) as browser:

                def answers() -> bool:
                    try:
                        return browser.get("/healthz").status_code == 200
                    except httpx.TransportError:
                        return False

                wait_until("nginx", answers)
                headers = {
                    "Origin": "https://campaigns.example",
                    "X-Forwarded-For": "203.0.113.7",
                    "X-Request-ID": "through-nginx",
                }
                form = {"key": api.keys[Scope.READ]}
                response = browser.post("/login", data=form, headers=headers)
                assert response.status_code == 303
                cookie = response.headers["set-cookie"]
                assert cookie.startswith(f"__Host-{COOKIE}=")
                assert "Secure" in cookie
                page = browser.get("/", headers={"Cookie": cookie.partition(";")[0]})
                assert "Ended last" in page.text
                request = api.process.wait_for("http_request", request_id="through-nginx")
                # nginx replaces the address that the client claims.
                assert request["remote"] == "127.0.0.1"
                basic = browser.get("/api/v1/campaigns", auth=(api.keys[Scope.READ], ""))
                assert basic.status_code == 200
        finally:
            process.terminate()
            process.wait(30)
