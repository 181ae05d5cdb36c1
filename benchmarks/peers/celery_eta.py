"""Celery: apply_async(eta=...) through Redis, results in PostgreSQL, two prefork workers."""

from __future__ import annotations

import os
import struct
import threading
import time
from array import array

from celery import Celery
from celery.signals import worker_ready
from drive import COUNT, DUE, FOLDER, PHASE, URL, began, end, report

QUEUE = f"campaignd-bench-{FOLDER.name}"
TIMES = FOLDER / "times"

app = Celery(
    "bench",
    broker=os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0"),
    backend=URL.replace("postgresql://", "db+postgresql+psycopg://", 1),
)
app.conf.update(
    task_default_queue=QUEUE,
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
    with TIMES.open("ab", buffering=0) as file:
        file.write(struct.pack("d", time.time()))


@worker_ready.connect
def _ready(**_: object) -> None:
    report("ready")

    def watch() -> None:
        while not TIMES.exists() or TIMES.stat().st_size < COUNT * 8:
            time.sleep(0.01)
        report("begun")

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run one of the two phases."""
    if PHASE == "register":
        app.backend.ResultSession()
        for _ in range(COUNT):
            noop.apply_async(eta=DUE)
        return
    app.worker_main(["worker", "-c", "2", "-l", "ERROR", "--without-gossip", "--without-mingle"])
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_delete(QUEUE)
        channel.client.delete(f"_kombu.binding.{QUEUE}", f"_kombu.binding_permanent.{QUEUE}")
    began.extend(array("d", TIMES.read_bytes()))
    end()


if __name__ == "__main__":
    main()
