"""Nodes under a real systemd on a given PostgreSQL: credential, migration, boot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from datetime import timedelta

import pytest

from tests.support.machines.installed_daemon import (
    OWN_DATABASE,
    ROOT,
    SEVERAL,
    WATCHDOG_S,
    cursor,
    done,
    events,
    journal,
    load_one_offs,
    show,
    soon,
    wait_for,
)
from tests.support.machines.systemd import Machine
from tests.support.waiting import free_port

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

SECRET = "open-sesame-7c1"
SERVER = """[Unit]
Description=PostgreSQL, as a distribution would have it
[Service]
Type=forking
User=postgres
Environment=PGDATA=/srv/postgres
ExecStartPre=sh -c 'test -e /srv/postgres/PG_VERSION || {bin}/initdb --auth=scram-sha-256 \
--username=campaignd --pwfile=/srv/password --no-sync'
ExecStart={bin}/pg_ctl -w -l /srv/postgres/log -o "-h 127.0.0.1 -p {port} -k /tmp" start
ExecStop={bin}/pg_ctl -m immediate stop
[Install]
WantedBy=multi-user.target
"""


PORTS = {"a": free_port(), "b": free_port()}


@pytest.fixture(scope="module")
def nodes(installed: Machine) -> Machine:
    """Two nodes on a given database, installed as the README says; then a power cut."""
    programs = installed.text(
        "echo /opt/campaignd/.venv/lib/python3*/site-packages/*/pginstall/bin"
    )
    port = free_port()
    (installed.shared / "postgresql.service").write_text(SERVER.format(bin=programs, port=port))
    url = f"postgresql://campaignd:{SECRET}@127.0.0.1:{port}/postgres"
    installed.run(
        f"""
        id postgres >/dev/null 2>&1 || useradd --system postgres
        mkdir -p /srv/postgres && echo {SECRET} > /srv/password
        chown -R postgres /srv/postgres /srv/password && chmod 0700 /srv/postgres
        install -m 0644 /shared/postgresql.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl enable --now postgresql
        """
    )
    installed.run(OWN_DATABASE, env={"DATABASE_URL": url})
    assert show(installed, "ActiveState") == "active"
    installed.run(SEVERAL.replace("8081", str(PORTS["a"])).replace("8082", str(PORTS["b"])))
    installed.power_off()
    installed.boot()
    for node in ("campaignd@a", "campaignd@b"):
        installed.until(node, f"systemctl is-active {node} || true", lambda text: text == "active")
    return installed


def test_boot_order(nodes: Machine) -> None:
    """Database, then schema, then nodes, without an operator."""

    def at(unit: str, name: str) -> int:
        return int(show(nodes, f"{name}TimestampMonotonic", unit))

    assert nodes.text("systemctl is-enabled campaignd || true") == "disabled"
    migrated = at("campaignd-migrate", "ExecMainExit")
    assert 0 < at("postgresql", "ActiveEnter") <= at("campaignd-migrate", "ExecMainStart")
    assert show(nodes, "Result", "campaignd-migrate") == "success"
    for node in ("campaignd@a", "campaignd@b"):
        assert 0 < migrated <= at(node, "ExecMainStart") < at(node, "ActiveEnter")
        ready = (at(node, "ActiveEnter") - at(node, "ExecMainStart")) / 1e6
        print(f"\n{node}: ready {ready:.2f} s after its start")


def test_one_of_several_is_asked(nodes: Machine) -> None:
    """By its fixed port, its own answer; by its name, its lease."""
    whole = ["ok process", "ok database", "ok schema", "ok scheduler"]
    for name, port in PORTS.items():
        asked = f"cd; campaignd health --node {name}"
        nodes.until("it says so", f"{asked} --port {port}", lambda said: said.split("\n") == whole)
        assert nodes.text(asked).splitlines() == whole[1:]
        if shutil.which("curl"):
            assert "campaignd_due_events" in nodes.text(f"curl -fsS localhost:{port}/metrics")
    none = nodes.run("campaignd health --node c", check=False)
    assert none.returncode == 1
    assert "failed scheduler: no node called c has a lease" in none.stdout


def test_the_password_is_seen_nowhere(nodes: Machine) -> None:
    """Not in the environment, the unit's properties, the process list, or any log."""
    pid = show(nodes, "MainPID", "campaignd@a")
    places = {
        "environment": f"tr '\\0' '\\n' < /proc/{pid}/environ",
        "command line": f"tr '\\0' ' ' < /proc/{pid}/cmdline",
        "properties": "systemctl show campaignd@a campaignd-migrate",
        "journal": "journalctl --no-pager -o export",
        "check": "campaignd check",
    }
    for place, script in places.items():
        text = nodes.text(script)
        assert text, place
        assert SECRET not in text, place
    other = nodes.run("runuser -u nobody -- cat /etc/credstore/campaignd.database_url", check=False)
    assert other.returncode != 0


