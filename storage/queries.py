"""The statements that have a ``.sql`` file of their own; each file is loaded once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sqlalchemy import TextClause, text

from daemon.domain.sharding import SHARDS


@cache
def query(name: str) -> TextClause:
    """Return the statement in ``sql/<name>.sql``; binds are ``:name``, always inside a CAST.

    ``{SHARDS}`` in the file is replaced by the number of shards.
    """
    source = files("storage").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return text(source.replace("{SHARDS}", str(SHARDS)))
