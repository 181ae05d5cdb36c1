"""Programs that acceptance tests need, from Debian's packages where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def need(package: str, program: str) -> str:
    """The program's path; it is installed if that may be, else the test is skipped."""
    found = shutil.which(program)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
        for command in (install, ["apt-get", "update", "-q"], install):
            done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=240)
            if done.returncode == 0 and (found := shutil.which(program)):
                break
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    return found
