"""The embedded PostgreSQL: one context manager, which gives a DSN.

Processes on one state directory share one server. Each holds a shared lock while it uses it; the
last to leave, which is the one that can make the lock exclusive, stops it. Locks end with their
process, however it ends, so nothing has to be counted. A server that somebody else started by hand
is used and left running.

Layout of `STATE_DIR/postgres/`: `data/` the database cluster, `run/` the socket, `server.log` what
the server says (`server.log.1`: the run before), `start.lock` held by whoever starts or stops it,
`users.lock` shared by all who use it, `started` names the server that is ours to stop.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from storage.embedded import postmaster as server
from storage.embedded.os_user import ServerUser, open_ways, server_user
from storage.embedded_error import EmbeddedError

__all__ = ["EmbeddedError", "embedded_postgres"]

DATABASE = "campaignd"
_LOCK_TIMEOUT_S = 180.0  # somebody else's initdb or crash recovery on a slow disk
_DYING_TIMEOUT_S = 30.0
_POLL_S = 0.02


def _silent(event: str, **fields: object) -> None:
    """Log nothing."""


@contextmanager
def embedded_postgres(
    state_dir: Path, *, log: Callable[..., object] = _silent, create: bool = True
) -> Iterator[str]:
    """Have PostgreSQL run on `state_dir` for the length of the block.

    Args:
        state_dir: any name, any length.
        create: make directory and database if they are not there.
        log: called as `log(event, **fields)`: `embedded_initialising`, `embedded_started`,
            `embedded_joined`, `embedded_stopped`, `embedded_path_opened`, `embedded_waiting`.

    Yields:
        a `postgresql://` URL of the database `campaignd`, superuser, by Unix socket.

    Raises:
        EmbeddedError: it can not be had; what was started is stopped again.
    """
    place = _Place(state_dir)
    with _filesystem_errors(state_dir):
        if create:
            place.make()
        else:
            place.look()
        with place.starting(log):
            if not create and place.is_empty():
                raise _none(place)
            users = _open_lock(place.users_lock)
            try:
                dsn = _join_or_start(place, users, log)
            except BaseException:
                os.close(users)
                raise
    try:
        yield dsn
    finally:
        _leave(place, users, log)


def embedded_dsn(state_dir: Path) -> str:
    """The URL of the embedded PostgreSQL that runs just now; it is neither started nor kept.

    Raises:
        EmbeddedError: none runs.
    """
    place = _Place(state_dir)
    with _filesystem_errors(state_dir):
        found = server.read_postmaster(place.data)
        if found is not None and found.socket_dir and server.is_alive(place.data, found):
            return _dsn(found.socket_dir)
        if place.is_empty():
            raise _none(place)
    raise EmbeddedError("the embedded PostgreSQL does not run")


def _none(place: _Place) -> EmbeddedError:
    return EmbeddedError(
        f"there is no database in {place.state_dir}",
        hint="name one by CAMPAIGND_DATABASE_URL, or another place by CAMPAIGND_STATE_DIR,"
        " or start campaignd run, which makes one",
    )


def embedded_programs(state_dir: Path) -> Path:
    """The folder with `psql`, `pg_dump` and the rest, of the version that `state_dir` has or gets.

    Raises:
        EmbeddedError: there are none.
    """
    return server.find_programs(_Place(state_dir).data)


class _Place:
    """Where things are under a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.top = state_dir.expanduser().absolute() / "postgres"
        self.data = self.top / "data"
        self.run = self.top / "run"
        self.log_file = self.top / "server.log"
        self.start_lock = self.top / "start.lock"
        self.users_lock = self.top / "users.lock"

    def make(self) -> None:
        # What is inside is closed by itself; root's server user has to pass.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        self.top.mkdir(mode=mode, parents=True, exist_ok=True)

    def look(self) -> None:
        """Go on where somebody has made one, or may be making one just now."""
        try:
            self.top.stat()
        except FileNotFoundError:
            raise _none(self) from None

    def is_empty(self) -> bool:
        """Whether there is no data directory, or nothing in it."""
        try:
            return not any(self.data.iterdir())
        except FileNotFoundError:
            return True

    @contextmanager
    def starting(self, log: Callable[..., object]) -> Iterator[None]:
        """Be the only process that looks at, starts or stops the server."""
        descriptor = _open_lock(self.start_lock)
        try:
            begun = time.monotonic()
            told = False
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                waited = time.monotonic() - begun
                if waited > 1 and not told:
                    told = True
                    log("embedded_waiting", path=str(self.start_lock))
                if waited > _LOCK_TIMEOUT_S:
                    raise EmbeddedError(
                        f"another process has been starting or stopping the embedded PostgreSQL"
                        f" for {_LOCK_TIMEOUT_S:.0f} s",
                        hint=f"find it by its lock: {self.start_lock}",
                    )
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)


