"""`campaignd health`, `explain` and `prune` beside a daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.in_process import run_campaignd
from tests.support.processes import Daemons
from tests.support.servers import Server
from tests.support.waiting import free_port, utc_now, wait_until

BLIND = """
import daemon.maintenance.periodic
from daemon.cli.main import main
daemon.maintenance.periodic.EVERY_S = 3600.0
main()
"""
"""A `campaignd` that does not notice a newer schema by itself."""


@pytest.fixture
def env(daemons: Daemons, database_url: str) -> dict[str, str]:
    """The environment of a daemon with the API, and of commands beside it."""
    return daemons.environment(
        database_url,
        CAMPAIGND_API__ENABLED="true",
        CAMPAIGND_API__PORT=free_port(),
        CAMPAIGND_SCHEDULER__STARTUP_TIMEOUT="5",
        CAMPAIGND_NODE_NAME="me",
    )


def call(env: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run_campaignd(arguments, env)


def healthy(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Wait until the node is healthy and serves HTTP; return the result of `health`."""

    def result() -> subprocess.CompletedProcess[str] | None:
        done = call(env, "health")
        return done if done.stdout.startswith("ok process\n") and done.returncode == 0 else None

    found: subprocess.CompletedProcess[str] = wait_until("the node is healthy", result)
    return found


def test_healthy_then_hung_then_stopped(daemons: Daemons, env: dict[str, str]) -> None:
    """The API answers, then listens without an answer, then is closed."""
    daemon = daemons.start_command("run", env=env)
    daemon.wait_for("ready")
    done = healthy(env)
    assert done.stdout.splitlines() == ["ok process", "ok database", "ok schema", "ok scheduler"]

    daemon.send_signal(signal.SIGSTOP)
    done = call(env, "health")
    assert done.returncode == 1
    assert done.stdout.startswith("failed process: hung: no answer on 127.0.0.1:")
    daemon.send_signal(signal.SIGCONT)

    assert daemon.stop() == 0
    done = call(env, "health")
    assert done.returncode == 1
    assert "ok database" in done.stdout
    assert "failed scheduler: no node called me has a lease" in done.stdout


def test_without_the_api(daemons: Daemons, env: dict[str, str]) -> None:
    """The lease in the database shows whether the node is alive."""
    env["CAMPAIGND_API__ENABLED"] = "false"
    assert "failed scheduler" in call(env, "health").stdout
    daemons.start_command("run", env=env).wait_for("ready")
    done = call(env, "health")
    assert (done.returncode, done.stdout) == (0, "ok database\nok schema\nok scheduler\n")


def test_run_without_the_api(daemons: Daemons, env: dict[str, str]) -> None:
    """The settings of the command have the API; the lease shows that the node is alive."""
    daemon = daemons.start_command("run", "--no-api", env=env)
    daemon.wait_for("ready")
    done = call(env, "health")
    assert done.returncode == 0, done.stdout
    assert "ok process: me holds its lease; no HTTP API, nothing listens on" in done.stdout
    assert "failed" not in done.stdout

    with Server() as other:
        elsewhere = call(env, "health", "--port", other.port)
        assert elsewhere.returncode == 0
        assert f"127.0.0.1:{other.port} is not a campaignd" in elsewhere.stdout

    daemon.send_signal(signal.SIGSTOP)
    wait_until("the lease has expired", lambda: call(env, "health").returncode == 1)
    assert "it starts, or is gone" in call(env, "health").stdout
    daemon.send_signal(signal.SIGCONT)


