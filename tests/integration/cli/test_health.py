"""`campaignd health`, `explain` and `prune` as operators call them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.daemons import Daemons, World, free_port, utc_now, wait_until
from tests.support.servers import Server

CAMPAIGND = Path(sys.executable).with_name("campaignd")


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """Starts processes; none outlives the test."""
    started = Daemons(tmp_path)
    try:
        yield started
    finally:
        started.end()


BLIND = """
import daemon.maintenance.periodic
from daemon.cli.main import main
daemon.maintenance.periodic.EVERY_S = 3600.0
main()
"""
"""`campaignd` that does not end by itself when the schema changes under it."""
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(daemons: Daemons, database_url: str) -> dict[str, str]:
    """Of a daemon with the HTTP interface, and of commands beside it."""
    return daemons.environment(
        database_url,
        CAMPAIGND_API__ENABLED="true",
        CAMPAIGND_API__PORT=free_port(),
        CAMPAIGND_SCHEDULER__STARTUP_TIMEOUT="5",
        CAMPAIGND_NODE_NAME="me",
    )


def call(env: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command, run to its end."""
    return subprocess.run(
        [CAMPAIGND, *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def well(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What health says once the node is well and serves HTTP."""

    def asked() -> subprocess.CompletedProcess[str] | None:
        done = call(env, "health")
        return done if done.stdout.startswith("ok process\n") and done.returncode == 0 else None

    found: subprocess.CompletedProcess[str] = wait_until("it is well", asked)
    return found


def test_well_then_wedged_then_gone(daemons: Daemons, env: dict[str, str]) -> None:
    """By the HTTP interface: fine, silent although somebody listens, nobody listening."""
    daemon = daemons.command("run", env=env)
    daemon.wait_for("ready")
    done = well(env)
    assert done.stdout.splitlines() == ["ok process", "ok database", "ok schema", "ok scheduler"]

    daemon.send(signal.SIGSTOP)
    done = call(env, "health")
    assert done.returncode == 1
    assert done.stdout.startswith("failed process: wedged: no answer on 127.0.0.1:")
    daemon.send(signal.SIGCONT)

    assert daemon.stop() == 0
    done = call(env, "health")
    assert done.returncode == 1
    assert "ok database" in done.stdout
    assert "failed scheduler: no node called me has a lease" in done.stdout


def test_without_the_api(daemons: Daemons, env: dict[str, str]) -> None:
    """The database says whether the node lives."""
    env["CAMPAIGND_API__ENABLED"] = "false"
    assert "failed scheduler" in call(env, "health").stdout
    daemons.command("run", env=env).wait_for("ready")
    done = call(env, "health")
    assert (done.returncode, done.stdout) == (0, "ok database\nok schema\nok scheduler\n")


def test_run_without_the_api(daemons: Daemons, env: dict[str, str]) -> None:
    """Only the daemon knows that it serves no HTTP: its lease says that it is well."""
    daemon = daemons.command("run", "--no-api", env=env)
    daemon.wait_for("ready")
    done = call(env, "health")
    assert done.returncode == 0, done.stdout
    assert "ok process: me holds its lease; no HTTP interface, nothing listens on" in done.stdout
    assert "failed" not in done.stdout

    with Server() as other:
        elsewhere = call(env, "health", "--port", other.port)
        assert elsewhere.returncode == 0
        assert f"127.0.0.1:{other.port} is not a campaignd" in elsewhere.stdout

    daemon.send(signal.SIGSTOP)
    wait_until("its lease is over", lambda: call(env, "health").returncode == 1)
    assert "it starts, or is gone" in call(env, "health").stdout
    daemon.send(signal.SIGCONT)


def test_another_node(daemons: Daemons, env: dict[str, str]) -> None:
    """By its name: its lease; by its port as well: what it says itself."""
    other = {**env, "CAMPAIGND_NODE_NAME": "a", "CAMPAIGND_API__PORT": "0"}
    listening = daemons.command("run", env=other).wait_for("api_listening")
    by_lease = "ok database\nok schema\nok scheduler\n"

    def asked(*arguments: object) -> tuple[int, str]:
        done = call(env, "health", *arguments)
        return done.returncode, done.stdout

    wait_until("it is well", lambda: asked("--node", "a") == (0, by_lease))
    by_http = ("--node", "a", "--port", listening["port"])
    wait_until("it says so", lambda: asked(*by_http) == (0, f"ok process\n{by_lease}"))
    assert asked("--port", listening["port"]) == (0, f"ok process\n{by_lease}")
    code, told = asked("--port", free_port(), "--node", "b")
    assert code == 1
    assert "failed scheduler: no node called b has a lease" in told
    code, told = asked("--node", "b")
    assert (code, "failed process" in told) == (1, False)
    assert call(env, "health", "--port", "0").returncode == 2


def test_a_lost_database(env: dict[str, str]) -> None:
    """Neither a hang nor a traceback."""
    env["CAMPAIGND_DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
    done = call(env, "health")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("failed database: can not be reached")


def test_a_stale_schema(daemons: Daemons, env: dict[str, str], database_url: str) -> None:
    """Told apart, also while the daemon runs."""
    daemon = daemons.command("run", env=env, program=(sys.executable, "-c", BLIND))
    daemon.wait_for("ready")
    well(env)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = call(env, "health")
    assert done.returncode == 1
    assert "ok process" in done.stdout
    assert "failed schema: the database's schema is version 9999" in done.stdout
    assert daemon.stop() == 0
    assert "failed schema" in call(env, "health").stdout


def test_the_embedded_database_is_not_started(tmp_path: Path) -> None:
    """Asking does not change anything."""
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
    """A campaign that ran: why, as a table and as JSON; and its history stays when it is new."""
    with World(database_url) as world:
        (campaign,) = world.add_one_offs(1, utc_now())
        daemon = daemons.command("run", env=env)
        world.until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign)
        at = world.one("SELECT scheduled_for FROM runs")
        assert daemon.stop() == 0
    done = call(env, "explain", campaign)
    assert done.returncode == 0
    assert "it ran: started at" in done.stdout
    assert "next: nothing" in done.stdout
    asked = call(env, "explain", campaign, "--at", at.isoformat(), "--json")
    told = json.loads(asked.stdout)
    assert told["explained"][0]["run_status"] == "completed"
    assert told["explained"][0]["why"].startswith("it ran: ")
    assert call(env, "explain", campaign, "--at", "yesterday").returncode == 2
    assert call(env, "explain", 999).returncode == 1
    other = call(env, "explain", campaign, "--at", "2020-01-01T00:00:00Z")
    assert "the campaign was only created at" in other.stdout

    assert call(env, "prune").returncode == 2
    done = call(env, "prune", "--keep-days", "1")
    assert done.stdout == "0 runs and 0 events deleted, older than 1 days\n"
