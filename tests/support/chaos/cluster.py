"""Several real daemons, each with its own clock and network, on one server that may be crashed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import psutil
import psycopg

from tests.support.chaos.brake import BrakePerson
from tests.support.chaos.namespaces import Cable, Switch
from tests.support.chaos.proxy import OPEN, Proxy, ProxyLoop
from tests.support.chaos.receiver import recording_command
from tests.support.chaos.retention import PruneRunner
from tests.support.chaos.server_faults import ServerFaults
from tests.support.chaos.shifted_clock import ClockFile
from tests.support.postgres import PostgresServer
from tests.support.processes import Process
from tests.support.standby import promote
from tests.support.waiting import free_port

STOPS_WITHIN_S = 60.0
"""Seconds for a stop: the drain timeout (30 s) and as much again, however bad the network is."""
SERVING = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name LIKE 'campaignd%' AND datname = current_database() ORDER BY pid
"""
SHIFTED_CLOCK = Path(__file__).with_name("shifted_clock.py")


class ChaosNode:
    """One daemon: its process, if it has one, its clock, and its connection to the database."""

    def __init__(self, cluster: Cluster, number: int, cable: Cable | None = None) -> None:
        self.cluster = cluster
        self.cable = cable
        self.name = f"node{number}"
        self.clock = ClockFile(cluster.directory / f"{self.name}.clock")
        parts = urlsplit(cluster.url)
        query = parse_qs(parts.query)
        port = query.get("port", ["5432"])[0].split(",")[0]
        here = cable.hub if cable else "127.0.0.1"
        self.proxies = [
            Proxy(cluster.network, f"{host}/.s.PGSQL.{port}", here)
            for host in query["host"][0].split(",")
        ]
        self.proxy = self.proxies[0]
        ways = {
            "host": ",".join([here] * len(self.proxies)),
            "port": ",".join(str(proxy.port) for proxy in self.proxies),
        }
        if len(self.proxies) > 1:
            ways["target_session_attrs"] = "read-write"
        self.url = urlunsplit(parts._replace(netloc="postgres@", query=urlencode(ways)))
        self.process: Process | None = None
        self.api = (cable.address, 8080) if cable else ("127.0.0.1", free_port())
        self.is_frozen = False
        self._frozen_at = 0.0
        self.log: list[bytes] = []
        self.faults: list[str] = []
        self._restarting: threading.Thread | None = None

    def start(self) -> None:
        """Start a new process."""
        self.process = Process(
            str(self.clock.path),
            "run",
            program=(
                *(self.cable.command_prefix if self.cable else ()),
                sys.executable,
                SHIFTED_CLOCK,
            ),
            env=self.cluster.daemon_environment(self),
            cwd=self.cluster.directory,
        )

    def set_network(self, mode: str) -> None:
        """Set what the proxies do with the traffic between the node and its database."""
        for proxy in self.proxies:
            proxy.set_mode(mode)

    def freeze(self) -> None:
        """Freeze the process by SIGSTOP."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            self.is_frozen = True
            self._frozen_at = time.monotonic()

    def thaw(self) -> None:
        """Continue the process by SIGCONT."""
        if self.process is not None and self.is_frozen:
            self.process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def resume_from_suspend(self) -> None:
        """Continue like a virtual machine whose clocks stood still while it was suspended."""
        if self.is_frozen:
            self.clock.stop_monotonic_clock(time.monotonic() - self._frozen_at)
        self.thaw()

    def restart_in_background(self) -> None:
        """Start a new process once the stopping one has ended; do not wait for it."""
        self._restarting = threading.Thread(target=self._restart_after_end, daemon=True)
        self._restarting.start()

    def _restart_after_end(self) -> None:
        process = self.process
        if process is not None:
            try:
                code = process.join(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.faults.append(f"{self.name} did not stop:\n{process.last_lines()}")
                process.kill()
            else:
                # The process may have been stopped before it handled signals, or killed by another
                # fault.
                if code not in (0, 128 + signal.SIGTERM, -signal.SIGKILL):
                    self.faults.append(f"{self.name} stopped with {code}:\n{process.last_lines()}")
            self.log += process.lines
        if self.process is process:
            self.start()

    def wait_until_restarted(self) -> None:
        """Wait until the new process runs."""
        if self._restarting is not None:
            self._restarting.join(STOPS_WITHIN_S + 10)

    def ask_to_stop(self) -> None:
        """Send SIGTERM; do not wait."""
        if self.process is not None and self.process.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end_by_signal(self, number: int) -> int | None:
        """End the process by a signal; return its exit code, or None if it had ended before."""
        process, self.process = self.process, None
        if process is None or process.process.poll() is not None:
            self.log += process.lines if process else []
            return None
        process.send_signal(number)
        if self.is_frozen and number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        self.is_frozen = False
        try:
            code = process.join(60)
        finally:
            self.log += process.lines
        return code

    def describe_bad_end(self) -> str | None:
        """Return what is wrong with a process that ended by itself, or ended badly."""
        if self.faults:
            return "; ".join(self.faults)
        if self.process is not None and (code := self.process.process.poll()) is not None:
            return f"{self.name} ended by itself with {code}:\n{self.process.last_lines()}"
        return None


class Cluster:
    """Everything that the faults of an episode act on."""

    def __init__(
        self,
        server: PostgresServer | None,
        url: str,
        directory: Path,
        nodes: int,
        hook_url: str,
        switch: Switch | None = None,
        disk: Path | None = None,
        settings: Mapping[str, object] | None = None,
        standby: PostgresServer | None = None,
        decision: Literal["release", "drop"] = "release",
    ) -> None:
        """Create one node for each cable of the switch, or ``nodes`` of them without a switch."""
        cables = switch.cables if switch else [None] * nodes
        self.server = server
        self.standby = standby
        self.url = url
        self.directory = directory
        self.network = ProxyLoop()
        self.hook_url = hook_url
        self.command_log = directory / "command-log"
        self._settings = {
            f"CAMPAIGND_{name.upper()}": str(value) for name, value in (settings or {}).items()
        }
        self.nodes = [ChaosNode(self, number, cable) for number, cable in enumerate(cables, 1)]
        self.server_faults = ServerFaults(lambda: self.admin_url, disk)
        self.retention = PruneRunner(url)
        self.person = BrakePerson(lambda: self.admin_url, decision)
        self._frozen: list[psutil.Process] = []

    def daemon_environment(self, node: ChaosNode) -> dict[str, str]:
        """Return a daemon's environment: default settings, except for patience at the start and
        targets.
        """
        env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
        config = self.directory / "campaignd.toml"
        argv = json.dumps(recording_command(self.command_log))
        config.write_text(
            f'[targets.hook]\ntype = "webhook"\nurl = "{self.hook_url}"\nbackoff_first = 0.2\n'
            f'[targets.tell]\ntype = "command"\nargv = {argv}\n'
        )
        ours = {
            "CAMPAIGND_CONFIG": str(config),
            "CAMPAIGND_DATABASE_URL": node.url,
            "CAMPAIGND_NODE_NAME": node.name,
            "CAMPAIGND_API__HOST": node.api[0],
            "CAMPAIGND_API__PORT": str(node.api[1]),
            "CAMPAIGND_STATE_DIR": str(self.directory / "state"),
            "CAMPAIGND_SCHEDULER__STARTUP_TIMEOUT": "120",
            "CAMPAIGND_LOG__FORMAT": "json",
            "TZ": "America/St_Johns",
        }
        return env | ours | self._settings

    # The server.

    def freeze_server(self) -> None:
        """Freeze the postmaster and all its processes by SIGSTOP."""
        postmaster = psutil.Process(self.server.pid)
        self._frozen = [postmaster, *postmaster.children()]
        self._signal_all(self._frozen, signal.SIGSTOP)

    def thaw_server(self) -> None:
        """Continue the frozen processes."""
        frozen, self._frozen = self._frozen, []
        self._signal_all(frozen, signal.SIGCONT)

    def backends_of_nodes(self) -> list[psutil.Process]:
        """Return the server processes that serve a node; none while the server is away."""
        try:
            with psycopg.connect(self.admin_url, connect_timeout=2) as connection:
                pids = connection.execute(SERVING).fetchall()
        except psycopg.Error:
            return []
        found = []
        for (pid,) in pids:
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(pid))
        return found

    def freeze_backend(self, number: int) -> None:
        """Freeze one server process that serves a node."""
        backends = self.backends_of_nodes()
        if backends:
            self._frozen = [backends[number % len(backends)]]
            self._signal_all(self._frozen, signal.SIGSTOP)

    def kill_backend(self, number: int) -> None:
        """Kill one server process, so that the server ends all others and recovers."""
        backends = self.backends_of_nodes()
        if backends:
            self._signal_all([backends[number % len(backends)]], signal.SIGKILL)

    @staticmethod
    def _signal_all(processes: list[psutil.Process], number: int) -> None:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    @property
    def admin_url(self) -> str:
        """URL of the database on the present primary, whatever its state."""
        return self.url if self.standby is None else self.server.url

    def fail_over(self) -> None:
        """Promote the standby; the old primary stays dead."""
        assert self.standby is not None
        promote(self.standby)
        self.server = self.standby

    def start_server(self) -> None:
        """Start the server, and retry while it recovers or its old socket is in the way."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.server.start()
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def end_server_faults(self) -> None:
        """Make the server writable again, with disk space and free connections."""
        self.server_faults.free_disk()
        if self.server is not None and not self.server.is_alive:
            self.start_server()
        self.server_faults.end_all()

    def heal_nodes(self) -> None:
        """Continue every node, and repair its network and its clock."""
        self.thaw_server()
        for node in self.nodes:
            node.thaw()
            node.set_network(OPEN)
            node.clock.set_offset(0.0)
            if node.cable:
                node.cable.repair()
        for node in self.nodes:
            node.wait_until_restarted()

    def close(self) -> None:
        """End everything, whatever its state."""
        with contextlib.suppress(Exception):
            self.heal_nodes()
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.end_by_signal(signal.SIGKILL)
            for proxy in node.proxies:
                proxy.close()
        self.network.close()

    def events_named(self, name: str) -> list[dict[str, Any]]:
        """Return every log line of one event, from all processes of all nodes."""
        mark = f'"event":"{name}"'.encode()
        lines = [line for node in self.nodes for line in node.log]
        lines += [line for node in self.nodes if node.process for line in list(node.process.lines)]
        return [json.loads(line) for line in lines if mark in line and line.endswith(b"}")]
