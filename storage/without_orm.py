"""SQLAlchemy's asynchronous engine without its ORM.

`sqlalchemy.ext.asyncio` imports its engine and, for the session beside it, the whole ORM, which
nothing here uses: a tenth of what a daemon has in memory. So the package is set up with its engine
alone. Whoever asks it for more (a plugin may) makes it load the rest, as ever.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

_PACKAGE = "sqlalchemy.ext.asyncio"
_OF_THE_ENGINE = ("AsyncConnection", "AsyncEngine", "create_async_engine")


def _set_up() -> None:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    loader = spec.loader
    package: Any = module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    engine = import_module(f"{_PACKAGE}.engine")

    def load_rest(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        del package.__getattr__
        loader.exec_module(package)
        return getattr(package, name)

    for name in _OF_THE_ENGINE:
        setattr(package, name, getattr(engine, name))
    package.__getattr__ = load_rest


if _PACKAGE not in sys.modules:
    _set_up()

from sqlalchemy.ext.asyncio import (  # noqa: E402 - by now it brings no ORM
    AsyncConnection,
    AsyncEngine,
    create_async_engine,
)

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]
