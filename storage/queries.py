"""The statements that have a ``.sql`` file of their own; each file is loaded once."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from sqlalchemy import TextClause, make_url, text

from daemon.domain.sharding import SHARDS

_DIALECT = make_url("postgresql+psycopg://").get_dialect()


@cache
def query(name: str) -> TextClause:
    """Return the statement in ``sql/<name>.sql``; binds are ``:name``, always inside a CAST.

    ``{SHARDS}`` in the file is replaced by the number of shards.
    """
    source = files("storage").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return text(source.replace("{SHARDS}", str(SHARDS)))


@cache
def driver_text(name: str) -> bytes:
    """Return the same statement as psycopg takes it: binds are ``%(name)s``, comments left out."""
    compiled = str(query(name).compile(dialect=_DIALECT()))
    return re.sub(r"\s*--.*", "", compiled).encode()