def _join_or_start(place: _Place, users: int, log: Callable[..., object]) -> str:
    """Under the start lock: a server that runs, and `users` locked as one of its users."""
    if not _try_lock(users, fcntl.LOCK_SH):
        raise EmbeddedError(f"{place.users_lock} is locked by a stranger")
    deadline = time.monotonic() + _DYING_TIMEOUT_S
    while running := _running(place):
        socket_dir, pid = running
        try:
            _create_database(socket_dir)
        except EmbeddedError:
            # One that is just dying still lets its socket be connected to.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            log("embedded_joined", pid=pid, data=str(place.data))
            return _dsn(socket_dir)
    try:
        socket_dir, pid = _start(place, server_user(place.data), log)
        _create_database(socket_dir)
    except BaseException:
        _stop_if_last(place, users, log)
        raise
    log("embedded_started", pid=pid, data=str(place.data))
    return _dsn(socket_dir)


def _running(place: _Place) -> tuple[Path, int] | None:
    """Socket directory and process of the server once it is ready; None if there is none."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        found = server.read_postmaster(place.data)
        if found is None or not server.is_alive(place.data, found):
            return None
        if found.status == "ready" and found.socket_dir:
            return found.socket_dir, found.pid
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"the embedded PostgreSQL (process {found.pid}) stays {found.status!r}",
                hint=f"see {place.log_file}",
            )
        time.sleep(_POLL_S)


def _start(place: _Place, user: ServerUser, log: Callable[..., object]) -> tuple[Path, int]:
    programs = server.find_programs(place.data)
    open_ways(user, programs / "postgres", place.top, log)
    if not server.is_valid(place.data):
        if place.data.exists():
            if any(place.data.iterdir()):
                raise EmbeddedError(
                    f"{place.data} holds something that is no complete PostgreSQL data directory",
                    hint="restore it from a backup, or move it away to start empty",
                )
            place.data.rmdir()
        log("embedded_initialising", data=str(place.data))
        server.initialise(programs, place.data, user)
    elif user.uid is None and place.data.stat().st_uid != os.geteuid():
        raise EmbeddedError(
            f"{place.data} belongs to uid {place.data.stat().st_uid}, campaignd runs as"
            f" uid {os.geteuid()}",
            hint="run as that user or as root, or choose another state_dir",
        )
    if left := server.read_postmaster(place.data):
        _remove_socket_dir(left.socket_dir)
    socket_dir = server.make_socket_dir(place.run, user)
    try:
        return socket_dir, server.start(programs, place.data, user, socket_dir, place.log_file)
    except BaseException:
        _remove_socket_dir(socket_dir)
        raise


def _leave(place: _Place, users: int, log: Callable[..., object]) -> None:
    try:
        with place.starting(log):
            _stop_if_last(place, users, log)
    finally:
        with suppress(OSError):
            os.close(users)


def _stop_if_last(place: _Place, users: int, log: Callable[..., object]) -> None:
    """Under the start lock: stop the server if it is ours and nobody else uses it."""
    fcntl.flock(users, fcntl.LOCK_UN)
    if not _try_lock(users, fcntl.LOCK_EX):
        return
    running = server.read_postmaster(place.data)
    if running is None or not server.is_alive(place.data, running):
        return
    if not server.is_ours(place.data):
        return
    server.stop(place.data, running)
    _remove_socket_dir(running.socket_dir)
    log("embedded_stopped", pid=running.pid)


def _remove_socket_dir(socket_dir: Path | None) -> None:
    """Remove a socket directory that was made outside the state directory."""
    if socket_dir is None or socket_dir.parent != Path(tempfile.gettempdir()):
        return
    if socket_dir.name.startswith(server.SOCKET_DIR_PREFIX):
        with suppress(OSError):
            for left in socket_dir.glob(".s.PGSQL.*"):
                left.unlink()
            socket_dir.rmdir()


def _dsn(socket_dir: Path, database: str = DATABASE) -> str:
    # The port names the socket file; without it PGPORT of the environment would.
    host = quote(os.fsencode(socket_dir), safe="/")
    return f"postgresql://postgres@/{database}?host={host}&port={server.PORT}"


def _create_database(socket_dir: Path) -> None:
    try:
        with psycopg.connect(
            _dsn(socket_dir, "postgres"), autocommit=True, connect_timeout=30
        ) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.Error as error:
        raise server.failure("the embedded PostgreSQL does not answer", str(error)) from error


def _open_lock(path: Path) -> int:
    # Read-only, so that a lock file of another user (root, once) can be locked as well.
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _filesystem_errors(state_dir: Path) -> Iterator[None]:
    """Put what the file system refuses into words."""
    hints = {
        errno.EACCES: "run as the user that it belongs to, or choose another state_dir"
        " (CAMPAIGND_STATE_DIR)",
        errno.EPERM: "choose a state_dir that campaignd may write to (CAMPAIGND_STATE_DIR)",
        errno.EROFS: "choose a state_dir that campaignd may write to (CAMPAIGND_STATE_DIR)",
        errno.ENOSPC: "free some space there, or choose another state_dir",
        errno.EDQUOT: "free some space there, or choose another state_dir",
        errno.ENOTDIR: "state_dir must be a directory",
        errno.EEXIST: "state_dir must be a directory",
    }
    try:
        yield
    except OSError as error:
        where = error.filename or state_dir
        raise EmbeddedError(
            f"no embedded PostgreSQL in state_dir {state_dir}: {where}:"
            f" {os.strerror(error.errno or 0)}",
            hint=hints.get(error.errno or 0),
        ) from error