def test_another_node(daemons: Daemons, env: dict[str, str]) -> None:
    """By name, its lease is checked; by its port as well, its API is."""
    other = {**env, "CAMPAIGND_NODE_NAME": "a", "CAMPAIGND_API__PORT": "0"}
    listening = daemons.start_command("run", env=other).wait_for("api_listening")
    by_lease = "ok database\nok schema\nok scheduler\n"

    def asked(*arguments: object) -> tuple[int, str]:
        done = call(env, "health", *arguments)
        return done.returncode, done.stdout

    wait_until("the node is healthy", lambda: asked("--node", "a") == (0, by_lease))
    by_http = ("--node", "a", "--port", listening["port"])
    wait_until("the API answers", lambda: asked(*by_http) == (0, f"ok process\n{by_lease}"))
    assert asked("--port", listening["port"]) == (0, f"ok process\n{by_lease}")
    code, stdout = asked("--port", free_port(), "--node", "b")
    assert code == 1
    assert "failed scheduler: no node called b has a lease" in stdout
    code, stdout = asked("--node", "b")
    assert (code, "failed process" in stdout) == (1, False)
    assert call(env, "health", "--port", "0").returncode == 2


def test_a_lost_database(env: dict[str, str]) -> None:
    """The command neither hangs nor prints a traceback."""
    env["CAMPAIGND_DATABASE_URL"] = f"postgresql://someone@127.0.0.1:{free_port()}/x"
    done = call(env, "health")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("failed database: cannot be reached")


def test_a_stale_schema(daemons: Daemons, env: dict[str, str], superuser_url: str) -> None:
    """Reported as such, also while the daemon runs."""
    daemon = daemons.start_command("run", env=env, program=(sys.executable, "-c", BLIND))
    daemon.wait_for("ready")
    healthy(env)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = call(env, "health")
    assert done.returncode == 1
    assert "ok process" in done.stdout
    assert "failed schema: the database's schema is version 9999" in done.stdout
    assert daemon.stop() == 0
    assert "failed schema" in call(env, "health").stdout


def test_the_embedded_database_is_not_started(tmp_path: Path) -> None:
    """A check changes nothing."""
    env = {
        **os.environ,
        "CAMPAIGND_STATE_DIR": str(tmp_path / "none"),
        "CAMPAIGND_API__ENABLED": "false",
    }
    done = call(env, "health")
    assert done.returncode == 1
    where = tmp_path / "none"
    assert done.stdout.startswith(f"failed database: there is no database in {where} (")
    assert not (tmp_path / "none").exists()


def test_explain_and_prune(daemons: Daemons, env: dict[str, str], database_url: str) -> None:
    """A run is explained as a table and as JSON; its new history is not pruned."""
    with CampaignDatabase(database_url) as database:
        (campaign,) = database.add_one_offs(1, utc_now())
        daemon = daemons.start_command("run", env=env)
        database.wait_until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign)
        at = database.one("SELECT scheduled_for FROM runs")
        assert daemon.stop() == 0
    done = call(env, "explain", campaign)
    assert done.returncode == 0
    assert "it ran: started at" in done.stdout
    assert "next: nothing" in done.stdout
    asked = call(env, "explain", campaign, "--at", at.isoformat(), "--json")
    answer = json.loads(asked.stdout)
    assert answer["explained"][0]["run_status"] == "completed"
    assert answer["explained"][0]["why"].startswith("it ran: ")
    assert call(env, "explain", campaign, "--at", "last week").returncode == 2
    yesterday = call(env, "explain", campaign, "--at", "yesterday")
    assert "the campaign was only created at" in yesterday.stdout
    assert call(env, "explain", 999).returncode == 1
    other = call(env, "explain", campaign, "--at", "2020-01-01T00:00:00Z")
    assert "the campaign was only created at" in other.stdout

    assert call(env, "prune").returncode == 2
    done = call(env, "prune", "--keep-days", "1")
    assert done.stdout == "0 runs and 0 events deleted, older than 1 days\n"


def test_a_start_corrects_the_marks_of_a_restored_database(
    daemons: Daemons, database_url: str
) -> None:
    """Ids of the old server's transactions, which this one has not reached."""
    with CampaignDatabase(database_url) as database:
        database.add_one_offs(3, utc_now() + timedelta(hours=1))
        database.rows("UPDATE schedule_definitions SET changed_in = '100000000'")
        daemons.start_ready(database_url)
        database.wait_until("SELECT max(changed_in) < '100000000' FROM schedule_definitions")
