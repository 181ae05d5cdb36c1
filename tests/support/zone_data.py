"""Made-up releases of the time-zone data: zones with one offset each, as zoneinfo reads them."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import tzdata


def tzif_file(offset: timedelta) -> bytes:
    """Return a TZif file (RFC 9636) of a zone whose clocks never change."""
    seconds = int(offset.total_seconds())
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    header = b"TZif2" + bytes(15) + counts
    block = struct.pack(">lbb", seconds, 0, 0) + b"TST\0"
    sign, (hours, rest) = ("-" if seconds > 0 else ""), divmod(abs(seconds), 3600)
    footer = f"\n<TST>{sign}{hours}:{rest // 60:02}:{rest % 60:02}\n"
    return (header + block) * 2 + footer.encode()


def write_zone_directory(top: Path, release: str, zones: Mapping[str, timedelta]) -> dict[str, str]:
    """Write a tree for the TZPATH; return the environment that makes a process use it."""
    zones = {"Etc/UTC": timedelta(0), "UTC": timedelta(0), **zones}
    for name, offset in zones.items():
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tzif_file(offset))
    (top / "tzdata.zi").write_text(f"# version {release}\n")
    return {"PYTHONTZPATH": str(top), "CAMPAIGND_TIMEZONE_DATA": "system"}


def write_zone_package(top: Path, release: str, zones: Mapping[str, timedelta]) -> dict[str, str]:
    """Write the same as a release of the package tzdata, for a machine without a tree."""
    copy = top / "tzdata"
    shutil.copytree(Path(tzdata.__file__).parent, copy)
    for name, offset in zones.items():
        (copy / "zoneinfo" / name).write_bytes(tzif_file(offset))
    (copy / "__init__.py").write_text(f'IANA_VERSION = "{release}"\n')
    paths = [str(top), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONTZPATH": "", "PYTHONPATH": os.pathsep.join(paths)}
