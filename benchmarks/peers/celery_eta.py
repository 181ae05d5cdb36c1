"""Celery: apply_async(eta=...) through Redis, results in PostgreSQL, two prefork workers."""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
import time
import uuid
from collections.abc import Callable

from celery import Celery
from celery.signals import worker_ready
from drive import COUNT, DUE, FOLDER, PHASE, URL, report

BEGAN = FOLDER / "began"
DATABASE = URL.replace("postgresql://", "postgresql+psycopg://", 1)

app = Celery(
    "bench", broker=f"redis+socket://{os.environ['BENCH_REDIS']}", backend=f"db+{DATABASE}"
)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=0,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    database_create_tables_at_setup=True,
    broker_connection_retry_on_startup=True,
    worker_redirect_stdouts=False,
)


@app.task(name="noop")
def noop() -> None:
    """Append the time to a file, because jobs run in several processes."""
    with BEGAN.open("ab", buffering=0) as file:
        file.write(struct.pack("d", time.time()))


@worker_ready.connect
def _ready(**_: object) -> None:
    # Celery's own shutdown would put back every job that it holds.
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    report("ready")

    def watch() -> None:
        while not BEGAN.exists() or BEGAN.stat().st_size < COUNT * 8:
            time.sleep(0.01)
        report("begun")

    threading.Thread(target=watch, daemon=True).start()


def run(register: Callable[[], None], *options: str) -> None:
    """Run one of the two phases."""
    if PHASE == "register":
        app.backend.ResultSession()
        register()
    else:
        app.worker_main(
            ["worker", "-c", "2", "-l", "ERROR", "--without-gossip", "--without-mingle", *options]
        )


def send() -> None:
    """Send one job, and copies of its message, because Celery sends a thousand a second."""
    noop.apply_async(eta=DUE)
    with app.connection_for_write() as connection:
        redis = connection.default_channel.client
        message = redis.lindex("celery", 0).decode()
        parsed = json.loads(message)
        task, tag = parsed["headers"]["id"], parsed["properties"]["delivery_tag"]
        with redis.pipeline(transaction=False) as pipeline:
            for _ in range(COUNT - 1):
                copy = message.replace(task, str(uuid.uuid4())).replace(tag, str(uuid.uuid4()))
                pipeline.lpush("celery", copy)
            pipeline.execute()


if __name__ == "__main__":
    run(send)
