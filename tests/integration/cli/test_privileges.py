"""What commands say to a role that lacks a privilege: one line, and exit code 4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from storage.roles import roles_sql
from tests.support.campaign_database import CampaignDatabase
from tests.support.in_process import ONE_OFF, Call, command_runner, import_lines
from tests.support.postgres import url_for_application, url_for_role
from tests.support.processes import Daemons
from tests.support.waiting import utc_now, wait_until

NO_RUNS = "the role campaignd_app may not INSERT, UPDATE on table runs"


@pytest.fixture
def superuser(superuser_url: str) -> Iterator[psycopg.Connection]:
    """A session of the administrator."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        yield connection


def test_check_names_what_is_missing(superuser: psycopg.Connection, call: Call) -> None:
    superuser.execute("REVOKE INSERT, UPDATE ON runs FROM campaignd_app")
    done = call("check")
    assert done.returncode == 1
    assert f"\nfailed privileges: {NO_RUNS} (docs/operations.md, Privileges)\n" in done.stdout
    assert "\nok schema: " in done.stdout


def test_check_names_hidden_rows(superuser: psycopg.Connection, call: Call) -> None:
    superuser.execute("ALTER TABLE timers ENABLE ROW LEVEL SECURITY")
    done = call("check")
    assert done.returncode == 1
    assert "failed privileges: row security hides rows of timers from the role" in done.stdout


@pytest.mark.parametrize("command", ["run", "api", "worker --exec true"])
def test_nothing_starts_without_a_privilege(
    superuser: psycopg.Connection, daemons: Daemons, database_url: str, command: str
) -> None:
    """At once, not after the time that a start waits for a database."""
    superuser.execute("REVOKE INSERT, UPDATE ON runs FROM campaignd_app")
    config = daemons.directory / "campaignd.toml"
    config.write_text('[targets.table]\ntype = "postgres"\n')
    env = daemons.environment(database_url, config=config, scheduler__startup_timeout=600)
    process = daemons.start_command(*command.split(), env=env)
    assert process.join() == 4
    (error,) = [line for line in process.lines if line.startswith(b"campaignd: error:")]
    assert error.decode().startswith(f"campaignd: error: {NO_RUNS} (")


@pytest.mark.parametrize(
    ("revoked", "missing"),
    [
        ("USAGE ON SEQUENCE schedule_revision_seq", "USAGE on sequence schedule_revision_seq"),
        ("INSERT ON campaign_events", "INSERT on table campaign_events"),
        ("SELECT ON alembic_version", "SELECT on table alembic_version"),
    ],
)
def test_an_import_loads_nothing_without_a_privilege(
    superuser: psycopg.Connection, call: Call, revoked: str, missing: str
) -> None:
    superuser.execute(f"REVOKE {revoked} FROM campaignd_app".encode())
    done = call("import", "-", input=import_lines(("once", ONE_OFF)))
    expected = f"campaignd: error: the role campaignd_app may not {missing} ("
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.startswith(expected)


def test_an_import_gives_an_id_far_ahead(call: Call) -> None:
    """Which moves the sequence."""
    line = {"campaign": {"id": 5_000_000, "name": "jump"}, "schedule": None}
    done = call("import", "-", input=json.dumps(line))
    assert (done.returncode, done.stderr) == (0, "1 loaded, 0 unchanged, 0 updated, 0 bad\n")


@pytest.mark.parametrize(
    "command",
    [
        *("status", "campaigns", "show 1", "runs", "upcoming", "export", "keys list"),
        "explain 1 --at 2026-01-01T00:00:00Z",
    ],
)
def test_the_reader_reads(loaded: Call, superuser_url: str, tmp_path: Path, command: str) -> None:
    reader = command_runner(url_for_role(superuser_url, "campaignd_readonly"), tmp_path)
    done = reader(
        *command.split(), *(["--at", "2026-01-01T00:00:00Z"] if "explain" in command else [])
    )
    assert (done.returncode, done.stderr) == (loaded(*done.args).returncode, "")


def test_the_reader_changes_nothing(loaded: Call, superuser_url: str, tmp_path: Path) -> None:
    reader = command_runner(url_for_role(superuser_url, "campaignd_readonly"), tmp_path)
    for command in ("pause 2", "keys create me", "prune --keep-days 1"):
        done = reader(*command.split())
        assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
        assert "campaignd: error: the role campaignd_readonly may not " in done.stderr


