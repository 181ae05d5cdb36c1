"""Work on other machines: a real broker, a real Celery worker, and the run completed over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.brokers import KINDS, url_of_broker
from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import add_one_offs_for, run_cli, write_configuration
from tests.support.histories import check_histories
from tests.support.processes import Daemons
from tests.support.waiting import free_port, utc_now

RUNS = 20


@pytest.mark.machine
@pytest.mark.parametrize("kind", KINDS)
def test_a_celery_worker(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path, kind: str
) -> None:
    """Every run is consumed, done once and completed; a late result is refused with 409."""
    url = url_of_broker(kind)
    queue, port = f"test-{uuid.uuid4().hex}", free_port()
    config = write_configuration(
        daemons,
        shop={
            "type": "broker",
            "broker_url": url,
            "queue": queue,
            "task": "shop.run_campaign",
            "lease": 60.0,
        },
    )
    settings = {"config": config, "api__enabled": "true", "api__port": port}
    key = run_cli(daemons, database, "keys", "create", "worker", "--scope", "write").strip()
    api = f"http://127.0.0.1:{port}"
    done = tmp_path / "done"
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "celery_worker", "worker"),
            *("-Q", queue, "-P", "solo", "-l", "info", "--without-mingle", "--without-gossip"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
            "PYTHONWARNINGS": "default",
            "BROKER_URL": url,
            "QUEUE": queue,
            "DONE": str(done),
            "API": api,
            "KEY": key,
        },
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        add_one_offs_for(database, "shop", RUNS, utc_now() + timedelta(seconds=3))
        daemon = daemons.start_ready(database.url, **settings)
        try:
            database.wait_until(
                "SELECT count(*) = %s FROM runs WHERE status = 'completed'", RUNS, within=60
            )
        except AssertionError:
            worker.terminate()
            print(worker.communicate()[0][-4000:])
            print(daemon.last_lines())
            raise
        lines = [json.loads(line) for line in done.read_text().splitlines()]
        assert len(lines) == len({line["run_id"] for line in lines}) == RUNS
        late = urllib.request.Request(
            f"{api}/api/v1/runs/{lines[0]['run_id']}/complete",
            data=b'{"attempt": 2}',
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(late, timeout=10)
        assert refused.value.code == 409
        refused.value.close()
        assert database.statuses() == {"completed": RUNS}
        check_histories(database)
        assert daemon.stop() == 0
    finally:
        worker.kill()
        worker.communicate()
        from kombu import Connection

        with Connection(url) as connection:
            connection.default_channel.queue_delete(queue)
