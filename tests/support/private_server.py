"""A PostgreSQL server of a test module's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from storage.embedded import embedded_postgres, postmaster
from storage.embedded.os_user import server_user
from storage.migrate import upgrade


class Server:
    """A PostgreSQL server that a test module may crash and start again."""

    def __init__(self, state_dir: Path, url: str) -> None:
        self.url = url
        self.data = state_dir / "postgres" / "data"
        self._log = state_dir / "postgres" / "server.log"
        found = postmaster.read_postmaster(self.data)
        assert found is not None
        assert found.socket_dir is not None
        self.socket_dir = found.socket_dir

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        found = postmaster.read_postmaster(self.data)
        assert found is not None
        return found.pid

    @property
    def is_alive(self) -> bool:
        """Whether the postmaster runs."""
        found = postmaster.read_postmaster(self.data)
        return found is not None and postmaster.is_alive(self.data, found)

    def crash(self, number: int) -> None:
        """End the server by a signal (SIGQUIT: immediate shutdown) and wait for its end."""
        pid = self.pid
        os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def start(self) -> None:
        """Start the server; return when it accepts connections."""
        postmaster.start(
            postmaster.find_programs(self.data),
            self.data,
            server_user(self.data),
            self.socket_dir,
            self._log,
        )


@contextmanager
def private_server(parent: Path | None = None) -> Iterator[Server]:
    """Start a server with an empty migrated database; delete both afterwards."""
    top = Path(tempfile.mkdtemp(prefix="campaignd-own-", dir=parent))
    top.chmod(0o711)
    try:
        with embedded_postgres(top) as url:
            upgrade(url)
            server = Server(top, url)
            try:
                yield server
            finally:
                with contextlib.suppress(Exception):
                    psycopg.connect(url, connect_timeout=5).close()
    finally:
        shutil.rmtree(top, ignore_errors=True)
