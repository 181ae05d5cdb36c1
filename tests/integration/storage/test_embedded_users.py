"""The embedded server as root, as an ordinary user, and beside other containers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.embedded import EmbeddedError, embedded_postgres, postmaster
from storage.embedded.os_user import ServerUser
from tests.support.embedded_child import (
    EmbeddedUser,
    running_server_of,
    select_value,
)


def ordinary_user() -> pwd.struct_passwd:
    """An ordinary user that root can become; skips if there is none."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return pwd.getpwnam("nobody")


def ordinary_user_with_python() -> pwd.struct_passwd:
    """An ordinary user that can also run this Python and read this checkout."""
    user = ordinary_user()
    try:
        subprocess.run(
            [sys.executable, "-c", "import storage.embedded"],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{user.pw_name} cannot run {sys.executable} or read this checkout")
    return user


def test_as_an_ordinary_user(state_dir: Path) -> None:
    """The server needs no rights; root later runs the server as the same user."""
    user = ordinary_user_with_python()
    os.chown(state_dir.parent, user.pw_uid, user.pw_gid)
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    child = EmbeddedUser(state_dir, **identity)
    child.wait_for("in")
    assert child.leave_and_wait() == 0
    assert running_server_of(state_dir) is None

    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT 1") == 1
        running = running_server_of(state_dir)
        assert running is not None
        assert Path(f"/proc/{running.pid}").stat().st_uid == user.pw_uid

    again = EmbeddedUser(state_dir, **identity)
    again.wait_for("in")
    assert again.leave_and_wait() == 0


def test_a_directory_of_another_user(state_dir: Path) -> None:
    """An ordinary user on root's state directory gets one line and exit code 3."""
    user = ordinary_user_with_python()
    with embedded_postgres(state_dir):
        pass
    child = EmbeddedUser(state_dir, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/")
    error = child.wait_for("error")
    assert "Permission denied" in str(error["text"])
    assert error["hint"]
    assert child.leave_and_wait() == 3


def test_root_lets_its_server_user_through(state_dir: Path) -> None:
    """In a closed directory, such as root's home, only the server's user may pass."""
    other = ordinary_user()
    closed = state_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    opened: list[dict[str, object]] = []

    def log(event: str, **fields: object) -> None:
        if event == "embedded_path_opened":
            opened.append(fields)

    with embedded_postgres(closed / "state", log=log) as dsn:
        assert select_value(dsn, "SELECT 1") == 1
    assert [fields["path"] for fields in opened] == [str(closed)]
    if opened[0]["how"] == "acl":
        entering = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", closed],
            user=other.pw_uid,
            group=other.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
        assert entering.returncode != 0
    # The second call finds every directory open.
    opened.clear()
    with embedded_postgres(closed / "state", log=log):
        pass
    assert opened == []


def test_socket_of_another_container(state_dir: Path) -> None:
    """A server with an invisible process is alive if its socket accepts connections."""
    run = Path(tempfile.mkdtemp())
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(run / ".s.PGSQL.5432"))
            listener.listen()
            there = postmaster.Postmaster(4_194_000, run, "ready")
            assert postmaster.is_alive(state_dir, there)
        assert not postmaster.is_alive(state_dir, there)
    finally:
        shutil.rmtree(run)


def test_only_root_changes_the_user() -> None:
    """Any user but root starts programs as itself."""
    assert "user" not in ServerUser().popen_options()
    assert ServerUser(7, 8).popen_options()["user"] == 7


def test_another_user_cannot_lock_the_state_directory(state_dir: Path) -> None:
    """A stranger's lock would keep commands from the server, or make them wait."""
    user = ordinary_user()
    with embedded_postgres(state_dir):
        for name in ("start.lock", "users.lock"):
            locking = subprocess.run(
                ["flock", "--nonblock", "--exclusive", state_dir / "postgres" / name, "true"],
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            assert "Permission denied" in locking.stderr


def test_root_is_not_first_in_the_directory_of_a_user(state_dir: Path) -> None:
    """Locks that root makes there belong to the user."""
    user = ordinary_user()
    place = state_dir / "postgres"
    place.mkdir(parents=True)
    os.chown(place, user.pw_uid, user.pw_gid)
    with embedded_postgres(state_dir):
        owners = {(place / name).stat().st_uid for name in ("start.lock", "users.lock")}
    assert owners == {user.pw_uid}


@pytest.fixture
def server_data(state_dir: Path) -> Iterator[Path]:
    """The data directory of a server that root has run as another user."""
    ordinary_user()
    with embedded_postgres(state_dir):
        pass
    data = state_dir / "postgres" / "data"
    assert data.stat().st_uid != 0
    yield data
    (data / "postmaster.pid").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["symbolic link", "hard link"])
def test_the_server_user_cannot_make_root_write_elsewhere(
    state_dir: Path, server_data: Path, how: str
) -> None:
    """A link for `postmaster.pid` would lead root to a file of its own."""
    secret = state_dir.parent / "root's file"
    secret.write_text("1\n/nowhere\nof root\n")
    link = server_data / "postmaster.pid"
    if how == "symbolic link":
        link.symlink_to(secret)
    else:
        link.hardlink_to(secret)
    with pytest.raises(EmbeddedError, match="is a link, or no file"), embedded_postgres(state_dir):
        pass
    assert secret.read_text() == "1\n/nowhere\nof root\n"


def test_a_named_pipe_makes_nobody_wait(state_dir: Path, server_data: Path) -> None:
    os.mkfifo(server_data / "postmaster.pid")
    with pytest.raises(EmbeddedError, match="is a link, or no file"), embedded_postgres(state_dir):
        pass


def test_a_process_of_another_program_gets_no_signal(server_data: Path) -> None:
    """The server's user may write any process number into `postmaster.pid`."""
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            postmaster.stop_server(server_data, postmaster.Postmaster(bystander.pid, None, "ready"))
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_sockets_elsewhere_stay(tmp_path: Path) -> None:
    """A link in /tmp may lead to the sockets of another server."""
    (tmp_path / ".s.PGSQL.5432").touch()
    link = Path(tempfile.gettempdir()) / f"{postmaster.SOCKET_DIR_PREFIX}{os.getpid()}"
    link.symlink_to(tmp_path)
    try:
        postmaster.remove_socket_dir(link)
        assert (tmp_path / ".s.PGSQL.5432").exists()
    finally:
        link.unlink()


def test_root_owns_no_linked_directory(state_dir: Path) -> None:
    """A link for the socket's directory would hand another directory to the user."""
    user = ordinary_user()
    elsewhere = state_dir.parent / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    run = state_dir.parent / "run"
    run.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|symbolic link"):
        postmaster.make_socket_dir(run, ServerUser(user.pw_uid, user.pw_gid))
    assert elsewhere.stat().st_uid == 0
