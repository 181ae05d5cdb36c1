"""The unit files fit the daemon: time to drain, watchdog, exit codes, and the stop signal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from config.settings import SchedulerSettings
from daemon.app import STOP_MARGIN_S
from daemon.runtime.database_health import LONGEST_BACKOFF_S
from daemon.timer.loader import ANSWER_S
from storage.embedded.postmaster import READY_TIMEOUT_S, STOP_TIMEOUT_S
from storage.errors import SchemaOutOfDate

SYSTEMD = Path(__file__).parents[3] / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
DAEMONS = ["campaignd.service", "campaignd@.service"]
HIGHEST_EXPOSURE = 1.5
CANCEL_S = 5
"""Seconds that psycopg tries to cancel an abandoned statement."""


def setting(unit: str, name: str) -> str:
    """Return the last value of a key."""
    return re.findall(rf"^{name}=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE)[-1]


def hardening(unit: Path) -> str:
    """Return the hardening section, which every unit must have."""
    found = re.search(r"^# The rest is the same.*?(?=^\[Install\])", unit.read_text(), re.M | re.S)
    assert found is not None, unit
    return found[0]


@pytest.mark.parametrize("unit", DAEMONS)
def test_there_is_time_to_start_and_to_drain(unit: str) -> None:
    """systemd waits longer than the daemon needs at most."""
    scheduler = SchedulerSettings()
    longest = scheduler.drain_timeout + STOP_MARGIN_S + STOP_TIMEOUT_S
    assert float(setting(unit, "TimeoutStopSec")) > longest
    assert float(setting(unit, "TimeoutStartSec")) > scheduler.startup_timeout + READY_TIMEOUT_S


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_lost_database_is_no_hang(unit: str) -> None:
    """The loop beats more often than the watchdog requires, also while the database is silent."""
    longest = ANSWER_S + CANCEL_S + LONGEST_BACKOFF_S
    allowed = float(setting(unit, "WatchdogSec"))
    rate = allowed / 2 / 5
    assert longest + rate < allowed


@pytest.mark.parametrize("unit", DAEMONS)
def test_faults_that_a_restart_does_not_fix(unit: str) -> None:
    """Wrong configuration and an old schema are left to the operator."""
    assert setting(unit, "RestartPreventExitStatus") == f"2 {SchemaOutOfDate.exit_code}"


@pytest.mark.parametrize("unit", DAEMONS)
def test_the_embedded_server_gets_no_stop_signal(unit: str) -> None:
    """Only the main process gets the signal."""
    assert setting(unit, "KillMode") == "mixed"
    assert setting(unit, "Type") == "notify"


def test_the_units_are_hardened_alike() -> None:
    """Every unit has the same protection."""
    assert len(UNITS) == 3
    assert len({hardening(unit) for unit in UNITS}) == 1


def test_the_migration_comes_first() -> None:
    """A daemon starts after the migration unit where that unit is enabled."""
    for unit in DAEMONS:
        assert "campaignd-migrate.service" in setting(unit, "After")
        assert unit in setting("campaignd-migrate.service", "WantedBy")


def test_the_command_matches_the_service() -> None:
    """The wrapper uses the service's program, user, state directory and credential."""
    wrapper = SYSTEMD / "campaignd-as-service"
    text = wrapper.read_text()
    assert os.access(wrapper, os.X_OK)
    program = setting("campaignd.service", "ExecStart").removesuffix(" run")
    credential = setting("campaignd.service", "LoadCredential").partition(":")[2]
    assert f"\nprogram={program}\n" in text
    assert f"\ncredential=/etc/credstore/{credential}\n" in text
    assert f":-/var/lib/{setting('campaignd.service', 'StateDirectory')}}}" in text
    assert f"--reuid={setting('campaignd.service', 'User')} " in text
    subprocess.run(["sh", "-n", wrapper], check=True)


@pytest.fixture
def analyze(tmp_path: Path) -> list[str]:
    """`systemd-analyze`, and the directory with copies of the units that it may read."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:
        text = re.sub(r"^(Exec\w+=|    )/opt\S+", r"\1/bin/true", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    return ["systemd-analyze", str(tmp_path)]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_it(analyze: list[str], unit: Path) -> None:
    """`systemd-analyze verify` reports no fault."""
    name = unit.name.replace("@.", "@a.")
    program, directory = analyze
    if name != unit.name:
        shutil.copy(Path(directory, unit.name), Path(directory, name))
    done = subprocess.run(
        [program, "verify", f"{directory}/{name}"], capture_output=True, text=True, check=False
    )
    # Manual pages may be missing.
    lines = done.stderr.splitlines()
    faults = [line for line in lines if "campaignd" in line and "man " not in line]
    assert faults == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_little_is_exposed(analyze: list[str], unit: Path) -> None:
    """The exposure that systemd computes, from 0 (nothing) to 10, is low."""
    program, directory = analyze
    done = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", f"{directory}/{unit.name}"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE
