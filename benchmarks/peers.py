"""The peers: the systems beside which campaignd is measured, each at its best setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peer_installation import node_peers, oban_peer, python_peers, this_python


@dataclass(frozen=True)
class Peer:
    """One peer at its best setting.

    Args:
        name: its name in the table.
        setting: the settings that were tuned.
        driver: the file in `benchmarks/peers`.
        interpreter: installs the peer, and returns the program that runs the driver.
        left: what SQL selects from to find the jobs of `{count}` that are not durably done.
        slow: whether larger bursts than the smallest would take minutes.
        redis: whether the peer needs a Redis server beside PostgreSQL.
        lead: seconds from the call to the instant, without those that storing the jobs takes.
    """

    name: str
    setting: str
    driver: str
    interpreter: Callable[[], Path]
    left: str
    slow: bool = False
    redis: bool = False
    lead: float = 4


CELERY_LEFT = """
generate_series(1, {count} - (SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS')) AS n
"""
"""The jobs without a result; jobs themselves are in Redis."""
APSCHEDULER = Peer(
    "APScheduler + SQLAlchemyJobStore",
    "AsyncIOScheduler; completion is not recorded, so an upper bound",
    "apscheduler_store.py",
    this_python,
    "apscheduler_jobs",
    slow=True,
)
PEERS = (
    Peer(
        "graphile-worker",
        "local queue of 2,000, 50 at once, batched completion, poll 0.1 s",
        "graphile_worker.mjs",
        node_peers,
        "graphile_worker._private_jobs",
    ),
    Peer(
        "pg-boss",
        "2 workers, batches of 5,000, the next one at once if a batch is full, else a poll each"
        " 0.5 s (its minimum)",
        "pg_boss.mjs",
        node_peers,
        "pgboss.job WHERE name = 'noop' AND state <> 'completed'",
    ),
    Peer(
        "pgqueuer",
        "batches of 1,000, asyncpg",
        "pgqueuer_batches.py",
        python_peers,
        "pgqueuer",
    ),
    Peer(
        "oban for Python",
        "1,000 at once, staged every 0.1 s",
        "oban_worker.py",
        oban_peer,
        "oban_jobs WHERE state <> 'completed'",
        slow=True,
    ),
    Peer(
        "procrastinate",
        "20 at once, poll 0.1 s",
        "procrastinate_worker.py",
        python_peers,
        "procrastinate_jobs WHERE status <> 'succeeded'",
        slow=True,
    ),
    APSCHEDULER,
    Peer(
        "Celery, eta",
        "Redis with appendfsync always, results in PostgreSQL, 2 processes",
        "celery_eta.py",
        python_peers,
        CELERY_LEFT,
        slow=True,
        redis=True,
        lead=7,
    ),
    Peer(
        "Celery beat, sqlalchemy-celery-beat",
        "clocked tasks, then as Celery, eta",
        "celery_beat.py",
        python_peers,
        CELERY_LEFT,
        slow=True,
        redis=True,
        lead=7,
    ),
)
