"""The embedded server as root, as an ordinary user, and beside other containers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from storage.embedded import embedded_postgres, postmaster
from storage.embedded.os_user import ServerUser
from tests.support.embedded_child import (
    Child,
    one,
    server_of,
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
    child = Child(state_dir, **identity)
    child.wait_for("in")
    assert child.leave() == 0
    assert server_of(state_dir) is None

    with embedded_postgres(state_dir) as dsn:
        assert one(dsn, "SELECT 1") == 1
        running = server_of(state_dir)
        assert running is not None
        assert Path(f"/proc/{running.pid}").stat().st_uid == user.pw_uid

    again = Child(state_dir, **identity)
    again.wait_for("in")
    assert again.leave() == 0


def test_a_directory_of_another_user(state_dir: Path) -> None:
    """An ordinary user on root's state directory gets one line and exit code 3."""
    user = ordinary_user_with_python()
    with embedded_postgres(state_dir):
        pass
    child = Child(state_dir, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/")
    error = child.wait_for("error")
    assert "Permission denied" in str(error["text"])
    assert error["hint"]
    assert child.leave() == 3


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
        assert one(dsn, "SELECT 1") == 1
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
