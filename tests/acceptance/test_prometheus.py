"""Metrics, alert rules and dashboard against a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.machines.debian import install_or_skip
from tests.support.processes import Daemons
from tests.support.waiting import free_port, utc_now, wait_until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "alerts.yml"
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text())
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]
QUIET = {"Next event in"}
"""Panels that are empty while no event is due."""


@pytest.fixture(scope="module")
def promtool() -> str:
    """The rule checker of Prometheus."""
    return install_or_skip("prometheus", "promtool")


class Prometheus:
    """A server that scrapes one node every second."""

    def __init__(self, program: str, directory: Path, target: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        shutil.copy(RULES, directory / "alerts.yml")
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [alerts.yml]\n"
            "scrape_configs:\n"
            f"  - {{job_name: campaignd, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        self.log = (directory / "log").open("wb")
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the present result of an expression."""
        query = urllib.parse.urlencode({"query": expression})
        return list(self._get(f"/api/v1/query?{query}")["result"])

    def alerts(self) -> list[str]:
        """Return the alerts that are pending or firing."""
        return [alert["labels"]["alertname"] for alert in self._get("/api/v1/alerts")["alerts"]]

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return dict(json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from error

    def end(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture
def scraped(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> Iterator[tuple[Prometheus, CampaignDatabase, str]]:
    """A running node, and a Prometheus that has scraped it."""
    program = install_or_skip("prometheus", "prometheus")
    daemon = daemons.start(database.url, CAMPAIGND_API__ENABLED="true", CAMPAIGND_API__PORT="0")
    port = daemon.wait_for("api_listening")["port"]
    daemon.wait_for("ready")
    directory = tmp_path / "prometheus"
    directory.mkdir()
    server = Prometheus(program, directory, f"127.0.0.1:{port}")
    try:

        def is_up() -> bool:
            try:
                return bool(server.query('up{job="campaignd"} == 1'))
            except (OSError, AssertionError):  # the server is starting
                assert server.process.poll() is None, (directory / "log").read_text()
                return False

        wait_until("the first scrape", is_up, 60)
        yield server, database, f"http://127.0.0.1:{port}/metrics"
    finally:
        server.end()


def test_expressions(scraped: tuple[Prometheus, CampaignDatabase, str], promtool: str) -> None:
    """Every query of the dashboard has a result, no alert fires, and promtool accepts all."""
    server, database, url = scraped
    database.add_one_offs(300, utc_now() + timedelta(seconds=3))
    database.wait_until("SELECT count(*) = 300 FROM runs WHERE status = 'completed'")
    finished = "sum(campaignd_runs_finished_total) == 300"
    wait_until("the runs are counted", lambda: server.query(finished), 30)
    urllib.request.urlopen(url.replace("/metrics", "/healthz")).close()
    late = "sum(rate(campaignd_run_lateness_seconds_count[30s])) > 0"
    wait_until("there is a rate", lambda: server.query(late), 30)

    for title, expression in QUERIES:
        found = server.query(expression.replace("$__rate_interval", "30s"))
        if title not in QUIET:
            assert found, f"{title}: {expression} gives nothing"
    for expression in re.findall(r"^ +expr: (.+)$", RULES.read_text(), re.M):
        assert server.query(expression) == [], expression
    assert server.alerts() == []

    with urllib.request.urlopen(url) as answer:
        text = answer.read()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    named = set(re.findall(r"^# TYPE (campaignd_\w+)", text.decode(), re.M))
    documented = set(re.findall(r"^\| `(campaignd_\w+)`", (DOCS / "metrics.md").read_text(), re.M))
    assert named == documented


def test_an_outage_is_seen(
    scraped: tuple[Prometheus, CampaignDatabase, str], daemons: Daemons
) -> None:
    """The alert for a lost node is pending within seconds."""
    server, _, _ = scraped
    daemons.end_all()
    wait_until("the alert", lambda: "CampaigndDown" in server.alerts(), 30)


def test_rules(promtool: str, tmp_path: Path) -> None:
    """The rules are valid, and each alert fires on its condition."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
