"""Other campaigns start in time, whatever clients and receivers send.

The API shares its process with the firing, so this measures an occurrence each second meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support import servers
from tests.support.api_server import TIMEOUT_S, RunningApi, running_server
from tests.support.configured_targets import (
    add_one_offs_for,
    quickly_retried_webhook,
    write_configuration,
)
from tests.support.postgres import fresh_database
from tests.support.processes import Daemons
from tests.support.servers import Server
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.alone, pytest.mark.measured, pytest.mark.timeout(120)]

KIB = 1024
ATTACK_S = 2.6
"""Seconds of each attack: at least two occurrences are due meanwhile."""
LATEST_MS = 100
ONE_OFFS = "runs r JOIN campaigns c ON c.id = campaign_id WHERE type = 'one_time' AND target = %s"
RECEIVERS = {
    "continue": servers.endless_continue,
    "headers": servers.endless_headers,
    "body": servers.endless_body,
    "responses": servers.endless_responses,
    "dripping": servers.dripping_body,
}


@dataclass(frozen=True)
class Attacked:
    """A daemon, and the campaign that shows whether others suffer."""

    api: RunningApi
    beat: int


Attack = Callable[[RunningApi], Awaitable[None]]


@pytest.fixture(scope="module")
def attacked(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, template_database: str
) -> Iterator[Attacked]:
    """Yield a daemon with an occurrence each second, and with hostile receivers as targets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    directory = tmp_path_factory.mktemp("hostile")
    with (
        Server(answers={f"/{name}": each for name, each in RECEIVERS.items()}) as receiver,
        fresh_database(postgres_server, template_database) as (_, url),
    ):
        targets = {
            name: quickly_retried_webhook(f"{receiver.url}/{name}", timeout=ATTACK_S)
            for name in RECEIVERS
        }
        config = write_configuration(Daemons(directory), **targets)
        settings = {"config": config, "scheduler__continuous_interval": 1}
        with running_server(directory, url, "run", **settings) as api:
            campaign = api.create_campaign(type="segment_triggered")
            body = {
                "startdate": (utc_now() + timedelta(seconds=1)).isoformat(),
                "enddate": (utc_now() + timedelta(days=1)).isoformat(),
                "recurring_schedule": "continuously",
            }
            path = f"/campaigns/{campaign['id']}"
            assert api.http.patch(f"{path}/update_schedule", json=body).status_code == 200
            assert api.http.post(f"{path}/start").status_code == 200
            api.database.wait_until("SELECT count(*) > 1 FROM runs")
            yield Attacked(api, campaign["id"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Attacks of clients. Each one ends when it is cancelled.


async def repeat(api: RunningApi, path: str, bodies: list[bytes], **headers: str) -> None:
    """Send requests with a key, one after the other, each body in turn."""
    async with httpx.AsyncClient(base_url=api.url, timeout=TIMEOUT_S) as client:
        key = {"Authorization": f"Bearer {api.keys[Scope.WRITE]}"}
        for body in itertools.cycle(bodies):
            sent = {"Content-Type": "application/json", **key, **headers}
            await client.post(f"/api/v1{path}", content=body, headers=sent)


async def fields_given_twice(api: RunningApi) -> None:
    """The body that once took 39 s."""
    names = ",".join(f'"{number:07}":0' for number in range(21_000))
    await repeat(api, "/campaigns/1/schedule/preview", [f'{{{names},"x":0,"x":0}}'.encode()])


async def numbers_that_become_huge(api: RunningApi) -> None:
    """Payloads of 48 KB that would be megabytes in the database."""
    bodies = [
        b'{"name": "x", "payload": {"a": [' + b",".join([number] * 8_000) + b"]}}"
        for number in (b"1e308", b"5e-324")
    ]
    await repeat(api, "/campaigns", bodies)


async def bodies_of_256_kib(api: RunningApi) -> None:
    """Every kind of JSON and of none, to every form of body."""
    size = 256 * KIB - 100
    texts = [b"[", b'{"a":', b"1", b"1,", b"1e9,", b"0.10000000000000001,", b'"', b"\\", b"\0"]
    texts += [b" ", b"\xff", b"\\u0041", b"{},", b"[],", b'"\\ud83c\\udf89",', b"-"]
    bodies = [text * (size // len(text)) for text in texts]
    bodies += [b"[" + body.rstrip(b",") + b"]" for body in bodies[2:]]
    bodies.append(json.dumps({f"field {number}": 0 for number in range(14_000)}).encode())
    bodies.append(json.dumps({"name": "x" * size}).encode())
    paths = ["/campaigns", "/campaigns/1/schedule", "/campaigns/1/schedule/preview"]
    paths += [f"/runs/{'0' * 8}-0000-0000-0000-{'0' * 12}/fail", "/../../login"]
    await asyncio.gather(*(repeat(api, path, bodies) for path in paths))


async def pages_of_other_sites(api: RunningApi) -> None:
    """Forms that a browser sends along with a key that it keeps."""
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    await asyncio.gather(*(repeat(api, "/campaigns/1/start", [b""], **foreign) for _ in range(4)))


async def hold(api: RunningApi, text: bytes, count: int, drip: bytes = b"") -> None:
    """Open connections, send the text on each, and then perhaps a little each 50 ms."""
    writers: list[asyncio.StreamWriter] = []
    try:
        while True:
            while len(writers) < count:
                _, writer = await asyncio.open_connection("127.0.0.1", api.port)
                writer.write(text)
                writers.append(writer)
            await asyncio.sleep(0.05)
            for writer in writers if drip else ():
                writer.write(drip)
            writers = [writer for writer in writers if not writer.is_closing()]
    finally:
        for writer in writers:
            writer.transport.abort()


def post(api: RunningApi, more: bytes) -> bytes:
    """Return a request with a key, from its head on."""
    key = api.keys[Scope.READ].encode()
    head = b"POST /api/v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    return head + key + b"\r\n" + more


async def idle_connections(api: RunningApi) -> None:
    """More connections than the server accepts, without a byte."""
    await hold(api, b"", 1_100)


async def slow_bodies(api: RunningApi) -> None:
    """More requests than there are places, with and without a key, a byte at a time."""
    texts = [post(api, b"Content-Length: 1000\r\n\r\n{"), b"POST /login HTTP/1.1\r\nHost: x\r\n"]
    texts[1] += b"Content-Length: 1000\r\n\r\nk"
    await asyncio.gather(*(hold(api, text, 200, b" ") for text in texts))


async def huge_heads(api: RunningApi) -> None:
    """Heads beyond the limit, at once and without an end, and heads that are not HTTP."""
    heads = [b"X: " + b"y" * 60_000 + b"\r\n\r\n", b"X: y\r\n" * 10_000, b"X" * 15_000]
    heads += [b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", b"X: y\n\n"]
    texts = [*(post(api, head) for head in heads), b"\x16\x03\x01" * 5_000]
    await asyncio.gather(*(hold(api, text, 20, b"y" * 1_000) for text in texts))


async def responses_that_nobody_reads(api: RunningApi) -> None:
    """Requests for long responses, one after the other, on connections that only send."""
    await hold(api, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100, 10)


CLIENTS = [
    fields_given_twice,
    numbers_that_become_huge,
    bodies_of_256_kib,
    pages_of_other_sites,
    idle_connections,
    slow_bodies,
    huge_heads,
    responses_that_nobody_reads,
]


@contextmanager
def on_time(attacked: Attacked, name: str) -> Iterator[None]:
    """Assert that no occurrence starts more than 100 ms late meanwhile, and that none is lost."""
    began = utc_now()
    yield
    database, since = attacked.api.database, (attacked.beat, began)
    beats = "FROM runs WHERE campaign_id = %s AND scheduled_for > %s AND finished_at IS NOT NULL"
    database.wait_until(f"SELECT count(*) >= 2 {beats}", *since)
    rows = database.rows(
        "SELECT extract(epoch FROM coalesce(started_at, now()) - scheduled_for) * 1000 AS late,"
        f" status {beats} ORDER BY scheduled_for",
        *since,
    )
    late = [float(row["late"]) for row in rows]
    print(f"\n{name}: late by {', '.join(f'{each:.0f}' for each in late)} ms")
    assert {row["status"] for row in rows} == {"completed"}
    assert max(late) <= LATEST_MS
    assert attacked.api.process.events_named("api_error") == []


@pytest.mark.parametrize("attack", CLIENTS, ids=lambda attack: attack.__name__)
def test_clients_delay_no_campaign(attacked: Attacked, attack: Attack) -> None:
    """Requests of any kind, with and without a key."""

    async def run() -> None:
        attacking = asyncio.ensure_future(attack(attacked.api))
        await asyncio.wait([attacking], timeout=ATTACK_S)
        assert not attacking.done(), attacking.exception()
        attacking.cancel()
        await asyncio.wait([attacking])

    with on_time(attacked, attack.__name__):
        asyncio.run(run())


def test_large_payloads_delay_no_campaign(attacked: Attacked) -> None:
    """100 campaigns with the largest payloads that are accepted, due just before another one."""
    database = attacked.api.database
    with on_time(attacked, "large payloads"):
        beat = database.one("SELECT max(scheduled_for) FROM runs WHERE cause = 'schedule'")
        add_one_offs_for(database, "log", 100, beat + timedelta(seconds=1.97))
        database.rows(
            "UPDATE campaigns SET payload = jsonb_build_object('a', array_fill(1, ARRAY[21000]))"
            " WHERE type = 'one_time' AND status = 'scheduled' RETURNING 1"
        )
        database.wait_until(
            f"SELECT count(*) = 100 FROM {ONE_OFFS} AND r.status = 'completed'", "log"
        )


def test_receivers_delay_no_campaign(attacked: Attacked) -> None:
    """Receivers that send what does not end, five runs each."""
    database = attacked.api.database
    with on_time(attacked, "receivers"):
        at = utc_now() + timedelta(seconds=0.3)
        for name in RECEIVERS:
            add_one_offs_for(database, name, 5, at)
        for name in RECEIVERS:
            has_ended = "(finished_at IS NOT NULL OR r.status = 'retrying')"
            database.wait_until(f"SELECT count(*) = 5 FROM {ONE_OFFS} AND {has_ended}", name)
