"""The receiver of deliveries: it takes its time, fails on request, and records what arrived."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID


@dataclass(frozen=True)
class Request:
    """One delivery as the receiver saw it."""

    at: datetime
    run_id: UUID
    attempt: int
    status: int


def recording_command(path: Path) -> list[str]:
    """Return a command that appends each run it was started for to a file."""
    what = '"$(/bin/date +%s.%N) $CAMPAIGND_RUN_ID $CAMPAIGND_ATTEMPT"'
    return ["/bin/sh", "-c", f"echo {what} >> '{path}'"]


def recorded_requests(path: Path) -> list[Request]:
    """Return the runs that the command recorded."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        at, run_id, attempt = line.split()
        instant = datetime.fromtimestamp(float(at), UTC)
        found.append(Request(instant, UUID(run_id), int(attempt), 200))
    return found


class Receiver:
    """An HTTP server in threads; the payload sets its behaviour by ``delay`` and ``fail``."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = datetime.now(UTC)
                length = int(self.headers["Content-Length"])
                data = json.loads(self.rfile.read(length))["data"]
                payload = data["payload"]
                status = 503 if data["attempt"] <= payload.get("fail", 0) else 200
                receiver.requests.append(
                    Request(
                        at,
                        UUID(self.headers["webhook-id"]),
                        int(self.headers["campaignd-attempt"]),
                        status,
                    )
                )
                time.sleep(payload.get("delay", 0))  # This is the receiver's own work.
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """Ignore errors: a node that was killed does not read its answer."""

        self._server = Server((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
