"""Draw the bursts with matplotlib, which only the environment of the peers has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from peer_installation import python_peers

PROGRAM = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "campaignd", "font.size": 9})
import matplotlib.pyplot as plt
panels, path = json.load(sys.stdin), sys.argv[1]
lines = (len(panels) + 1) // 2
figure, axes = plt.subplots(lines, 2, figsize=(11, 3.4 * lines), squeeze=False)
for axis in axes.flat[len(panels):]:
    axis.set_axis_off()
for axis, (title, bars) in zip(axes.flat, panels.items()):
    names, values = list(bars), list(bars.values())
    colours = ["#c33" if name.startswith("campaignd") else "#bbb" if "limit" in name else "#47a"
               for name in names]
    drawn = axis.barh(names, values, color=colours)
    axis.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=3)
    axis.invert_yaxis()
    axis.set_title(title)
    axis.set_xlim(0, max(values) * 1.2)
    axis.locator_params(axis="x", nbins=4)
    axis.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
figure.savefig(path, metadata={"Date": None})
"""


def draw(panels: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write an SVG with panels of bars: title to (name to value).

    Raises:
        Unavailable: matplotlib cannot be installed.
    """
    subprocess.run(
        [python_peers(), "-c", PROGRAM, path],
        input=json.dumps(panels),
        text=True,
        check=True,
    )
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))
