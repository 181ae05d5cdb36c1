"""A stop has an end, whatever the database does."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from daemon.app import STOP_MARGIN_S
from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.proxy import SILENT, Proxy, ProxyLoop
from tests.support.processes import Daemons
from tests.support.waiting import free_port, utc_now

DRAIN_S = 0.5
SLACK_S = 1.0
"""For the end of the interpreter on a busy machine."""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A path to the database that can be silenced."""
    given = conninfo_to_dict(database_url)
    network = ProxyLoop()
    try:
        proxy = Proxy(network, f"{given['host']}/.s.PGSQL.{given.get('port', 5432)}")
        yield proxy
        proxy.close()
    finally:
        network.close()


@pytest.mark.parametrize("during_a_burst", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stop_ends_although_the_database_is_silent(
    daemons: Daemons, database_url: str, proxy: Proxy, during_a_burst: bool
) -> None:
    given = conninfo_to_dict(database_url)
    url = f"postgresql://{given['user']}@127.0.0.1:{proxy.port}/{given['dbname']}"
    daemon = daemons.start_ready(
        url,
        scheduler__drain_timeout=DRAIN_S,
        api__enabled="true",
        api__port=free_port(),
    )
    if during_a_burst:
        with CampaignDatabase(database_url) as database:
            database.add_one_offs(3000, utc_now())
            database.wait_until("SELECT count(*) > 0 FROM runs")
    proxy.set_mode(SILENT)
    began = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.join() == 0
    assert time.monotonic() - began < DRAIN_S + STOP_MARGIN_S + SLACK_S
