"""Webhooks from outside: the requests that a receiver gets, and the rows in the database."""

from __future__ import annotations

import itertools
import random
import time
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psutil
import pytest

from tests.support import servers
from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import (
    add_one_offs_for,
    only_run_of,
    quickly_retried_webhook,
    run_cli,
    write_configuration,
)
from tests.support.histories import check_histories
from tests.support.processes import Daemons, Process
from tests.support.servers import Answer, Request, Server, answer_with
from tests.support.waiting import PATIENCE_S, utc_now, wait_until

HAS = "SELECT count(*) FROM runs WHERE status = %s AND campaign_id = %s"
ENDED = "SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL"
DRAIN_S = 30


def check_held_lines(
    database: CampaignDatabase, daemons: Sequence[Process], campaign_ids: Sequence[int], why: str
) -> None:
    """Check that each held run is logged once, as an error, by one daemon, and no other run is."""

    def lines() -> list[dict[str, Any]]:
        return [line for daemon in daemons for line in daemon.events_named("run_held")]

    wait_until("a line for each", lambda: len(lines()) >= len(campaign_ids))
    lines_by_campaign = sorted(lines(), key=lambda line: line["campaign_id"])
    for line, campaign_id in zip(lines_by_campaign, campaign_ids, strict=True):
        assert (line["level"], line["outcome"]) == ("error", "held")
        assert line["run_id"] == str(only_run_of(database, campaign_id)["id"])
        assert why in line["error"]


HOSTILE: dict[str, tuple[Answer, str, int]] = {
    "never": (servers.never_answers, "failed", 2),
    "slowheaders": (servers.slow_headers, "failed", 2),
    "endlessheaders": (servers.endless_headers, "failed", 2),
    "provisional": (servers.only_provisional, "failed", 2),
    "endlessbody": (servers.endless_body, "completed", 1),
    "dripping": (servers.dripping_body, "completed", 1),
    "endlesserror": (servers.endless_error_body, "failed", 2),
    "resets": (servers.resets, "failed", 2),
    "garbage": (servers.not_http, "failed", 2),
    "redirect": (answer_with(302, "Location: http://127.0.0.1:1/x"), "failed", 1),
    "storm": (answer_with(500), "failed", 2),
    "hugewait": (answer_with(503, "Retry-After: 99999999"), "retrying", 1),
    "gone": (answer_with(410), "failed", 1),
    "accepts": (answer_with(202), "executing", 1),
    "good": (answer_with(200), "completed", 1),
}
HANGING = {
    *("never", "slowheaders", "endlessheaders", "provisional"),
    *("endlessbody", "dripping", "endlesserror"),
}
"""Answers that a timeout ends; long enough for the beginning of an answer to arrive."""


def test_hostile_servers(daemons: Daemons, database: CampaignDatabase) -> None:
    """Each run ends as documented, in time; every delivery of one run has the same id."""
    with Server({f"/{name}": each[0] for name, each in HOSTILE.items()}) as server:
        config = write_configuration(
            daemons,
            **{
                name: quickly_retried_webhook(
                    f"{server.url}/{name}", timeout=3.0 if name in HANGING else 30.0
                )
                for name in HOSTILE
            },
        )
        at = utc_now() + timedelta(seconds=2)
        ids = {name: add_one_offs_for(database, name, 1, at)[0] for name in HOSTILE}
        daemons.start_ready(database.url, config=config)
        done = sum(each[1] in ("completed", "failed") for each in HOSTILE.values())
        database.wait_until(ENDED, done)
        for name, (_, status, attempts) in HOSTILE.items():
            run = only_run_of(database, ids[name])
            assert (name, run["status"], run["attempt"]) == (name, status, attempts), run["error"]
            sent = [request for request in server.requests if request.path == f"/{name}"]
            assert {request.headers["webhook-id"] for request in sent} == {str(run["id"])}
            numbers = [request.headers["campaignd-attempt"] for request in sent]
            assert numbers == [str(number + 1) for number in range(attempts)], name
        wait = only_run_of(database, ids["hugewait"])["next_attempt_at"] - utc_now()
        assert timedelta(minutes=50) < wait < timedelta(minutes=61)
        check_histories(database)


