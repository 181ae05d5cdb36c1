"""The campaign daemon: the parts, their order of start and stop, and the commands.

Invariants: `daemon.domain` is pure; other packages reach it through its ports. Packages import only
downwards, by the layers contract in `pyproject.toml`, which docs/architecture.md shows.
"""

from campaignd import __version__

__all__ = ["__version__"]
