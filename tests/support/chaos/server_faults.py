"""Faults of a server that stays up: read-only, out of connections, or out of disk space."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

WITHIN_S = 30.0
DISK_MB = 700
WAL_MB = 96
"""Size that keeps the log of one episode small enough for the small disk."""


class ServerFaults:
    """Injects faults into one server and ends them."""

    def __init__(self, url: Callable[[], str], disk: Path | None = None) -> None:
        self._url = url
        self._filler = disk / "filler" if disk else None
        self._taken: list[psycopg.Connection[Any]] = []

    def make_read_only(self) -> None:
        """Make the server read-only, as an operator does who protects a disk."""
        with contextlib.suppress(psycopg.Error):
            self._change_setting("ALTER SYSTEM SET default_transaction_read_only = on")

    def take_connections(self) -> None:
        """Take every free connection, the reserved ones too."""
        with contextlib.suppress(psycopg.Error):
            while True:
                self._taken.append(psycopg.connect(self._url(), connect_timeout=2))

    def fill_disk(self) -> None:
        """Fill the disk to the last byte."""
        assert self._filler is not None
        with self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 10):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def end_all(self) -> None:
        """End all faults; the server must run."""
        self.free_disk()
        taken, self._taken = self._taken, []
        for connection in taken:
            connection.close()
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                self._change_setting("ALTER SYSTEM RESET default_transaction_read_only")
                return
            except psycopg.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def free_disk(self) -> None:
        """Free the disk; the server may have crashed because of it."""
        if self._filler is not None:
            self._filler.unlink(missing_ok=True)

    def _change_setting(self, statement: str) -> None:
        with psycopg.connect(self._url(), autocommit=True, connect_timeout=2) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(statement.encode())
            connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def mount_small_disk() -> Iterator[Path]:
    """Mount a small file system for a server to fill. Raises OSError if none can be mounted."""
    mounted = Path(tempfile.mkdtemp(prefix="campaignd-small-"))
    options = f"size={DISK_MB}m,mode=0711"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if done.returncode != 0:
            raise OSError(f"no file system can be mounted: {done.stderr.strip()}")
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        mounted.rmdir()


def limit_write_ahead_log(url: str) -> None:
    """Keep the server's write-ahead log small."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in (f"max_wal_size = '{WAL_MB}MB'", "min_wal_size = '32MB'"):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
