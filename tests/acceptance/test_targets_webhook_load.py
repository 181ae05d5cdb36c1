"""Webhooks under load: a slow receiver, and a target that is down beside a healthy one."""

from __future__ import annotations

import itertools
import statistics
from datetime import datetime, timedelta

import pytest

from tests.support import servers
from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import (
    add_one_offs_for,
    quickly_retried_webhook,
    write_configuration,
)
from tests.support.processes import Daemons
from tests.support.servers import Server, answer_with
from tests.support.waiting import utc_now, wait_until

ENDED = "SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL"
CONCURRENCY = 8


@pytest.mark.measured
@pytest.mark.alone
@pytest.mark.parametrize(
    ("count", "times"), [(3_000, 3.0), pytest.param(10_000, 1.5, marks=pytest.mark.machine)]
)
def test_a_server_that_takes_its_time(
    daemons: Daemons, database: CampaignDatabase, count: int, times: float
) -> None:
    """Within 1.5 times what the configured concurrency allows, on an idle machine."""
    concurrency, wait = 64, 0.05
    ideal = count * wait / concurrency
    with Server(default=answer_with(200, wait=wait)) as server:
        config = write_configuration(
            daemons, crm=quickly_retried_webhook(server.url, concurrency=concurrency, timeout=20.0)
        )
        _, at = daemons.start_ready_before(
            database, lambda at: add_one_offs_for(database, "crm", count, at), 5, config=config
        )
        database.wait_until(ENDED, count)
        last = database.one("SELECT max(finished_at) FROM runs")
        took = (last - at).total_seconds()
        print(f"{count} runs in {took:.2f} s, ideal {ideal:.2f} s, {took / ideal:.2f} times")
        assert database.statuses("runs") == {"completed": count}
        assert set(server.count_run_ids().values()) == {1}
        assert took < times * ideal


@pytest.mark.measured
@pytest.mark.alone
@pytest.mark.parametrize("outage", [10, pytest.param(60, marks=pytest.mark.machine)])
def test_a_target_that_is_down_delays_no_other(
    daemons: Daemons, database: CampaignDatabase, outage: int
) -> None:
    """The healthy target's lateness stays; the other's runs follow later, oldest first."""
    with servers.refusing_port() as port, Server() as healthy:
        config = write_configuration(
            daemons,
            healthy=quickly_retried_webhook(healthy.url),
            down={
                "type": "webhook",
                "url": f"http://127.0.0.1:{port}",
                "timeout": 2.0,
                "concurrency": CONCURRENCY,
            },
        )
        per_second = 20

        def store(begin: datetime) -> None:
            for second in range(outage):
                at = begin + timedelta(seconds=second)
                add_one_offs_for(database, "healthy", per_second, at)
                add_one_offs_for(database, "down", per_second, at + timedelta(milliseconds=300))

        daemon, begin = daemons.start_ready_before(database, store, 3, config=config)
        daemon.wait_for("target_paused")
        wait_until(
            "the end of the outage", lambda: utc_now() > begin + timedelta(seconds=outage), 90
        )
        late = [
            row["late"]
            for row in database.rows(
                "SELECT extract(epoch FROM finished_at - scheduled_for) * 1000 AS late FROM runs"
                " JOIN campaigns c ON c.id = campaign_id WHERE target = 'healthy'"
            )
        ]
        assert len(late) == outage * per_second
        p99 = sorted(late)[int(len(late) * 0.99)]
        print(f"healthy: p50 {statistics.median(late):.0f} ms, p99 {p99:.0f} ms")
        assert p99 < 500
        with Server(port=port) as back:
            database.wait_until(ENDED, 2 * outage * per_second)
            assert database.statuses("runs") == {"completed": 2 * outage * per_second}
            order = {
                str(row["id"]): row["scheduled_for"]
                for row in database.rows("SELECT id, scheduled_for FROM runs")
            }
            came = [order[request.headers["webhook-id"]] for request in back.requests]
            overtaken = sum(later < earlier for earlier, later in itertools.pairwise(came))
            tried = database.one("SELECT count(*) FROM runs WHERE attempt > 1")
            pauses = len(daemon.events_named("target_paused"))
            print(f"{len(came)} drained, {overtaken} out of order, {tried} tried, {pauses} pauses")
            # Attempts under way at the start of the outage, and a probe for each pause, were tried
            # in vain. They may come out of order, and no other run may.
            assert overtaken <= tried <= CONCURRENCY + pauses
