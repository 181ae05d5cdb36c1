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
    instant_after_loading,
    journal_entries,
    journal_time,
    load_one_offs,
    log_events_in,
    unit_property,
    wait_until_all_ran,
    wait_until_instant,
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
    programs = installed.output_of(
        "echo /opt/campaignd/.venv/lib/python3*/site-packages/*/pginstall/bin"
    )
    port = free_port()
    (installed.shared / "postgresql.service").write_text(SERVER.format(bin=programs, port=port))
    url = f"postgresql://campaignd:{SECRET}@127.0.0.1:{port}/postgres"
    installed.run_script(
        f"""
        id postgres >/dev/null 2>&1 || useradd --system postgres
        mkdir -p /srv/postgres && echo {SECRET} > /srv/password
        chown -R postgres /srv/postgres /srv/password && chmod 0700 /srv/postgres
        install -m 0644 /shared/postgresql.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl enable --now postgresql
        """
    )
    installed.run_script(OWN_DATABASE, env={"DATABASE_URL": url})
    assert unit_property(installed, "ActiveState") == "active"
    installed.run_script(SEVERAL.replace("8081", str(PORTS["a"])).replace("8082", str(PORTS["b"])))
    installed.power_off()
    installed.boot()
    for node in ("campaignd@a", "campaignd@b"):
        installed.wait_for_output(
            node, f"systemctl is-active {node} || true", lambda text: text == "active"
        )
    return installed


def test_boot_order(nodes: Machine) -> None:
    """Database, then schema, then nodes, without an operator."""

    def at(unit: str, name: str) -> int:
        return int(unit_property(nodes, f"{name}TimestampMonotonic", unit))

    assert nodes.output_of("systemctl is-enabled campaignd || true") == "disabled"
    migrated = at("campaignd-migrate", "ExecMainExit")
    assert 0 < at("postgresql", "ActiveEnter") <= at("campaignd-migrate", "ExecMainStart")
    assert unit_property(nodes, "Result", "campaignd-migrate") == "success"
    for node in ("campaignd@a", "campaignd@b"):
        assert 0 < migrated <= at(node, "ExecMainStart") < at(node, "ActiveEnter")
        ready = (at(node, "ActiveEnter") - at(node, "ExecMainStart")) / 1e6
        print(f"\n{node}: ready {ready:.2f} s after its start")


def test_one_of_several_is_asked(nodes: Machine) -> None:
    """By its fixed port, its own answer; by its name, its lease."""
    whole = ["ok process", "ok database", "ok schema", "ok scheduler"]
    for name, port in PORTS.items():
        asked = f"cd; campaignd health --node {name}"
        nodes.wait_for_output(
            "it says so", f"{asked} --port {port}", lambda said: said.split("\n") == whole
        )
        assert nodes.output_of(asked).splitlines() == whole[1:]
        if shutil.which("curl"):
            assert "campaignd_due_events" in nodes.output_of(f"curl -fsS localhost:{port}/metrics")
    none = nodes.run_script("campaignd health --node c", check=False)
    assert none.returncode == 1
    assert "failed scheduler: no node called c has a lease" in none.stdout


def test_the_password_is_seen_nowhere(nodes: Machine) -> None:
    """Not in the environment, the unit's properties, the process list, or any log."""
    pid = unit_property(nodes, "MainPID", "campaignd@a")
    places = {
        "environment": f"tr '\\0' '\\n' < /proc/{pid}/environ",
        "command line": f"tr '\\0' ' ' < /proc/{pid}/cmdline",
        "properties": "systemctl show campaignd@a campaignd-migrate",
        "journal": "journalctl --no-pager -o export",
        "check": "campaignd check",
    }
    for place, script in places.items():
        text = nodes.output_of(script)
        assert text, place
        assert SECRET not in text, place
    other = nodes.run_script(
        "runuser -u nobody -- cat /etc/credstore/campaignd.database_url", check=False
    )
    assert other.returncode != 0


def test_two_nodes_share(nodes: Machine) -> None:
    """Each run starts once, on either node; one node is stopped and the other continues."""
    first = instant_after_loading(nodes)
    load_one_offs(nodes, first, 60, 0.1)
    wait_until_instant(first + timedelta(seconds=2))
    nodes.run_script("systemctl kill -s KILL campaignd@a")
    wait_until_all_ran(nodes, 60)
    runs = nodes.output_of("campaignd runs --json --limit 1000")
    by = {json.loads(line)["node"].rsplit("-", 1)[0] for line in runs.splitlines()}
    assert by == {"a", "b"}


def test_a_database_that_hangs_is_no_reason_to_be_killed(nodes: Machine) -> None:
    """Longer than the watchdog's period: the same processes continue once the database answers."""
    units = ("campaignd@a", "campaignd@b")
    nodes.wait_for_output(
        "both run",
        "systemctl is-active campaignd@a campaignd@b || true",
        lambda text: text.split() == ["active", "active"],
    )
    before = [
        (unit_property(nodes, "MainPID", unit), unit_property(nodes, "NRestarts", unit))
        for unit in units
    ]
    since = journal_time(nodes)
    frozen = "systemctl kill --kill-whom=all -s {} postgresql"
    nodes.run_script(frozen.format("STOP"))
    deadline = time.monotonic() + WATCHDOG_S + 15
    nodes.wait_for_output(
        "it is known to be away",
        "systemctl show -P StatusText campaignd@a",
        lambda text: "the database has been unavailable" in text,
        within=WATCHDOG_S,
    )
    while time.monotonic() < deadline:
        assert nodes.output_of("systemctl is-active " + " ".join(units)).split() == ["active"] * 2
        time.sleep(1)
    nodes.run_script(frozen.format("CONT"))
    load_one_offs(nodes, instant_after_loading(nodes), 10, 0.1)
    wait_until_all_ran(nodes, 70)
    after = [
        (unit_property(nodes, "MainPID", unit), unit_property(nodes, "NRestarts", unit))
        for unit in units
    ]
    assert before == after
    names = [
        event["event"]
        for event in log_events_in(journal_entries(nodes, "campaignd@a", since=since))
    ]
    assert names.count("database_lost") == 1
    assert names.count("database_back") == 1


def test_checkout_is_what_is_installed(installed: Machine) -> None:
    """The installed release is this checkout, not an older commit."""
    here = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "systemd"], capture_output=True, text=True, check=True
    )
    for name in here.stdout.split():
        assert (
            installed.output_of(f"cat /opt/campaignd/{name}") == (ROOT / name).read_text().strip()
        )


LOGS = (ROOT / "docs" / "logs.md").read_text("utf-8")
JOURNAL = re.findall(r"^```sh\n(.*?)^```$", LOGS, re.M | re.S)[-1].splitlines()


@pytest.mark.parametrize("recipe", JOURNAL, ids=range(len(JOURNAL)))
def test_journal_recipes(installed: Machine, recipe: str) -> None:
    """docs/logs.md: each command that reads the journal."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    found = installed.run_script(recipe, env={"TZ": "UTC"})
    assert found.stderr in ("", "-- No entries --\n")
    if "--since today" in recipe and ">" not in recipe and "-p" not in recipe:
        assert found.stdout
