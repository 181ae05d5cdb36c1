"""Targets of other packages, found by their entry point in the group ``campaignd.targets``.

The entry point names a callable: ``make(name, options, emit)`` with the target's name, its
``options`` as configured and an ``Emit``; it returns a `daemon.domain.ports.Target`. The target may
also have:

- ``async close()``: called once when it is not used any more;
- ``async cancel(work)``: called when a run that it was given was stopped;
- ``waits = True``: it waits for somebody else, so fewer runs are claimed ahead for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from daemon.domain.ports import Emit, Target
from daemon.targets.errors import UnusableTarget

GROUP = "campaignd.targets"


def make(plugin: str, name: str, options: Mapping[str, Any], emit: Emit) -> Target:
    """The target that an entry point makes.

    Raises:
        UnusableTarget: there is no such entry point, or it can not make a target of these options.
    """
    found = entry_points(group=GROUP, name=plugin)
    if not found:
        there = ", ".join(sorted({each.name for each in entry_points(group=GROUP)})) or "none"
        raise UnusableTarget(f"no package brings the target {plugin!r}; installed are: {there}")
    try:
        target = next(iter(found)).load()(name, dict(options), emit)
    except Exception as error:  # whatever somebody else's code raises
        raise UnusableTarget(f"plugin {plugin!r}: {type(error).__name__}: {error}") from error
    if not callable(getattr(target, "deliver", None)):
        raise UnusableTarget(f"plugin {plugin!r} made {type(target).__name__}, without deliver()")
    made: Target = target
    return made