def test_two_nodes_share(nodes: Machine) -> None:
    """Each run starts once, on either node; one node is stopped and the other continues."""
    first = soon(nodes)
    load_one_offs(nodes, first, 60, 0.1)
    wait_for(first + timedelta(seconds=2))
    nodes.run("systemctl kill -s KILL campaignd@a")
    done(nodes, 60)
    runs = nodes.text("campaignd runs --json --limit 1000")
    by = {json.loads(line)["node"].rsplit("-", 1)[0] for line in runs.splitlines()}
    assert by == {"a", "b"}


def test_a_database_that_hangs_is_no_reason_to_be_killed(nodes: Machine) -> None:
    """Longer than the watchdog's period: the same processes continue once the database answers."""
    units = ("campaignd@a", "campaignd@b")
    nodes.until(
        "both run",
        "systemctl is-active campaignd@a campaignd@b || true",
        lambda text: text.split() == ["active", "active"],
    )
    before = [(show(nodes, "MainPID", unit), show(nodes, "NRestarts", unit)) for unit in units]
    since = cursor(nodes)
    frozen = "systemctl kill --kill-whom=all -s {} postgresql"
    nodes.run(frozen.format("STOP"))
    deadline = time.monotonic() + WATCHDOG_S + 15
    nodes.until(
        "it is known to be away",
        "systemctl show -P StatusText campaignd@a",
        lambda text: "the database has been unavailable" in text,
        within=WATCHDOG_S,
    )
    while time.monotonic() < deadline:
        assert nodes.text("systemctl is-active " + " ".join(units)).split() == ["active"] * 2
        time.sleep(1)
    nodes.run(frozen.format("CONT"))
    load_one_offs(nodes, soon(nodes), 10, 0.1)
    done(nodes, 70)
    after = [(show(nodes, "MainPID", unit), show(nodes, "NRestarts", unit)) for unit in units]
    assert before == after
    names = [event["event"] for event in events(journal(nodes, "campaignd@a", since=since))]
    assert names.count("database_lost") == 1
    assert names.count("database_back") == 1


def test_checkout_is_what_is_installed(installed: Machine) -> None:
    """The installed release is this checkout, not an older commit."""
    here = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "systemd"], capture_output=True, text=True, check=True
    )
    for name in here.stdout.split():
        assert installed.text(f"cat /opt/campaignd/{name}") == (ROOT / name).read_text().strip()


LOGS = (ROOT / "docs" / "logs.md").read_text("utf-8")
JOURNAL = re.findall(r"^```sh\n(.*?)^```$", LOGS, re.M | re.S)[-1].splitlines()


@pytest.mark.parametrize("recipe", JOURNAL, ids=range(len(JOURNAL)))
def test_journal_recipes(installed: Machine, recipe: str) -> None:
    """docs/logs.md: each command that reads the journal."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    found = installed.run(recipe, env={"TZ": "UTC"})
    assert found.stderr in ("", "-- No entries --\n")
    if "--since today" in recipe and ">" not in recipe and "-p" not in recipe:
        assert found.stdout
