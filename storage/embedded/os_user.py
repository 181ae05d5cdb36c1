"""The operating system user that runs PostgreSQL for root, and its access to the files.

For any user but root, the functions change nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import EmbeddedError

SYSTEM_USER = "pgserver"
_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_SEARCH = 1


@dataclass(frozen=True)
class ServerUser:
    """The operating system user of the server; ids are None for the current user."""

    uid: int | None = None
    gid: int | None = None

    def popen_options(self) -> dict[str, object]:
        """Return the `subprocess` options that run a program as this user, without our terminal."""
        options: dict[str, object] = {
            "env": {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            "umask": 0o077,
            # A separate session: Ctrl-C reaches only the daemon, which drains first.
            "start_new_session": True,
            "stdin": subprocess.DEVNULL,
        }
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def take_ownership(self, path: Path | int) -> None:
        """Make this user the owner of a file or directory, by path or descriptor."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_user(data: Path) -> ServerUser:
    """Return the user for the server of a data directory.

    This is the current user, unless that is root. For root it is the owner of an existing
    directory, else a system user, which is created if needed.
    """
    if os.geteuid() != 0:
        return ServerUser()
    try:
        owner = data.stat()
    except FileNotFoundError:
        pass
    else:
        if owner.st_uid != 0:
            return ServerUser(owner.st_uid, owner.st_gid)
    entry = _find_user() or _create_user()
    return ServerUser(entry.pw_uid, entry.pw_gid)


def _find_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def _create_user() -> pwd.struct_passwd:
    command = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    reason = "useradd is missing"
    # Another process may hold the lock of /etc/passwd, or have created the user just now.
    for attempt in range(10):
        if command is None:
            break
        done = subprocess.run(
            [command, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        if entry := _find_user():
            return entry
        reason = " ".join(done.stderr.split()) or f"useradd ended with {done.returncode}"
        time.sleep(0.1 * (attempt + 1))
    raise EmbeddedError(
        f"root may not run PostgreSQL and the system user {SYSTEM_USER!r} cannot be created:"
        f" {reason}",
        hint=f"run campaignd as an ordinary user, create the user {SYSTEM_USER!r},"
        " or set database_url",
    )


def grant_access(
    user: ServerUser, program: Path, directory: Path, log: Callable[..., object]
) -> None:
    """Ensure that `user` can run `program` and enter `directory`.

    A closed directory on the path (usually root's home) gets an access control list that lets
    exactly this user through. On a file system without such lists, every user may pass through
    the directory, but not list it. Both are logged.

    Raises:
        EmbeddedError: the user still has no access.
    """
    if user.uid is None or _access_problem(user, program, directory) is None:
        return
    for path in sorted({*program.parents, *directory.parents, directory}):
        if not _may_search(path, user):
            how = _allow_search(path, user)
            log("embedded_path_opened", path=str(path), uid=user.uid, how=how)
    if _access_problem(user, program, directory) is not None:
        # Installed under a tight umask.
        for path in _walk_tree(program.parents[1]):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if not path.is_symlink():
                path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))
    if problem := _access_problem(user, program, directory):
        raise EmbeddedError(
            f"uid {user.uid}, which runs PostgreSQL for root, cannot reach {directory}"
            f" or run {program}: {problem}",
            hint="choose a state_dir such as /var/lib/campaignd, or run as an ordinary user",
        )


def _access_problem(user: ServerUser, program: Path, directory: Path) -> str | None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'cd -- "$1" && exec "$2" --version', "sh", directory, program],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **user.popen_options(),  # type: ignore[call-overload]
    )
    if done.returncode == 0:
        return None
    return " ".join(done.stderr.split()) or f"exit status {done.returncode}"


def _may_search(path: Path, user: ServerUser) -> bool:
    found = path.stat()
    if found.st_uid == user.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == user.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _allow_search(path: Path, user: ServerUser) -> str:
    try:
        _add_search_acl(path, user)
    except (OSError, AttributeError):  # no such attribute outside Linux
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IXOTH)
        return "mode"
    return "acl"


def _add_search_acl(path: Path, user: ServerUser) -> None:
    mode = path.stat().st_mode
    assert user.uid is not None
    try:
        raw = os.getxattr(path, _ACL)[4:]
    except OSError:
        entries = {
            (_USER_OBJ, _NO_ID): mode >> 6 & 7,
            (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
            (_OTHER, _NO_ID): mode & 7,
        }
    else:
        entries = {(tag, who): may for tag, may, who in _ACL_ENTRY.iter_unpack(raw)}
    entries[_USER, user.uid] = _SEARCH
    mask = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID])
    entries[_MASK, _NO_ID] = mask | _SEARCH
    packed = b"".join(_ACL_ENTRY.pack(tag, may, who) for (tag, who), may in sorted(entries.items()))
    os.setxattr(path, _ACL, struct.pack("<I", _ACL_VERSION) + packed)


def _walk_tree(top: Path) -> Iterator[Path]:
    yield top
    yield from top.rglob("*")