def test_retry_and_release_by_hand(daemons: Daemons, database: CampaignDatabase) -> None:
    """A failed run is retried; a run with an unknown outcome is held for an operator."""
    with Server({"/unsure": servers.resets, "/bad": answer_with(400)}) as server:
        config = write_configuration(
            daemons,
            bad=quickly_retried_webhook(f"{server.url}/bad"),
            unsure=quickly_retried_webhook(f"{server.url}/unsure", on_lost="hold"),
        )
        at = utc_now() + timedelta(seconds=2)
        bad = add_one_offs_for(database, "bad", 1, at)[0]
        one, other = add_one_offs_for(database, "unsure", 2, at)
        daemons.start_ready(database.url, config=config)
        database.wait_until(HAS, "failed", bad)
        database.wait_until("SELECT count(*) = 2 FROM runs WHERE status = 'held'")
        assert database.one("SELECT status FROM campaigns WHERE id = %s", one) == "executing"

        server.answers.clear()
        run = only_run_of(database, bad)
        assert str(run["id"]) in run_cli(daemons, database, "retry", str(run["id"]))
        database.wait_until(
            "SELECT count(*) FROM runs WHERE status = 'completed' AND campaign_id = %s", bad
        )
        assert database.one("SELECT status FROM campaigns WHERE id = %s", bad) == "completed"

        held = only_run_of(database, one)
        assert "retrying" in run_cli(daemons, database, "release", str(held["id"]))
        database.wait_until(
            "SELECT count(*) FROM runs WHERE status = 'completed' AND campaign_id = %s", one
        )
        assert server.count_run_ids()[str(held["id"])] == 2
        assert "failed" in run_cli(
            daemons, database, "release", "--fail", str(only_run_of(database, other)["id"])
        )
        assert database.one("SELECT status FROM campaigns WHERE id = %s", other) == "failed"
        check_histories(database)


def test_a_stop_ends_what_is_under_way(daemons: Daemons, database: CampaignDatabase) -> None:
    """The request is dropped at once, not at its timeout."""
    with Server(default=servers.never_answers) as server:
        config = write_configuration(
            daemons, slow=quickly_retried_webhook(server.url, timeout=5 * PATIENCE_S)
        )
        (campaign_id,) = add_one_offs_for(database, "slow", 1, utc_now() + timedelta(seconds=2))
        daemon = daemons.start_ready(database.url, config=config)
        wait_until("the request", lambda: server.requests)
        database.run_command(lambda control: control.stop(campaign_id, "tester"))
        stopped = daemon.wait_for("attempt_cancelled")
        assert stopped["run_id"] == str(only_run_of(database, campaign_id)["id"])
        assert only_run_of(database, campaign_id)["status"] == "cancelled"
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < DRAIN_S, "there is nothing to wait for"


