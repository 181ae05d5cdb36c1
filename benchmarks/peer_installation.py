"""Install the peers from their registries at run time, in pinned versions, into `build/peers`.

This repository has only the drivers in `benchmarks/peers`, which use a peer as an application
would. A peer is unavailable where its registry, or its version of Python, is missing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from processes import HERE

DRIVERS = HERE / "peers"
PLACE = HERE.parent / "build" / "peers"
MAX_INSTALLATION_S = 600
TOOLS = ("matplotlib", "py-spy")
NEWER_PYTHONS = ("python3.15", "python3.14", "python3.13", "python3.12")
IS_NEWER = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"


class Unavailable(Exception):
    """A peer cannot be measured here; the message is the reason."""


def this_python() -> Path:
    """Return this interpreter, whose environment has APScheduler, campaignd's own dependency."""
    return Path(sys.executable)


def python_peers() -> Path:
    """Install the Python peers, py-spy and matplotlib; return their interpreter."""
    return _found(_environment("python", sys.executable, "requirements.txt"))


def oban_peer() -> Path:
    """Install oban for the newest Python that it supports; return its interpreter."""
    newer = newer_python()
    if newer is None:
        raise Unavailable("needs Python 3.12 or later, which was not found")
    return _found(_environment("oban", newer, "oban.txt"))


def node_peers() -> Path:
    """Install the Node peers and the version of Node that they need; return its path."""
    return _found(_node())


@cache
def newer_python() -> str | None:
    """Return a Python of 3.12 or later that can create environments, on PATH or from pyenv."""
    pyenv = Path.home() / ".pyenv" / "versions"
    for name in NEWER_PYTHONS:
        installed = sorted(pyenv.glob(f"{name.removeprefix('python')}.*/bin/python"), reverse=True)
        for program in [shutil.which(name), *map(str, installed)]:
            if program is not None and _runs([program, "-c", IS_NEWER]):
                return program
    return None


def python_version(interpreter: Path | str) -> str:
    """Return an interpreter's version."""
    done = subprocess.run([interpreter, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def versions() -> str:
    """Return the pinned versions of the peers and of what runs them, as a list in words."""
    node = json.loads((DRIVERS / "package.json").read_text())["dependencies"]
    pinned = [f"APScheduler {metadata.version('apscheduler')}"]
    pinned += [f"{name} {version}" for name, version in node.items()]
    for file in ("requirements.txt", "oban.txt"):
        lines = re.findall(r"^([^#\s]+)==(\S+)$", (DRIVERS / file).read_text(), re.M)
        pinned += [f"{name} {version}" for name, version in lines if name not in TOOLS]
    if (newer := newer_python()) is not None:
        pinned.append(f"Python {python_version(newer)} for oban")
    return ", ".join(dict.fromkeys(pinned))


def copy_drivers() -> None:
    """Copy the drivers beside the installed packages, where Node looks for them."""
    shutil.copytree(DRIVERS, PLACE, dirs_exist_ok=True)


def last_line(text: str, exit_code: int) -> str:
    """Return the last line of a program's output, or its exit code if there is none."""
    return text.strip().rpartition("\n")[2] or f"exit code {exit_code}"


def _found(installed: Path | str) -> Path:
    if isinstance(installed, str):
        raise Unavailable(installed)
    return installed


@cache
def _environment(name: str, python: str, requirements: str) -> Path | str:
    """Return the interpreter of an environment, or the reason why it cannot be installed."""
    wanted = DRIVERS / requirements
    interpreter = PLACE / name / "bin" / "python"
    venv = [python, "-m", "venv", "--clear", str(PLACE / name)]
    pip = [str(interpreter), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    stamp = f"{python_version(python)}\n{wanted.read_text()}"
    return _install(name, stamp, venv, [*pip, "-r", str(wanted)]) or interpreter


@cache
def _node() -> Path | str:
    """Return the path of Node, or the reason why it cannot be installed."""
    if shutil.which("npm") is None:
        return "npm does not exist"
    copy_drivers()
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    program = PLACE / "node_modules" / ".bin" / "node"
    return _install("node", (DRIVERS / "package.json").read_text(), npm) or program


def _install(name: str, stamp: str, *commands: list[str]) -> str | None:
    """Run the commands unless the same was installed before; return why one of them failed."""
    PLACE.mkdir(parents=True, exist_ok=True)
    installed = PLACE / f"{name}.installed"
    if installed.exists() and installed.read_text() == stamp:
        return None
    for command in commands:
        try:
            done = subprocess.run(
                command,
                cwd=PLACE,
                capture_output=True,
                text=True,
                timeout=MAX_INSTALLATION_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"not installed: {error}"
        if done.returncode:
            return f"not installed: {last_line(done.stderr, done.returncode)}"
    installed.write_text(stamp)
    return None


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