def test_the_roles_are_named_after_the_prefix(call: Call) -> None:
    assert call("db", "roles").stdout == roles_sql("campaignd")
    assert call("db", "roles", "--prefix", "staging").stdout == roles_sql("staging")
    for bad in ("", "A", "a;b", 'a"', "a" * 60):
        assert call("db", "roles", "--prefix", bad).returncode == 2


def test_a_privilege_that_is_revoked_loses_nothing(
    superuser: psycopg.Connection, daemons: Daemons, superuser_url: str
) -> None:
    """The daemon waits for it as for a lost database: two lines in all, then the run."""
    daemon = daemons.start_ready(url_for_application(superuser_url))
    superuser.execute("REVOKE INSERT, UPDATE ON runs FROM campaignd_app")
    with CampaignDatabase(superuser_url) as database:
        database.add_one_offs(5, utc_now() + timedelta(seconds=0.2))
        lost = daemon.wait_for("database_lost")
        assert lost["error"] == NO_RUNS
        # Several tries later, and after the reconciliation of the first one.
        tries = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        before = database.one(tries)
        database.wait_until(f"SELECT ({tries}) >= %s", before + 3)
        superuser.execute("GRANT INSERT, UPDATE ON runs TO campaignd_app")
        database.wait_until("SELECT count(*) = 5 FROM campaigns WHERE status = 'completed'")
        daemon.wait_for("database_back")
    assert len(daemon.events_named("database_lost")) == 1
    assert daemon.events_named("claim_failed") == []
    assert daemon.stop() == 0


def test_an_outcome_waits_for_its_privilege(
    superuser: psycopg.Connection, daemons: Daemons, superuser_url: str
) -> None:
    """It is written once the privilege is granted; the attempt is not repeated."""
    config = daemons.directory / "campaignd.toml"
    gate = daemons.directory / "gate"
    program = f"until [ -e {gate} ]; do sleep 0.05; done"
    config.write_text(
        f'[targets.slow]\ntype = "command"\nargv = {json.dumps(["sh", "-c", program])}\n'
    )
    with CampaignDatabase(superuser_url) as database:
        database.add_one_offs(1, utc_now())
        database.rows("UPDATE campaigns SET target = 'slow'")
        daemon = daemons.start_ready(url_for_application(superuser_url), config=config)
        database.wait_until("SELECT count(*) = 1 FROM runs WHERE status = 'executing'")
        superuser.execute("REVOKE UPDATE ON runs FROM campaignd_app")
        gate.touch()
        daemon.wait_for("database_lost")
        superuser.execute("GRANT UPDATE ON runs TO campaignd_app")
        database.wait_until(
            "SELECT count(*) = 1 FROM runs WHERE status = 'completed' AND attempt = 1"
        )
    assert daemon.events_named("finish_failed") == []
    assert daemon.stop() == 0


def test_health_names_a_missing_privilege(superuser: psycopg.Connection, call: Call) -> None:
    superuser.execute("REVOKE SELECT ON alembic_version FROM campaignd_app")
    done = call("health", CAMPAIGND_API__ENABLED="false")
    assert done.returncode == 1
    assert (
        "failed database: the role campaignd_app may not SELECT on table alembic_v" in done.stdout
    )


def test_a_request_is_refused_in_one_line(
    superuser: psycopg.Connection, daemons: Daemons, database_url: str, call: Call
) -> None:
    """The client reads which privilege is missing, and no statement; so does `/readyz`."""
    key = call("keys", "create", "me", "--scope", "write").stdout.split()[-1]
    env = daemons.environment(database_url, api__enabled="true", api__port=0)
    process = daemons.start_command("api", env=env)
    port = process.wait_for("api_listening")["port"]
    process.wait_for("ready")
    superuser.execute("REVOKE INSERT ON campaign_events FROM campaignd_app")
    superuser.execute("REVOKE SELECT ON schema_versions FROM campaignd_app")
    url = f"http://127.0.0.1:{port}"
    answer = httpx.post(
        f"{url}/api/v1/campaigns",
        json={"name": "x"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    assert answer.status_code == 503
    expected = "the role campaignd_app may not INSERT on table campaign_events"
    assert answer.json()["detail"] == expected
    ready = wait_until("an answer", lambda: httpx.get(f"{url}/readyz", timeout=60))
    assert ready.status_code == 503
    expected = "the role campaignd_app may not SELECT on table schema_versions"
    assert ready.json()["checks"] == {"database": expected}
