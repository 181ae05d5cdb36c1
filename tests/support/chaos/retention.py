"""`campaignd prune` during an episode; the deleted rows are put aside, so that they can be checked.

History is kept for seconds instead of days. At the end the deleted rows are put back. A run that
was created again although it had existed before then shows as a duplicate.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from datetime import timedelta

import psycopg

from daemon.domain.errors import Unavailable
from storage.engine import Database
from storage.prune import Prune
from tests.support.campaign_database import CampaignDatabase

KEEP = timedelta(seconds=3)
WITHIN_S = 10.0
TABLES = ("runs", "campaign_events")
PUT_ASIDE = """
    CREATE TABLE pruned_{table} (LIKE {table});
    CREATE FUNCTION put_aside_{table}() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO pruned_{table} SELECT OLD.*; RETURN NULL; END';
    CREATE TRIGGER put_aside AFTER DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION put_aside_{table}();
"""
COLUMNS = """
    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
PUT_BACK = """
    WITH back AS (
        INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM pruned_{table}
        ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM back) AS back, (SELECT count(*) FROM pruned_{table}) AS pruned
"""


class PruneRunner:
    """Prunes one database from time to time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads: list[threading.Thread] = []
        with psycopg.connect(url, autocommit=True) as connection:
            for table in TABLES:
                connection.execute(PUT_ASIDE.format(table=table).encode())

    def start_prune(self) -> None:
        """Start to prune; do not wait, because the server may be away."""
        thread = threading.Thread(
            target=lambda: asyncio.run(self._prune_and_keep_rows()), daemon=True
        )
        thread.start()
        self._threads.append(thread)

    async def _prune_and_keep_rows(self) -> None:
        database = Database(self._url, pool_size=2)
        try:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    async for _ in Prune(database).prune_history(KEEP):
                        pass
        finally:
            await database.close()

    def wait_until_done(self) -> None:
        """Wait until nothing is pruned any more."""
        for thread in self._threads:
            thread.join(WITHIN_S + 5)
            assert not thread.is_alive(), "the pruning hangs"

    def restore_pruned_rows(self, database: CampaignDatabase) -> tuple[int, list[str]]:
        """Put the pruned rows back; return their number, and a line for each table with them."""
        total, doubled = 0, []
        for table in TABLES:
            columns = database.one(COLUMNS, table)
            (row,) = database.rows(PUT_BACK.format(table=table, columns=columns))
            total += row["pruned"]
            if row["back"] != row["pruned"]:
                doubled.append(f"{row['pruned'] - row['back']} {table} were there before: {row}")
        return total, doubled
