"""A network namespace for each node, and the cable that leads out of it: pulled, filtered, bad.

All of it is silence: nobody is told that a packet was lost. A bridge on this machine stands for
the network; the database's proxies and the receiver listen at its address.
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

from tests.support.machines.debian import install, missing

NETWORK = "198.18."
"""RFC 2544: for tests of networks, never routed."""
_MADE = itertools.count()


def _do(*command: object, check: bool = True) -> str:
    """A command of the system's; what it said. RuntimeError if it did not do it."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=20
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def _first_free() -> str:
    """The first three numbers of an address that nothing here has."""
    used = _do("ip", "-o", "-4", "address")
    for number in range(os.getpid() % 200, 256):
        if f"{NETWORK}{number}." not in used:
            return f"{NETWORK}{number}"
    raise RuntimeError("no free network")


class Cable:
    """One node's namespace and cable."""

    def __init__(self, bridge: str, net: str, number: int) -> None:
        self.namespace = f"{bridge}n{number}"
        self._outer = f"{bridge}v{number}"
        self.hub = f"{net}.1"
        self.address = f"{net}.{number + 10}"
        _do("ip", "netns", "add", self.namespace)
        inside = ("ip", "-n", self.namespace)
        _do("ip", "link", "add", self._outer, "type", "veth", "peer", "name", "eth0",
            "netns", self.namespace)  # fmt: skip
        _do("ip", "link", "set", self._outer, "master", bridge, "up")
        _do(*inside, "link", "set", "lo", "up")
        _do(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        _do(*inside, "link", "set", "eth0", "up")

    @property
    def program(self) -> tuple[str, ...]:
        """What a command line begins with to be run in there; its process is the same one."""
        return ("ip", "netns", "exec", self.namespace)

    def pull(self) -> None:
        """The cable is out at the far end: the node is cut off from everything."""
        _do("ip", "link", "set", self._outer, "down")

    def drop(self, ports: Sequence[int], *, share: float = 1.0, answers_only: bool = False) -> None:
        """Packets to and from some ports vanish, all of them or a share."""
        port = ",".join(map(str, ports))
        often = ("-m", "statistic", "--mode", "random", "--probability", f"{share:.2f}")
        some = () if share >= 1 else often
        if not answers_only:
            self._filter(
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
        self._filter(
            "-A", "INPUT", "-p", "tcp", "-m", "multiport", "--sports", port, *some, "-j", "DROP"
        )

    def delay(self) -> None:
        """A bad line: packets wait, a tenth is lost, some come twice or out of order."""
        bad = ["delay", "60ms", "50ms", "loss", "10%", "duplicate", "5%", "reorder", "20%"]
        _do("tc", "-n", self.namespace, "qdisc", "replace", "dev", "eth0", "root", "netem", *bad)

    def heal(self) -> None:
        """The cable is in, and good."""
        _do("ip", "link", "set", self._outer, "up")
        for chain in ("OUTPUT", "INPUT"):
            self._filter("-F", chain)
        _do("tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root", check=False)

    def _filter(self, *rule: object) -> None:
        _do(*self.program, "iptables", "-w", "5", *rule)

    def close(self) -> None:
        """Gone; a process in there loses its network with it."""
        _do("ip", "link", "del", self._outer, check=False)
        _do("ip", "netns", "del", self.namespace, check=False)


class Switch:
    """The bridge, and a cable for each node."""

    def __init__(self, nodes: int) -> None:
        self._bridge = f"cd{os.getpid() % 10**6}{string.ascii_letters[next(_MADE) % 52]}"
        net = _first_free()
        self.address = f"{net}.1"
        self.cables: list[Cable] = []
        _do("ip", "link", "add", self._bridge, "type", "bridge")
        try:
            _do("ip", "address", "add", f"{self.address}/24", "dev", self._bridge)
            _do("ip", "link", "set", self._bridge, "up")
            for number in range(1, nodes + 1):
                self.cables.append(Cable(self._bridge, net, number))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gone, with every cable."""
        for cable in self.cables:
            cable.close()
        _do("ip", "link", "del", self._bridge, check=False)


@contextlib.contextmanager
def switch(nodes: int) -> Iterator[Switch]:
    """A network of so many nodes, gone afterwards."""
    made = Switch(nodes)
    try:
        yield made
    finally:
        made.close()


@functools.cache
def why_not() -> str | None:
    """Why there can be no namespaces here; None: there can. Installs what is missing if it may."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program, package in (("ip", "iproute2"), ("iptables", "iptables")):
        if install(package, program) is None:
            return missing(package, program)
    if not Path("/proc/self/ns/net").exists():
        return "this kernel has no network namespaces"
    try:
        with switch(1) as made:
            made.cables[0].drop([1, 2])
            made.cables[0].drop([1], share=0.5)
            made.cables[0].heal()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"
    return None


@functools.cache
def why_no_delay() -> str | None:
    """Why there can be no bad line here (`tc netem`); None: there can."""
    if (reason := why_not()) is not None:
        return reason
    if install("iproute2", "tc") is None:
        return missing("iproute2", "tc")
    try:
        with switch(1) as made:
            made.cables[0].delay()
    except RuntimeError as error:
        return f"no netem in this kernel: {error}"
    return None
