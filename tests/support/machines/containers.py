"""Containers without an engine: processes in an image's files, each with its own root.

A container has a mount namespace and a copy-on-write root, which may be read-only. It runs as the
image's user, with the image's environment and further variables. All containers share the network
namespace of their parent.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

USER = 10001
PATIENCE_S = 120


@dataclass(frozen=True)
class Container:
    """What to run, and how; `binds` are (source, target, read-only)."""

    command: list[str]
    environment: dict[str, str]
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    tmpfs: list[str] = field(default_factory=list)
    read_only: bool = False
    stop_timeout: float = 10
    health: list[str] = field(default_factory=list)
    before: str = ""
    """Lines of shell that every process of a container begins with."""
    pid: int = 0

    def command_line(self, command: Sequence[str]) -> list[str]:
        """Return a command with only the container's environment."""
        given = ["env", "-i", *(f"{name}={value}" for name, value in self.environment.items())]
        if self.before:
            return [*given, "sh", "-euc", f'{self.before}\nexec "$@"', "-", *command]
        return [*given, *command]

    @property
    def is_running(self) -> bool:
        """Whether the container's first process runs."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False


class Engine:
    """Images, volumes and containers of one directory."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.image = json.loads((top / "image.json").read_text())
        self._file = top / "containers.json"

    @property
    def containers(self) -> dict[str, Container]:
        """Containers that were started and not removed."""
        if not self._file.exists():
            return {}
        return {
            name: Container(**each) for name, each in json.loads(self._file.read_text()).items()
        }

    def store_state(self, name: str, container: Container | None) -> None:
        """Store the state of a container."""
        known = {**self.containers, name: container}
        text = json.dumps({name: asdict(each) for name, each in known.items() if each is not None})
        self._file.write_text(text)

    def create_volume(self, name: str) -> str:
        """Create a named volume with the image's owner, as Docker does."""
        path = self.top / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
            os.chown(path, USER, USER)
        return str(path)

    def make_container(self, **what: Any) -> Container:
        """Return a container of the image, with options beside its configuration."""
        config = self.image["config"]
        environment = dict(item.split("=", 1) for item in config["Env"]) | what.pop("environment")
        command = [*config["Entrypoint"], *(what.pop("command", None) or config["Cmd"])]
        health = config["Healthcheck"]["Test"][1:]
        # Every host is this one; the image's volumes become anonymous volumes unless given.
        binds = [(str(self.top / "hosts"), "/etc/hosts", True), *what.pop("binds", [])]
        for path in config["Volumes"]:
            if path not in (target for _, target, _ in binds):
                binds.append((self.create_volume(f"anonymous-{os.urandom(4).hex()}"), path, False))
        return Container(command, environment, binds, health=health, **what)

    def run_in_foreground(self, container: Container, **streams: Any) -> subprocess.Popen[bytes]:
        """Run the container's first process in the foreground."""
        base = self.top / "roots"
        base.mkdir(exist_ok=True)
        lines = [
            "set -eu",
            "mount --make-rprivate /",
            f"cd {base}",
            "mount -t tmpfs -o mode=755 tmpfs . && cd . && cd $PWD",
            "mkdir up work root",
            f"below=lowerdir={self.image['root']}",
            'mount -t overlay overlay -o "$below,upperdir=up,workdir=work" root',
            "cd root",
            "mount -t proc proc proc && mount --rbind /dev dev",
        ]
        lines += [
            f"mkdir -p .{path} && mount -t tmpfs -o mode=1777 tmpfs .{path}"
            for path in container.tmpfs
        ]
        for source, target, read_only in container.binds:
            at, of = shlex.quote(f".{target}"), shlex.quote(source)
            make = "mkdir -p" if Path(source).is_dir() else "install -D /dev/null"
            lines += [f"[ -e {at} ] || {make} {at}", f"mount --bind {of} {at}"]
            if read_only:
                lines.append(f"mount -o remount,ro,bind {at}")
        if container.read_only:
            lines.append("mount -o remount,ro .")
        lines.append(f'exec chroot --userspec={USER}:{USER} . "$@"')
        unshare = ["unshare", "--mount", "bash", "-c", "\n".join(lines), "-"]
        return subprocess.Popen([*unshare, *container.command_line(container.command)], **streams)

    def run_in_background(self, name: str, container: Container) -> None:
        """Start the container in the background under this name."""
        if name in self.containers:
            exit_like_docker(f"the name {name} is in use")
        with (self.top / f"{name}.log").open("wb") as log:
            process = self.run_in_foreground(
                container,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.store_state(name, replace(container, pid=process.pid))

    def execute_inside(self, name: str, command: Sequence[str], **streams: Any) -> int:
        """Return the exit code of a command in a running container."""
        container = self.containers[name]
        if not container.is_running:
            exit_like_docker(
                f"container {name} does not run\n{(self.top / (name + '.log')).read_text()}"
            )
        where = ["nsenter", "--target", str(container.pid), "--mount", "--root", "--wdns=/"]
        where += [f"--setuid={USER}", f"--setgid={USER}"]
        return subprocess.run(
            [*where, *container.command_line(command)], check=False, **streams
        ).returncode

    def is_healthy(self, name: str) -> bool:
        """Return the result of the health check."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.execute_inside(name, self.containers[name].health, **quiet) == 0

    def wait_until_healthy(self, name: str) -> None:
        """Wait until the container is healthy."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_healthy(name):
            if time.monotonic() > deadline:
                exit_like_docker(f"{name} is not well\n{(self.top / f'{name}.log').read_text()}")
            time.sleep(0.1)

    def stop(self, name: str) -> None:
        """Stop by SIGTERM; fail where Docker would kill after the timeout."""
        container = self.containers[name]
        deadline = time.monotonic() + container.stop_timeout
        if container.is_running:
            os.kill(container.pid, signal.SIGTERM)
        while container.is_running:
            if time.monotonic() > deadline:
                exit_like_docker(f"{name} did not stop within {container.stop_timeout} s")
            time.sleep(0.05)

    def send_signal(self, name: str, what: str) -> None:
        """Send a signal, given by its name."""
        os.kill(self.containers[name].pid, signal.Signals[f"SIG{what}"])


def exit_like_docker(why: str) -> None:
    """Fail with Docker's exit code."""
    sys.exit(f"docker (stand-in): {why}")
