"""`campaignd` on a machine with systemd, installed word for word by systemd/README.md.

The files are those of this checkout, committed or not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.machines.checkout import make_bare_repository
from tests.support.machines.systemd import Machine, unbooted_machine

ROOT = Path(__file__).parents[3]
README = (ROOT / "systemd" / "README.md").read_text("utf-8")
INSTALL, OWN_DATABASE, SEVERAL, BESIDE = re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
WATCHDOG_S = 30
"""WatchdogSec of the unit, in seconds."""


@contextmanager
def installed_machine() -> Iterator[Machine]:
    """Boot a machine on which only the README's install commands were run."""
    with unbooted_machine() as made:
        make_bare_repository(ROOT, made.shared / "campaignd.git")
        made.boot()
        if (
            shutil.which("apt-get")
            and made.run_script("python3 -c 'import ensurepip'", check=False).returncode
        ):
            made.run_script("apt-get install -y -q git make python3-venv", timeout=200)
        began = time.monotonic()
        made.run_script(
            INSTALL.replace("REPOSITORY", "/shared/campaignd.git"),
            timeout=280,
            env=package_source_environment(),
        )
        print(f"\ninstalled and started in {time.monotonic() - began:.0f} s")
        yield made


def package_source_environment() -> dict[str, str]:
    """Return the environment variables that say where packages come from."""
    names = ("PIP_", "UV_", "SSL_", "REQUESTS_")
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(names) or name.lower().endswith("_proxy")
    }


def unit_property(made: Machine, name: str, unit: str = "campaignd") -> str:
    """Return a property of a unit."""
    return made.output_of(f"systemctl show -P {name} {unit}")


def journal_entries(
    made: Machine, unit: str = "campaignd", *, since: str = ""
) -> list[dict[str, Any]]:
    """Return the unit's lines in the journal."""
    after = f"--since={since}" if since else ""
    text = made.output_of(f"journalctl -u {unit} -o json --no-pager {after}")
    return [json.loads(line) for line in text.splitlines()]


def log_events_in(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log events among the daemon's lines."""
    texts = [entry["MESSAGE"] for entry in entries if entry.get("_TRANSPORT") == "stdout"]
    return [json.loads(text) for text in texts if text.startswith("{")]


def journal_time(made: Machine) -> str:
    """Return an instant as the journal's options take it."""
    return made.output_of("date +@%s.%6N")


def instant_after_loading(made: Machine) -> datetime:
    """Return an instant before which campaigns can be loaded, however busy the machine is."""
    began = time.monotonic()
    made.run_script("campaignd campaigns")
    return datetime.now(UTC) + timedelta(seconds=3 + 4 * (time.monotonic() - began))


def load_one_offs(made: Machine, first: datetime, count: int, every: float) -> None:
    """Import one-off campaigns, due every ``every`` seconds from the first instant on."""
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
    made.run_script("campaignd import /shared/load.jsonl")


def count_statuses(made: Machine, what: str) -> dict[str, int]:
    """Count the campaigns or runs of each status."""
    text = made.output_of(f"campaignd {what} --json --limit 100000", check=False)
    counted: dict[str, int] = {}
    for line in text.splitlines():
        status = json.loads(line)["status"]
        counted[status] = counted.get(status, 0) + 1
    return counted


def wait_until_all_ran(made: Machine, count: int) -> None:
    """Wait until that many campaigns ran, each one once."""
    made.wait_for_output(
        f"{count} campaigns completed",
        'campaignd campaigns --json --limit 100000 | grep -c \'"status": "completed"\'',
        lambda text: text.strip() == str(count),
        within=150,
    )
    assert count_statuses(made, "runs") == {"completed": count}, "one run each"


def wait_until_instant(at: datetime) -> None:
    """Wait until an instant has passed."""
    time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))
