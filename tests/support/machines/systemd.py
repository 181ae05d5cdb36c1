"""A real systemd in namespaces, over a copy-on-write view of this machine's root.

Inside is a machine without campaignd, with its own root, `systemctl`, `journalctl`, units and
users. Nothing of the machine is left when it ends. It uses this machine's network, so an
installation gets its packages from where this machine gets them.

A holder process keeps the mount namespace, so that the machine can be booted and powered off
several times, like one with a disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SYSTEMD = "/lib/systemd/systemd"
BOOT_S = 60
_CGROUPS = Path("/sys/fs/cgroup")

_PREPARE = """
set -eu
base=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$base/root"
cd "$base/root"
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp
mkdir -p shared && mount --bind "$2" shared
rm -rf etc/systemd/system/*.wants var/log/journal
mkdir -p var/log/journal
rm -rf "root/.config/systemd"
touch "$2/prepared"
exec sleep infinity
"""

# The machine takes the group that it is born in as the root of its hierarchy.
_BOOT = """
set -eu
cd "$1/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
for top in sys/fs/cgroup sys/fs/cgroup/systemd sys/fs/cgroup/unified; do
    [ ! -d "$top/$3" ] || mount --bind "$top/$3" "$top"
done
# As on any host: what systemd mounts for a unit (credentials) has to be seen by the others.
mount --make-rshared .
exec chroot . env -i container=lxc PATH="$2" LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=multi-user.target --log-level=warning --log-target=journal
"""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_no_machine() -> str | None:
    """Return why this machine cannot do that, or None."""
    if os.geteuid() != 0:
        return "a systemd of one's own needs root"
    if not Path(SYSTEMD).exists() and not _install_package("systemd"):
        return "systemd is not installed and cannot be"
    missing = [name for name in ("unshare", "nsenter", "chroot") if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def _install_package(package: str) -> bool:
    if not shutil.which("apt-get"):
        return False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


class Machine:
    """The machine. Commands run in it as root, with their own environment."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.shared = base / "shared"
        """Mounted inside as /shared."""
        self._groups = _make_control_groups(base.name)
        self._boot: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._log = (base / "log").open("ab")
        self.shared.mkdir()
        (base / "fs").mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _PREPARE, "-", base / "fs", self.shared],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _wait_until(
            "the root is there", (self.shared / "prepared").exists, self._holder, self.boot_log
        )

    def boot_log(self) -> str:
        """Return the console output of the boot."""
        return (self._base / "log").read_text(errors="replace")

    def boot(self) -> None:
        """Boot; return when systemd accepts commands."""
        enter = ["nsenter", "--target", str(self._holder.pid), "--mount"]
        spaces = ["--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--uts", "--ipc"]

        def enter_own_group() -> None:
            for group in self._groups:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        self._boot = subprocess.Popen(
            [
                *enter,
                *("unshare", "--cgroup", *spaces),
                *("bash", "-c", _BOOT, "-", str(self._base / "fs"), PATH, self._base.name),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=enter_own_group,
        )
        _wait_until("systemd is there", self._find_init, self._boot, self.boot_log)
        _wait_until("the boot is over", self._is_up, self._boot, self.boot_log)

    def _is_up(self) -> bool:
        said = self.run_script("systemctl is-system-running", check=False).stdout.strip()
        return said in ("running", "degraded")

    def power_off(self) -> None:
        """Cut the power: every process is killed at once, and the disk stays."""
        boot, self._boot, self._init = self._boot, None, 0
        if boot is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(boot.pid, signal.SIGKILL)
            boot.wait()

    def _find_init(self) -> bool:
        """Return process 1 of the machine, which is the child of unshare."""
        assert self._boot is not None
        parents = [self._boot.pid]
        while parents:
            below = Path(f"/proc/{parents[0]}/task/{parents[0]}/children")
            children = [int(pid) for pid in below.read_text().split()] if below.exists() else []
            for pid in children:
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                        self._init = pid
                        return True
            parents = [*parents[1:], *children]
        return False

    def run_script(
        self,
        script: str,
        *,
        check: bool = True,
        timeout: float = 60,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash script inside as root; it must succeed unless ``check`` is false."""
        given = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
        done = subprocess.run(
            [
                *("nsenter", "--target", str(self._init)),
                *("--mount", "--pid", "--uts", "--ipc", "--cgroup"),
                *("chroot", str(self._base / "fs" / "root"), "env", "-i"),
                *(f"{name}={value}" for name, value in given.items()),
                *("bash", "-euo", "pipefail", "-c", script),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{script}\n{done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def output_of(self, script: str, **options: Any) -> str:
        """Return the output of a script."""
        return self.run_script(script, **options).stdout.strip()

    def wait_for_output(
        self, what: str, script: str, holds: Callable[[str], object], within: float = 60
    ) -> str:
        """Wait until the output of a script satisfies ``holds``; return the output."""
        deadline = time.monotonic() + within
        while not holds(found := self.output_of(script, check=False)):
            if time.monotonic() > deadline:
                journal = self.output_of("journalctl --no-pager -n 40", check=False)
                raise AssertionError(f"not within {within} s: {what}: {found}\n{journal}")
            time.sleep(0.1)
        return found

    def delete(self) -> None:
        """Power off, and delete the machine."""
        self.power_off()
        self._holder.kill()
        self._holder.wait()
        self._log.close()
        for group in self._groups:
            _remove_control_group(group)


def _wait_until(
    what: str,
    holds: Callable[[], bool],
    process: subprocess.Popen[bytes],
    log: Callable[[], str],
) -> None:
    deadline = time.monotonic() + BOOT_S
    while not holds():
        assert process.poll() is None, f"{what}: it has ended\n{log()}"
        assert time.monotonic() < deadline, f"not within {BOOT_S} s: {what}\n{log()}"
        time.sleep(0.05)


def _make_control_groups(name: str) -> list[Path]:
    """Create a control group for the machine in each hierarchy that systemd writes to."""
    tops: Sequence[Path] = [_CGROUPS]
    if (_CGROUPS / "systemd").is_dir():
        tops = [path for path in (_CGROUPS / "systemd", _CGROUPS / "unified") if path.is_dir()]
    made = [top / name for top in tops]
    for group in made:
        group.mkdir()
    return made


def _remove_control_group(group: Path) -> None:
    """Delete the groups once their processes are gone, which may take the kernel a moment."""
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        for inner, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(inner)
        time.sleep(0.05)


@contextmanager
def unbooted_machine() -> Iterator[Machine]:
    """Yield a machine that is not booted yet."""
    base = Path(tempfile.mkdtemp(prefix="campaignd-machine-"))
    base.chmod(0o755)
    try:
        made = Machine(base)
        try:
            yield made
        finally:
            made.delete()
    finally:
        shutil.rmtree(base, ignore_errors=True)
