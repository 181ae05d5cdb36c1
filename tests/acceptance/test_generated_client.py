"""A client that a public generator makes from the specification does the job of the README."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import running_server

GENERATOR = "openapi-python-client"
PATIENCE_S = 300

JOB = """
import sys, time
sys.path.insert(0, sys.argv[1])
from campaignd_client import AuthenticatedClient
from campaignd_client.api.campaigns import campaign_create, campaign_list
from campaignd_client.api.lifecycle import campaign_run_now, campaign_start
from campaignd_client.api.runs_and_history import run_read
from campaignd_client.api.schedules import schedule_save
from campaignd_client.models import NewCampaign, Recurring, RecurringConfigType0, RunStatus

client = AuthenticatedClient(base_url=sys.argv[2], token=sys.argv[3])
made = campaign_create.sync(client=client, body=NewCampaign(name="Weekly letter"))
config = RecurringConfigType0(frequency="weekly")
config.additional_properties.update(time="09:00", days_of_week=[1])
body = Recurring(schedule_type="recurring", recurring_config=config)
saved = schedule_save.sync(made.id, client=client, body=body)
assert saved.status == "scheduled", saved
assert campaign_start.sync(made.id, client=client).changed is False
now = campaign_run_now.sync(made.id, client=client, idempotency_key="first")
while (run := run_read.sync(now.run_id, client=client)).status != RunStatus.COMPLETED:
    time.sleep(0.1)
assert campaign_list.sync(client=client, q="letter").count == 1
print(run.campaign_name, run.status)
"""


@pytest.mark.machine
@pytest.mark.timeout(900)
def test_a_generated_client_creates_schedules_and_starts(tmp_path: Path, database_url: str) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", GENERATOR],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if installed.returncode:
        pytest.skip(f"{GENERATOR} cannot be installed: {installed.stderr.strip()[-200:]}")
    with running_server(tmp_path, database_url) as api:
        generate = [python.with_name(GENERATOR), "generate", "--url", f"{api.url}/openapi.json"]
        subprocess.run(
            [*generate, "--output-path", tmp_path / "client"],
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        done = subprocess.run(
            [python, "-c", JOB, tmp_path / "client", api.url, api.keys[Scope.WRITE]],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Weekly letter completed\n"
