"""The daemon under a real systemd, installed by systemd/README.md to the letter on a clean root.

What is tested is what is checked out here, committed or not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines.checkout import bare_repository
from tests.support.machines.systemd import Machine, machine, why_not
from tests.support.servers import Server
from tests.support.waiting import free_port

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "systemd" / "README.md").read_text("utf-8")
INSTALL, OWN_DATABASE, SEVERAL, BESIDE = re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
WATCH = README.split("## Watch")[1].split("##")[0]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
UPGRADE, SAVE, RESTORE = (
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", OPERATIONS, re.M | re.S)
    if re.search(r"^(systemctl|campaignd) ", block, re.M)
)
HIGHEST_EXPOSURE = 1.5
WATCHDOG_S = 30
SECRET = "open-sesame-7c1"


@pytest.fixture(scope="module")
def installed() -> Iterator[Machine]:
    """A machine that was given the README's install commands, and nothing else."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with machine() as made:
        bare_repository(ROOT, made.shared / "campaignd.git")
        made.boot()
        if (
            shutil.which("apt-get")
            and made.run("python3 -c 'import ensurepip'", check=False).returncode
        ):
            made.run("apt-get install -y -q git make python3-venv", timeout=200)
        began = time.monotonic()
        made.run(INSTALL.replace("REPOSITORY", "/shared/campaignd.git"), timeout=280, env=network())
        print(f"\ninstalled and started in {time.monotonic() - began:.0f} s")
        yield made


def network() -> dict[str, str]:
    """How this machine reaches what is installed."""
    names = ("PIP_", "UV_", "SSL_", "REQUESTS_")
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(names) or name.lower().endswith("_proxy")
    }


@pytest.fixture
def embedded(installed: Machine) -> Machine:
    """The daemon on its embedded database, running and at rest."""
    installed.run("systemctl reset-failed; systemctl start campaignd")
    return installed


def show(made: Machine, name: str, unit: str = "campaignd") -> str:
    """A property of a unit."""
    return made.text(f"systemctl show -P {name} {unit}")


def journal(made: Machine, unit: str = "campaignd", *, since: str = "") -> list[dict[str, Any]]:
    """The unit's lines, as the journal keeps them."""
    after = f"--since={since}" if since else ""
    text = made.text(f"journalctl -u {unit} -o json --no-pager {after}")
    return [json.loads(line) for line in text.splitlines()]


