"""The daemon under a real systemd, with its embedded database."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.machines.installed_daemon import (
    BESIDE,
    README,
    ROOT,
    WATCHDOG_S,
    count_statuses,
    instant_after_loading,
    journal_entries,
    journal_time,
    load_one_offs,
    log_events_in,
    package_source_environment,
    unit_property,
    wait_until_all_ran,
    wait_until_instant,
)
from tests.support.machines.systemd import Machine
from tests.support.servers import Server

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

WATCH = README.split("## Watch")[1].split("##")[0]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
UPGRADE, SAVE, RESTORE = (
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", OPERATIONS, re.M | re.S)
    if re.search(r"^(systemctl|campaignd) ", block, re.M) and "db roles" not in block
)
HIGHEST_EXPOSURE = 1.5


@pytest.fixture
def embedded(installed: Machine) -> Machine:
    """The daemon on its embedded database, started and idle."""
    installed.run_script("systemctl reset-failed; systemctl start campaignd")
    return installed


def test_installed_to_the_letter(embedded: Machine) -> None:
    """Ready, as its own user, hardened, with its status line."""
    assert unit_property(embedded, "ActiveState") == "active"
    assert unit_property(embedded, "SubState") == "running"
    pid = unit_property(embedded, "MainPID")
    assert embedded.output_of(f"stat -c %U /proc/{pid}") == "campaignd"
    assert "ready" in [line["event"] for line in log_events_in(journal_entries(embedded))]
    status = unit_property(embedded, "StatusText")
    assert re.match(r"\d+ due, \d+ in flight, \d+ within 60 s", status), status
    assert embedded.output_of("systemctl --failed --no-legend | grep campaignd || true") == ""
    exposure = embedded.output_of("systemd-analyze security campaignd --no-pager | tail -1")
    found = re.search(r": ([\d.]+)", exposure)
    assert found is not None, exposure
    assert float(found[1]) <= HIGHEST_EXPOSURE
    print(f"\nexposure {found[1]}")


def watching(command: str) -> list[str]:
    """The table `Watch` is true word for word."""
    found = re.findall(r"`([a-z].*?)`", WATCH.split("\n\n")[1])
    return [each for each in found if each.startswith(command)]


def test_watch_to_the_letter(embedded: Machine) -> None:
    """Root uses the service's database from its home directory; no other one is created."""
    embedded.run_script("rm -rf ~/.local")
    status, log = watching("systemctl") + watching("journalctl")
    assert "active (running)" in embedded.output_of(f"cd; {status}")
    assert '"event":"ready"' in embedded.output_of(f"cd; {log}")
    well, one_of_several = watching("campaignd health")
    whole = ["ok process", "ok database", "ok schema", "ok scheduler"]
    assert embedded.output_of(f"cd; {well}").splitlines() == whole
    host = embedded.output_of("hostname")
    this_one = one_of_several.replace("--node a", f"--node {host}").replace("8081", "8080")
    assert embedded.output_of(f"cd; {this_one}").splitlines() == whole
    if shutil.which("curl"):
        (ready,) = watching("curl")
        assert '"status":"ok"' in embedded.output_of(f"cd; {ready}")
    (check,) = watching("campaignd check")
    checked = embedded.output_of(f"cd; {check}")
    assert "embedded, in /var/lib/campaignd" in checked
    assert "failed" not in checked
    (nodes,) = watching("campaignd status")
    assert "live" in embedded.output_of(f"cd; {nodes}")
    assert embedded.run_script("test -e ~/.local", check=False).returncode != 0


def test_commands_beside_to_the_letter(embedded: Machine) -> None:
    """A file of root is imported; another user is refused, with the reason."""
    before = sum(count_statuses(embedded, "campaigns").values())
    give(embedded, {"name": "given by root"})
    embedded.run_script("cd; install -m 0600 /shared/given.jsonl campaigns.jsonl")
    reported = embedded.run_script(f"cd; {BESIDE}").stderr
    assert "1 loaded" in reported
    start(embedded, "given by root")
    wait_until_all_ran(embedded, before + 1)
    stranger = embedded.run_script(
        "setpriv --reuid=65534 --clear-groups campaignd status", check=False
    )
    assert stranger.returncode == 3
    assert "/var/lib/campaignd/postgres: Permission denied (run as the user" in stranger.stderr
    nowhere = embedded.run_script("CAMPAIGND_STATE_DIR=/var/tmp/none campaignd status", check=False)
    assert nowhere.returncode == 3
    assert "there is no database in /var/tmp/none" in nowhere.stderr
    assert embedded.run_script("test -e /var/tmp/none", check=False).returncode != 0


def give(made: Machine, *campaigns: dict[str, object]) -> None:
    """Return drafts as a file to import."""
    lines = [json.dumps({"campaign": campaign, "schedule": None}) for campaign in campaigns]
    (made.shared / "given.jsonl").write_text("\n".join(lines) + "\n")


