"""Campaigns for a target, a configuration file for it, and the CLI as an operator uses it."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import CAMPAIGND, Daemons
from tests.support.waiting import PATIENCE_S


def write_configuration(daemons: Daemons, **targets: dict[str, Any]) -> Path:
    """Write a configuration file with these targets; return its path for CAMPAIGND_CONFIG."""
    path = daemons.directory / "campaignd.toml"
    lines = []
    for name, table in targets.items():
        lines.append(f"[targets.{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {_toml_value(each)}" for key, each in value.items()) + " }"
        )
    return json.dumps(value)


def add_one_offs_for(
    database: CampaignDatabase, target: str, count: int, at: datetime, *, grace: int = 3600
) -> range:
    """Store one-off campaigns for a target, all due at one instant."""
    # In one transaction, so that no daemon reads them before they have their target.
    with database.connection.transaction():
        ids = database.add_one_offs(count, at, grace=grace)
        database.rows(
            "UPDATE campaigns SET target = %s, payload = jsonb_build_object('n', id)"
            " WHERE id BETWEEN %s AND %s",
            target,
            ids[0],
            ids[-1],
        )
    return ids


def only_run_of(database: CampaignDatabase, campaign_id: int) -> dict[str, Any]:
    """Return the only run of a campaign."""
    (row,) = database.rows("SELECT * FROM runs WHERE campaign_id = %s", campaign_id)
    return row


def run_cli(
    daemons: Daemons, database: CampaignDatabase, *arguments: str, **settings: object
) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(
        [CAMPAIGND, *arguments],
        env=daemons.environment(database.url, **settings),
        cwd=daemons.directory,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


QUICK = {"backoff_first": 0.05, "backoff_longest": 0.2, "pause_after": 0}


def quickly_retried_webhook(url: str, **changes: object) -> dict[str, object]:
    """Return a webhook that is retried soon."""
    return {"type": "webhook", "url": url, "timeout": 30.0, "max_attempts": 2, **QUICK, **changes}
