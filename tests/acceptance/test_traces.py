"""A collector receives the traces of a running daemon."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import Daemons
from tests.support.waiting import utc_now


def test_a_collector_gets_spans(daemons: Daemons, database: CampaignDatabase) -> None:
    """Every attempt arrives, at the latest when the daemon stops."""
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """OTLP over HTTP."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            got.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            daemon = daemons.start_ready(
                database.url,
                CAMPAIGND_TRACES__ENABLED="true",
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
            )
            database.add_one_offs(3, utc_now())
            database.wait_until("SELECT count(*) = 3 FROM runs WHERE status = 'completed'")
            assert daemon.stop() == 0
        finally:
            server.shutdown()
            thread.join()
    assert {path for path, _ in got} == {"/v1/traces"}
    spans = b"".join(body for _, body in got)
    for row in database.rows("SELECT id FROM runs"):
        assert row["id"].bytes in spans
        assert str(row["id"]).encode() in spans
