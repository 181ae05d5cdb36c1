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
    """A PostgreSQL server of one test module's own, to be crashed and started again."""

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
        """The postmaster's process."""
        found = postmaster.read_postmaster(self.data)
        assert found is not None
        return found.pid

    @property
    def is_alive(self) -> bool:
        """Whether its postmaster is there."""
        found = postmaster.read_postmaster(self.data)
        return found is not None and postmaster.is_alive(self.data, found)

    def crash(self, number: int) -> None:
        """End it by a signal (SIGQUIT: immediate; SIGKILL) and wait until it is gone."""
        pid = self.pid
        os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def start(self) -> None:
        """Start it again; returns when it takes connections."""
        postmaster.start(
            postmaster.find_programs(self.data),
            self.data,
            server_user(self.data),
            self.socket_dir,
            self._log,
        )


@contextmanager
def private_server(parent: Path | None = None) -> Iterator[Server]:
    """A server of one's own, with an empty migrated database; nothing of it is kept."""
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