def events(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the daemon told, of the lines that are its own."""
    texts = [entry["MESSAGE"] for entry in entries if entry.get("_TRANSPORT") == "stdout"]
    return [json.loads(text) for text in texts if text.startswith("{")]


def cursor(made: Machine) -> str:
    """The instant, as a point in the journal."""
    return made.text("date +@%s.%6N")


def soon(made: Machine) -> datetime:
    """An instant before which campaigns can be loaded, however busy the machine is."""
    began = time.monotonic()
    made.run("campaignd campaigns")
    return datetime.now(UTC) + timedelta(seconds=3 + 4 * (time.monotonic() - began))


def load_one_offs(made: Machine, first: datetime, count: int, every: float) -> None:
    """One-off campaigns that come due one after the other."""
    lines = [
        json.dumps(
            {
                "campaign": {"name": f"one {number}"},
                "schedule": {
                    "schedule_type": "scheduled",
                    "scheduled_at": (first + timedelta(seconds=number * every)).isoformat(),
                },
            }
        )
        for number in range(count)
    ]
    (made.shared / "load.jsonl").write_text("\n".join(lines) + "\n")
    made.run("campaignd import /shared/load.jsonl")


def statuses(made: Machine, what: str) -> dict[str, int]:
    """How many campaigns or runs have each status."""
    text = made.text(f"campaignd {what} --json --limit 100000", check=False)
    counted: dict[str, int] = {}
    for line in text.splitlines():
        status = json.loads(line)["status"]
        counted[status] = counted.get(status, 0) + 1
    return counted


def done(made: Machine, count: int) -> None:
    """Wait until that many campaigns ran, each once."""
    made.until(
        f"{count} campaigns completed",
        'campaignd campaigns --json --limit 100000 | grep -c \'"status": "completed"\'',
        lambda text: text.strip() == str(count),
        within=150,
    )
    assert statuses(made, "runs") == {"completed": count}, "one run each"


def test_installed_to_the_letter(embedded: Machine) -> None:
    """Ready, as its own user, hardened, its status said."""
    assert show(embedded, "ActiveState") == "active"
    assert show(embedded, "SubState") == "running"
    pid = show(embedded, "MainPID")
    assert embedded.text(f"stat -c %U /proc/{pid}") == "campaignd"
    assert "ready" in [told["event"] for told in events(journal(embedded))]
    status = show(embedded, "StatusText")
    assert re.match(r"\d+ due, \d+ in hand, \d+ within 60 s", status), status
    assert embedded.text("systemctl --failed --no-legend | grep campaignd || true") == ""
    exposure = embedded.text("systemd-analyze security campaignd --no-pager | tail -1")
    found = re.search(r": ([\d.]+)", exposure)
    assert found is not None, exposure
    assert float(found[1]) <= HIGHEST_EXPOSURE
    print(f"\nexposure {found[1]}")


def watching(command: str) -> list[str]:
    """What the table `Watch` says, to the letter."""
    found = re.findall(r"`([a-z].*?)`", WATCH.split("\n\n")[1])
    return [each for each in found if each.startswith(command)]


def test_watch_to_the_letter(embedded: Machine) -> None:
    """Root, at home, asks the service's database and is told the truth; nothing else is made."""
    embedded.run("rm -rf ~/.local")
    status, log = watching("systemctl") + watching("journalctl")
    assert "active (running)" in embedded.text(f"cd; {status}")
    assert '"event":"ready"' in embedded.text(f"cd; {log}")
    well, one_of_several = watching("campaignd health")
    whole = ["ok process", "ok database", "ok schema", "ok scheduler"]
    assert embedded.text(f"cd; {well}").splitlines() == whole
    host = embedded.text("hostname")
    this_one = one_of_several.replace("--node a", f"--node {host}").replace("8081", "8080")
    assert embedded.text(f"cd; {this_one}").splitlines() == whole
    if shutil.which("curl"):
        (ready,) = watching("curl")
        assert '"status":"ok"' in embedded.text(f"cd; {ready}")
    (check,) = watching("campaignd check")
    checked = embedded.text(f"cd; {check}")
    assert "embedded, in /var/lib/campaignd" in checked
    assert "failed" not in checked
    (nodes,) = watching("campaignd status")
    assert "live" in embedded.text(f"cd; {nodes}")
    assert embedded.run("test -e ~/.local", check=False).returncode != 0


def test_commands_beside_to_the_letter(embedded: Machine) -> None:
    """A file of root's goes in; who is not root does not get there, and is told why."""
    before = sum(statuses(embedded, "campaigns").values())
    give(embedded, {"name": "given by root"})
    embedded.run("cd; install -m 0600 /shared/given.jsonl campaigns.jsonl")
    told = embedded.run(f"cd; {BESIDE}").stderr
    assert "1 loaded" in told
    start(embedded, "given by root")
    done(embedded, before + 1)
    stranger = embedded.run("setpriv --reuid=65534 --clear-groups campaignd status", check=False)
    assert stranger.returncode == 3
    assert "/var/lib/campaignd/postgres: Permission denied (run as the user" in stranger.stderr
    nowhere = embedded.run("CAMPAIGND_STATE_DIR=/var/tmp/none campaignd status", check=False)
    assert nowhere.returncode == 3
    assert "there is no database in /var/tmp/none" in nowhere.stderr
    assert embedded.run("test -e /var/tmp/none", check=False).returncode != 0


def give(made: Machine, *campaigns: dict[str, object]) -> None:
    """Drafts, in a file to import."""
    lines = [json.dumps({"campaign": campaign, "schedule": None}) for campaign in campaigns]
    (made.shared / "given.jsonl").write_text("\n".join(lines) + "\n")


def start(made: Machine, *names: str) -> None:
    """Have campaigns run now."""
    for line in made.text("campaignd campaigns --json --status draft").splitlines():
        found = json.loads(line)
        if found["name"] in names:
            made.run(f"campaignd start {found['id']}")


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
    """A program that is started and a receiver that is called get the run, and it is done."""
    before = sum(statuses(embedded, "campaigns").values())
    drop_in = "/etc/systemd/system/campaignd.service.d"
    with Server() as server:
        (embedded.shared / "campaignd.toml").write_text(TARGETS)
        assert CREDENTIAL.replace("receiver", "crm") in README
        embedded.run(
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
        checked = embedded.text("campaignd check")
        assert "ok target program" in checked
        assert "ok target receiver" in checked
        names = ("program", "receiver")
        give(
            embedded, *({"name": name, "target": name, "payload": {"for": name}} for name in names)
        )
        embedded.run("campaignd import /shared/given.jsonl")
        start(embedded, *names)
        done(embedded, before + 2)
        found = map(json.loads, embedded.text("campaignd runs --json -n 2").splitlines())
        runs = {run["campaign_name"]: run["id"] for run in found}
        written = embedded.text(f"cat /var/lib/campaignd/{runs['program']}")
        assert written == '"payload":{"for":"program"}'
        (request,) = server.requests
        assert request.headers["webhook-id"] == runs["receiver"]
        assert request.json["data"]["payload"] == {"for": "receiver"}
    embedded.run(
        f"""
        rm -r /etc/campaignd/campaignd.toml /etc/credstore {drop_in}
        systemctl daemon-reload
        systemctl restart campaignd
        """
    )


def test_journal_fields(embedded: Machine) -> None:
    """Identifier, unit and priority; each message an object with the fixed keys."""
    entries = [line for line in journal(embedded) if line.get("_TRANSPORT") == "stdout"]
    assert entries
    for entry in entries:
        assert entry["SYSLOG_IDENTIFIER"] == "campaignd"
        assert entry["_SYSTEMD_UNIT"] == "campaignd.service"
        told = json.loads(entry["MESSAGE"])
        assert {"timestamp", "level", "event"} <= told.keys()
        priority = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
        assert entry["PRIORITY"] == priority[told["level"]], told


def test_reload(embedded: Machine) -> None:
    """`systemctl reload` reads the file again; a wrong file leaves the daemon as it is."""
    pid, since = show(embedded, "MainPID"), cursor(embedded)
    embedded.run("printf '[log]\\nlevel = \"debug\"\\n' > /etc/campaignd/campaignd.toml")
    embedded.run("systemctl reload campaignd")
    told = f"journalctl -u campaignd -o cat --no-pager --since={since}"
    embedded.until("reloaded", told, lambda text: '"event":"reloaded"' in text)
    embedded.run("echo '[log' > /etc/campaignd/campaignd.toml; systemctl reload campaignd")
    embedded.until("refused", told, lambda text: '"event":"reload_failed"' in text)
    embedded.run("rm /etc/campaignd/campaignd.toml; systemctl reload campaignd")
    embedded.until("again", told, lambda text: text.count('"event":"reloaded"') == 2)
    assert show(embedded, "MainPID") == pid
    assert show(embedded, "ActiveState") == "active"


def test_drains_on_stop(embedded: Machine) -> None:
    """In the middle of a burst: what is in hand ends, all is written, a clean end."""
    before = sum(statuses(embedded, "campaigns").values())
    at = soon(embedded) + timedelta(seconds=3)
    load_one_offs(embedded, at, 3000, 0)
    wait_for(at)
    embedded.until("it fires", "campaignd runs --json -n 1", lambda text: text)
    since = cursor(embedded)
    embedded.run("systemctl stop campaignd", timeout=80)
    assert show(embedded, "Result") == "success"
    assert show(embedded, "ExecMainStatus") == "0"
    last = events(journal(embedded, since=since))
    assert [told["event"] for told in last if told["event"].startswith("stop")] == [
        "stopping",
        "stopped",
    ]
    embedded.run("systemctl start campaignd")
    done(embedded, before + 3000)


def test_restarted_after_kill_9(embedded: Machine) -> None:
    """The embedded database goes with it; both come back, and nothing is lost or done twice."""
    before = sum(statuses(embedded, "campaigns").values())
    first = soon(embedded)
    load_one_offs(embedded, first, 80, 0.1)
    wait_for(first + timedelta(seconds=2))
    pid = show(embedded, "MainPID")
    embedded.run(f"kill -9 {pid}")
    embedded.until(
        "another process is ready",
        "systemctl show -P MainPID campaignd; systemctl is-active campaignd",
        lambda text: text.endswith("\nactive") and text.split()[0] not in ("0", pid),
    )
    done(embedded, before + 80)
    assert int(show(embedded, "NRestarts")) >= 1


def test_the_watchdog_ends_a_hung_daemon(embedded: Machine) -> None:
    """`kill -STOP`: ended within the watchdog's period, started again, nothing lost."""
    before = sum(statuses(embedded, "campaigns").values())
    first = soon(embedded)
    load_one_offs(embedded, first, 90, 0.5)
    wait_for(first + timedelta(seconds=1))
    pid = show(embedded, "MainPID")
    began = time.monotonic()
    embedded.run(f"kill -STOP {pid}")
    embedded.until(
        "the watchdog barks",
        "journalctl -u campaignd --no-pager | grep 'Watchdog timeout' || true",
        bool,
        within=WATCHDOG_S + 5,
    )
    bit = time.monotonic() - began
    embedded.until(
        "another process is ready",
        "systemctl show -P MainPID campaignd; systemctl is-active campaignd",
        lambda text: text.endswith("\nactive") and text.split()[0] not in ("0", pid),
    )
    print(f"\nhung for {bit:.1f} s, firing again after {time.monotonic() - began:.1f} s")
    stack = embedded.text("journalctl -u campaignd -o cat --no-pager")
    assert "Fatal Python error: Aborted" in stack, "it leaves behind where it hung"
    done(embedded, before + 90)


def test_upgraded_to_the_letter(embedded: Machine, tmp_path: Path) -> None:
    """docs/operations.md: another release runs afterwards, and what was due meanwhile has fired."""
    git = ["git", "-C", str(tmp_path / "next"), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    repository = str(embedded.shared / "campaignd.git")
    subprocess.run([*git[:1], "clone", "-q", repository, git[2]], check=True)
    package, project = tmp_path / "next/campaignd/__init__.py", tmp_path / "next/pyproject.toml"
    package.write_text(re.sub(r'(__version__ = )".*"', r'\1"99.0.0"', package.read_text()))
    project.write_text(project.read_text() + "\n# As a new dependency would do it.\n")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "Next release"], check=True)
    subprocess.run([*git, "push", "-q"], check=True)
    before = sum(statuses(embedded, "campaigns").values())
    load_one_offs(embedded, datetime.now(UTC) + timedelta(seconds=20), 20, 0.1)
    pid, since = show(embedded, "MainPID"), cursor(embedded)
    embedded.run(UPGRADE, timeout=200, env=network())
    assert show(embedded, "ActiveState") == "active"
    assert show(embedded, "MainPID") != pid
    assert embedded.text("campaignd --version").endswith("99.0.0")
    told = events(journal(embedded, since=since))
    assert "stopped" in [event["event"] for event in told], "by itself, in time"
    done(embedded, before + 20)


def test_backed_up_and_restored_to_the_letter(embedded: Machine) -> None:
    """docs/operations.md: the embedded database, dumped as it runs; its campaigns, and new ones."""
    before = sum(statuses(embedded, "campaigns").values())
    embedded.run(f"cd /root\n{SAVE}")
    load_one_offs(embedded, datetime.now(UTC) + timedelta(hours=1), 5, 0)
    embedded.run(f"cd /root\n{RESTORE}", timeout=200)
    assert show(embedded, "ActiveState") == "active"
    assert sum(statuses(embedded, "campaigns").values()) == before
    load_one_offs(embedded, datetime.now(UTC) + timedelta(seconds=15), 5, 0)
    done(embedded, before + 5)


def wait_for(at: datetime) -> None:
    """Let the clock come to an instant."""
    time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))


