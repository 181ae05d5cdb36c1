"""Prints figures for operators: exposure of the units, cold start, image size."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.machines import image

ROOT = Path(__file__).parents[3]
CAMPAIGND = Path(sys.executable).with_name("campaignd")


def print_exposure() -> None:
    """Print systemd's own score, from 0 to 10."""
    if not shutil.which("systemd-analyze"):
        print("exposure: systemd-analyze is not installed")
        return
    for unit in sorted((ROOT / "systemd").glob("*.service")):
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        print(f"exposure of {unit.name}: {found[1] if found else done.stderr.strip()}")


def print_cold_start() -> None:
    """Print the seconds from the start of the process to `ready`, on the embedded PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="campaignd-figures-") as state:
        Path(state).chmod(0o711)
        first = _seconds_to_start(state)
        print(f"cold start, with a new embedded PostgreSQL: {first:.2f} s")
        again = statistics.median(_seconds_to_start(state) for _ in range(3))
        print(f"cold start, with an existing one: {again:.2f} s (median of 3)")


def _seconds_to_start(state: str) -> float:
    env = {"PATH": "/usr/bin:/bin", "CAMPAIGND_STATE_DIR": state, "CAMPAIGND_API__PORT": "0"}
    began = time.monotonic()
    with subprocess.Popen([CAMPAIGND, "run"], env=env, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        took = next(
            time.monotonic() - began
            for line in daemon.stderr
            if json.loads(line)["event"] == "ready"
        )
        daemon.terminate()
        daemon.stderr.read()
    return took


def print_image_size() -> None:
    """Print the sizes of the image and of its base."""
    if (reason := image.why_no_images()) is not None:
        print(f"image size: {reason}")
        return
    with image.image_builder() as made:
        made.build()
        print(f"image size: {made.size_of()}, of it the base: {made.size_of('localhost/base')}")


if __name__ == "__main__":
    print_exposure()
    print_cold_start()
    print_image_size()