def start(made: Machine, *names: str) -> None:
    """Start the campaigns now."""
    for line in made.output_of("campaignd campaigns --json --status draft").splitlines():
        found = json.loads(line)
        if found["name"] in names:
            made.run_script(f"campaignd start {found['id']}")


TARGETS = """
[targets.program]
type = "command"
argv = ["/bin/sh", "-c", '''
set -eu
scratch=$(mktemp)
cat > "$scratch"
grep -o '"payload":{[^}]*}' "$scratch" > "/var/lib/campaignd/$CAMPAIGND_RUN_ID"
''']
[targets.receiver]
type = "webhook"
"""
CREDENTIAL = "LoadCredential=targets_receiver_url:campaignd.targets_receiver_url"


def test_targets_under_the_hardened_unit(embedded: Machine) -> None:
    """A started program and a called receiver get the run, and complete it."""
    before = sum(count_statuses(embedded, "campaigns").values())
    drop_in = "/etc/systemd/system/campaignd.service.d"
    with Server() as server:
        (embedded.shared / "campaignd.toml").write_text(TARGETS)
        assert CREDENTIAL.replace("receiver", "crm") in README
        embedded.run_script(
            f"""
            install -m 0644 /shared/campaignd.toml /etc/campaignd/campaignd.toml
            install -d -m 0700 /etc/credstore
            install -m 0600 /dev/stdin /etc/credstore/campaignd.targets_receiver_url \\
                <<< http://localhost:{server.port}/hook
            install -D -m 0644 /dev/stdin {drop_in}/override.conf <<< $'[Service]\\n{CREDENTIAL}'
            systemctl daemon-reload
            systemctl restart campaignd
            """
        )
        checked = embedded.output_of("campaignd check")
        assert "ok target program" in checked
        assert "ok target receiver" in checked
        names = ("program", "receiver")
        give(
            embedded, *({"name": name, "target": name, "payload": {"for": name}} for name in names)
        )
        embedded.run_script("campaignd import /shared/given.jsonl")
        start(embedded, *names)
        wait_until_all_ran(embedded, before + 2)
        found = map(json.loads, embedded.output_of("campaignd runs --json -n 2").splitlines())
        runs = {run["campaign_name"]: run["id"] for run in found}
        embedded.run_script("systemctl reload campaignd")  # which needs the credential as well
        written = embedded.output_of(f"cat /var/lib/campaignd/{runs['program']}")
        assert written == '"payload":{"for":"program"}'
        (request,) = server.requests
        assert request.headers["webhook-id"] == runs["receiver"]
        assert request.json["data"]["payload"] == {"for": "receiver"}
    embedded.run_script(
        f"""
        rm -r /etc/campaignd/campaignd.toml /etc/credstore {drop_in}
        systemctl daemon-reload
        systemctl restart campaignd
        """
    )


def test_journal_fields(embedded: Machine) -> None:
    """Identifier, unit and priority; each message is an object with the fixed keys."""
    entries = [line for line in journal_entries(embedded) if line.get("_TRANSPORT") == "stdout"]
    assert entries
    for entry in entries:
        assert entry["SYSLOG_IDENTIFIER"] == "campaignd"
        assert entry["_SYSTEMD_UNIT"] == "campaignd.service"
        line = json.loads(entry["MESSAGE"])
        assert {"timestamp", "level", "event"} <= line.keys()
        priority = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
        assert entry["PRIORITY"] == priority[line["level"]], line


def test_reload(embedded: Machine) -> None:
    """`systemctl reload` reads the file again; for an invalid file it fails and changes nothing."""
    pid, since = unit_property(embedded, "MainPID"), journal_time(embedded)
    embedded.run_script("printf '[log]\\nlevel = \"debug\"\\n' > /etc/campaignd/campaignd.toml")
    embedded.run_script("systemctl reload campaignd")
    lines = f"journalctl -u campaignd -o cat --no-pager --since={since}"
    embedded.wait_for_output("reloaded", lines, lambda text: '"event":"reloaded"' in text)
    embedded.run_script("echo '[log' > /etc/campaignd/campaignd.toml")
    refused = embedded.run_script("systemctl reload campaignd", check=False)
    assert refused.returncode != 0, "the operator sees it at once"
    embedded.wait_for_output("refused", lines, lambda text: "failed configuration: " in text)
    embedded.run_script("rm /etc/campaignd/campaignd.toml; systemctl reload campaignd")
    embedded.wait_for_output("again", lines, lambda text: text.count('"event":"reloaded"') == 2)
    assert unit_property(embedded, "MainPID") == pid
    assert unit_property(embedded, "ActiveState") == "active"


