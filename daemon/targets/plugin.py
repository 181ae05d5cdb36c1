"""Loads targets of other packages by their entry point in the group ``campaignd.targets``.

The entry point names a callable ``make(name, options, emit)``: the target's name, its ``options``
as configured, and an `Emit`. The callable returns a `campaignd.plugin.Target`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from daemon.domain.ports import Emit
from daemon.domain.run.target import Target
from daemon.targets import UnusableTarget

GROUP = "campaignd.targets"


def make_target(plugin: str, name: str, options: Mapping[str, Any], emit: Emit) -> Target:
    """Return the target that an entry point makes.

    Raises:
        UnusableTarget: no package has the entry point, or it cannot make a target of the options.
    """
    found = entry_points(group=GROUP, name=plugin)
    if not found:
        names = ", ".join(sorted({each.name for each in entry_points(group=GROUP)})) or "none"
        raise UnusableTarget(f"plugin is invalid: {plugin!r}; installed plug-ins: {names}")
    try:
        target = next(iter(found)).load()(name, dict(options), emit)
    except Exception as error:  # whatever the plug-in's own code raises
        raise UnusableTarget(f"plugin {plugin!r}: {type(error).__name__}: {error}") from error
    if not isinstance(target, Target):
        made = type(target).__name__
        raise UnusableTarget(f"plugin {plugin!r} made {made}, not a campaignd.plugin.Target")
    return target
