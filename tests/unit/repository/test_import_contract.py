"""The layers contract in pyproject.toml names every package there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_package_has_a_layer() -> None:
    """A new package below daemon is put into the contract on the day it appears."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = set(re.findall(r"[\w.]+", " ".join(layers)))
    there = {
        f"daemon.{path.stem}"
        for path in (ROOT / "daemon").iterdir()
        if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("_")
    }
    assert there <= named
    assert {"storage", "config"} <= named