def test_drains_on_stop(embedded: Machine) -> None:
    """In the middle of a burst: attempts in flight end, everything is written, exit code 0."""
    before = sum(count_statuses(embedded, "campaigns").values())
    at = instant_after_loading(embedded) + timedelta(seconds=3)
    load_one_offs(embedded, at, 3000, 0)
    wait_until_instant(at)
    embedded.wait_for_output("it fires", "campaignd runs --json -n 1", lambda text: text)
    since = journal_time(embedded)
    embedded.run_script("systemctl stop campaignd", timeout=80)
    assert unit_property(embedded, "Result") == "success"
    assert unit_property(embedded, "ExecMainStatus") == "0"
    last = log_events_in(journal_entries(embedded, since=since))
    assert [line["event"] for line in last if line["event"].startswith("stop")] == [
        "stopping",
        "stopped",
    ]
    embedded.run_script("systemctl start campaignd")
    wait_until_all_ran(embedded, before + 3000)


def test_restarted_after_kill_9(embedded: Machine) -> None:
    """The embedded database is killed too; both restart, and no run is lost or done twice."""
    before = sum(count_statuses(embedded, "campaigns").values())
    first = instant_after_loading(embedded)
    load_one_offs(embedded, first, 80, 0.1)
    wait_until_instant(first + timedelta(seconds=2))
    pid = unit_property(embedded, "MainPID")
    embedded.run_script(f"kill -9 {pid}")
    embedded.wait_for_output(
        "another process is ready",
        "systemctl show -P MainPID campaignd; systemctl is-active campaignd",
        lambda text: text.endswith("\nactive") and text.split()[0] not in ("0", pid),
    )
    wait_until_all_ran(embedded, before + 80)
    assert int(unit_property(embedded, "NRestarts")) >= 1


def test_the_watchdog_ends_a_hung_daemon(embedded: Machine) -> None:
    """Stopped by SIGSTOP, the daemon is ended within the watchdog's period and started again."""
    before = sum(count_statuses(embedded, "campaigns").values())
    first = instant_after_loading(embedded)
    load_one_offs(embedded, first, 90, 0.5)
    wait_until_instant(first + timedelta(seconds=1))
    pid = unit_property(embedded, "MainPID")
    began = time.monotonic()
    embedded.run_script(f"kill -STOP {pid}")
    embedded.wait_for_output(
        "the watchdog barks",
        "journalctl -u campaignd --no-pager | grep 'Watchdog timeout' || true",
        bool,
        within=WATCHDOG_S + 5,
    )
    bit = time.monotonic() - began
    embedded.wait_for_output(
        "another process is ready",
        "systemctl show -P MainPID campaignd; systemctl is-active campaignd",
        lambda text: text.endswith("\nactive") and text.split()[0] not in ("0", pid),
    )
    print(f"\nhung for {bit:.1f} s, firing again after {time.monotonic() - began:.1f} s")
    stack = embedded.output_of("journalctl -u campaignd -o cat --no-pager")
    assert "Fatal Python error: Aborted" in stack, "it leaves behind where it hung"
    wait_until_all_ran(embedded, before + 90)


def test_upgraded_to_the_letter(embedded: Machine, tmp_path: Path) -> None:
    """docs/operations.md: after an upgrade the new release fires what was due meanwhile."""
    git = ["git", "-C", str(tmp_path / "next"), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    repository = str(embedded.shared / "campaignd.git")
    subprocess.run([*git[:1], "clone", "-q", repository, git[2]], check=True)
    package, project = tmp_path / "next/campaignd/__init__.py", tmp_path / "next/pyproject.toml"
    package.write_text(re.sub(r'(__version__ = )".*"', r'\1"99.0.0"', package.read_text()))
    project.write_text(project.read_text() + "\n# As a new dependency would do it.\n")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "Next release"], check=True)
    subprocess.run([*git, "push", "-q"], check=True)
    before = sum(count_statuses(embedded, "campaigns").values())
    load_one_offs(embedded, datetime.now(UTC) + timedelta(seconds=20), 20, 0.1)
    pid, since = unit_property(embedded, "MainPID"), journal_time(embedded)
    embedded.run_script(UPGRADE, timeout=200, env=package_source_environment())
    assert unit_property(embedded, "ActiveState") == "active"
    assert unit_property(embedded, "MainPID") != pid
    assert embedded.output_of("campaignd --version").endswith("99.0.0")
    lines = log_events_in(journal_entries(embedded, since=since))
    assert "stopped" in [event["event"] for event in lines], "by itself, in time"
    wait_until_all_ran(embedded, before + 20)


def test_backed_up_and_restored_to_the_letter(embedded: Machine) -> None:
    """docs/operations.md: a dump of the running embedded database has its campaigns."""
    before = sum(count_statuses(embedded, "campaigns").values())
    embedded.run_script(f"cd /root\n{SAVE}")
    load_one_offs(embedded, datetime.now(UTC) + timedelta(hours=1), 5, 0)
    embedded.run_script(f"cd /root\n{RESTORE}", timeout=200)
    assert unit_property(embedded, "ActiveState") == "active"
    assert sum(count_statuses(embedded, "campaigns").values()) == before
    load_one_offs(embedded, datetime.now(UTC) + timedelta(seconds=15), 5, 0)
    wait_until_all_ran(embedded, before + 5)
