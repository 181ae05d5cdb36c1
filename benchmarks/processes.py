"""The processes that are measured: daemons of a checkout, and the resources that they use."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

HERE = Path(__file__).parent
MAX_START_S = 600
MB = 2**20


@dataclass(frozen=True)
class Checkout:
    """A source tree of campaignd and the directory of its installed programs."""

    root: Path
    programs: Path

    @classmethod
    def at(cls, root: Path) -> Checkout:
        """Return the checkout in a directory.

        Raises:
            SystemExit: its `.venv` has no campaignd.
        """
        root = root.resolve()
        found = cls(root, root / ".venv" / "bin")
        if not found.campaignd.exists():
            raise SystemExit(f"{found.campaignd} does not exist; run `make install-dev` there")
        return found

    @property
    def campaignd(self) -> Path:
        """The path of the program."""
        return self.programs / "campaignd"

    def run(self, *arguments: str, url: str | None = None) -> float:
        """Run a command to its end and return the seconds that it took.

        Raises:
            SystemExit: the command failed; has the end of its standard error.
        """
        began = time.perf_counter()
        done = subprocess.run(
            [self.campaignd, *arguments],
            env=environment(url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return time.perf_counter() - began

    def upgrade(self, url: str) -> None:
        """Migrate the database to the schema of this checkout."""
        self.run("db", "upgrade", url=url)

    def noop_target(self, folder: Path) -> dict[str, str]:
        """Return the settings of a daemon whose target `noop` only records the times."""
        config = folder / "campaignd.toml"
        config.write_text(
            '[targets.noop]\ntype = "plugin"\nplugin = "bench_noop"\nconcurrency = 2\n'
            f'options = {{ times = "{folder / "times"}" }}\n'
        )
        plugin = self.root / "benchmarks" / "noop"
        path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
        return {"CAMPAIGND_CONFIG": str(config), "PYTHONPATH": path.strip(os.pathsep)}


THIS = Checkout(HERE.parent, Path(sys.executable).parent)


def environment(
    url: str | None = None, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return this process's environment with only the given settings of campaignd."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
    if url is not None:
        env["CAMPAIGND_DATABASE_URL"] = url
    return env | dict(settings or {})


def noop_times(folder: Path) -> list[tuple[float, float]]:
    """Return (due, started) of every run of the target `noop`, once the daemon has stopped."""
    times = array("d", (folder / "times").read_bytes())
    return list(zip(times[::2], times[1::2], strict=True))


class ResourceUsage:
    """Memory and processor time of a process and its children, counted from `start()`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.start()

    def start(self) -> None:
        """Count the peak of the memory and the processor time from here."""
        self.idle_mb = self.resident_mb()
        self._cpu_s_before = self._sum(_cpu_s)
        self._sum(_reset_peak)

    def resident_mb(self) -> float:
        """Return the resident memory now, in MB."""
        return self._sum(lambda pid: psutil.Process(pid).memory_info().rss / MB)

    def peak_mb(self) -> float:
        """Return the sum of the processes' peaks of resident memory, in MB."""
        return self._sum(_peak_mb)

    def cpu_s(self) -> float:
        """Return the processor time in seconds."""
        return self._sum(_cpu_s) - self._cpu_s_before

    def figures(self, count: int) -> dict[str, float]:
        """Return the fields of `BurstFigures` for a burst of `count` fires."""
        return {
            "cpu_us": self.cpu_s() / count * 1e6 if count else math.inf,
            "idle_mb": self.idle_mb,
            "peak_mb": self.peak_mb(),
            "after_mb": self.resident_mb(),
        }

    def _sum(self, read: Callable[[int], float]) -> float:
        total = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            # A child may end at any moment.
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                total += read(process.pid)
        return total


def _cpu_s(pid: int) -> float:
    # Nanoseconds of each thread; /proc/PID/stat has hundredths of a second.
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) / 1e9 for path in threads)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _reset_peak(pid: int) -> float:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return 0.0


def server_usage(connection: psycopg.Connection[Any]) -> ResourceUsage:
    """Return the usage of the server of a connection, which runs on this machine."""
    backend = psutil.Process(connection.info.backend_pid)
    return ResourceUsage((backend.parent() or backend).pid)


class Daemon:
    """One `campaignd run`, by default without the API, started and ready.

    Args:
        url: a database with the schema.
        folder: where the log `daemon.log` is written.
        settings: environment variables.
        api: whether the daemon serves the HTTP API, at any free port.
        checkout: whose daemon it is.

    Raises:
        SystemExit: the daemon ended, or was not ready in time; has the end of its log.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        api: bool = False,
        checkout: Checkout = THIS,
    ) -> None:
        log = folder / "daemon.log"
        began = time.perf_counter()
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [checkout.campaignd, "run", *([] if api else ["--no-api"])],
                env=environment(url, {"CAMPAIGND_API__PORT": "0", **(settings or {})}),
                stderr=stream,
                cwd="/",
            )
        self._wait_for("ready", log)
        self.ready_s = time.perf_counter() - began
        if api:
            self._wait_for("api_listening", log)
        self.usage = ResourceUsage(self.process.pid)

    def _wait_for(self, event: str, log: Path) -> None:
        deadline = time.monotonic() + MAX_START_S
        while f'"event":"{event}"'.encode() not in log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(log.read_text()[-5000:])
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop as the service manager does.

        Raises:
            SystemExit: the daemon did not end, and was killed.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SystemExit("campaignd did not stop") from None

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_daemon(
    url: str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    api: bool = False,
    checkout: Checkout = THIS,
) -> Iterator[Daemon]:
    """Yield a daemon that is ready, and stop it."""
    daemon = Daemon(url, folder, settings, api=api, checkout=checkout)
    try:
        yield daemon
    finally:
        daemon.stop()
