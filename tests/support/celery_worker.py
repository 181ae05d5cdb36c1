"""A Celery application as a user writes it: it does the work and completes the run over HTTP."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

import celery

app = celery.Celery("shop", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    task_create_missing_queues=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="shop.run_campaign")
def run_campaign(data: dict[str, Any]) -> None:
    """Do the work, then complete the run."""
    with open(os.environ["DONE"], "a") as file:
        file.write(json.dumps(data) + "\n")
    request = urllib.request.Request(
        f"{os.environ['API']}/api/v1/runs/{data['run_id']}/complete",
        data=json.dumps({"attempt": data["attempt"]}).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['KEY']}",
            "Content-Type": "application/json",
        },
    )
    urllib.request.urlopen(request, timeout=10).read()
