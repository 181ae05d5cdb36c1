"""Daemons prune by themselves, according to `history.keep_days`."""

from __future__ import annotations

import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.maintenance.pruner import Pruner, Retention
from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.old_history import add_history_days
from tests.support.processes import Daemons
from tests.support.waiting import utc_now

CAMPAIGNS = 30
DAYS = 40
HASTY = """
from functools import partial
import daemon.wiring, storage.prune
from daemon.cli.main import main
from daemon.maintenance.pruner import Pruner
daemon.wiring.Pruner = partial(Pruner, first=0.05, every=0.05)
storage.prune.CAMPAIGN_BATCH = 2
storage.prune.ROW_BATCH = 7
main()
"""
"""A `campaignd` that checks twenty times a second, and needs many steps."""
OLDEST = "SELECT max(clock_timestamp() - finished_at) < make_interval(days => %s) FROM runs"


def write(config: Path, keep_days: int) -> None:
    config.write_text(f"[history]\nkeep_days = {keep_days}\n")


@pytest.mark.slow
def test_two_nodes_keep_history_short(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> None:
    """Old runs and events are deleted and reported once; a reload changes the age."""
    database.add_one_offs(CAMPAIGNS, utc_now() + timedelta(days=1))
    add_history_days(database, DAYS)
    config = tmp_path / "campaignd.toml"
    write(config, 30)
    env = daemons.environment(database.url, CAMPAIGND_CONFIG=config)
    nodes = [
        daemons.start_command("run", env=env, program=(sys.executable, "-c", HASTY))
        for _ in range(2)
    ]
    for node in nodes:
        node.wait_for("ready")
    database.wait_until(OLDEST, 30)
    assert database.one("SELECT count(*) FROM runs") == CAMPAIGNS * 30

    write(config, 10)
    for node in nodes:
        node.send_signal(signal.SIGHUP)
        node.wait_for("reloaded")
    database.wait_until(OLDEST, 10)
    assert database.one("SELECT count(*) FROM runs") == CAMPAIGNS * 10
    database.wait_until("SELECT count(*) = %s FROM campaign_events", CAMPAIGNS * 10)

    database.add_one_offs(CAMPAIGNS, utc_now())
    database.wait_until("SELECT count(*) = %s FROM runs", CAMPAIGNS * 11)
    for node in nodes:
        assert node.stop() == 0
        for fault in ("service_failed", "database_lost", "reload_failed"):
            assert node.events_named(fault) == []
    lines = [line for node in nodes for line in node.events_named("history_pruned")]
    assert {line["keep_days"] for line in lines} == {30, 10}
    assert sum(line["runs"] for line in lines) == CAMPAIGNS * (DAYS - 10)
    assert sum(line["events"] for line in lines) == CAMPAIGNS * (DAYS - 10)
    check_histories(database)


async def test_looks_soon_after_the_start() -> None:
    """A node that never runs for an hour prunes too; nodes that start together take turns."""
    firsts = set()
    for _ in range(20):
        waits: list[float] = []

        class Counted(Pruner):
            async def wait_for_stop(self, seconds: float, waits: list[float] = waits) -> bool:
                waits.append(seconds)
                return len(waits) == 3

        await Counted(None, lambda: Retention(None, None), emit=print).run()  # type: ignore[arg-type]
        first, *later = waits
        assert 30 <= first <= 90
        assert later == [3600, 3600]
        firsts.add(first)
    assert len(firsts) == 20
