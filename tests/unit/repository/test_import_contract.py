"""The layers contract in pyproject.toml and the architecture page name every package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
LAYERS = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
THERE = {
    f"daemon.{path.stem}"
    for path in (ROOT / "daemon").iterdir()
    if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("_")
}


def test_every_package_has_a_layer() -> None:
    """A new package below daemon has a line in the contract."""
    named = set(re.findall(r"[\w.]+", " ".join(LAYERS)))
    assert named >= THERE
    assert {"storage", "config"} <= named


def test_the_architecture_page_shows_the_layers() -> None:
    """The lines are those of the contract."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    shown = re.search(r"^```text\n(.*?)^```$", page, re.M | re.S)
    assert shown
    # Where this fails, copy the layers of pyproject.toml to the page, without parentheses.
    assert shown[1].splitlines() == [re.sub(r"[()]", "", layer) for layer in LAYERS]


def test_the_architecture_page_names_every_package() -> None:
    """The table of packages has each package and module directly below daemon."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for name in THERE:
        path = name.replace(".", "/")
        assert f"`{path}/`" in page or f"`{path}.py`" in page, f"add {name}"
