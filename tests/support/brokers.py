"""RabbitMQ, Redis and NATS for the tests: the configured or running one, else their own."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.machines.debian import install_or_skip
from tests.support.waiting import free_port, wait_until

_USUAL = {
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//",
    "redis": "redis://127.0.0.1:6379/0",
    "nats": "nats://127.0.0.1:4222",
}
KINDS = ("rabbitmq", "redis")
"""The brokers that kombu reaches."""
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""The program that Debian's `rabbitmq-server` starts as another user."""


@functools.cache
def url_of_broker(kind: str) -> str:
    """Return the URL of a broker that answers; skip the test if there can be none."""
    if named := os.environ.get(f"TEST_{kind.upper()}_URL"):
        if not _is_answering(named):
            pytest.skip(f"no server at {urlsplit(named).hostname}:{urlsplit(named).port}")
        return named
    return _USUAL[kind] if _is_answering(_USUAL[kind]) else _STARTED[kind]()


def _is_answering(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((parts.hostname, parts.port)) == 0


def _start_broker(url: str, *command: str, directory: Path, **env: str) -> str:
    """Start a broker that runs until the tests end."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def end_broker() -> None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(directory, ignore_errors=True)

    atexit.register(end_broker)
    wait_until(command[0], lambda: _is_answering(url))
    return url


def _start_redis() -> str:
    program, port = install_or_skip("redis-server", "redis-server"), str(free_port())
    return _start_broker(
        f"redis://127.0.0.1:{port}/0",
        *(program, "--bind", "127.0.0.1", "--port", port, "--save", ""),
        directory=Path(tempfile.mkdtemp(prefix="campaignd-redis-")),
    )


def _start_rabbitmq() -> str:
    install_or_skip("rabbitmq-server", "rabbitmq-server")
    if os.geteuid() != 0:
        pytest.skip("Debian's RabbitMQ is started by root alone")
    directory = Path(tempfile.mkdtemp(prefix="campaignd-rabbitmq-"))
    port, names = free_port(), str(free_port())
    config = directory / "rabbitmq.conf"
    config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    # Erlang's name server outlives the broker.
    ending = {"env": os.environ | {"ERL_EPMD_PORT": names}, "check": False, "capture_output": True}
    atexit.register(subprocess.run, ["epmd", "-kill"], **ending)
    return _start_broker(
        f"amqp://guest:guest@127.0.0.1:{port}//",
        _RABBITMQ,
        directory=directory,
        HOME=str(directory),
        ERL_EPMD_PORT=names,
        ERL_EPMD_ADDRESS="127.0.0.1",
        RABBITMQ_CONFIG_FILE=str(config),
        RABBITMQ_CONF_ENV_FILE=os.devnull,
        RABBITMQ_ENABLED_PLUGINS_FILE=str(directory / "plugins"),
        RABBITMQ_NODENAME=f"campaignd{port}@localhost",
        RABBITMQ_DIST_PORT=str(free_port()),
        RABBITMQ_MNESIA_BASE=str(directory / "data"),
        RABBITMQ_LOG_BASE=str(directory / "log"),
    )


def start_nats(*options: str) -> str:
    """Start a NATS server with JetStream, and return its URL."""
    program, port = install_or_skip("nats-server", "nats-server"), str(free_port())
    directory = Path(tempfile.mkdtemp(prefix="campaignd-nats-"))
    return _start_broker(
        f"nats://127.0.0.1:{port}",
        *(program, "-a", "127.0.0.1", "-p", port, "-js", "-sd", str(directory), *options),
        directory=directory,
    )


_STARTED: dict[str, Callable[[], str]] = {
    "rabbitmq": _start_rabbitmq,
    "redis": _start_redis,
    "nats": start_nats,
}
