"""Containers without an engine: processes in an image's files, each with a root of its own.

A container has a mount namespace and a copy-on-write root, read-only where that is asked for; it
runs as the image's user, with the image's environment and what is given beside it. All share the
network namespace of whoever starts them.
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
    """What is run, and how; `binds` are (source, target, read-only)."""

    command: list[str]
    environment: dict[str, str]
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    tmpfs: list[str] = field(default_factory=list)
    read_only: bool = False
    stop_timeout: float = 10
    health: list[str] = field(default_factory=list)
    before: str = ""
    """Lines of a shell that every process of it begins with."""
    pid: int = 0

    def argv(self, command: Sequence[str]) -> list[str]:
        """A command with the container's environment, and no other."""
        given = ["env", "-i", *(f"{name}={value}" for name, value in self.environment.items())]
        if self.before:
            return [*given, "sh", "-euc", f'{self.before}\nexec "$@"', "-", *command]
        return [*given, *command]

    @property
    def runs(self) -> bool:
        """Whether its first process does."""
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
        """Those that were started and not removed."""
        if not self._file.exists():
            return {}
        return {
            name: Container(**each) for name, each in json.loads(self._file.read_text()).items()
        }

    def keep(self, name: str, container: Container | None) -> None:
        """Write down what became of one."""
        known = {**self.containers, name: container}
        text = json.dumps({name: asdict(each) for name, each in known.items() if each is not None})
        self._file.write_text(text)

    def volume(self, name: str) -> str:
        """A named volume: as Docker makes it, owned as the image has it."""
        path = self.top / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
            os.chown(path, USER, USER)
        return str(path)

    def made(self, **what: Any) -> Container:
        """A container of the image, with what is asked for beside its configuration."""
        config = self.image["config"]
        environment = dict(item.split("=", 1) for item in config["Env"]) | what.pop("environment")
        command = [*config["Entrypoint"], *(what.pop("command", None) or config["Cmd"])]
        health = config["Healthcheck"]["Test"][1:]
        # Hosts are all this one; an anonymous volume where the image has one and none is given.
        binds = [(str(self.top / "hosts"), "/etc/hosts", True), *what.pop("binds", [])]
        for path in config["Volumes"]:
            if path not in (target for _, target, _ in binds):
                binds.append((self.volume(f"anonymous-{os.urandom(4).hex()}"), path, False))
        return Container(command, environment, binds, health=health, **what)

    def start(self, container: Container, **streams: Any) -> subprocess.Popen[bytes]:
        """Its first process."""
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
        return subprocess.Popen([*unshare, *container.argv(container.command)], **streams)

    def detach(self, name: str, container: Container) -> None:
        """In the background, from now on under this name."""
        if name in self.containers:
            fail(f"the name {name} is in use")
        with (self.top / f"{name}.log").open("wb") as log:
            process = self.start(
                container,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.keep(name, replace(container, pid=process.pid))

    def inside(self, name: str, command: Sequence[str], **streams: Any) -> int:
        """The exit code of a command in a container that runs."""
        container = self.containers[name]
        if not container.runs:
            fail(f"container {name} does not run\n{(self.top / (name + '.log')).read_text()}")
        where = ["nsenter", "--target", str(container.pid), "--mount", "--root", "--wdns=/"]
        where += [f"--setuid={USER}", f"--setgid={USER}"]
        return subprocess.run([*where, *container.argv(command)], check=False, **streams).returncode

    def well(self, name: str) -> bool:
        """What its health check says."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.inside(name, self.containers[name].health, **quiet) == 0

    def await_well(self, name: str) -> None:
        """Until it does."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.well(name):
            if time.monotonic() > deadline:
                fail(f"{name} is not well\n{(self.top / f'{name}.log').read_text()}")
            time.sleep(0.1)

    def stop(self, name: str) -> None:
        """SIGTERM; whoever needs longer than is allowed fails here, where Docker would kill."""
        container = self.containers[name]
        deadline = time.monotonic() + container.stop_timeout
        if container.runs:
            os.kill(container.pid, signal.SIGTERM)
        while container.runs:
            if time.monotonic() > deadline:
                fail(f"{name} did not stop within {container.stop_timeout} s")
            time.sleep(0.05)

    def kill(self, name: str, what: str) -> None:
        """A signal by its name."""
        os.kill(self.containers[name].pid, signal.Signals[f"SIG{what}"])


def fail(why: str) -> None:
    """End as `docker` does."""
    sys.exit(f"docker (stand-in): {why}")
