"""What can go wrong with the database, in our words.

::

    CampaigndError
      StorageError
        StorageUnavailable   away, overloaded, read-only: try again (exit code 3)
        SchemaOutOfDate      a schema that this release can not work on (exit code 4)
        SchemaInUse          a live node could not work on the new schema (exit code 1)
        EmbeddedError        the embedded server could not be had (exit code 3); see embedded.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import exc as sa_exc

from daemon.domain.errors import CampaigndError, Unavailable


class StorageError(CampaigndError):
    """The database refused a statement."""


class StorageUnavailable(StorageError, Unavailable):
    """The database can not be reached."""

    exit_code = 3


class SchemaOutOfDate(StorageError):
    """The database's schema is not one that this release can work on."""

    exit_code = 4


class SchemaInUse(StorageError):
    """A node is at work whose release could not work on the new schema."""

    exit_code = 1


PASSING_STATES = frozenset(
    {
        "25006",  # read_only_sql_transaction: a standby that is not promoted yet
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53100",  # disk_full
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57014",  # query_canceled, by statement_timeout
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
    },
)
"""SQLSTATEs after which the same statement may well succeed later."""


_ADDRESS = re.compile(
    r'connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? failed: '
    r"| '[^']*'(?=: \[Errno)"
)
"""Where the client library names the server in its messages."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageUnavailable for what passes by itself; let faults of ours through.

    Driver messages are kept as text (first line), never the statement, its binds or the address.
    """
    try:
        yield
    except sa_exc.DBAPIError as error:
        if is_passing(error.orig) or error.connection_invalidated:
            raise StorageUnavailable(first_line(error.orig or error)) from error
        raise
    except psycopg.Error as error:
        if is_passing(error):
            raise StorageUnavailable(first_line(error)) from error
        raise
    except sa_exc.TimeoutError as error:
        raise StorageUnavailable("no free connection in the pool") from error
    except (OSError, TimeoutError) as error:
        raise StorageUnavailable(first_line(error)) from error


def is_passing(error: BaseException | None) -> bool:
    """Whether a driver error says that the database is away rather than that we are wrong."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError | TimeoutError)
    if error.sqlstate is None:
        # Raised by the client library: no connection, or one that broke.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate in PASSING_STATES or error.sqlstate.startswith("08")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, which for driver errors is the server's message.

    Without the server's address, which is nobody's business who reads a log or an answer.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _ADDRESS.sub("", line)
