"""What the programs that campaignd starts inherit of its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")


def command_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """For targets: what says where a program is and what it speaks; never `CAMPAIGND_*`."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith("LC_")
    }


def whole_environment() -> dict[str, str]:
    """For a program that whoever sits at the terminal asked for by name: all of it."""
    return dict(os.environ)
