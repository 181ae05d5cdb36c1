"""The errors of the database, and the translation of driver errors into them.

::

    CampaigndError
      StorageError
        StorageUnavailable   unreachable, overloaded or read-only: try again (exit code 3)
          TransactionAborted ended in favour of another transaction: try again
          PrivilegeMissing   the role lacks a privilege that campaignd needs (exit code 4)
        StatementDenied      the server refuses a statement to the role, for a row's sake or before
                             `storage.privilege_checks` names the privilege (exit code 4)
        SchemaOutOfDate      a schema that this release cannot work on (exit code 4)
          UnsuitableDatabase another program's schema, or an encoding other than UTF-8
        SchemaInUse          a live node cannot work on the new schema (exit code 1)
        EmbeddedError        the embedded server is not available (exit code 3)
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
    """The database cannot be reached."""

    exit_code = 3


class TransactionAborted(StorageUnavailable):
    """The server ended a transaction in favour of another one"""

    is_outage = False


class PrivilegeMissing(StorageUnavailable):
    """The database's role lacks a privilege.

    A running daemon waits for it as for a lost database: nothing is lost until it is granted.
    """

    exit_code = 4
    retryable = False


class StatementDenied(StorageError):
    """The server refused a statement to the database's role."""

    exit_code = 4


class SchemaOutOfDate(StorageError):
    """This release cannot work on the database's schema."""

    exit_code = 4


class UnsuitableDatabase(SchemaOutOfDate):
    """No release can work on the database: campaignd needs another one."""


class SchemaInUse(StorageError):
    """The release of a live node cannot work on the new schema."""

    exit_code = 1


class EmbeddedError(StorageError):
    """The embedded PostgreSQL is not available."""

    exit_code = 3


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
"""SQLSTATEs after which the same statement may succeed later."""

DENIED = "42501"
"""SQLSTATE insufficient_privilege, also of a row that row security refuses."""

CONFLICTS = frozenset({"40001", "40P01", "55P03"})
"""Those SQLSTATEs of which another transaction is the cause: the database itself is well."""

_ADDRESS = re.compile(
    r'connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? failed: '
    r"| '[^']*'(?=: \[Errno)"
)
"""The server's address in messages of the client library."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StorageUnavailable for errors that pass by themselves, StatementDenied for refusals.

    Other errors are let through. The message is the first line of the driver's, without the
    statement, its binds or the address.
    """
    try:
        yield
    except sa_exc.DBAPIError as error:
        if is_temporary(error.orig) or error.connection_invalidated:
            raise _unavailable_from(error.orig or error) from error
        if getattr(error.orig, "sqlstate", None) == DENIED:
            raise StatementDenied(first_line(error.orig or error)) from error
        raise
    except psycopg.Error as error:
        if is_temporary(error):
            raise _unavailable_from(error) from error
        if error.sqlstate == DENIED:
            raise StatementDenied(first_line(error)) from error
        raise
    except sa_exc.TimeoutError as error:
        raise StorageUnavailable("no free connection in the pool") from error
    except (OSError, TimeoutError) as error:
        raise StorageUnavailable(first_line(error)) from error


def _unavailable_from(error: BaseException) -> StorageUnavailable:
    is_conflict = getattr(error, "sqlstate", None) in CONFLICTS
    return (TransactionAborted if is_conflict else StorageUnavailable)(first_line(error))


def is_temporary(error: BaseException | None) -> bool:
    """Return whether a driver error means that the database is unavailable for now."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError | TimeoutError)
    if error.sqlstate is None:
        # Raised by the client library: no connection, or one that broke.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate in PASSING_STATES or error.sqlstate.startswith("08")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text: for driver errors, the server's message.

    The server's address is left out, because logs and responses must not disclose it.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _ADDRESS.sub("", line)
