"""Measure the webhook target beside a bare client with the same library, concurrency and sizes.

N runs due at once are posted to a receiver in another process, which only answers. The bare client
is aiohttp with as many coroutines, without schedule, database and signature. Time is from the
instant to the last answer; for campaignd, to the last durable completion.

Usage: python benchmarks/webhook.py [--posts N] [--concurrency N] [--repeat N] [--url URL]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from database import (
    argument_parser,
    database,
    require_time_until,
    server,
    sleep_until,
    utc,
    vacuum,
    wait_until,
)
from processes import THIS, running_daemon
from stored_campaigns import insert_one_offs

RECEIVER = """
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"
class Receiver(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""
    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.held[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\\r\\n")[0])
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length:]
            self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
BARE = """
import asyncio, sys, time
import aiohttp
url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
BODY = b"x" * 300
HEADERS = {"content-type": "application/json", "webhook-id": "0" * 36, "webhook-timestamp": "1"}
async def main():
    left = iter(range(count))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        async def post():
            for _ in left:
                async with session.post(url, data=BODY, headers=HEADERS) as answer:
                    await answer.read()
        began = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(concurrency)))
        print(time.perf_counter() - began)
asyncio.run(main())
"""

DONE = "SELECT NOT EXISTS (SELECT FROM campaigns WHERE status <> 'completed')"


@contextmanager
def receiver() -> Iterator[str]:
    """Start a server that answers every request with status 200; yield its URL."""
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/hook"
    finally:
        process.kill()
        process.wait()


def measure_bare(address: str, count: int, concurrency: int) -> float:
    """Return posts a second of aiohttp alone."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, address, str(count), str(concurrency)],
        capture_output=True,
        text=True,
        check=True,
    )
    return count / float(done.stdout)


def measure_webhook(
    url: str, address: str, count: int, concurrency: int, *, lead: float = 5
) -> float:
    """Return runs a second of campaignd, from the instant to the last durable completion.

    Raises:
        TooSlow: the machine was too slow to be ready in time.
    """
    THIS.upgrade(url)
    due = time.time() + lead
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        config = Path(place) / "campaignd.toml"
        config.write_text(
            f'[targets.hook]\ntype = "webhook"\nurl = "{address}"\nconcurrency = {concurrency}\n'
        )
        insert_one_offs(own, count, utc(due), "hook")
        vacuum(own)
        with running_daemon(url, Path(place), {"CAMPAIGND_CONFIG": str(config)}):
            require_time_until(due - 1, "campaignd")
            sleep_until(due)
            ended = wait_until(own, DONE, poll_s=0.02)
    return count / (ended - due)


def main() -> None:
    """Measure both in turn and print the medians of the rates."""
    parser = argument_parser(__doc__)
    parser.add_argument("--posts", type=int, default=5_000, help="runs due at once")
    parser.add_argument("--concurrency", type=int, default=32, help="requests in flight")
    parser.add_argument("--repeat", type=int, default=1, help="measurements for each median")
    given = parser.parse_args()
    ours, bare = [], []
    with server(given.url) as url, receiver() as address:
        for _ in range(given.repeat):
            bare.append(measure_bare(address, given.posts, given.concurrency))
            with database(url, "bench_webhook") as own:
                ours.append(measure_webhook(own, address, given.posts, given.concurrency))
    slower = statistics.median(bare) / statistics.median(ours)
    print(
        f"bare client {statistics.median(bare):.0f}/s, campaignd {statistics.median(ours):.0f}/s:"
        f" {slower:.2f} times as long"
    )


if __name__ == "__main__":
    main()