# --- a PostgreSQL of one's own: credential, migration, several nodes, boot ------------------

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
    """Two nodes on a given database, installed as the README says, then the power was cut."""
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
    """Database, then schema, then nodes; without a hand."""

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
    """By its port, which stays the same, what it says itself; by its name, its lease."""
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
    """Not in the environment, the unit's properties, the process list, nor any log."""
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
    """Each run once, by either; one is told to go and the other carries on."""
    first = soon(nodes)
    load_one_offs(nodes, first, 60, 0.1)
    wait_for(first + timedelta(seconds=2))
    nodes.run("systemctl kill -s KILL campaignd@a")
    done(nodes, 60)
    runs = nodes.text("campaignd runs --json --limit 1000")
    by = {json.loads(line)["node"].rsplit("-", 1)[0] for line in runs.splitlines()}
    assert by == {"a", "b"}


def test_a_database_that_hangs_is_no_reason_to_be_killed(nodes: Machine) -> None:
    """Longer than the watchdog's period: the same processes go on once it answers again."""
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
        lambda text: "the database is away" in text,
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
    told = [event["event"] for event in events(journal(nodes, "campaignd@a", since=since))]
    assert told.count("database_lost") == 1
    assert told.count("database_back") == 1


def test_checkout_is_what_is_installed(installed: Machine) -> None:
    """Not some older commit of it."""
    here = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "systemd"], capture_output=True, text=True, check=True
    )
    for name in here.stdout.split():
        assert installed.text(f"cat /opt/campaignd/{name}") == (ROOT / name).read_text().strip()


LOGS = (ROOT / "docs" / "logs.md").read_text("utf-8")
JOURNAL = re.findall(r"^```sh\n(.*?)^```$", LOGS, re.M | re.S)[-1].splitlines()


@pytest.mark.parametrize("recipe", JOURNAL, ids=range(len(JOURNAL)))
def test_journal_recipes(installed: Machine, recipe: str) -> None:
    """docs/logs.md: each line that asks the journal."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    found = installed.run(recipe, env={"TZ": "UTC"})
    assert found.stderr in ("", "-- No entries --\n")
    if "--since today" in recipe and ">" not in recipe and "-p" not in recipe:
        assert found.stdout
