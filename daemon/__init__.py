"""The campaign daemon: what runs, when, and how it is told to.

Invariants: `daemon.domain` is pure; everything else reaches it through its ports. Packages import
only downwards (the layers contract in `pyproject.toml`): cli, app, then api / timer / upkeep /
targets / telemetry, then control / firing, then lifecycle, then domain.
"""

from campaignd import __version__

__all__ = ["__version__"]
