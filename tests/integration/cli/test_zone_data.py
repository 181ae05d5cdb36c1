"""The time-zone data that the processes of a node use, and what the commands say about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
import tzdata

from daemon.cli.commands import check
from daemon.domain.schedule import zone_data as data
from tests.support import zone_data
from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import Daemons

CAMPAIGND = Path(sys.executable).with_name("campaignd")
DAILY = {
    "schedule_type": "recurring",
    "timezone": "Europe/Berlin",
    "scheduled_at": "2100-01-01T09:00",
    "recurring_config": {"frequency": "daily"},
}
IN_PACKAGE, IN_TREE = "2100-01-01T08:00:00Z", "2100-01-01T04:00:00Z"


def tree(path: Path, release: str) -> dict[str, str]:
    """Write the system's data; return the variable that names it, and no preference."""
    made = zone_data.write_zone_directory(path, release, {"Europe/Berlin": timedelta(hours=5)})
    return {"PYTHONTZPATH": made["PYTHONTZPATH"]}


def call(*arguments: object, input: str = "", **env: str) -> str:
    done = subprocess.run(
        [CAMPAIGND, *map(str, arguments)],
        env=os.environ | env,
        input=input,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def previewed(*options: object, **env: str) -> str:
    case = {"after": "2099-12-31T12:00:00Z", "count": 1, "schedule": DAILY}
    (occurrence,) = json.loads(call(*options, "preview", input=json.dumps(case), **env))[
        "occurrences"
    ]
    return str(occurrence)


def test_the_newest_data_wins_unless_the_setting_prefers_other(tmp_path: Path) -> None:
    older, newer = tree(tmp_path / "older", "2000a"), tree(tmp_path / "newer", "2999a")
    assert previewed(**older) == IN_PACKAGE
    assert previewed(**newer) == IN_TREE
    assert previewed(**older, CAMPAIGND_TIMEZONE_DATA="system") == IN_TREE
    config = tmp_path / "campaignd.toml"
    config.write_text('timezone_data = "package"\n')
    assert previewed("--config", config, **newer) == IN_PACKAGE
    assert previewed(**newer, CAMPAIGND_CONFIG=str(config)) == IN_PACKAGE
    both = {**newer, "CAMPAIGND_CONFIG": str(config), "CAMPAIGND_TIMEZONE_DATA": "newest"}
    assert previewed(**both) == IN_TREE


def test_every_process_of_a_node_uses_the_same_data(tmp_path: Path, database_url: str) -> None:
    """A daemon, an API, an import and a command, on a machine whose own data is older."""
    old = tree(tmp_path / "zones", "2000a")
    daemons = Daemons(tmp_path)
    try:
        env = daemons.environment(database_url, api__enabled="true", api__port=0, **old)
        for command in ("run", "api"):
            process = daemons.start_command(command, env=env)
            process.wait_for("ready")
            (starting,) = process.events_named("starting")
            assert (starting["tzdata"], starting["tzdata_source"]) == (
                tzdata.IANA_VERSION,
                "package",
            )
            assert starting["tzdata_path"].endswith("/tzdata/zoneinfo")
        line = json.dumps({"campaign": {"name": "imported"}, "schedule": DAILY})
        call("import", "-", input=line, **env)
        assert json.loads(call("show", 1, "--json", **env))["next_run_at"] == IN_PACKAGE
        summary = json.loads(call("status", "--json", **env).splitlines()[-1])
        assert (summary["tzdata"], summary["tzdata_source"]) == (tzdata.IANA_VERSION, "package")
        assert f"{tzdata.IANA_VERSION} of the package tzdata, in /" in call("status", **env)
        with CampaignDatabase(database_url) as database:
            assert database.one("SELECT tzdata FROM schedules") == tzdata.IANA_VERSION
    finally:
        daemons.end_all()


def checked(capsys: pytest.CaptureFixture[str], today: date) -> str:
    check._print_zone_data(today)
    return capsys.readouterr().out


def test_check_names_the_data_and_warns_of_older_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tree(tmp_path, "2026b")["PYTHONTZPATH"]
    day = date(2026, 6, 1)

    def found(*at_hand: data.ZoneData, used: data.ZoneData) -> None:
        monkeypatch.setattr(check, "at_hand", lambda: list(at_hand))
        monkeypatch.setattr(check, "in_use", lambda: used)

    system = data.ZoneData(data.Preference.SYSTEM, Path(place), "2026b", day)
    package = data.ZoneData(data.Preference.PACKAGE, Path("/p"), "2026f", day)
    found(package, system, used=package)
    assert checked(capsys, day + timedelta(days=180)) == (
        "ok timezone_data: 2026f of the package tzdata, in /p;"
        f" also at hand: 2026b of the system, in {place}\n"
    )
    assert checked(capsys, day + timedelta(days=181)).startswith(
        "warning timezone_data: 2026f of the package tzdata, in /p: at least 181 days old; update"
    )
    found(package, system, used=system)
    assert checked(capsys, day) == (
        f"warning timezone_data: 2026b of the system, in {place}:"
        " newer is 2026f of the package tzdata, in /p\n"
    )