def test_accepted_and_not_finished_in_time(daemons: Daemons, database: CampaignDatabase) -> None:
    """Its lease expires: the run is delivered again as attempt 2, or held."""
    with Server(default=answer_with(202)) as server:
        config = write_configuration(
            daemons,
            again=quickly_retried_webhook(server.url + "/again", lease=1.0),
            keep=quickly_retried_webhook(server.url + "/keep", lease=1.0, on_lost="hold"),
        )
        at = utc_now() + timedelta(seconds=2)
        again = add_one_offs_for(database, "again", 1, at)[0]
        keep = add_one_offs_for(database, "keep", 1, at)[0]
        daemon = daemons.start_ready(
            database.url, config=config, api__enabled="true", api__port=0, scheduler__poll=0.1
        )
        database.wait_until(HAS, "held", keep)
        database.wait_until(
            "SELECT count(*) FROM runs WHERE attempt >= 2 AND campaign_id = %s", again
        )
        assert set(server.count_run_ids()) == {
            str(only_run_of(database, again)["id"]),
            str(only_run_of(database, keep)["id"]),
        }
        assert daemon.events_named("run_lease_expired")
        assert only_run_of(database, keep)["attempt"] == 1
        check_held_lines(database, [daemon], [keep], "not finished within its lease")
        port = daemon.wait_for("api_listening")["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as metrics:
            assert 'campaignd_runs_held_total{target="keep"} 1.0' in metrics.read().decode()
        check_histories(database)


def test_a_reload_changes_targets(daemons: Daemons, database: CampaignDatabase) -> None:
    """SIGHUP: another URL, and a target that did not exist before."""
    import signal

    with Server({"/old": answer_with(400)}) as server:
        config = write_configuration(daemons, crm=quickly_retried_webhook(server.url + "/old"))
        daemon = daemons.start_ready(database.url, config=config)
        write_configuration(
            daemons,
            crm=quickly_retried_webhook(server.url + "/new"),
            extra=quickly_retried_webhook(server.url + "/extra"),
        )
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        at = utc_now() + timedelta(seconds=1)
        add_one_offs_for(database, "crm", 1, at)
        add_one_offs_for(database, "extra", 1, at)
        database.wait_until("SELECT count(*) = 2 FROM runs WHERE status = 'completed'")
        assert {request.path for request in server.requests} == {"/new", "/extra"}
        write_configuration(
            daemons, crm={"type": "webhook", "url": server.url, "ca_file": "/nowhere/ca"}
        )
        daemon.send_signal(signal.SIGHUP)
        assert daemon.stop() == 0


def test_a_lost_node_by_target(daemons: Daemons, database: CampaignDatabase) -> None:
    """Killed in the middle of attempts: one target's runs are delivered again, the other's held.

    Two other nodes take over at once; each held run is logged by the node that held it.
    """
    with Server(default=servers.never_answers) as server:
        config = write_configuration(
            daemons,
            again=quickly_retried_webhook(server.url + "/again", timeout=5 * PATIENCE_S),
            keep=quickly_retried_webhook(
                server.url + "/keep", timeout=5 * PATIENCE_S, on_lost="hold"
            ),
        )
        settings = {"config": config, "scheduler__lease": 2, "scheduler__heartbeat": 0.4}
        at = utc_now() + timedelta(seconds=2)
        again = add_one_offs_for(database, "again", 1, at)[0]
        keep = add_one_offs_for(database, "keep", 5, at)
        daemon = daemons.start_ready(database.url, **settings)
        wait_until("the requests", lambda: len(server.requests) == 6)
        server.default = answer_with(200)
        daemon.kill()
        others = [daemons.start(database.url, **settings, node_name=name) for name in ("b", "c")]
        database.wait_until(HAS, "completed", again)
        database.wait_until("SELECT count(*) = 5 FROM runs WHERE status = 'held'")
        assert sorted(server.count_run_ids().values()) == [1, 1, 1, 1, 1, 2]
        assert only_run_of(database, again)["attempt"] == 2
        check_held_lines(database, others, keep, "its node was lost")
        check_histories(database)
        assert [other.stop() for other in others] == [0, 0]


def test_a_node_that_stops_by_target(daemons: Daemons, database: CampaignDatabase) -> None:
    """Stopped in the middle of attempts: released at once, or held."""
    with Server(default=servers.never_answers) as server:
        config = write_configuration(
            daemons,
            again=quickly_retried_webhook(
                server.url + "/again", timeout=5 * PATIENCE_S, concurrency=1
            ),
            keep=quickly_retried_webhook(
                server.url + "/keep", timeout=5 * PATIENCE_S, concurrency=1, on_lost="hold"
            ),
        )
        at = utc_now() + timedelta(seconds=2)
        add_one_offs_for(database, "again", 2, at)
        add_one_offs_for(database, "keep", 2, at)
        daemon = daemons.start_ready(database.url, config=config, scheduler__drain_timeout=0.3)
        wait_until("both requests", lambda: len(server.requests) == 2)
        assert daemon.stop() == 0
        # One run of each target was under way; the other was never claimed, so any node may run it.
        assert database.rows(
            "SELECT c.target, r.status, r.attempt, r.takeovers FROM runs r"
            " JOIN campaigns c ON c.id = r.campaign_id ORDER BY 1, 3"
        ) == [
            {"target": "again", "status": "retrying", "attempt": 1, "takeovers": 1},
            {"target": "keep", "status": "held", "attempt": 1, "takeovers": 1},
        ]
        assert database.statuses() == {"executing": 2, "scheduled": 2}
        held = database.one("SELECT campaign_id FROM runs WHERE status = 'held'")
        check_held_lines(database, [daemon], [held], "given back by a stopping node")
        assert [line["count"] for line in daemon.events_named("runs_released")] == [1]
        check_histories(database)


def test_a_backlog_for_a_dead_target(daemons: Daemons, database: CampaignDatabase) -> None:
    """A long backlog of one target delays no run or retry of another, and needs little memory."""
    backlog = 30_000
    answers = itertools.chain([answer_with(503)] * 3, itertools.repeat(answer_with(200)))

    async def unwilling(request: Request, writer: servers.Writer) -> None:
        await next(answers)(request, writer)

    with servers.refusing_port() as port, Server(default=unwilling) as server:
        config = write_configuration(
            daemons,
            dead={"type": "webhook", "url": f"http://127.0.0.1:{port}"},
            crm={**quickly_retried_webhook(server.url), "max_attempts": 5},
        )
        add_one_offs_for(database, "dead", backlog, utc_now() - timedelta(seconds=30))
        daemon = daemons.start_ready(database.url, config=config)
        daemon.wait_for("target_paused")
        add_one_offs_for(database, "crm", 3, utc_now() + timedelta(milliseconds=100))
        database.wait_until("SELECT count(*) = 3 FROM runs WHERE status = 'completed'")
        assert database.one("SELECT max(attempt) > 1 FROM runs WHERE status = 'completed'")
        claimed = database.one("SELECT count(*) FROM runs")
        memory = psutil.Process(daemon.pid).memory_info().rss // 2**20
        print(f"{claimed} of {backlog} claimed while their target is down; {memory} MiB")
        assert claimed < 300
        assert memory < 150
        assert daemon.stop() == 0


@pytest.mark.slow
def test_kill_at_any_step(daemons: Daemons, database: CampaignDatabase) -> None:
    """Killed repeatedly while runs are claimed, sent, answered and written.

    Every run ends, has one row, and came to the receiver at least once. The number of repeated
    deliveries stays near what was under way at each kill. New work is saved after each start, so
    that there is something to send before each kill however fast the machine is.
    """
    fresh, concurrency, kills = 80, 8, 8
    count = fresh * kills
    chance = random.Random(5)
    with Server(default=answer_with(200, wait=0.02)) as server:
        config = write_configuration(
            daemons, crm=quickly_retried_webhook(server.url, concurrency=concurrency)
        )
        settings = {"config": config, "scheduler__lease": 3.0, "scheduler__heartbeat": 0.5}
        for _ in range(kills):
            daemon = daemons.start_ready(database.url, **settings)
            seen = len(server.requests)
            add_one_offs_for(database, "crm", fresh, utc_now())
            wait_until("something sent", lambda seen=seen: len(server.requests) > seen)
            time.sleep(chance.uniform(0.0, 0.12))
            daemon.kill()
        daemon = daemons.start_ready(database.url, **settings)
        database.wait_until(ENDED, count)
        assert database.statuses("runs") == {"completed": count}
        assert database.statuses() == {"completed": count}
        sent = server.count_run_ids()
        assert set(sent) == {str(row["id"]) for row in database.rows("SELECT id FROM runs")}
        twice = sum(many - 1 for many in sent.values())
        print(f"{kills} kills, {count} runs: {twice} deliveries more than one")
        # Attempts that were under way or not yet written at a kill come again, answered or not.
        assert twice <= kills * (concurrency + 4 * concurrency)
        check_histories(database)
        assert daemon.stop() == 0
