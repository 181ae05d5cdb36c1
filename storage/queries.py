"""The hot statements: one ``.sql`` file each, loaded once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sqlalchemy import TextClause, text

from daemon.domain.sharding import SHARDS


@cache
def query(name: str) -> TextClause:
    """The statement in ``sql/<name>.sql``; binds are ``:name``, always inside a CAST.

    ``{SHARDS}`` in it stands for their number.
    """
    written = files("storage").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return text(written.replace("{SHARDS}", str(SHARDS)))
