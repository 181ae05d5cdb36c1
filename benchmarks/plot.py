"""Draw the bursts with matplotlib, which only the environment of the peers has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from peers import PEER_PYTHON

PROGRAM = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "campaignd", "font.size": 9})
import matplotlib.pyplot as plt
panels, path = json.load(sys.stdin), sys.argv[1]
figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.2), squeeze=False)
for axis, (title, bars) in zip(axes[0], panels.items()):
    names, values = list(bars), list(bars.values())
    colours = ["#c33" if name.startswith("campaignd") else "#bbb" if "limit" in name else "#47a"
               for name in names]
    drawn = axis.barh(names, values, color=colours)
    axis.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=3)
    axis.invert_yaxis()
    axis.set_title(title)
    axis.set_xlim(0, max(values) * 1.2)
    axis.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
figure.savefig(path, metadata={"Date": None})
"""


def draw(panels: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write an SVG with panels of bars side by side: title to (name to value)."""
    subprocess.run(
        [PEER_PYTHON, "-c", PROGRAM, path],
        input=json.dumps(panels),
        text=True,
        check=True,
    )
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))
