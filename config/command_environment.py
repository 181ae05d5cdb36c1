"""What the programs that campaignd starts inherit of its environment: nothing that is secret."""

from __future__ import annotations

import os
from collections.abc import Mapping

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")


def command_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that say where a program is and what it speaks; never `CAMPAIGND_*`."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith("LC_")
    }
