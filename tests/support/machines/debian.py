"""Programs that acceptance tests need, installed from Debian's packages where possible."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def install_if_allowed(package: str, program: str) -> str | None:
    """Return the program's path, after an installation if allowed; None if there is none."""
    found = _find_program(program)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        fetch = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
        for command in (fetch, ["apt-get", "update", "-q"], fetch):
            done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=240)
            if done.returncode == 0 and (found := _find_program(program)):
                break
    return found


def install_or_skip(package: str, program: str) -> str:
    """Return the program's path, after an installation if allowed, or skip the test."""
    found = install_if_allowed(package, program)
    if found is None:
        pytest.skip(missing_program_text(package, program))
    return found


def missing_program_text(package: str, program: str) -> str:
    """Return what to do about a program that could not be installed."""
    return f"{program} is not installed (Debian: apt-get install {package})"


def _find_program(program: str) -> str | None:
    """Directories of servers are not in an ordinary user's path."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
