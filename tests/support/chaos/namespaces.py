"""A network namespace for each node, with a cable that is pulled, filtered, or bad.

All these faults are silent: no process is notified of a lost packet. A bridge on this machine
stands for the network; the proxies of the database and the receiver listen at its address.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import string
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.machines.debian import install_if_allowed, missing_program_text

NETWORK = "198.18."
"""Address range for tests of networks, which is never routed (RFC 2544)."""
_MADE = itertools.count()


def _run_system_command(*command: object, check: bool = True) -> str:
    """Run a system command and return its output. Raises RuntimeError if it fails."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=20
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def _free_address_range() -> str:
    """Return the first three numbers of an address range that this machine does not use."""
    used = _run_system_command("ip", "-o", "-4", "address")
    for number in range(os.getpid() % 200, 256):
        if f"{NETWORK}{number}." not in used:
            return f"{NETWORK}{number}"
    raise RuntimeError("no free network")


class Cable:
    """The namespace and the cable of one node."""

    def __init__(self, bridge: str, net: str, number: int) -> None:
        self.namespace = f"{bridge}n{number}"
        self._outer = f"{bridge}v{number}"
        self.hub = f"{net}.1"
        self.address = f"{net}.{number + 10}"
        _run_system_command("ip", "netns", "add", self.namespace)
        inside = ("ip", "-n", self.namespace)
        ends = (self._outer, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _run_system_command("ip", "link", "add", *ends)
        _run_system_command("ip", "link", "set", self._outer, "master", bridge, "up")
        _run_system_command(*inside, "link", "set", "lo", "up")
        _run_system_command(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        _run_system_command(*inside, "link", "set", "eth0", "up")

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """The prefix of a command line that runs in the namespace, in the same process."""
        return ("ip", "netns", "exec", self.namespace)

    def pull(self) -> None:
        """Pull the cable at the far end: the node is cut off from everything."""
        _run_system_command("ip", "link", "set", self._outer, "down")

    def drop_packets(
        self, ports: Sequence[int], *, share: float = 1.0, answers_only: bool = False
    ) -> None:
        """Drop packets to and from some ports, all of them or a share."""
        port = ",".join(map(str, ports))
        often = ("-m", "statistic", "--mode", "random", "--probability", f"{share:.2f}")
        some = () if share >= 1 else often
        if not answers_only:
            self._add_filter(
                "-A",
                "OUTPUT",
                "-p",
                "tcp",
                "-m",
                "multiport",
                "--dports",
                port,
                *some,
                "-j",
                "DROP",
            )
        self._add_filter(
            "-A", "INPUT", "-p", "tcp", "-m", "multiport", "--sports", port, *some, "-j", "DROP"
        )

    def make_line_bad(self) -> None:
        """Make the line bad: packets are delayed, lost (10 %), duplicated or reordered."""
        bad = ["delay", "60ms", "50ms", "loss", "10%", "duplicate", "5%", "reorder", "20%"]
        _run_system_command(
            "tc", "-n", self.namespace, "qdisc", "replace", "dev", "eth0", "root", "netem", *bad
        )

    def repair(self) -> None:
        """Plug in the cable and make the line good."""
        _run_system_command("ip", "link", "set", self._outer, "up")
        for chain in ("OUTPUT", "INPUT"):
            self._add_filter("-F", chain)
        _run_system_command(
            "tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root", check=False
        )

    def _add_filter(self, *rule: object) -> None:
        _run_system_command(*self.command_prefix, "iptables", "-w", "5", *rule)

    def close(self) -> None:
        """Delete the namespace and the cable; a process in it loses its network."""
        _run_system_command("ip", "link", "del", self._outer, check=False)
        _run_system_command("ip", "netns", "del", self.namespace, check=False)


class Switch:
    """The bridge, and a cable for each node."""

    def __init__(self, nodes: int) -> None:
        self._bridge = f"cd{os.getpid() % 10**6}{string.ascii_letters[next(_MADE) % 52]}"
        net = _free_address_range()
        self.address = f"{net}.1"
        self.cables: list[Cable] = []
        _run_system_command("ip", "link", "add", self._bridge, "type", "bridge")
        try:
            _run_system_command("ip", "address", "add", f"{self.address}/24", "dev", self._bridge)
            _run_system_command("ip", "link", "set", self._bridge, "up")
            for number in range(1, nodes + 1):
                self.cables.append(Cable(self._bridge, net, number))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Delete the bridge with every cable."""
        for cable in self.cables:
            cable.close()
        _run_system_command("ip", "link", "del", self._bridge, check=False)


@contextlib.contextmanager
def network_switch(nodes: int) -> Iterator[Switch]:
    """Create a network of ``nodes`` nodes, and delete it afterwards."""
    made = Switch(nodes)
    try:
        yield made
    finally:
        made.close()


@functools.cache
def why_no_namespaces() -> str | None:
    """Return why no namespace can be created here, or None. Installs missing packages."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program, package in (("ip", "iproute2"), ("iptables", "iptables")):
        if install_if_allowed(package, program) is None:
            return missing_program_text(package, program)
    if not Path("/proc/self/ns/net").exists():
        return "this kernel has no network namespaces"
    try:
        with network_switch(1) as made:
            made.cables[0].drop_packets([1, 2])
            made.cables[0].drop_packets([1], share=0.5)
            made.cables[0].repair()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"
    return None


@functools.cache
def why_no_delay() -> str | None:
    """Return why a bad line (`tc netem`) is impossible here, or None."""
    if (reason := why_no_namespaces()) is not None:
        return reason
    if install_if_allowed("iproute2", "tc") is None:
        return missing_program_text("iproute2", "tc")
    try:
        with network_switch(1) as made:
            made.cables[0].make_line_bad()
    except RuntimeError as error:
        return f"no netem in this kernel: {error}"
    return None
